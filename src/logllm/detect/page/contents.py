"""What a page says of a log's verdicts, as plain values.

`gathered` collects them, `page.html.jinja` lays them out.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from logllm.detect.new_kinds import Drift
from logllm.detect.page.texts import Text
from logllm.detect.page.timeline import Timeline


class Source(NamedTuple):
    """What was read."""

    inputs: tuple[str, ...]
    """Names of the inputs."""
    lines: int
    records: int
    """How many records are in sessions."""
    start: datetime | None
    """Time of the first record."""
    end: datetime | None
    troubles: tuple[str, ...]
    """Counts of what could not be read as it should."""
    rejects: tuple[Mapping[str, object], ...]
    """The first lines that did not parse: `file`, `line`, `text`."""
    grouping: str
    """How records became sessions."""
    how_read: tuple[str, ...]
    """What was found out about the logs."""


class Judgement(NamedTuple):
    """What judged, and with which result."""

    ranked: bool
    """Whether sessions were ranked, not judged."""
    model: str
    threshold: float
    chosen: str
    """Why this threshold; empty where that is not known."""
    good: tuple[str, ...]
    """The logs that were judged against."""
    drift: Drift | None
    sessions: int
    anomalous: int
    cut: int
    """Sessions that the input may have cut."""
    doubtful: int
    """Those of them that would be anomalous if nothing were missing."""


class Tell(NamedTuple):
    """A line that tells of something."""

    at: str
    """Where it is."""
    said: str
    times: int
    """How many sessions have it, or how many lines are like it; 0: not counted."""


class Group(NamedTuple):
    """Sessions that are told of together: an incident, or sessions that are unusual in one way."""

    number: int
    """From 1, the foremost first."""
    start: datetime | None
    end: datetime | None
    sessions: int
    score: float
    """Their mean score; of sessions that are ranked the highest."""
    tells: tuple[Tell, ...]
    such_as: tuple[tuple[str, float, str | None], ...]
    """Some of the sessions with their scores, and their anchors where they are on the page."""
    lacks: bool
    """Whether no line says why: what most sessions hold is missing, or there less often."""


class Line(NamedTuple):
    """A record of a session."""

    at: str
    """Where it is."""
    text: Text
    times: int
    """How many records in a row say the same."""
    last: int
    """The line of the last of them."""
    mark: float | None
    """How much it speaks for "anomalous"; None: it is not marked."""
    before: int
    """Records before it that are not shown."""
    more: int
    """Further lines of the record that are not shown."""


class Session(NamedTuple):
    """A row of the table of sessions."""

    anchor: str
    verdict: Mapping[str, Any]
    """Its verdict, by the names of `logllm.detect.verdict`."""
    call: str
    """`anomalous`, `normal`, or `cut`: anomalous if nothing of it were missing."""
    lasts: timedelta | None
    length: int
    """How many records it has."""
    telling: str
    """What its foremost marked line says; where none is marked the first line."""
    marked: int
    """How many lines are marked."""
    lines: tuple[Line, ...]
    after: int
    """Records after the last one that is shown."""


class Contents(NamedTuple):
    """All that a page says."""

    name: str
    """What the log is called."""
    source: Source
    judgement: Judgement
    timeline: Timeline | None
    """None where times are not known."""
    groups: tuple[Group, ...]
    """Incidents; for a ranked log, the ways in which sessions are unusual."""
    groups_left_out: int
    new_kinds: tuple[Tell, ...] | None
    """None where nothing says what is new."""
    new_kinds_left_out: int
    table: tuple[Session, ...]
    anomalous_left_out: int
    others_left_out: int
    any_masked: bool
    """Whether lines could not be read again, so that their masked messages stand in their place."""
    redacted: bool
    made: datetime
