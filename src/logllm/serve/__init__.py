"""Verdicts without end: lines keep coming, the clock closes sessions, a store loses nothing."""
