"""Verdicts without end: sources of lines that keep coming, sessions that close by the clock, and a store that loses nothing."""
