"""Labels of sessions or of lines from a CSV file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection, LabelFileSection
from logllm.counting import plural
from logllm.errors import DataError
from logllm.logs.archives import FAULTS, Counted, unpack
from logllm.logs.tally import shortened
from logllm.sessions.sessionizer import base_name

_SHOWN = 3

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
_FAULTY_ALONE = (
    "; if only faulty sessions are listed, list normal ones too, or label lines (line,label) or"
    " times (from,to,label), where all that is not listed is normal"
)
_DEFAULTS = (LabelFileSection().normal, FormatSection.model_fields["normal"].default)
"""What means normal where nobody says so."""


class Labelled(NamedTuple):
    """Sessions with their labels."""

    sessions: pl.DataFrame
    """The sessions, `anomalous` from the file; null where it has no label."""
    unused: int
    """Labels for sessions that do not occur."""


def read_labels(path: Path, settings: LabelFileSection) -> pl.DataFrame:
    """Labels of a CSV file as a frame, each session or line once.

    Returns:
        `anomalous` (bool), and what it is said of: `name` (str) of a session, `line` (u64), or
        `from` and `to` (str) of an interval.

    Raises:
        DataError: the file cannot be read or has other columns; a label is of a third kind, or none
            means normal; a line's number is no number; or one session or line has two labels.
    """
    table = _read(path)
    columns = table.columns
    pairs = ((settings.begin, settings.end), _ALSO)
    span = next((pair for pair in pairs if set(pair) <= set(columns)), None)
    if span is not None and settings.session not in columns:
        begin, end = span
        named = table.rename({begin: "from", end: "to"})
        return _of_intervals(named, settings, path=path)

    # A column of sessions comes before one of lines: a session's label may have a line beside it.
    of_lines = settings.line in columns and settings.session not in columns
    by = settings.line if of_lines else settings.session
    for column in (by, settings.label):
        if column in columns:
            continue
        raise DataError(
            f"labels {path} has no column {column!r}: its columns are {', '.join(columns[:8])};"
            f" expected are {settings.session} (or {settings.line}, or {settings.begin} and"
            f" {settings.end}) and {settings.label} (label_file in the format's TOML names others)"
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
    judged = table.select("name", anomalous=is_anomalous)
    labels = judged.unique(maintain_order=True)
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
    """Labels of intervals; without a column of labels every interval is of a fault."""
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
        where: where the labels are, for errors.
        some_normal: whether one of them must mean normal.
        of_lines: whether the lines themselves carry them.

    Raises:
        DataError: no label means normal, a label that says that nothing is wrong would be an alarm,
            or nearly all labels differ. The message shows what was read as what.
    """
    alarms = {label: count for label, count in counts.items() if label not in normal}
    if not alarms:
        return
    reading = f"{where}: {_listed(alarms)} would be read as anomalous"
    remedy = f"normal are {', '.join(filter(None, normal))}; say --normal LABEL"
    if some_normal and len(alarms) == len(counts):
        elsewhere = "" if of_lines else _FAULTY_ALONE
        raise DataError(f"{reading}, and none means normal: {remedy}{elsewhere}")
    # A person who has said what is normal has seen the labels.
    if tuple(normal) not in _DEFAULTS:
        return
    quiet = [label for label in alarms if label.strip().lower() in _NO_ALARM]
    if quiet:
        listed = _listed({label: alarms[label] for label in quiet})
        raise DataError(f"{where}: {listed} would be read as anomalous: {remedy}")
    # Names of people or numbers of tickets are labels of no kind: nearly each is another one.
    nearly_all_differ = 2 * len(alarms) > sum(counts.values())
    if len(alarms) > _MANY and nearly_all_differ:
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
        reason = getattr(exc, "strerror", None) or exc
        raise DataError(f"labels {path} cannot be read: {reason}") from exc
    except pl.exceptions.PolarsError as exc:
        summary = str(exc).splitlines()[0]
        raise DataError(f"labels {path} is not a CSV file with a header: {summary}") from exc
    # Excel writes a mark before the first column's name.
    return table.rename(lambda column: column.strip().removeprefix("\ufeff"))


def _numbered(labels: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Labels of lines, in the order of their numbers.

    A file without any says that all lines are normal.
    """
    # What is no number becomes null, and no line has the number zero.
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
    labelled = named.with_columns(anomalous="label")
    return Labelled(labelled.select(sessions.columns), unused)
