"""Bytes to records: files, archives, joining, fields, times, masking, redaction, by a format that is given."""
