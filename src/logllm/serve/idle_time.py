"""After how long without a record a session has ended."""

from math import ceil

from logllm.config.watch import WatchSection
from logllm.detect.judge import Judge

_IDLE = 300
"""Seconds without a record after which a session has ended, where nothing else is known."""
_RARE = 0.001
"""The share of pauses in sessions of training that are longer."""


def idle_seconds(how: WatchSection, run: Judge) -> int:
    """After how many seconds without a record a session has ended.

    It is the setting `idle`, or else comes from the pauses in sessions of training.
    """
    if how.idle is not None:
        return how.idle
    longest = None
    if run.ends is not None and run.ends.timed:
        longest = run.ends.stops.longest(_RARE)
    if longest is None:
        return _IDLE
    return min(max(ceil(longest), _IDLE), how.max_open_age)
