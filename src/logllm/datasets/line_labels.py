"""Labels by line number, given to the records of one file as these are read."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from logllm.errors import DataError
from logllm.logs.reader import Reader


class LineLabels:
    """Labels by line number, given to the records of a log of one file.

    A label belongs to the record of its line. On a further line of a record
    (`FormatSection.continuation`, `partial`) it belongs to the record that began last; on a line
    that did not parse it belongs to none. A record is anomalous where one of its labels says so;
    one without labels is normal.
    """

    def __init__(self, labels: pl.DataFrame) -> None:
        """Take labels as `read_labels` gives them: `line`, in order, and `anomalous`."""
        self.counts = {"labels_beyond": 0, "labels_joined": 0, "rejected_alerts": 0}
        """Labels of lines that the log does not have, of lines that go on a record, and of lines
        that did not parse but are anomalous."""
        self._labels = labels
        self._given = labels.height
        self._rejects = pl.Series("line", [], dtype=pl.UInt64)

    def given(self, batches: Iterable[pl.DataFrame], reader: Reader) -> Iterator[pl.DataFrame]:
        """The reader's records with these labels in place of their own.

        One frame is held back: the lines that go on a record may lie in the next batch.
        """
        previous: pl.DataFrame | None = None
        for records in batches:
            self._rejects = self._rejects.append(reader.rejects)
            if not records.height:
                continue
            if previous is not None:
                first_line = int(records["line"].min())  # type: ignore[arg-type]
                yield self._labelled(previous, before=first_line)
            previous = records
        if previous is not None:
            end = reader.tally.counts["lines"] + 1
            yield self._labelled(previous, before=end)
        self.counts["labels_beyond"] += self._labels.height

    def check(self, source: Path | None) -> None:
        """Whether one label at least is of a line of the log.

        Raises:
            DataError: all are of lines that it does not have.
        """
        if self._given and self.counts["labels_beyond"] == self._given:
            raise DataError(
                f"labels {source} has none for any line of the log: it names lines like"
                f" {self._labels['line'][0]:,}; a label's line counts from 1 in this one file"
            )

    def _labelled(self, records: pl.DataFrame, *, before: int) -> pl.DataFrame:
        """Records with the labels up to where the next ones begin."""
        due = pl.col("line") < before
        labels = self._labels.filter(due)
        self._labels = self._labels.filter(~due)
        is_due = self._rejects < before
        rejects = self._rejects.filter(is_due).to_frame()
        self._rejects = self._rejects.filter(~is_due)

        # Labels of lines that did not parse are of no record.
        lost = labels.join(rejects, on="line", how="semi")
        self.counts["rejected_alerts"] += int(lost["anomalous"].sum())
        read = labels.join(rejects, on="line", how="anti", maintain_order="left")

        # `join_asof` gives each label the last record that begins at its line or before it: that
        # which the line goes on.
        first = records.select("line", record="line").sort("line")
        placed = read.set_sorted("line").join_asof(first, on="line")
        joined = placed["line"] != placed["record"]
        self.counts["labels_joined"] += int(joined.sum())
        mark = pl.col("anomalous").max()
        marks = placed.group_by(line="record").agg(mark=mark)
        marked = records.join(marks, on="line", how="left", maintain_order="left")
        return marked.with_columns(anomalous=pl.col("mark").fill_null(False)).drop("mark")
