"""Sessions opened on a page: which of their lines are shown, repeats once, and which are marked."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from logllm.detect.page.written import Place

LINES = 40
"""How many lines of a session are shown at most, repeats counted once."""
FURTHER = 12
"""How many lines of a record are shown at most after its first one."""

_NEAR = 3
"""Lines before and after a marked one that are shown before others."""
_FIRST, _LAST = 10, 5
"""Lines at a session's ends that are shown before others."""
MARKS = pl.Schema({"row": pl.UInt32, "line": pl.UInt64, "file": pl.String, "mark": pl.Float64})
"""Schema of lines that are marked: the session's row, the line, its file (null where there is one
input), and its score."""


class ShownLine(NamedTuple):
    """A line of a session, and the lines alike that follow it."""

    place: Place
    message: int
    """Its message's place in the table."""
    times: int
    """How many records in a row have its message."""
    last: int
    """The line number of the last of these."""
    mark: float | None
    """How much it speaks for "anomalous"; None: it is not marked."""
    before: int
    """How many records lie between the one shown before it and this one."""
    further: tuple[int, ...]
    """Numbers of the lines of its record after the first."""
    more: int
    """Further lines of its record that are not shown."""


class Opened(NamedTuple):
    """What is shown of a session."""

    lines: tuple[ShownLine, ...]
    after: int
    """Records after the last one shown."""


def shown_lines(
    sessions: pl.DataFrame,
    messages: pl.Series,
    *,
    marks: pl.DataFrame,
    begun: Mapping[str | None, pl.Series],
) -> list[Opened]:
    """The lines of sessions that are shown, a few of each, with what is left out between them.

    Records of one message that follow each other are shown once. Marked lines come before all
    others, then those near them, then those at a session's ends.

    Args:
        sessions: verdicts with `messages`.
        messages: the message table.
        marks: lines that are marked (`MARKS`), by the sessions' rows.
        begun: the numbers of all lines of each file that begin a record, in order; records of a
            file that is missing here have no further lines.
    """
    records = _records(sessions).join(
        marks,
        on=("row", "line", "file"),
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    repeats = _repeats(records)
    has_room = _order(repeats) <= LINES
    shown = _with_gaps(repeats.filter(has_room))
    # A record of several lines has as many line breaks in its message.
    places = shown["message"].cast(pl.UInt32)
    breaks = messages.gather(places).str.count_matches("\n", literal=True)
    shown = shown.with_columns(joined=breaks)
    # The lines of each session, in their order.
    of_row: dict[int, list[ShownLine]] = {}
    for row in shown.iter_rows(named=True):
        lines = of_row.setdefault(row["row"], [])
        begun_in_file = begun.get(row["file"])
        lines.append(_line(row, begun_in_file))
    totals = sessions["lines"].list.len()
    return [_opened(of_row.get(row, []), total) for row, total in enumerate(totals)]


def _records(sessions: pl.DataFrame) -> pl.DataFrame:
    """One row for each record of a session: `row` (the session's), `line`, `file`, `message`."""
    # Where there is one file, verdicts do not name it.
    listed = ["lines", "messages"]
    file = pl.lit(None, dtype=pl.String)
    if "files" in sessions.columns:
        listed.append("files")
        file = pl.col("files")
    numbered = sessions.with_row_index("row").select("row", *listed)
    rows = numbered.explode(listed)
    return rows.select("row", line="lines", message="messages", file=file)


def _repeats(records: pl.DataFrame) -> pl.DataFrame:
    """One row for records of one message that follow each other, with their number, `times`.

    It stands where the marked record is, or else the first.
    """
    # A row of another session or of another file begins a repeat, whatever its message.
    columns = pl.col("message", "row", "file")
    same = pl.all_horizontal(columns.eq_missing(columns.shift(1)))
    begins = ~same.fill_null(False)
    place = pl.int_range(pl.len()).over("row")
    records = records.with_columns(repeat=begins.cum_sum(), at=place)
    # The marked one stands for its repeats, or the first where none is marked.
    foremost = pl.col("mark").arg_max().fill_null(0)
    of_foremost = pl.col("line", "file", "message").gather(foremost)
    alike = records.group_by("row", "repeat", maintain_order=True)
    return alike.agg(
        of_foremost.first(),
        times=pl.len(),
        last=pl.col("line").last(),
        began=pl.col("at").first(),
        mark=pl.col("mark").max(),
    )


def _order(repeats: pl.DataFrame) -> pl.Series:
    """The order in which lines of a session are shown while there is room, from 1."""
    # Marked lines first, then those around them, then a session's beginning, then its end.
    marked = pl.col("mark").is_not_null()
    around: list[pl.Expr] = []
    for by in range(-_NEAR, _NEAR + 1):
        neighbour = marked.shift(by).over("row")
        around.append(neighbour.fill_null(False))
    is_near = pl.any_horizontal(around)
    at = pl.int_range(pl.len()).over("row")
    from_end = pl.len().over("row") - at
    rank = (
        pl.when(marked).then(0)
        .when(is_near).then(1)
        .when(at < _FIRST).then(2)
        .when(from_end <= _LAST).then(3)
        .otherwise(4)
    )  # fmt: skip
    ranked = repeats.with_columns(rank=rank, at=at)
    # By rank first, then by place: no place is as large as the number of all rows.
    both = pl.col("rank") * pl.len() + pl.col("at")
    order = both.rank("ordinal").over("row")
    return ranked.select(order).to_series()


def _with_gaps(shown: pl.DataFrame) -> pl.DataFrame:
    """Shown lines, with the number of records left out `before` each."""
    end = pl.col("began") + pl.col("times")
    end_before = end.shift(1).over("row").fill_null(0)
    return shown.with_columns(before=pl.col("began") - end_before)


def _line(row: Mapping[str, Any], begun: pl.Series | None) -> ShownLine:
    """A row as a line, with the further lines of its record."""
    first, joined = int(row["line"]), int(row["joined"])
    further: tuple[int, ...] = ()
    if joined and begun is not None:
        # Its further lines reach to the next record's first line, and are as many as were joined.
        end = first + joined + 1
        at = int(begun.search_sorted(first, side="right"))
        if at < len(begun):
            end = min(end, int(begun[at]))
        further = tuple(range(first + 1, end))
    return ShownLine(
        place=(row["file"], first),
        message=row["message"],
        times=row["times"],
        last=row["last"],
        mark=row["mark"],
        before=row["before"],
        further=further[:FURTHER],
        more=max(0, len(further) - FURTHER),
    )


def _opened(lines: list[ShownLine], total: int) -> Opened:
    """The shown lines of a session that has so many records in all."""
    passed = sum(line.before + line.times for line in lines)
    return Opened(tuple(lines), total - passed)


def begun_lines(verdicts: pl.DataFrame) -> dict[str | None, pl.Series]:
    """The numbers of the lines of each file that begin a record of a session, in order."""
    # Where the next record begins tells where this one's further lines end.
    if "files" not in verdicts.columns:
        lines = verdicts["lines"].explode().drop_nulls()
        return {None: lines.unique().sort()}
    listed = verdicts.select("lines", "files").explode("lines", "files")
    by_file = listed.group_by("files", maintain_order=True)
    lines_of = by_file.agg(pl.col("lines").unique().sort())
    return dict(zip(lines_of["files"], lines_of["lines"], strict=True))
