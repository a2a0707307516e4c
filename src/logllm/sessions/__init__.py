"""Records to sessions: the message table, keys, windows, and a proposal for an unknown log."""
