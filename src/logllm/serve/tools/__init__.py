"""What programs that act for people are given: incidents, sessions, verdicts, labels."""
