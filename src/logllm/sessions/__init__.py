"""Records to sessions: the message table, keys, windows, and a proposal for a log that nobody has said anything about."""
