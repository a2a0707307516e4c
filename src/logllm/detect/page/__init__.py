"""Verdicts as a page to open."""
