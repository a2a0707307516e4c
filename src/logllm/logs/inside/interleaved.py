"""Inner lines of several streams that write at the same time.

What goes on with a record joins it, each in its stream.
"""

import polars as pl

from logllm.config.format import FormatSection
from logllm.logs.inside.other_kinds import begins, joins
from logllm.logs.joining import bounded
from logllm.logs.lines import LONGEST_LINE, Counts
from logllm.logs.records import Records

_FAR = 1000  # lines of other streams that may lie between two lines of a record


class Interleaved:
    """Inner lines that begin no record join the record before them in their stream."""

    def __init__(self, described: FormatSection, counts: Counts) -> None:
        """Nothing held back.

        Args:
            described: The inner format, which says what a line must match to join.
            counts: Where joined lines (`continued`) and records that grew too long (`cut_lines`)
                are counted.
        """
        self._described = described
        self._counts = counts
        self._held: pl.DataFrame | None = None
        self._stream = ""

    def push(self, piece: Records) -> Records:
        """Records with the messages of their further lines, and the rejects that join none.

        What may go on is held back, and the records after it.
        """
        rows = self._rows(piece)
        if self._held is not None:
            rows = pl.concat([self._held, rows])
        if not rows.height:
            return self._given(piece.records, piece.rejects)
        rows = self._runs(rows)
        begins_record, is_first = pl.col("begins"), pl.col("first")
        joins_one = ~begins_record & pl.col("goes_on") & pl.col("headed")
        rejects = rows.filter(~begins_record & ~joins_one & is_first)
        self._counts["continued"] += rows.filter(joins_one & is_first).height
        records = self._joined(rows.filter(begins_record | joins_one))

        # The last record of each stream may go on, unless its stream has been silent for long.
        closed = pl.col("closed") | ~pl.col("latest")
        may_go_on = ~closed & (pl.col("last") + _FAR >= rows["line"][-1])
        going_on = records.select(pl.arg_where(may_go_on)).to_series()
        ended = int(going_on[0]) if len(going_on) else records.height
        left = records[ended:].with_columns(closed=closed)
        held = left.select(rows.drop("run", "headed", "latest").columns)
        self._held = held if held.height else None
        return self._given(records[:ended], rejects.rename({"message": "text"}))

    @property
    def first_held(self) -> int | None:
        """The first line of the records that are held back, if there are any."""
        return None if self._held is None else int(self._held["line"].min())  # type: ignore[arg-type]

    def flush(self) -> Records | None:
        """The records that are held back."""
        held, self._held, self._stream = self._held, None, ""
        return None if held is None else self._given(held, held.clear().rename({"message": "text"}))

    def _rows(self, piece: Records) -> pl.DataFrame:
        """Records and rejects in the order of their lines."""
        records, rejects = piece
        # The same columns for both, so that they can be sorted by their lines.
        no, yes = pl.lit(False), pl.lit(True)
        begun = records.with_columns(begins=yes, goes_on=no, other=no, first=yes, closed=no)
        begins_another = begins(rejects["text"], self._described) & ~rejects["further"]
        further = rejects.with_columns(
            begins=no,
            closed=no,
            goes_on=pl.col("further"),
            other=begins_another,
            kind=pl.lit(None, dtype=pl.UInt8),
            time=pl.lit(None, dtype=records.schema["time"]),
            keys=pl.lit(None, dtype=records.schema["keys"]),
            message=pl.col("text"),
        )
        columns = ["line", "row", "stream", "begins", "goes_on", "other", "first", "closed"]
        columns += ["time", "keys", "anomalous", "kind", "message"]
        rows = pl.concat([begun.select(columns), further.select(columns)])
        rows = rows.sort("line", "row", maintain_order=True)
        rows = rows.with_columns(last=pl.col("line"))
        # A line that is none of the outer format is of the stream of the one before it.
        rows = rows.with_columns(pl.col("stream").forward_fill().fill_null(self._stream))
        self._stream = rows["stream"][-1] if rows.height else self._stream
        return rows

    def _runs(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with `run`, which with `stream` says what belongs together, and whether a record heads it."""
        before = pl.col("last").shift(1).over("stream")
        distance = pl.col("line").cast(pl.Int64) - before.cast(pl.Int64)
        far = (distance > _FAR).fill_null(True)
        # What begins another record ends the one before it, though it is none; and a record that
        # was held back for another stream's sake may have been ended before.
        ended = pl.col("closed").shift(1, fill_value=False).over("stream")
        apart = pl.col("begins") | pl.col("other") | far | ended
        rows = rows.with_columns(run=apart.cum_sum().over("stream"))
        own = ("stream", "run")
        rows = rows.with_columns(
            headed=pl.col("begins").first().over(own),
            kind=pl.col("kind").first().over(own),
            last=pl.col("last").max().over(own),
            latest=pl.col("run") == pl.col("run").max().over("stream"),
        )
        joins_by_text = joins(self._described, of="message")
        return rows.with_columns(goes_on=pl.col("goes_on") | joins_by_text)

    def _joined(self, rows: pl.DataFrame) -> pl.DataFrame:
        """A record a run, with the texts of its rows."""
        if rows["begins"].all():
            return rows
        # A character more than a line may have shows that the record grew too long.
        text = pl.col("message").str.strip_chars()
        whole = text.filter(text != "").str.join("\n")
        texts = whole.str.head(LONGEST_LINE + 1)
        others = pl.exclude("message", "stream", "run").first()
        by_run = rows.group_by("stream", "run", maintain_order=True)
        return by_run.agg(others, texts.alias("message"))

    def _given(self, records: pl.DataFrame, rejects: pl.DataFrame) -> Records:
        """Records and rejects as they are everywhere else."""
        short = records.with_columns(bounded(records["message"], self._counts))
        return Records(
            short.select("line", "time", "keys", "message", "anomalous"),
            rejects.select("line", "text", "anomalous"),
        )
