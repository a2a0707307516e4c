"""Several lines that are one record: blocks, lines cut in pieces, and further lines."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import polars as pl

from logllm.config.format import FormatSection, PartialSection
from logllm.logs.inside.other_kinds import begins, joins
from logllm.logs.lines import LONGEST_LINE, Counts, Lines, lines_of
from logllm.logs.records import Records
from logllm.logs.structured.csv_rows import CsvRows, headed
from logllm.logs.structured.json_lines import json_records
from logllm.logs.structured.w3c_rows import with_columns

Piece = TypeVar("Piece")

_REJECTS = {"line": pl.UInt64, "text": pl.String, "anomalous": pl.Boolean}
_FAR = 1000  # lines of other streams that may lie between two pieces of a line
_MOST_PIECES = 1024  # of a line; what never ends begins anew after so many


class Joining(Protocol[Piece]):
    """Joins what comes in pieces; what may go on is held back."""

    def push(self, piece: Piece) -> Piece:
        """What was held back and the piece, its lines joined.

        Its last record is held back where that may go on.
        """

    def flush(self) -> Piece | None:
        """What is held back, if anything is."""


class JoiningRecords(Joining[Records], Protocol):
    """Joins further lines to records, and says from which line on it holds any back."""

    @property
    def first_held(self) -> int | None:
        """The first line of what is held back; none: nothing is."""


def in_pieces(described: FormatSection) -> bool:
    """Whether several lines may be one before they are parsed: rows of CSV, blocks, cut lines."""
    return described.kind in ("csv", "export") or described.partial is not None


def made_whole(
    batches: Iterable[Lines], described: FormatSection, *, counts: Counts
) -> Iterator[Lines]:
    """Lines as they were written.

    Rows of CSV, blocks, and lines that a container runtime cut in pieces are whole again.

    Args:
        batches: lines as they lie in files.
        described: their format, which says what may be in pieces.
        counts: where joined lines are counted (`continued`, and `lines`, of which the frames hold
            fewer), and `cut_lines`.
    """
    whole = iter(batches)
    if described.kind == "csv":
        whole = _joined(lambda: CsvRows(described.separator, counts), whole)
        if not described.columns:
            whole = headed(whole, described.separator, counts=counts)
    if described.kind == "w3c":
        whole = with_columns(whole, described, counts=counts)
    if described.kind == "export":
        whole = _joined(lambda: Blocks(counts), whole)
    partial = described.partial
    if partial is not None:
        whole = _joined(lambda: Partials(partial, counts), whole)
    if described.records is not None:
        path = described.records.split(".")
        whole = (_unpacked(lines, path, counts=counts) for lines in whole)
    return whole


def _unpacked(lines: Lines, path: Sequence[str], *, counts: Counts) -> Lines:
    """Records in lists as lines of their own, which keep the number of the line that held them.

    A line that holds no records stays as it is. Python takes the lists apart: Polars would have to
    know the fields of their objects.
    """
    texts: list[list[str]] = []
    for text in lines.frame["text"]:
        records = json_records(text, path)
        texts.append([text] if records is None else records)
    in_lists = pl.Series(texts, dtype=pl.List(pl.String))
    rows = lines.frame.with_columns(text=in_lists).explode("text")
    counts["lines"] += lines.frame.height - rows.height  # as many as the files have
    return replace(lines, frame=rows)


def whole_rows(text: pl.Series, described: FormatSection) -> tuple[pl.Series, FormatSection]:
    """Some lines made whole (`made_whole`), and their format with the columns that they name.

    Of rows whose columns change only those with the first columns are given; of lines that are
    whole already those that hold something.
    """
    named_rows = described.kind in ("csv", "w3c", "export")
    may_be_parts = described.records is not None or described.partial is not None
    if not named_rows and not may_be_parts:
        # An empty line is no sign of another format.
        return text.filter(text.str.contains(r"\S")), described
    batches = list(made_whole([lines_of(text)], described, counts=Counter()))
    columns = next((batch.columns for batch in batches if batch.columns), ())
    texts: list[pl.Series] = []
    for batch in batches:
        if batch.columns == columns or described.kind != "w3c":
            texts.append(batch.frame["text"])
    named = {"columns": columns} if columns else {}
    return pl.concat([text.clear(), *texts]), described.model_copy(update=named)


def _joined(new: Callable[[], Joining[pl.DataFrame]], batches: Iterable[Lines]) -> Iterator[Lines]:
    """Lines joined within each file."""
    pieces = ((lines, lines.frame) for lines in batches)
    for lines, frame in by_file(new, pieces):
        yield replace(lines, frame=frame)


def by_file(
    new: Callable[[], Joining[Piece]], pieces: Iterable[tuple[Lines, Piece]]
) -> Iterator[tuple[Lines, Piece]]:
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
            counts: Where joined lines (`continued`, and `lines`, of which the frames hold fewer)
                and `cut_lines` are counted.
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
        # Rows are numbered by the lines that begin one: what was held back began before.
        held = piece.clear() if self._held is None else self._held
        start = pl.concat([pl.repeat(True, held.height, eager=True), ~goes_on])
        lines = pl.concat([held, piece])
        row = start.cum_sum().alias("row")
        first, text = pl.col("line").first(), pl.col("text").str.join("\n")
        rows = lines.group_by(row, maintain_order=True).agg(first, text).drop("row")
        self._count(lines.height - rows.height)

        # The last block is still open; a character too many shows later that it was too long.
        if not self._inside:
            self._held = None
            return self._whole(rows)
        bounded_text = pl.col("text").str.head(LONGEST_LINE + 1)
        self._held = rows.tail(1).with_columns(bounded_text)
        return self._whole(rows.head(-1))

    def flush(self) -> pl.DataFrame | None:
        """The block that never ended."""
        held, self._held, self._inside = self._held, None, False
        return None if held is None else self._whole(held)

    def _goes_on(self, text: pl.Series) -> pl.Series:
        """Which lines go on with the line before them.

        What it says of the next piece's first line is remembered.
        """
        open_after = text != ""
        goes_on = open_after.shift(1, fill_value=self._inside)
        self._inside = bool(open_after[-1])
        return goes_on

    def _whole(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Blocks without empty ones, none too long."""
        written = rows.filter(pl.col("text") != "")
        self._count(rows.height - written.height)
        return written.with_columns(bounded(written["text"], self._counts))

    def _count(self, joined: int) -> None:
        """Count lines that joined another one."""
        self._counts["continued"] += joined
        self._counts["lines"] += joined


