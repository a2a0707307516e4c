"""Counts that several threads add to."""

from collections import Counter
from collections.abc import Mapping
from threading import Lock


class Counts:
    """What went on, by name."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, **counts: int) -> None:
        """Count something; nothing where it is 0."""
        with self._lock:
            # A name appears only once something happened: a source that is well tells of nothing.
            self._counts.update({name: count for name, count in counts.items() if count})

    @property
    def all(self) -> Mapping[str, int]:
        """All that was counted."""
        with self._lock:
            return dict(self._counts)
