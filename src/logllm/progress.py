"""Who is told how far long work has come."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much (0: not known): sessions, lines, bytes or layers."""
Report = Callable[[str, float], None]
"""Told what is being fetched, converted or measured, and the share of it that is done, in [0,
1]."""
