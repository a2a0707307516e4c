"""A person labels the sessions of a log that a run has judged."""
