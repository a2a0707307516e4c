"""Bytes to records by a format that is given: joining, fields, times, masking, redaction."""
