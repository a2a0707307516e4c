"""What a person should know of prepared data before training on it, a sentence each."""

from collections.abc import Mapping

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.counting import agreeing, plural
from logllm.logs.tally import shortened

_MANY_RECORDS = 1000  # from which on masks are judged by how many distinct messages there are
_HANDFUL = 5  # distinct messages tell nothing apart
_NEARLY_ALL = 0.5  # of the records, as distinct messages, are too many
_FEW_ANOMALIES = 5  # of a part, from which figures say little
_SENTENCES = {
    "overlapping": (
        "{session of the train part reaches|sessions of the train part reach} into the "
        "validation part and {is|are} left out: is the log in order of time?"
    ),
    "labels_beyond": "{label is of a line|labels are of lines} that the log does not have",
    "labels_unused": ("{label is of a session|labels are of sessions} that the log does not hold"),
    "labels_without_zone": (
        "{file of labels has times without a zone, which are read as UTC|files of labels have"
        " times without a zone, which are read as UTC}, as the log's are"
    ),
    "labels_joined": (
        "{label is of a line that goes|labels are of lines that go} on a record, and"
        " {counts|count} for it"
    ),
    "rejected_alerts": (
        "{line|lines} with an alert label did not parse and {is|are} in no session"
    ),
    "files_without_records": (
        "{file holds|files hold} no record in the format: prepare logs of another format separately"
    ),
    "empty": "of the rejected lines {is|are} empty",
    "unlabelled": "{session has|sessions have} no label and {is|are} in no part",
    "keyless": "{record names|records name} no key and {is|are} in no session",
    "timeless": "{record has|records have} no time that could be read",
    "turned": (
        "{record is|records are} in files written newest first, which were held in memory whole"
        " and turned"
    ),
    "moved_years": (
        "{time|times} without a year would lie in the future, and {was|were} put into an "
        "earlier year; given as a file, the log would be read to its end first"
    ),
    "late": (
        "{record|records} came after {its|their} window had closed and {is|are} in no session;"
        " sort the log by time"
    ),
    "replaced_characters": (
        "{character was|characters were} not text and {has|have} been replaced"
    ),
    "of_other_kinds": (
        "{line is|lines are} of another kind than the format, and {is a record|are records} of"
        " {its|their} own"
    ),
    "lines_with_colours": (
        "{line|lines} held codes of a terminal, such as colours, which have been taken out"
    ),
    "cut_lines": "{line was|lines were} too long and {has|have} been cut",
    "shortened_traces": (
        "{stack trace was|stack traces were} shortened to {its|their} exceptions and innermost"
        " calls"
    ),
    "reordered_messages": (
        "{long message has|long messages have} {its|their} last words behind the first ones,"
        " where a model reads them"
    ),
    "cut_sessions": (
        "{session|sessions} may have begun before the log or go on after it, and {counts as it"
        " is|count as they are}: the column cut says which"
    ),
    "cut_messages": (
        "{message has|messages have} been cut from the ends of long sessions: --long split"
        " keeps them"
    ),
}
"""A sentence for each count that is not 0, for one and for several (`logllm.counting.agreeing`)."""


def mask_warnings(messages: pl.Series, counts: Mapping[str, int]) -> list[str]:
    """Whether masks leave too little of a log to tell its lines apart, or too much."""
    # Of few records nothing can be said: each may well be another one.
    records, distinct = counts["lines"] - counts["rejected"], len(messages)
    if records < _MANY_RECORDS:
        return []
    if distinct <= _HANDFUL:
        remedies = "--keep codes, --keep-rule NAME=REGEX, --mask off, or --message FIELD"
        too_few = (
            f"{records:,} records are {plural(distinct, 'distinct message')}: what distinguishes "
            f"them is masked, or in another field ({remedies})"
        )
        return [too_few]
    if distinct > _NEARLY_ALL * records:
        example = shortened(messages[-1])
        too_many = (
            f"{distinct:,} of {records:,} records are distinct messages: nearly every line holds "
            f"something that varies and is not masked, such as {example!r}; "
            "--mask-rule NAME=REGEX masks it"
        )
        return [too_many]
    return []


def _few_anomalies(parts: Mapping[str, pl.DataFrame]) -> list[str]:
    """What to say where a division by time leaves few of the anomalies to validation or test."""
    anomalies = {name: int(part["anomalous"].sum()) for name, part in parts.items()}
    together = sum(anomalies.values())
    holds: list[str] = []
    for name in ("validation", "test"):
        count = anomalies[name]
        if 0 < count < _FEW_ANOMALIES:
            holds.append(f"the {name} part holds {plural(count, 'anomalous session')}")
    # Of a handful of anomalies no division leaves enough.
    if not holds or together < 2 * _FEW_ANOMALIES:
        return []
    remedy = "too few to measure by; --split random divides them evenly"
    return [f"{' and '.join(holds)}, of {together:,} in all: {remedy}"]


def part_warnings(
    parts: dict[str, pl.DataFrame], counts: dict[str, int], *, settings: PrepareSection
) -> list[str]:
    """What a person should know before training on this."""
    warnings: list[str] = []
    # A part that was not asked for may be empty.
    shares = {"train": 1.0, "validation": settings.split.validation, "test": settings.split.test}
    for name, share in shares.items():
        kinds = parts[name]["anomalous"].unique().drop_nulls().to_list()
        if not parts[name].height and share:
            warnings.append(f"the {name} part is empty")
        elif len(kinds) == 1:
            kind = "anomalous" if kinds[0] else "normal"
            warnings.append(f"the {name} part holds only {kind} sessions")
    if settings.split.by == "time":
        warnings += _few_anomalies(parts)
    # Said once, in words that say what to do, instead of as a count of all sessions.
    no_labels = all(part["anomalous"].null_count() == part.height for part in parts.values())
    if no_labels:
        warnings.append(
            "no session has a label: a few methods need none, the others and all figures take "
            "--labels FILE.csv (session,label or line,label), or --label FIELD of lines"
        )
    for name, sentence in _SENTENCES.items():
        already_said = no_labels and name == "unlabelled"
        count = counts.get(name)
        if count and not already_said:
            warnings.append(agreeing(count, sentence))
    if settings.split.by == "random" and settings.sessions.overlapping:
        warnings.append("windows overlap and are split at random: parts share lines")
    return warnings
