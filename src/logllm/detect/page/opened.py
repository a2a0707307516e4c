"""Sessions opened: which lines of each are shown, those of repeats once, and which are marked."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from logllm.detect.page.written import Place

LINES = 40
"""Most lines of a session that are shown; of repeats one each."""
FURTHER = 12
"""Most lines of a record that are shown after its first one."""

_NEAR = 3
"""Lines before and after a marked one that are shown before others."""
_FIRST, _LAST = 10, 5
"""Lines at a session's ends that are shown before others."""
MARKS = pl.Schema({"row": pl.UInt32, "line": pl.UInt64, "file": pl.String, "mark": pl.Float64})
"""Schema of lines that are marked: the session's row, the line, its file (null where there is one
input), and its score."""


class ShownLine(NamedTuple):
    """A line of a session, and those alike that follow it."""

    place: Place
    message: int
    """Its message's place in the table."""
    times: int
    """How many records in a row have its message."""
    last: int
    """The number of the last one's line."""
    mark: float | None
    """How much it speaks for "anomalous"; none: it is not marked."""
    before: int
    """Records between the one shown before it and this one."""
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
        begun: of each file the numbers of all lines that begin a record, in order; of a file that
            is not there no record has further lines.
    """
    records = _records(sessions).join(
        marks,
        on=("row", "line", "file"),
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    repeats = _repeats(records)
    shown = _with_gaps(repeats.filter(_order(repeats) <= LINES))
    # A record of several lines has as many line breaks in its message.
    texts = messages.gather(shown["message"].cast(pl.UInt32))
    shown = shown.with_columns(joined=texts.str.count_matches("\n", literal=True))
    of_row: dict[int, list[ShownLine]] = {}
    for line in shown.iter_rows(named=True):
        of_row.setdefault(line["row"], []).append(_line(line, begun.get(line["file"])))
    totals = sessions["lines"].list.len()
    return [_opened(of_row.get(row, []), total) for row, total in enumerate(totals)]


def _records(sessions: pl.DataFrame) -> pl.DataFrame:
    """One row a record of a session: `row` (the session's), `line`, `file`, `message`."""
    # Of one file verdicts do not name it.
    several = "files" in sessions.columns
    listed = ["lines", "messages", *(["files"] if several else [])]
    rows = sessions.with_row_index("row").select("row", *listed).explode(listed)
    file = pl.col("files") if several else pl.lit(None, dtype=pl.String)
    return rows.select("row", line="lines", message="messages", file=file)


def _repeats(records: pl.DataFrame) -> pl.DataFrame:
    """One row for records of one message in a row.

    Where the marked one is, or the first, and how many they are.
    """
    # A row of another session or of another file begins a repeat, whatever its message.
    same = pl.col("message").eq_missing(pl.col("message").shift(1))
    for column in ("row", "file"):
        same &= pl.col(column).eq_missing(pl.col(column).shift(1))
    records = records.with_columns(
        repeat=(~same.fill_null(False)).cum_sum(),
        at=pl.int_range(pl.len()).over("row"),
    )
    # The marked one stands for its repeats, or the first where none is marked.
    foremost = pl.col("mark").arg_max().fill_null(0)
    alike = records.group_by("row", "repeat", maintain_order=True)
    return alike.agg(
        pl.col("line", "file", "message").gather(foremost).first(),
        times=pl.len(),
        last=pl.col("line").last(),
        began=pl.col("at").first(),
        mark=pl.col("mark").max(),
    )


def _order(repeats: pl.DataFrame) -> pl.Series:
    """In which order lines of a session are to be shown, as long as there is room: from 1."""
    # Marked lines first, then those around them, then a session's beginning, then its end.
    marked = pl.col("mark").is_not_null()
    around = [marked.shift(by).over("row").fill_null(False) for by in range(-_NEAR, _NEAR + 1)]
    at = pl.int_range(pl.len()).over("row")
    from_end = pl.len().over("row") - at
    rank = (
        pl.when(marked).then(0)
        .when(pl.any_horizontal(around)).then(1)
        .when(at < _FIRST).then(2)
        .when(from_end <= _LAST).then(3)
        .otherwise(4)
    )  # fmt: skip
    ranked = repeats.with_columns(rank=rank, at=at)
    place = (pl.col("rank") * pl.len() + pl.col("at")).rank("ordinal").over("row")
    return ranked.select(place).to_series()


def _with_gaps(shown: pl.DataFrame) -> pl.DataFrame:
    """Lines that are shown, with how many records lie `before` each, after the one shown before it."""
    end_before = (pl.col("began") + pl.col("times")).shift(1).over("row").fill_null(0)
    return shown.with_columns(before=pl.col("began") - end_before)


def _line(line: Mapping[str, object], begun: pl.Series | None) -> ShownLine:
    """A row as a line, with the lines that its record goes on with."""
    first = int(line["line"])  # type: ignore[call-overload]
    joined = int(line["joined"])  # type: ignore[call-overload]
    further: tuple[int, ...] = ()
    if joined and begun is not None:
        at = int(begun.search_sorted(first, side="right"))
        # Its further lines reach to the next record's first line, and are as many as were joined.
        end = int(begun[at]) if at < len(begun) else first + joined + 1
        further = tuple(range(first + 1, min(first + joined + 1, end)))
    return ShownLine(
        place=(line["file"], first),  # type: ignore[arg-type]
        message=line["message"],  # type: ignore[arg-type]
        times=line["times"],  # type: ignore[arg-type]
        last=line["last"],  # type: ignore[arg-type]
        mark=line["mark"],  # type: ignore[arg-type]
        before=line["before"],  # type: ignore[arg-type]
        further=further[:FURTHER],
        more=max(0, len(further) - FURTHER),
    )


def _opened(lines: list[ShownLine], total: int) -> Opened:
    """Lines of a session of so many records."""
    passed = sum(line.before + line.times for line in lines)
    return Opened(tuple(lines), total - passed)


def begun_lines(verdicts: pl.DataFrame) -> dict[str | None, pl.Series]:
    """Of each file the numbers of the lines that begin a record of a session, in order."""
    # Where the next record begins tells where this one's further lines end.
    if "files" not in verdicts.columns:
        lines = verdicts["lines"].explode().drop_nulls()
        return {None: lines.unique().sort()}
    listed = verdicts.select("lines", "files").explode("lines", "files")
    lines_of = listed.group_by("files", maintain_order=True).agg(pl.col("lines").unique().sort())
    return dict(zip(lines_of["files"], lines_of["lines"], strict=True))
