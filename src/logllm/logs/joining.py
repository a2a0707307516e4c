"""Several lines that are one record: blocks, lines cut in pieces, and lines that go on with the record before them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import polars as pl

from logllm.config.format import FormatSection, PartialSection
from logllm.logs.fields import json_records
from logllm.logs.inside.other_kinds import begins, joins
from logllm.logs.lines import LONGEST_LINE, Counts, Lines, lines_of
from logllm.logs.records import Records
from logllm.logs.structured.csv_rows import CsvRows, headed
from logllm.logs.structured.w3c_rows import with_columns

Piece = TypeVar("Piece")

_FAR = 1000
"""Lines of other streams that may lie between two pieces of a line."""
_MOST_PIECES = 1024
"""Of a line; what never ends begins anew after so many."""


class Joining(Protocol[Piece]):
    """Joins what comes in pieces; what may go on is held back."""

    def push(self, piece: Piece) -> Piece:
        """The piece with its lines joined, without its last record where that may go on, after what was held back."""

    def flush(self) -> Piece | None:
        """What is held back, if anything is."""


class JoiningRecords(Joining[Records], Protocol):
    """Joins further lines to records, and says from which line on it holds any back."""

    @property
    def first_held(self) -> int | None:
        """The first line of what is held back; none: nothing is."""


def in_pieces(described: FormatSection) -> bool:
    """Whether several lines may be one before they are parsed: rows of CSV, blocks, and lines that were cut."""
    return described.kind in ("csv", "export") or described.partial is not None


def made_whole(batches: Iterable[Lines], described: FormatSection, *, counts: Counts) -> Iterator[Lines]:
    """Lines as they were written: rows of CSV, blocks, and lines that a container runtime cut in pieces, each whole again.

    Args:
        batches: lines as they lie in files.
        described: their format, which says what may be in pieces.
        counts: where joined lines are counted (`continued`, and `lines`, of which the frames hold fewer), and `cut_lines`.
    """
    whole = iter(batches)
    if described.kind == "csv":
        whole = _joined(lambda: CsvRows(described.separator, counts), whole)
        whole = whole if described.columns else headed(whole, described.separator, counts=counts)
    if described.kind == "w3c":
        whole = with_columns(whole, described, counts=counts)
    if described.kind == "export":
        whole = _joined(lambda: Blocks(counts), whole)
    if (partial := described.partial) is not None:
        whole = _joined(lambda: Partials(partial, counts), whole)
    if (records := described.records) is not None:
        whole = (_unpacked(lines, records.split("."), counts=counts) for lines in whole)
    return whole


def _unpacked(lines: Lines, path: Sequence[str], *, counts: Counts) -> Lines:
    """Records in lists as lines of their own, with the number of theirs; a line that holds none stays as it is.

    Polars takes no list of objects apart whose fields are not known, so Python does.
    """
    unpacked = [json_records(text, path) for text in lines.frame["text"]]
    texts = [[text] if records is None else records for text, records in zip(lines.frame["text"], unpacked, strict=True)]
    rows = lines.frame.with_columns(text=pl.Series(texts, dtype=pl.List(pl.String))).explode("text")
    counts["lines"] += lines.frame.height - rows.height  # as many as the files have
    return replace(lines, frame=rows)


def whole_rows(text: pl.Series, described: FormatSection) -> tuple[pl.Series, FormatSection]:
    """Rows of CSV, blocks of an export and lines that were cut, whole, and the columns that they name in the format; of others what holds something.

    Of rows whose columns change those of the first columns.
    """
    in_pieces = described.kind in ("csv", "w3c", "export") or described.records is not None or described.partial is not None
    if not in_pieces:
        return text.filter(text.str.contains(r"\S")), described  # an empty line is no sign of another format
    batches = list(made_whole([lines_of(text)], described, counts=Counter()))
    columns = next((batch.columns for batch in batches if batch.columns), ())
    alike = [batch.frame["text"] for batch in batches if batch.columns == columns or described.kind != "w3c"]
    named = {"columns": columns} if columns else {}
    return pl.concat([text.clear(), *alike]), described.model_copy(update=named)


def _joined(new: Callable[[], Joining[pl.DataFrame]], batches: Iterable[Lines]) -> Iterator[Lines]:
    """Lines joined, each file by itself."""
    for lines, frame in by_file(new, ((lines, lines.frame) for lines in batches)):
        yield replace(lines, frame=frame)


def by_file(new: Callable[[], Joining[Piece]], pieces: Iterable[tuple[Lines, Piece]]) -> Iterator[tuple[Lines, Piece]]:
    """Pieces joined, each file by itself: no record reaches over a file's end."""
    joining, last = new(), None
    try:
        for lines, piece in pieces:
            if last is not None and lines.index != last.index:
                yield from _rest(joining, last)
                joining = new()
            yield lines, joining.push(piece)
            last = lines
    except Exception:
        # What is held back comes before the fault that ends the file.
        if last is not None:
            yield from _rest(joining, last)
        raise
    if last is not None:
        yield from _rest(joining, last)


