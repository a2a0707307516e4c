"""What a watch learns while it judges, if it is told to: beside the run, in the store."""
