"""Which format a log is in: the known ones, their recognition, fields found."""
