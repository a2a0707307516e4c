"""Gathers what a page says.

That is incidents, sessions with their lines, new kinds of message, and what was read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from logllm.counting import counted_as
from logllm.detect.page.contents import (
    Contents,
    Group,
    Judgement,
    Line,
    Session,
    Source,
    Tell,
)
from logllm.detect.page.groups import (
    GROUPS,
    ToldOf,
    drifted,
    incidents,
    kinds_never_seen,
    unusual_ways,
)
from logllm.detect.page.judged import Judged, Wish
from logllm.detect.page.marks import marked_lines
from logllm.detect.page.opened import Opened, ShownLine, begun_lines, shown_lines
from logllm.detect.page.texts import Texts, Wanted
from logllm.detect.page.timeline import Interval, timeline
from logllm.detect.page.written import Place, Placed
from logllm.detect.verdict import OPTIONAL
from logllm.logs.lines import STDIN
from logllm.logs.redaction import redact_text

if TYPE_CHECKING:
    from logllm.detect.reading import Reading

SESSIONS, OTHERS = 150, 50
"""How many anomalous sessions, and how many others, a page shows at most."""
KINDS = 60
"""How many new kinds of message it shows at most."""

_NO_TROUBLE = ("lines", "continued", "scores_from_cache", "headers")
"""Counts that are no sign of trouble."""


class _Table(NamedTuple):
    """Sessions that are opened."""

    sessions: pl.DataFrame
    """Verdicts, in the order in which they are shown."""
    opened: list[Opened]


def gathered(log: Judged, wish: Wish) -> Contents:
    """What a page says of a log.

    Args:
        log: The log, judged.
        wish: What the page is to be made of besides.
    """
    groups = unusual_ways(log) if log.ranked else incidents(log)
    told = groups[:GROUPS]
    names = [name for group in told for name, _ in group.such_as]
    table = _table(log, names=names)
    kinds = kinds_never_seen(log)
    shown_kinds = (kinds or [])[:KINDS]

    # All texts at once: each file is read once more.
    redacted = wish.redact or log.reading.settings.redact
    tells = [placed for group in told for placed, _ in group.tells]
    of_tells = _placed([*tells, *shown_kinds])
    of_sessions = _of_sessions(table, log.messages)
    wanted = [*of_tells, *of_sessions]
    texts = Texts(wanted, log.reading, logs=wish.logs, redacted=redacted, aside=wish.aside)

    safe = redact_text if redacted else str
    rows = _rows(table, texts, level=log.reading.threshold, safe=safe)
    # What judged, when incidents were, and what is new.
    anomalous = sum(bool(row.verdict["anomalous"]) for row in rows)
    good = [safe(name) for name in wish.good]
    judgement = _judgement(log, good=good)
    # An unusual session may last as long as the log, so it stands where it began.
    when: list[Interval] = []
    for group in told:
        end = group.start if log.ranked else group.end
        when.append(Interval(group.start, end))
    new_kinds = None
    if kinds is not None:
        new_kinds = tuple(_tell(kind, kind.lines, texts=texts) for kind in shown_kinds)

    # What there was no room for is counted, so that nobody takes the page for all.
    anomalous_left_out = judgement.anomalous - anomalous
    others_shown = len(rows) - anomalous
    others_left_out = judgement.sessions - judgement.anomalous - others_shown
    return Contents(
        name=_name(log.reading),
        source=_source(log, how_read=safe(wish.how_read)),
        judgement=judgement,
        timeline=timeline(log.verdicts, when),
        groups=_groups(told, texts, rows=rows),
        groups_left_out=len(groups) - len(told),
        new_kinds=new_kinds,
        new_kinds_left_out=len(kinds or []) - len(shown_kinds),
        table=rows,
        anomalous_left_out=anomalous_left_out,
        others_left_out=others_left_out,
        any_masked=texts.any_masked,
        redacted=redacted,
        made=wish.made,
    )


def _groups(told: Sequence[ToldOf], texts: Texts, *, rows: Sequence[Session]) -> tuple[Group, ...]:
    """Incidents, or ways of being unusual, numbered."""
    # Backwards: the first of several rows with a name is linked to, as the last one put into the
    # dict stays.
    anchors = {row.verdict["session"]: row.anchor for row in reversed(rows)}
    numbered: list[Group] = []
    for number, told_of in enumerate(told, 1):
        tells = tuple(_tell(placed, sessions, texts=texts) for placed, sessions in told_of.tells)
        such_as = tuple((name, score, anchors.get(name)) for name, score in told_of.such_as)
        group = Group(
            number,
            told_of.start,
            told_of.end,
            told_of.sessions,
            told_of.score,
            tells=tells,
            such_as=such_as,
            lacks=told_of.lacks,
        )
        numbered.append(group)
    return tuple(numbered)


def _table(log: Judged, *, names: Sequence[str]) -> _Table:
    """The sessions with the highest scores, opened; anomalous ones come first.

    Sessions of the given names are among them.
    """
    # First the sessions that incidents name, so that their links lead somewhere.
    foremost = pl.col("session").is_in(names)
    ordered = log.verdicts.sort(foremost, "score", descending=True, maintain_order=True)
    room = SESSIONS + OTHERS
    all_fit = log.verdicts.height <= room
    others = room if log.ranked or all_fit else OTHERS
    anomalous = ordered.filter("anomalous").head(SESSIONS)
    normal = ordered.filter(~pl.col("anomalous")).head(others)
    shown = pl.concat([anomalous, normal])
    shown = shown.sort("anomalous", "score", descending=True, maintain_order=True)
    # A line of JSON is a record, whatever line breaks its message holds.
    described = log.reading.settings.format
    several_lines = described.kind != "json" or described.inside is not None
    marks = marked_lines(shown, log)
    begun = begun_lines(log.verdicts) if several_lines else {}
    opened = shown_lines(shown, log.messages, marks=marks, begun=begun)
    return _Table(shown, opened)


def _placed(tells: Sequence[Placed]) -> Iterator[Wanted]:
    """Telling lines, as records that are to be shown."""
    return (Wanted((tell.file, tell.line), tell.message) for tell in tells)


def _of_sessions(table: _Table, messages: pl.Series) -> Iterator[Wanted]:
    """The lines of opened sessions, as records that are to be shown."""
    # Gathered once for all sessions: a gather a line would be as many calls.
    lines = [line for session in table.opened for line in session.lines]
    places = pl.Series([line.message for line in lines], dtype=pl.UInt32)
    masked = messages.gather(places)
    pairs = zip(lines, masked, strict=True)
    return (Wanted(line.place, text, line.further) for line, text in pairs)


def _rows(
    table: _Table,
    texts: Texts,
    *,
    level: float,
    safe: Callable[[str], str],
) -> tuple[Session, ...]:
    """The rows of the table."""
    # Lists are left out: they are shown as lines and not as cells.
    columns = ("messages", "lines", "files", "evidence")
    verdicts = table.sessions.drop(*columns, strict=False)
    pairs = zip(verdicts.iter_rows(named=True), table.opened, strict=True)
    rows: list[Session] = []
    for number, (verdict, opened) in enumerate(pairs, 1):
        begun, ended = verdict["start"], verdict["end"]
        lines = opened.lines
        shown = sum(line.before + line.times for line in lines)
        telling = texts.said(_foremost(lines).place) if lines else ""
        row = Session(
            anchor=f"s{number}",
            verdict=_shown_verdict(verdict, safe=safe),
            call=_call(verdict, level=level),
            lasts=None if begun is None else ended - begun,
            length=shown + opened.after,
            telling=telling,
            marked=sum(line.mark is not None for line in lines),
            lines=tuple(_line(line, texts) for line in lines),
            after=opened.after,
        )
        rows.append(row)
    return tuple(rows)


def _shown_verdict(verdict: Mapping[str, Any], *, safe: Callable[[str], str]) -> dict[str, Any]:
    """All fields of a verdict as they may be shown; fields that it lacks are None."""
    expected = [safe(message) for message in verdict.get("expected") or ()]
    lacking = dict.fromkeys(OPTIONAL)
    return {**lacking, **verdict, "expected": expected}


def _call(verdict: Mapping[str, Any], *, level: float) -> str:
    """What a session is called: `anomalous`, `cut` or `normal`."""
    if verdict["anomalous"]:
        return "anomalous"
    is_cut = verdict.get("cut") is not None
    return "cut" if is_cut and verdict["score"] >= level else "normal"


def _foremost(lines: Sequence[ShownLine]) -> ShownLine:
    """The line that speaks most for "anomalous", or else the first."""
    return max(lines, key=lambda line: -1.0 if line.mark is None else line.mark)


def _line(line: ShownLine, texts: Texts) -> Line:
    """A record of a session."""
    return Line(
        _where(line.place),
        texts.whole(line.place),
        line.times,
        line.last,
        line.mark,
        line.before,
        line.more,
    )


def _tell(placed: Placed, times: int, *, texts: Texts) -> Tell:
    """A line that tells of something."""
    place = (placed.file, placed.line)
    return Tell(_where(place), texts.said(place), times)


def _where(place: Place) -> str:
    """Where a line is: its number, preceded by its file where there are several."""
    file, line = place
    return f"{line:,}" if file is None else f"{Path(file).name}:{line:,}"


def _name(reading: "Reading") -> str:
    """What the log is called."""
    first, *others = reading.files
    if others:
        return f"{len(reading.files)} logs"
    return "standard input" if first == STDIN else Path(first).name


def _source(log: Judged, *, how_read: str) -> Source:
    """What was read, and how."""
    verdicts, reading = log.verdicts, log.reading
    counts = reading.counts
    records = verdicts["lines"].list.len().sum()
    # Of all counts, those that a reader should worry about.
    troubles: list[str] = []
    for name, count in counts.items():
        if count and name not in _NO_TROUBLE:
            troubles.append(counted_as(count, name))
    return Source(
        inputs=tuple(reading.files),
        lines=counts["lines"],
        records=int(records),
        start=verdicts["start"].min(),  # type: ignore[arg-type]
        end=verdicts["end"].max(),  # type: ignore[arg-type]
        troubles=tuple(troubles),
        rejects=tuple(reading.rejects),
        grouping=reading.settings.sessions.in_words,
        how_read=tuple(how_read.splitlines()),
    )


def _judgement(log: Judged, *, good: Sequence[str]) -> Judgement:
    """What judged, and with which result."""
    verdicts, detector = log.verdicts, log.detector
    cut, doubtful = 0, 0
    # Called normal although they reach the threshold: what is missing may explain them.
    if "cut" in verdicts.columns:
        of_cut = verdicts.filter(pl.col("cut").is_not_null())
        cut = of_cut.height
        is_normal = ~pl.col("anomalous")
        reaches = pl.col("score") >= detector.threshold
        doubtful = of_cut.filter(is_normal & reaches).height
    threshold = detector.run.manifest.get("threshold", {})
    return Judgement(
        ranked=log.ranked,
        model=detector.model,
        threshold=detector.threshold,
        chosen=threshold.get("how", ""),
        good=tuple(good),
        drift=drifted(log),
        sessions=verdicts.height,
        anomalous=int(verdicts["anomalous"].sum()),
        cut=cut,
        doubtful=doubtful,
    )
