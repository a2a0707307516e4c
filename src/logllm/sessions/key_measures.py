"""How well a key groups the lines of a log.

The figures that a proposal of sessions is judged by.
"""

from typing import NamedTuple

import polars as pl

from logllm.counting import plural
from logllm.logs.records import NO_KEY

NAMED = 0.8
"""Share of the lines that must name a key; the others will be in no session."""

_FEWEST = 10  # sessions
_FEWEST_SHORT = 4  # where the log is short
_SHORT = 8  # lines a session of so many that fewer sessions do
_LINES = (2, 300)  # of the median session
_LARGEST = 0.5  # of all lines at most that many are in one session
_NEAR = 0.5  # of all lines at least that many are in sessions that end within half the sample
_LIFT = 1.5  # by which sessions begin or end more alike than any lines are
_BEGINS = 0.3  # how much of a score depends on that


class Grouping(NamedTuple):
    """What a key makes of some lines."""

    lines: int
    """How many lines."""
    named: float
    """Share of the lines that name one."""
    sessions: int
    """How many sessions."""
    median: float
    """Lines of the median session."""
    largest: float
    """Share of the lines in the largest session."""
    near: float
    """Share of the sessions' lines in sessions that reach over at most half of the lines."""
    several: float
    """Share of the lines that name more than one key."""
    lift: float
    """How many times likelier it is for two sessions to begin with the same message, or to end with
    it, than for two lines to be the same message; 1 where sessions have no beginning of their
    own."""

    @property
    def begins_or_ends(self) -> bool:
        """Whether sessions have a beginning or an end of their own.

        Lines grouped by a second, by a size or by a user have not.
        """
        return self.lift >= _LIFT

    @property
    def in_words(self) -> str:
        """The figures, for people."""
        of_lines = f"{100 * self.named:.0f} % of {plural(self.lines, 'line')} name one"
        length = plural(round(self.median), "line")
        return f"{of_lines}, {plural(self.sessions, 'session')} of {length} (median)"

    @property
    def fewest(self) -> int:
        """Sessions that a key of so many lines should give."""
        return max(_FEWEST_SHORT, min(_FEWEST, self.lines // _SHORT))

    @property
    def score(self) -> float:
        """How good the key is, in [0, 1].

        Good are many lines that name one key, and sessions that end, that are no giants, and that
        have a beginning or an end of their own.
        """
        # A lift of 1 (sessions begin as any line does) takes `_BEGINS` off, a large one nothing.
        unlike = 1 - _BEGINS / max(1.0, self.lift)
        no_giant = 1 - self.largest
        one_key = 1 - self.several / 2
        return self.named * self.near * no_giant * one_key * unlike


def grouping(keys: pl.Series, messages: pl.Series) -> Grouping:
    """What grouping lines by these keys gives.

    >>> keys = pl.Series(["a", "a", "b", "-"])
    >>> made = grouping(keys, pl.Series([0, 1, 0, 7], dtype=pl.UInt32))
    >>> made.named, made.sessions, made.median
    (0.75, 2, 1.5)

    Args:
        keys: one a line, or a list of them.
        messages: numbers of the lines' masked messages.
    """
    total = len(keys)
    rows = pl.DataFrame({"key": keys, "message": messages}).with_row_index("row")
    if keys.dtype == pl.List:
        rows = rows.explode("key")
    # `-` and the like stand where a line names no key: such lines are in no session.
    key = pl.col("key")
    rows = rows.filter(key.is_not_null() & ~key.is_in(NO_KEY))
    if not rows.height:
        return Grouping(total, 0.0, 0, 0.0, 0.0, 0.0, 0.0, 1.0)
    row, message = pl.col("row"), pl.col("message")
    reach = row.max() - row.min() + 1
    by_key = rows.group_by("key", maintain_order=True)
    sessions = by_key.agg(lines=pl.len(), reach=reach, begins=message.first(), ends=message.last())
    lengths = sessions["lines"]
    median: float = lengths.median() or 0  # type: ignore[assignment]
    largest: int = lengths.max() or 0  # type: ignore[assignment]
    ending = sessions.filter(pl.col("reach") <= total / 2)
    lines_ending = ending["lines"].sum()
    lines_with_several = rows["row"].is_duplicated().sum()
    # Sessions of one line begin and end alike for that reason alone.
    longer = sessions.filter(pl.col("lines") > 1)
    lift = _lift(rows["message"], longer["begins"], longer["ends"])
    named = rows["row"].n_unique()
    return Grouping(
        lines=total,
        named=named / total,
        sessions=sessions.height,
        median=float(median),
        largest=largest / total,
        near=float(lines_ending / rows.height),
        several=float(lines_with_several / rows.height),
        lift=lift,
    )


def unfit(made: Grouping) -> str | None:
    """Why a key does not group lines well; None where it does."""
    if made.sessions < made.fewest:
        return f"it has only {plural(made.sessions, 'value')}"
    if made.median < _LINES[0]:
        return f"half of its {made.sessions:,} values have one line"
    if made.median > _LINES[1]:
        return f"half of its {made.sessions:,} values have more than {_LINES[1]} lines"
    if made.largest > _LARGEST:
        return f"one value has {100 * made.largest:.0f} % of the lines"
    if made.near < _NEAR:
        return "most lines are of values that go on through the whole log"
    return None


def _lift(all_messages: pl.Series, *ends: pl.Series) -> float:
    """How many times more alike the messages at sessions' ends are than all messages.

    It is 1 where nothing can be said.
    """
    alike = _alike(all_messages)
    if not alike:
        return 1.0
    lifts = [_alike(messages) / alike for messages in ends]
    return max(1.0, *lifts)


def _alike(messages: pl.Series) -> float:
    """How likely it is that two of the messages are the same."""
    total = len(messages)
    # n (n - 1) ordered pairs in all, of which c (c - 1) are of a message that occurs c times.
    counts = messages.value_counts()["count"].cast(pl.Float64)
    pairs_alike = (counts * (counts - 1)).sum()
    pairs = max(1, total * (total - 1))
    return float(pairs_alike / pairs)
