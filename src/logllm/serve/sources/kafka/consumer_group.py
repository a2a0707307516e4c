"""Which topic is read, and by which group of consumers."""

from typing import NamedTuple


class Group(NamedTuple):
    """What is read, and by whom together."""

    name: str
    """The source's name, for people."""
    topic: str
    group: str
    timeout: float
    """Seconds after which the group misses a member, and a member that was missed knows it."""

    def partition(self, number: int) -> str:
        """What the outside calls a partition."""
        return f"{self.topic}/{number}"
