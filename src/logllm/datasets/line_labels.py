"""Labels of single lines, given to the records of a log as they are read."""

from collections.abc import Iterable, Iterator

import polars as pl

from logllm.logs.reader import Reader


class LineLabels:
    """Labels by line number on their way into a log of one file.

    A label belongs to the record of its line. On a line that goes on a record (`FormatSection.continuation`, `partial`) it belongs to the record
    that began last, on one that did not parse to none. A record is anomalous where one of its labels says so; one without labels is normal.
    """

    def __init__(self, labels: pl.DataFrame) -> None:
        """Take labels as `read_labels` gives them: `line`, in order, and `anomalous`."""
        self.counts = {"labels_beyond": 0, "labels_joined": 0, "rejected_alerts": 0}
        """Labels of lines that the log does not have, of lines that go on a record, and of lines that did not parse but are anomalous."""
        self._labels = labels
        self._rejects = pl.Series("line", [], dtype=pl.UInt64)

    def given(self, batches: Iterable[pl.DataFrame], reader: Reader) -> Iterator[pl.DataFrame]:
        """The reader's records with these labels in place of their own.

        One frame is held back: the lines that go on a record may lie in the next batch.
        """
        held: pl.DataFrame | None = None
        for records in batches:
            self._rejects = self._rejects.append(reader.rejects)
            if records.height:
                if held is not None:
                    yield self._labelled(held, before=records["line"][0])
                held = records
        if held is not None:
            yield self._labelled(held, before=reader.tally.counts["lines"] + 1)
        self.counts["labels_beyond"] += self._labels.height

    def _labelled(self, records: pl.DataFrame, *, before: int) -> pl.DataFrame:
        """Records with the labels up to where the next ones begin."""
        due = pl.col("line") < before
        labels = self._labels.filter(due)
        rejects = self._rejects.filter(self._rejects < before).to_frame()
        self._labels, self._rejects = self._labels.filter(~due), self._rejects.filter(self._rejects >= before)
        lost = labels.join(rejects, on="line", how="semi")
        self.counts["rejected_alerts"] += int(lost["anomalous"].sum())
        first = records.select("line", record="line").set_sorted("line")
        found = labels.join(rejects, on="line", how="anti", maintain_order="left").set_sorted("line").join_asof(first, on="line")
        self.counts["labels_joined"] += int((found["line"] != found["record"]).sum())
        marks = found.group_by(line="record").agg(pl.col("anomalous").max().alias("mark"))
        marked = records.join(marks, on="line", how="left", maintain_order="left")
        return marked.with_columns(anomalous=pl.col("mark").fill_null(False)).drop("mark")
