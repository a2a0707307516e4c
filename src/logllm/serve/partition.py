"""Lines of one partition on their way to records, and what is known of them afterwards."""

from typing import NamedTuple

import polars as pl

from logllm.logs.inputs.pushed_lines import Pushed
from logllm.logs.records import RECORDS
from logllm.serve.sources.contract import LINES, Place
from logllm.serve.store.frames import stored_names

PATIENCE = 1.0
"""Seconds after which a record that might go on is taken as it is."""


class Claimed(NamedTuple):
    """A partition as the store knows it."""

    epoch: int
    """Who has it: higher than that of all who had it before."""
    low: int
    """The first line that is not accounted for; 0: the partition is new."""
    place: Place
    """Where the source begins to read again."""
    accounted: pl.DataFrame
    """`session` and `last`: up to which line stored sessions are accounted for.

    Only sessions that are stored as closed and have a line at `low` or beyond.
    """


class Partition:
    """One partition: its lines become records once, whatever is read twice."""

    def __init__(
        self,
        name: str,
        pushed: Pushed,
        *,
        file: int,
        claimed: Claimed,
        by_key: bool,
    ) -> None:
        """Nothing read yet.

        Args:
            name: what the source calls it.
            pushed: makes records of its lines.
            file: its place among the inputs of its assembly.
            claimed: as the store knows it; of windows that share lines, and of those of time, which
                the clock tells apart, without what is accounted for.
            by_key: whether sessions are by key, each with lines of its own; else windows, one after
                the other.
        """
        self.name = name
        self.file = file
        self.epoch = claimed.epoch
        self.lines = 0
        """Lines that have come."""
        self._pushed = pushed
        self._low = claimed.low
        self._accounted = claimed.accounted
        self._by_key = by_key
        # After a restart lines are read again up to the last one of any stored session.
        self._last_stored = int(claimed.accounted["last"].max() or 0)  # type: ignore[arg-type]
        self._written: list[pl.DataFrame] = []
        self._latest = 0.0

    def push(self, lines: pl.DataFrame, *, arrived: float) -> pl.DataFrame:
        """Records of the next lines, also of those that stored sessions hold.

        Args:
            lines: `logllm.serve.sources.contract.LINES`.
            arrived: when they came.
        """
        # A source may begin before the first line that is not accounted for: those before it are
        # passed over.
        is_unaccounted = pl.col("line") >= self._low
        fresh = lines.filter(is_unaccounted).select(LINES.keys())
        self.lines += fresh.height
        self._latest = arrived
        self._written.append(fresh)
        return self._pushed.push(fresh)

    def rest(self, *, now: float) -> pl.DataFrame:
        """The record that might have gone on, but has not for some time."""
        # A stack trace comes line by line: the record before it is whole only when nothing more
        # joins it.
        waiting = now - self._latest > PATIENCE
        rest = self._pushed.rest() if waiting else None
        return pl.DataFrame(schema=RECORDS) if rest is None else rest

    def low(self, held: int | None) -> int:
        """The first line that is not accounted for.

        Args:
            held: the first line of it that an open session holds.
        """
        # What is in no record yet counts as held: a restart must read it again.
        low = self._pushed.low
        if held is not None:
            low = min(held, low)
        return max(low, self._low)

    def texts(self, lines: pl.DataFrame) -> pl.DataFrame:
        """What is written in some lines: `file`, `line`, `text`.

        Args:
            lines: with a column `line`.
        """
        wanted = lines.select("line").unique()
        frames = [frame.join(wanted, on="line", how="semi") for frame in self._written]
        written = pl.concat([pl.DataFrame(schema=LINES), *frames])
        file = pl.lit(self.file, dtype=pl.UInt32).alias("file")
        return written.select(file, "line", "text")

    @property
    def written(self) -> int:
        """How many lines are remembered."""
        return sum(frame.height for frame in self._written)

    def forget(self, wanted: pl.DataFrame) -> None:
        """Remember no lines but those that are wanted, and those that are in no record yet.

        Args:
            wanted: with a column `line`.
        """
        lines = pl.concat([pl.DataFrame(schema=LINES), *self._written])
        ahead = lines["line"] >= self._pushed.low
        of_sessions = lines.filter(~ahead).join(wanted, on="line", how="semi")
        remembered = pl.concat([of_sessions, lines.filter(ahead)])
        self._written = [remembered] if remembered.height else []

    def not_stored(self, records: pl.DataFrame) -> pl.DataFrame:
        """The records that no stored session holds, each with the keys that none is stored of."""
        # Nearly always, but for the first seconds after a restart.
        if not records.height or records["line"][0] > self._last_stored:
            return records
        # Windows come one after the other: all up to the last stored one are over.
        if not self._by_key:
            return records.filter(pl.col("line") > self._last_stored)

        # Key by key: a record may name a session that is stored, and another one that is not.
        rows = records.with_row_index("row").explode("keys", empty_as_null=True)
        session = pl.col("keys").map_batches(stored_names, return_dtype=pl.String)
        names = rows.with_columns(session=session)
        judged = names.join(self._accounted, on="session", how="left", maintain_order="left")
        # A session that is not stored has no last line: all of its lines are new.
        is_new = pl.col("line") > pl.col("last")
        fresh = judged.filter(is_new.fill_null(True))

        # And records again, each with the keys that are left.
        others = pl.exclude("row", "keys").first()
        keys = pl.col("keys").drop_nulls()
        grouped = fresh.group_by("row", maintain_order=True).agg(others, keys)
        return grouped.select(records.columns)
