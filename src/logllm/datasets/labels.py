"""Labels of sessions or of lines from a CSV file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection, LabelFileSection
from logllm.counting import plural
from logllm.errors import DataError
from logllm.logs.archives import FAULTS, Counted, unpack
from logllm.logs.reader import Reader
from logllm.logs.tally import shortened
from logllm.logs.times import parse_times
from logllm.sessions.sessionizer import base_name

_SHOWN = 3
_FORMS = ("iso", "epoch", "epoch_ms")
_MINUTES = r"^(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)(\s|$|[Zz+-])"

_ALSO = ("start", "end")
"""Columns of an interval, as others call them."""
_MANY = 20
"""Labels beyond which a column is none of labels, where nearly every one is another."""
_NO_ALARM = {
    *("", "-", "0", "0.0", "false", "f", "no", "n", "none", "null", "nan", "na", "n/a"),
    *("normal", "nominal", "regular", "benign", "ok", "okay", "good", "healthy"),
    *("success", "pass", "passed", "negative", "unlabeled", "unlabelled", "unknown"),
    *("no anomaly", "not anomalous", "non-anomalous"),
}
"""Labels by which people say that nothing is wrong or that they do not know."""
_OR_NAMED = ", or where all are anomalous name them in a TOML format's label_file.anomalous"
_DEFAULTS = (LabelFileSection().normal, FormatSection.model_fields["normal"].default)
"""What means normal where nobody says so."""


class Labelled(NamedTuple):
    """Sessions with their labels."""

    sessions: pl.DataFrame
    """The sessions, `anomalous` from the file; null where it has no label."""
    unused: int
    """Labels for sessions that do not occur."""


def read_labels(path: Path, settings: LabelFileSection) -> pl.DataFrame:
    """Labels as a frame `name` (str, the session's), `line` (u64), or `from` and `to` (str), and `anomalous` (bool).

    Each session or line is there once.

    Raises:
        DataError: the file cannot be read, has other columns, a label of a third kind, none that means normal for any session, no number
            where a line's should be, or two labels for one session or line.
    """
    table = _read(path)
    columns = table.columns
    pairs = ((settings.begin, settings.end), _ALSO)
    span = next((pair for pair in pairs if set(pair) <= set(columns)), None)
    if span is not None and settings.session not in columns:
        named = table.rename(dict(zip(span, ("from", "to"), strict=True)))
        return _of_intervals(named, settings, path=path)

    # A column of sessions comes before one of lines: a session's label may have a line beside it.
    of_lines = settings.line in columns and settings.session not in columns
    by = settings.line if of_lines else settings.session
    wanted = (by, settings.label)
    if missing := [column for column in wanted if column not in table.columns]:
        raise DataError(
            f"labels {path} has no column {missing[0]!r}: its columns are"
            f" {', '.join(table.columns[:8])}; expected are {settings.session} (or {settings.line},"
            f" or {settings.begin} and {settings.end}) and {settings.label} (label_file in the"
            " format's TOML names others)"
        )
    name = pl.col(by).str.strip_chars()
    label = pl.col(settings.label).str.strip_chars()
    table = table.select(name=name, label=label).drop_nulls()
    _check_kinds(table, settings, path=path)
    if not settings.anomalous and table.height:
        counts = Counter(table["label"].to_list())
        check_words(counts, settings.normal, where=f"labels {path}", some_normal=not of_lines)

    # The same label twice is one; two kinds of label for one thing cannot both be right.
    is_anomalous = ~pl.col("label").is_in(list(settings.normal))
    labels = table.select("name", anomalous=is_anomalous).unique(maintain_order=True)
    twice = labels.filter(pl.col("name").is_duplicated())
    if twice.height:
        what = "line" if of_lines else "session"
        raise DataError(f"labels {path} gives {what} {twice['name'][0]} both kinds of label")
    if of_lines:
        return _numbered(labels, path)
    if not labels.height:
        raise DataError(f"labels {path} holds no labels")
    return labels


def _of_intervals(table: pl.DataFrame, settings: LabelFileSection, *, path: Path) -> pl.DataFrame:
    """Labels of intervals; without a column of labels each is of a fault."""
    label = pl.lit("fault")
    if settings.label in table.columns:
        label = pl.col(settings.label).str.strip_chars()
    table = table.select("from", "to", label=label).drop_nulls("label")
    _check_kinds(table, settings, path=path)
    if not settings.anomalous and table.height:
        counts = Counter(table["label"].to_list())
        check_words(counts, settings.normal, where=f"labels {path}", some_normal=False)
    # What is in an interval of a normal label was looked at, and is normal.
    is_anomalous = ~pl.col("label").is_in(list(settings.normal))
    return table.select("from", "to", anomalous=is_anomalous)


def _check_kinds(table: pl.DataFrame, settings: LabelFileSection, *, path: Path) -> None:
    """Whether labels are of two kinds, where both are named."""
    if not settings.anomalous:
        return
    # With both kinds named a third one is a mistake of spelling, and would else be anomalous.
    two_kinds = [*settings.normal, *settings.anomalous]
    others = table.filter(~pl.col("label").is_in(two_kinds))
    third = others["label"].unique(maintain_order=True)
    if len(third):
        known = ", ".join(two_kinds)
        raise DataError(
            f"labels {path} holds labels other than {known}: {', '.join(third.head(_SHOWN))}"
        )


def check_words(
    counts: Mapping[str, int],
    normal: Sequence[str],
    *,
    where: str,
    some_normal: bool = True,
    of_lines: bool = False,
) -> None:
    """Whether labels are read as the person who gave them means them.

    Args:
        counts: how often each label is there.
        normal: the labels that mean normal.
        where: they are.
        some_normal: one of them must mean normal.
        of_lines: the lines themselves carry them.

    Raises:
        DataError: none means normal, one that says that nothing is wrong would be an alarm, or
            nearly each is another one. The message shows what was read as what.
    """
    alarms = {label: count for label, count in counts.items() if label not in normal}
    if not alarms:
        return
    reading = f"{where}: {_listed(alarms)} would be read as anomalous"
    remedy = f"normal are {', '.join(filter(None, normal))}; say --normal LABEL"
    if some_normal and len(alarms) == len(counts):
        raise DataError(
            f"{reading}, and none means normal: {remedy}{'' if of_lines else _OR_NAMED}"
        )
    # A person who has reading what is normal has seen the labels.
    if tuple(normal) not in _DEFAULTS:
        return
    quiet = [label for label in alarms if label.strip().lower() in _NO_ALARM]
    if quiet:
        listed = _listed({label: alarms[label] for label in quiet})
        raise DataError(f"{where}: {listed} would be read as anomalous: {remedy}")
    # Names of people or numbers of tickets are labels of no kind: nearly each is another one.
    if len(alarms) > _MANY and 2 * len(alarms) > sum(counts.values()):
        raise DataError(
            f"{reading}, nearly each label is another one: name the column that holds labels, or"
            f" {remedy}"
        )


def _listed(counts: Mapping[str, int]) -> str:
    """The most frequent labels with how often they are there.

    >>> _listed({"down": 2, "up": 1200})
    "'up' (1,200 times), 'down' (2 times)"
    """
    # The most frequent first; of equals the one that comes first in the alphabet, each time.
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown: list[str] = []
    for label, count in most[:_SHOWN]:
        times = "time" if count == 1 else "times"
        shown.append(f"{shortened(label)!r} ({count:,} {times})")
    more = f" and {len(most) - _SHOWN:,} more" if len(most) > _SHOWN else ""
    return ", ".join(shown) + more


def by_line(labels: pl.DataFrame) -> bool:
    """Whether labels are of lines."""
    return "line" in labels.columns


def by_interval(labels: pl.DataFrame) -> bool:
    """Whether labels are of intervals of time."""
    return "from" in labels.columns


def _read(path: Path) -> pl.DataFrame:
    """All columns of a CSV file, as text."""
    try:
        with path.open("rb") as file:
            plain, _ = unpack(Counted(file))
            table = pl.read_csv(plain.read(), infer_schema=False, encoding="utf8-lossy")
    except FAULTS as exc:
        raise DataError(
            f"labels {path} cannot be read: {getattr(exc, 'strerror', None) or exc}"
        ) from exc
    except pl.exceptions.PolarsError as exc:
        raise DataError(
            f"labels {path} is not a CSV file with a header: {str(exc).splitlines()[0]}"
        ) from exc
    # Excel writes a mark before the first column's name.
    return table.rename(lambda column: column.strip().removeprefix("\ufeff"))


def _numbered(labels: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Labels of lines, in their order; a file without any says that all lines are normal."""
    # What is no number becomes null, and zero is none of a line.
    number = pl.col("name").cast(pl.UInt64, strict=False)
    numbered = labels.select("name", "anomalous", line=number)
    is_number = (pl.col("line") > 0).fill_null(False)
    wrong = numbered.filter(is_number.not_())
    if wrong.height:
        raise DataError(
            f"labels {path} names line {wrong['name'][0]!r}: lines are whole numbers from 1"
        )
    return numbered.select("line", "anomalous").sort("line")


def with_labels(sessions: pl.DataFrame, labels: pl.DataFrame, *, source: Path) -> Labelled:
    """Sessions with the file's labels in place of their lines' own.

    Raises:
        DataError: not one session has a label.
    """
    # A long session's pieces have one name, and so one label.
    by_name = labels.rename({"anomalous": "label"})
    named = sessions.with_columns(name=base_name())
    named = named.join(by_name, on="name", how="left", maintain_order="left")
    if named["label"].null_count() == named.height:
        theirs = named["name"][0] if named.height else "(none)"
        raise DataError(
            f"labels {source} has none for any of the {plural(named.height, 'session')}: "
            f"it names sessions like {labels['name'][0]}, the log's are like {theirs}"
        )
    unused = labels.join(named, on="name", how="anti").height
    return Labelled(named.with_columns(anomalous="label").select(sessions.columns), unused)


def intervals(
    table: pl.DataFrame, described: FormatSection, *, source: Path, today: date
) -> pl.DataFrame:
    """Intervals of a table of labels.

    `from`, `to` (UTC), `written` (as a person reads it), `anomalous`.

    Times are written as ISO 8601 (seconds may be left out), in seconds or milliseconds since 1970,
    or as in the log. A time without a zone is UTC, as it is in a log.

    Args:
        table: text columns `from`, `to`, and `anomalous` (bool).
        described: the log's format.
        source: the file, for errors.
        today: gives times without a year theirs.

    Raises:
        DataError: no interval, a time that cannot be read, or an interval that ends before it
            begins.
    """
    forms = (*_FORMS, *described.time_format)
    if not table.height:
        raise DataError(f"labels {source} holds no interval")
    ends: dict[str, pl.Series] = {}
    for name in ("from", "to"):
        written = table[name].str.strip_chars().fill_null("")
        # `2024-07-03 09:00` has no seconds, which ISO 8601 lets one leave out and `iso` does not.
        with_seconds = written.str.replace(_MINUTES, "${1}:00${2}")
        ends[name] = parse_times(with_seconds, forms, today=today)
        unread = written.filter(ends[name].is_null())
        if len(unread):
            raise DataError(
                f"labels {source}: {name} {unread[0]!r} is no time that can be read: write it as "
                "2024-07-03 09:00:00+02:00, or as in the log"
            )
    as_written = pl.format("{} to {}", "from", "to")
    read = table.select(ends["from"], ends["to"], "anomalous", written=as_written)
    backward = read.filter(pl.col("to") < pl.col("from"))
    if backward.height:
        raise DataError(f"labels {source}: {backward['written'][0]} ends before it begins")
    return read


def without_zone(table: pl.DataFrame) -> bool:
    """Whether some time of an interval names no zone, so that UTC is taken.

    >>> without_zone(pl.DataFrame({"from": ["2024-07-03 09:00"], "to": ["2024-07-03T09:10Z"]}))
    True
    """
    # `09:00+02:00`, `09:00Z` and `09:00 CET` name a zone.
    clock = r"\d\d:\d\d"
    named = r"(?:[A-Za-z]{1,5}|[+-]\d\d:?\d?\d?)\s*$"
    for name in ("from", "to"):
        has_time = table[name].str.contains(clock)
        has_zone = table[name].str.contains(named)
        if (has_time & ~has_zone).any():
            return True
    return False


def with_interval_labels(
    sessions: pl.DataFrame, labels: pl.DataFrame, *, source: Path
) -> pl.DataFrame:
    """Sessions, anomalous where they overlap an interval of an anomalous label, else normal.

    A session reaches from its first record to its last, an interval from its first moment to its
    last, both included. A session without times has no label.

    Raises:
        DataError: the log has no times, or an interval holds nothing of any session.
    """
    row = pl.int_range(pl.len()).alias("row")
    timed = sessions.select(row, "start", "end").drop_nulls("start")
    if not timed.height:
        raise DataError(
            f"labels {source} are by time, and the log has no times: label sessions, or lines where"
            " it is one file"
        )
    # Both reach from a first moment to a last one: they overlap if each begins before the other
    # ends.
    numbered = labels.with_row_index("interval")
    begins_before = pl.col("start") <= pl.col("to")
    ends_after = pl.col("end") >= pl.col("from")
    touching = numbered.join_where(timed, begins_before, ends_after)

    # An interval that holds nothing is nearly always in another zone than the log.
    idle = numbered.join(touching, on="interval", how="anti")
    if idle.height:
        shown = ", ".join(idle["written"].head(_SHOWN))
        more = f" and {idle.height - _SHOWN} more" if idle.height > _SHOWN else ""
        holds = "holds" if idle.height == 1 else "hold"
        first, last = _shown(timed["start"].min()), _shown(timed["end"].max())
        raise DataError(
            f"labels {source}: {plural(idle.height, 'interval')} of {labels.height:,} {holds} "
            f"no session ({shown}{more}): the log reaches from {first} to {last} UTC, "
            "and times without a zone are read as UTC: add the zone, such as +02:00"
        )
    hit = touching.filter("anomalous")["row"].unique()
    inside = pl.int_range(pl.len()).is_in(hit.implode())
    label = pl.when(pl.col("start").is_not_null()).then(inside)
    return sessions.with_columns(anomalous=label)


def _shown(time: object) -> str:
    """A time for people."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if isinstance(time, datetime) else "?"


class LineLabels:
    """Labels by line number on their way into a log of one file.

    A label belongs to the record of its line. On a line that goes on a record
    (`FormatSection.continuation`, `partial`) it belongs to the record that began last, on one that
    did not parse to none. A record is anomalous where one of its labels says so; one without labels
    is normal.
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
            if records.height:
                if previous is not None:
                    yield self._labelled(previous, before=int(records["line"].min()))  # type: ignore[arg-type]
                previous = records
        if previous is not None:
            yield self._labelled(previous, before=reader.tally.counts["lines"] + 1)
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
        self.counts["labels_joined"] += int((placed["line"] != placed["record"]).sum())
        by_record = placed.group_by(line="record")
        marks = by_record.agg(pl.col("anomalous").max().alias("mark"))
        marked = records.join(marks, on="line", how="left", maintain_order="left")
        return marked.with_columns(anomalous=pl.col("mark").fill_null(False)).drop("mark")
