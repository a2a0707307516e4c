"""Structured lines: rows and the columns they hold, fields by their names."""
