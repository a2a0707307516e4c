"""Notices sessions whose lines lie in two partitions that nobody can put together."""

import polars as pl


class SessionHomes:
    """In which partition each open session has its lines.

    Where partitions are read by themselves, as Kafka's are, a session in two of them is two rows,
    each with a part of it. It is seen as long as one process has both and both are open.
    """

    def __init__(self) -> None:
        """None is open."""
        self.divided = 0
        """Sessions so far that had lines in two partitions."""
        self._homes: dict[str, str] = {}
        self._counted: set[str] = set()

    def look(self, rows: pl.DataFrame) -> tuple[str, str, str] | None:
        """Look at verdicts that are about to be stored.

        Args:
            rows: of `logllm.serve.store.frames.VERDICTS`; every session that opens is among them
                once, and once when it closes.

        Returns:
            The first session that was ever seen in two partitions, and these; none: there is none
            among these rows, or one was seen before.
        """
        seen_before = self.divided
        first = None
        columns = rows.select("session", "partition", "state")
        # Sessions in their order: a home is the partition where one was first seen.
        for name, partition, state in columns.iter_rows():
            home = self._homes.setdefault(name, partition)
            if home != partition and name not in self._counted:
                self._counted.add(name)
                self.divided += 1
                first = first or (name, home, partition)
            if state != "open" and home == partition:
                del self._homes[name]
                self._counted.discard(name)
        return None if seen_before else first

    def leave(self, partition: str) -> None:
        """Forget a partition that another process has now."""
        homes = self._homes.items()
        self._homes = {name: home for name, home in homes if home != partition}
        self._counted &= self._homes.keys()