class Partials:
    """Lines that were cut in pieces, whole again, each where its first piece stands."""

    def __init__(self, section: PartialSection, counts: Counts) -> None:
        """Nothing held back.

        Args:
            section: Says which lines are pieces.
            counts: Where joined lines (`continued`, and `lines`, of which the frames hold fewer)
                and lines that grew too long (`cut_lines`) are counted.
        """
        self._section = section
        self._counts = counts
        self._held: pl.DataFrame | None = None

    def push(self, piece: pl.DataFrame) -> pl.DataFrame:
        """Whole lines; one that may go on is held back, and all that come after it."""
        if not piece.height:
            return piece
        goes_on = piece["text"].str.contains(self._section.goes_on)
        if self._held is None and not goes_on.any():
            return piece
        lines = piece if self._held is None else pl.concat([self._held, piece])
        pieces = self._pieces(lines)
        rows = self._rows(pieces)
        # The first line of all that may still go on: from it on everything is held back.
        near = pl.col("last") + _FAR >= lines["line"][-1]
        may_go_on = pl.col("goes_on") & near & (pl.col("pieces") < _MOST_PIECES)
        going_on = rows.filter(may_go_on)["line"].min()
        if going_on is None:
            self._held = None
            return self._whole(rows)
        self._held = pieces.filter(pl.col("first") >= going_on).select(piece.columns)
        return self._whole(rows.filter(pl.col("line") < going_on))

    def flush(self) -> pl.DataFrame | None:
        """What is held back, pieces that nothing followed too."""
        held, self._held = self._held, None
        if held is None:
            return None
        rows = self._rows(self._pieces(held))
        return self._whole(rows)

    def _pieces(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Lines with what of each is joined, and `first`, the number of the line they join."""
        groups = lines["text"].str.extract_groups(self._section.pattern).struct.unnest()
        pieces = lines
        for name in ("before", "part", "after", "stream"):
            column = groups[name] if name in groups.columns else pl.lit("")
            pieces = pieces.with_columns(column.alias(name))
        is_piece = pl.col("part").is_not_null()
        goes_on = is_piece & pl.col("text").str.contains(self._section.goes_on)
        pieces = pieces.with_columns(other=~is_piece, goes_on=goes_on)

        # A run is one line's pieces: each goes on with the one before it in its stream, which is
        # not too far away. After so many pieces it begins anew.
        stream = ("stream", "other")
        distance = pl.col("line") - pl.col("line").shift(1)
        goes_on_before = pl.col("goes_on").shift(1, fill_value=False) & (distance <= _FAR)
        begins_run = ~goes_on_before.fill_null(value=False)
        pieces = pieces.with_columns(run=begins_run.cum_sum().over(stream))
        place = pl.int_range(pl.len()).over(*stream, "run")
        pieces = pieces.with_columns(part_of=place // _MOST_PIECES)
        first = pl.col("line").first().over(*stream, "run", "part_of")
        return pieces.with_columns(first=first)

    def _rows(self, pieces: pl.DataFrame) -> pl.DataFrame:
        """Pieces put together, without those that would make a line too long."""
        # A program without line ends would else make one line of a whole log.
        fits = pl.col("part").str.len_chars().cum_sum() <= LONGEST_LINE
        part = pl.col("part").filter(fits).str.join("")
        whole = pl.col("before").first() + part + pl.col("after").first()
        # A line that is alone stays as it is written.
        alone = pl.len() == 1
        text = pl.when(alone).then(pl.col("text").first()).otherwise(whole)
        cut = ~fits.fill_null(value=True).all()
        goes_on, last = pl.col("goes_on").last(), pl.col("line").last()
        by_line = pieces.group_by(line="first", maintain_order=True)
        rows = by_line.agg(text=text, cut=cut, goes_on=goes_on, last=last, pieces=pl.len())
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
            counts: Where joined lines (`continued`) and records that grew too long (`cut_lines`)
                are counted.
        """
        self._described = described
        self._counts = counts
        self._held: pl.DataFrame | None = None

    def push(self, piece: Records) -> Records:
        """Records with the messages of their further lines, and the rejects that join none.

        The last record is held back where it may go on.
        """
        records, rejects = piece
        if self._held is not None:
            records = pl.concat([self._held, records])
        if not records.height:
            return piece
        # Each reject beside the last record that begins before it.
        records = records.with_row_index("place")
        heads = records.select("line", "place", "kind")
        near = rejects.join_asof(heads, on="line", strategy="backward", check_sortedness=False)

        # What begins another record ends the one before it, for all lines up to the next.
        near = near.with_columns(other=begins(near["text"], self._described))
        ended = pl.col("other").cum_max().over("place")
        is_after_one = pl.col("place").is_not_null()
        going_on = is_after_one & joins(self._described) & ~ended
        near = near.with_columns(going_on=going_on)
        by_record = near.filter("going_on").group_by("place", maintain_order=True)
        more = by_record.agg(pl.col("text").str.strip_chars())
        self._counts["continued"] += int(near["going_on"].sum())

        # The message and the lines that go on with it, without the empty ones; a character too many
        # shows that the record grew too long.
        written = pl.element().filter(pl.element() != "")
        texts = pl.concat_list("message", "text").list.eval(written)
        further = texts.list.join("\n").str.head(LONGEST_LINE + 1)
        if more.height:
            joined = records.join(more, on="place", how="left", maintain_order="left")
            nothing_joins = pl.col("text").is_null()
            grown = pl.when(nothing_joins).then("message").otherwise(further)
            records = joined.with_columns(message=grown).drop("text")

        # The last record may go on in the next batch, unless another one has begun after it.
        after_last = pl.col("other") & (pl.col("place") == records.height - 1)
        ended_last = near.select(after_last.any()).item()
        records = records.drop("place")
        self._held = None if ended_last else records.tail(1)
        whole = records if ended_last else records.head(-1)
        left = near.filter(~pl.col("going_on"))
        return self._given(whole, left.select(rejects.columns))

    @property
    def first_held(self) -> int | None:
        """The line of the last record, if it may go on."""
        return None if self._held is None else int(self._held["line"][0])

    def flush(self) -> Records | None:
        """The last record."""
        held, self._held = self._held, None
        if held is None:
            return None
        return self._given(held, pl.DataFrame(schema=_REJECTS))

    def _given(self, records: pl.DataFrame, rejects: pl.DataFrame) -> Records:
        """Records of bounded length; those that still have no message are rejects."""
        records = records.with_columns(bounded(records["message"], self._counts))
        # Such a line was held back in the hope that its message comes.
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
    is_cut = text.str.len_chars() > LONGEST_LINE
    counts["cut_lines"] += int(is_cut.sum())
    return text.str.head(LONGEST_LINE)
