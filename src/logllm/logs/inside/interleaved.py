"""Inner lines of several streams that write at the same time.

A further line of a record joins the record of its own stream.
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
        of_no_record = ~begins_record & ~joins_one
        rejects = rows.filter(of_no_record & is_first).rename({"message": "text"})
        continued = rows.filter(joins_one & is_first)
        self._counts["continued"] += continued.height
        records = self._joined(rows.filter(begins_record | joins_one))

        # The last record of each stream may go on, unless its stream has been silent for long.
        closed = pl.col("closed") | ~pl.col("latest")
        is_near = pl.col("last") + _FAR >= rows["line"][-1]
        may_go_on = pl.arg_where(~closed & is_near)
        going_on = records.select(may_go_on).to_series()
        ended = int(going_on[0]) if len(going_on) else records.height
        left = records[ended:].with_columns(closed=closed)
        columns = rows.drop("run", "headed", "latest").columns
        held = left.select(columns)
        self._held = held if held.height else None
        return self._given(records[:ended], rejects)

    @property
    def first_held(self) -> int | None:
        """The first line of the records that are held back, if there are any."""
        if self._held is None:
            return None
        return int(self._held["line"].min())  # type: ignore[arg-type]

    def flush(self) -> Records | None:
        """The records that are held back."""
        held, self._held, self._stream = self._held, None, ""
        if held is None:
            return None
        no_rejects = held.clear().rename({"message": "text"})
        return self._given(held, no_rejects)

    def _rows(self, piece: Records) -> pl.DataFrame:
        """Records and rejects in the order of their lines."""
        records, rejects = piece
        # The same columns for both, so that they can be sorted by their lines.
        no, yes = pl.lit(False), pl.lit(True)
        begun = records.with_columns(begins=yes, goes_on=no, other=no, first=yes, closed=no)
        begins_another = begins(rejects["text"], self._described) & ~rejects["further"]
        further = rejects.with_columns(
            begins=no, closed=no, goes_on=pl.col("further"), other=begins_another
        )
        # A reject has no kind, time or keys of its own, and its message is its text.
        no_kind = pl.lit(None, dtype=pl.UInt8)
        no_time = pl.lit(None, dtype=records.schema["time"])
        no_keys = pl.lit(None, dtype=records.schema["keys"])
        text = pl.col("text")
        further = further.with_columns(kind=no_kind, time=no_time, keys=no_keys, message=text)
        columns = ["line", "row", "stream", "begins", "goes_on", "other", "first", "closed"]
        columns += ["time", "keys", "anomalous", "kind", "message"]
        rows = pl.concat([begun.select(columns), further.select(columns)])
        rows = rows.sort("line", "row", maintain_order=True)
        # A line that is none of the outer format is of the stream of the one before it.
        stream = pl.col("stream").forward_fill().fill_null(self._stream)
        rows = rows.with_columns(stream, last=pl.col("line"))
        if rows.height:
            self._stream = rows["stream"][-1]
        return rows

    def _runs(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with `run`, which with `stream` says what belongs together.

        `headed` says whether a record begins the run.
        """
        before = pl.col("last").shift(1).over("stream")
        distance = pl.col("line").cast(pl.Int64) - before.cast(pl.Int64)
        far = (distance > _FAR).fill_null(True)
        # What begins another record ends the one before it, though it is none; and a record that
        # was held back for another stream's sake may have been ended before.
        ended = pl.col("closed").shift(1, fill_value=False).over("stream")
        apart = pl.col("begins") | pl.col("other") | far | ended
        rows = rows.with_columns(run=apart.cum_sum().over("stream"))
        own = ("stream", "run")
        headed = pl.col("begins").first().over(own)
        kind = pl.col("kind").first().over(own)
        last = pl.col("last").max().over(own)
        latest = pl.col("run") == pl.col("run").max().over("stream")
        rows = rows.with_columns(headed=headed, kind=kind, last=last, latest=latest)
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
        given = short.select("line", "time", "keys", "message", "anomalous")
        return Records(given, rejects.select("line", "text", "anomalous"))
