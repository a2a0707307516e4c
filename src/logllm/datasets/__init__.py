"""Labelled sessions: prepared from logs, divided, compared; public data sets and those that come with the package."""