def _rest(joining: Joining[Piece], last: Lines) -> Iterator[tuple[Lines, Piece]]:
    """What is held back at a file's end, as lines that bring nothing else to count."""
    rest = joining.flush()
    if rest is not None:
        yield replace(last.counted(), frame=last.frame.clear()), rest


class Blocks:
    """Lines to blocks that an empty line ends."""

    def __init__(self, counts: Counts) -> None:
        """Nothing held back.

        Args:
            counts: Where joined lines (`continued`, and `lines`, of which the frames hold fewer) and `cut_lines` are counted.
        """
        self._counts = counts
        self._inside = False
        self._held: pl.DataFrame | None = None

    def push(self, piece: pl.DataFrame) -> pl.DataFrame:
        """Whole blocks, each with its first line's number."""
        if not piece.height:
            return piece
        goes_on = self._goes_on(piece["text"])
        if self._held is None and not self._inside and not goes_on.any():
            return self._whole(piece)
        held = piece.clear() if self._held is None else self._held
        start = pl.concat([pl.repeat(True, held.height, eager=True), ~goes_on])
        frame = pl.concat([held, piece]).group_by(start.cum_sum().alias("row"), maintain_order=True)
        rows = frame.agg(pl.col("line").first(), pl.col("text").str.join("\n")).drop("row")
        self._count(held.height + piece.height - rows.height)
        self._held = rows.tail(1).with_columns(pl.col("text").str.head(LONGEST_LINE + 1)) if self._inside else None
        return self._whole(rows.head(-1) if self._inside else rows)

    def flush(self) -> pl.DataFrame | None:
        """The block that never ended."""
        held, self._held, self._inside = self._held, None, False
        return None if held is None else self._whole(held)

    def _goes_on(self, text: pl.Series) -> pl.Series:
        """Which lines go on with the one before; and whether the next piece's first will."""
        open_after = text != ""
        goes_on = open_after.shift(1, fill_value=self._inside)
        self._inside = bool(open_after[-1])
        return goes_on

    def _whole(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Blocks without empty ones, none too long."""
        some = rows.filter(pl.col("text") != "")
        self._count(rows.height - some.height)
        return some.with_columns(bounded(some["text"], self._counts))

    def _count(self, joined: int) -> None:
        self._counts["continued"] += joined
        self._counts["lines"] += joined


class Partials:
    """Lines that were cut in pieces, whole again, each where its first piece stands."""

    def __init__(self, section: PartialSection, counts: Counts) -> None:
        """Nothing held back.

        Args:
            section: Says which lines are pieces.
            counts: Where joined lines (`continued`, and `lines`, of which the frames hold fewer) and lines that grew too long
                (`cut_lines`) are counted.
        """
        self._section = section
        self._counts = counts
        self._held: pl.DataFrame | None = None

    def push(self, piece: pl.DataFrame) -> pl.DataFrame:
        """Whole lines; one that may go on is held back, and all that come after it."""
        if not piece.height or (self._held is None and not piece["text"].str.contains(self._section.goes_on).any()):
            return piece
        lines = piece if self._held is None else pl.concat([self._held, piece])
        pieces = self._pieces(lines)
        rows = self._rows(pieces)
        near = pl.col("last") + _FAR >= lines["line"][-1]
        going_on = rows.filter(pl.col("goes_on") & near & (pl.col("pieces") < _MOST_PIECES))["line"].min()
        if going_on is None:
            self._held = None
            return self._whole(rows)
        self._held = pieces.filter(pl.col("first") >= going_on).select(piece.columns)
        return self._whole(rows.filter(pl.col("line") < going_on))

    def flush(self) -> pl.DataFrame | None:
        """What is held back, pieces that nothing followed too."""
        held, self._held = self._held, None
        return None if held is None else self._whole(self._rows(self._pieces(held)))

    def _pieces(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Lines with what of them is joined, and `first`, the number of the line that begins theirs."""
        groups = lines["text"].str.extract_groups(self._section.pattern).struct.unnest()
        known = {name: groups[name] if name in groups.columns else pl.lit("") for name in ("before", "part", "after", "stream")}
        pieces = lines.with_columns(**known)
        goes_on = pl.col("part").is_not_null() & pl.col("text").str.contains(self._section.goes_on)
        pieces = pieces.with_columns(other=pl.col("part").is_null(), goes_on=goes_on)
        stream = ("stream", "other")
        before = pl.col("goes_on").shift(1, fill_value=False) & (pl.col("line") - pl.col("line").shift(1) <= _FAR)
        pieces = pieces.with_columns(run=(~before.fill_null(value=False)).cum_sum().over(stream))
        pieces = pieces.with_columns(part_of=pl.int_range(pl.len()).over(*stream, "run") // _MOST_PIECES)
        return pieces.with_columns(first=pl.col("line").first().over(*stream, "run", "part_of"))

    def _rows(self, pieces: pl.DataFrame) -> pl.DataFrame:
        """Pieces put together, without those that would make a line too long."""
        fits = pl.col("part").str.len_chars().cum_sum() <= LONGEST_LINE
        whole = pl.col("before").first() + pl.col("part").filter(fits).str.join("") + pl.col("after").first()
        rows = pieces.group_by(line="first", maintain_order=True).agg(
            text=pl.when(pl.len() == 1).then(pl.col("text").first()).otherwise(whole),
            cut=~fits.fill_null(value=True).all(),
            goes_on=pl.col("goes_on").last(),
            last=pl.col("line").last(),
            pieces=pl.len(),
        )
        return rows.sort("line")

    def _whole(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Lines that have ended, counted."""
        joined = int(rows["pieces"].sum()) - rows.height
        self._counts["continued"] += joined
        self._counts["lines"] += joined
        self._counts["cut_lines"] += int(rows["cut"].sum())
        return rows.select("line", "text")


class Continuations:
    """Rejects that match their format's pattern join the record before them."""

    def __init__(self, described: FormatSection, counts: Counts) -> None:
        """Nothing held back.

        Args:
            described: The format, which says what a line must match to join.
            counts: Where joined lines (`continued`) and records that grew too long (`cut_lines`) are counted.
        """
        self._described = described
        self._counts = counts
        self._held: pl.DataFrame | None = None

    def push(self, piece: Records) -> Records:
        """Records with the messages of their further lines, but for the last record, and the rejects that join none."""
        records, rejects = piece
        if self._held is not None:
            records = pl.concat([self._held, records])
        if not records.height:
            return piece
        records = records.with_row_index("place")
        near = rejects.join_asof(records.select("line", "place", "kind"), on="line", strategy="backward", check_sortedness=False)
        # What begins another record ends the one before it, for all lines up to the next.
        other = begins(near["text"], self._described)
        ended = pl.col("other").cum_max().over("place")
        near = near.with_columns(other=other).with_columns(going_on=pl.col("place").is_not_null() & joins(self._described) & ~ended)
        more = near.filter("going_on").group_by("place", maintain_order=True).agg(pl.col("text").str.strip_chars())
        self._counts["continued"] += int(near["going_on"].sum())
        written = pl.element().filter(pl.element() != "")
        further = pl.concat_list("message", "text").list.eval(written).list.join("\n")
        if more.height:
            joined = records.join(more, on="place", how="left", maintain_order="left")
            grown = pl.when(pl.col("text").is_null()).then("message").otherwise(further.str.head(LONGEST_LINE + 1))
            records = joined.with_columns(message=grown).drop("text")
        ended_last = near.select((pl.col("other") & (pl.col("place") == records.height - 1)).any()).item()
        records = records.drop("place")
        self._held = None if ended_last else records.tail(1)
        left = near.filter(~pl.col("going_on")).select(rejects.columns)
        return self._given(records if ended_last else records.head(-1), left)

    @property
    def first_held(self) -> int | None:
        """The line of the last record, if it may go on."""
        return None if self._held is None else int(self._held["line"][0])

    def flush(self) -> Records | None:
        """The last record."""
        held, self._held = self._held, None
        if held is None:
            return None
        nothing = pl.DataFrame(schema={"line": pl.UInt64, "text": pl.String, "anomalous": pl.Boolean})
        return self._given(held, nothing)

    def _given(self, records: pl.DataFrame, rejects: pl.DataFrame) -> Records:
        """Records of bounded length; those without a message, which no line brought, are rejects."""
        records = records.with_columns(bounded(records["message"], self._counts))
        empty = records["message"] == ""
        if empty.any():
            mute = records.filter(empty).select("line", "anomalous", text="message")
            rejects = pl.concat([rejects, mute.select(rejects.columns)])
            records = records.filter(~empty)
        return Records(records, rejects)


def bounded(text: pl.Series, counts: Counts) -> pl.Series:
    """Texts no longer than a line may be; those cut are counted as `cut_lines`."""
    if int(text.str.len_bytes().max() or 0) <= LONGEST_LINE:  # type: ignore[arg-type]
        return text
    counts["cut_lines"] += int((text.str.len_chars() > LONGEST_LINE).sum())
    return text.str.head(LONGEST_LINE)
