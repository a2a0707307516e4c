"""Labelled sessions to weights."""
