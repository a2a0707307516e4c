"""The open incidents of a stream, and which of them an anomalous session belongs to."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from logllm.config.alerts import IncidentSection

MOST_OPEN = 50
"""Incidents of a stream that are open at once; further kinds of message join the newest one."""
_MOST_KINDS = 20
"""Kinds of message that are remembered of an incident."""
_MOST_TOP = 5
_ALIKE = 0.6
"""Two kinds of message are one if they share at least this part of all their words."""
_SHORTEST = 4
"""Messages with fewer words are not compared by their words."""


class Anomaly(NamedTuple):
    """A session that is anomalous."""

    key: Mapping[str, Any]
    """What tells its verdict from others."""
    kind: str
    """Its most telling message, masked; empty where none tells."""
    others: tuple[str, ...]
    """Kinds of its other telling lines."""
    text: str
    """Its most telling line, as people may see it."""
    evidence: str | None
    """That line with its place and score, JSON."""
    score: float
    start: datetime | None
    """When it began, by the log."""
    end: datetime | None
    """When it ended, by the log, but not after it arrived."""
    arrived: datetime
    """When it was stored."""
    incident: int | None = None
    """The incident that counts it already."""
    anomalous: bool = True
    """False of one that an incident counts, and that has turned out normal."""

    @property
    def moment(self) -> datetime:
        """When it was, by the log's times, or by its arrival where the log has none."""
        return self.arrived if self.end is None else self.end


@dataclass
class Kind:
    """A kind of message in an incident."""

    text: str
    """A line of it."""
    sessions: int
    """Sessions whose most telling line is of this kind."""


@dataclass
class OpenIncident:
    """An incident that sessions may still join."""

    stream: str
    opened: datetime
    """When it was stored first."""
    updated: datetime
    """When a session joined last."""
    first: datetime
    """The moment of the session that opened it."""
    kinds: dict[str, Kind] = field(default_factory=dict)
    """Kinds of message, the one that opened it first."""
    evidence: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    sessions: int = 0
    score: float = 0.0
    top: list[dict[str, Any]] = field(default_factory=list)
    """The sessions with the highest scores."""
    muted: bool = False
    told: datetime | None = None
    """When it was told last; none: not yet."""
    number: int | None = None
    """In the store; none: it is not there yet."""
    over: bool = False
    changed: bool = False

    def reached_by(self, anomaly: Anomaly, quiet: timedelta) -> bool:
        """Whether a session comes before the incident has been quiet for too long.

        The log's times say it where both have one. A session from before the incident joins it:
        partitions of a log may be read at different speeds, and two that alternate must not end
        one another's incidents.
        """
        # A log without times has only the moments at which its sessions were stored.
        if anomaly.end is None or self.end is None:
            return anomaly.arrived <= self.updated + quiet
        return anomaly.end <= self.end + quiet

    def join(self, anomaly: Anomaly) -> None:
        """Count a session."""
        self.changed = True
        self.sessions += 1
        self.updated = anomaly.arrived
        self.add(anomaly, sessions=1)
        # Partitions that are read at different speeds bring sessions out of order: it only ever
        # moves on.
        self.end = max(filter(None, (self.end, anomaly.end)), default=None)
        self.revise(anomaly)

    def add(self, anomaly: Anomaly, *, sessions: int) -> None:
        """Remember a session's kind of message, as long as there is room."""
        # Without a bound, a fault that gives each line a new kind would fill the store.
        if anomaly.kind in self.kinds:
            self.kinds[anomaly.kind].sessions += sessions
        elif len(self.kinds) < _MOST_KINDS:
            self.changed = True
            self.kinds[anomaly.kind] = Kind(anomaly.text, sessions)

    def revise(self, anomaly: Anomaly) -> None:
        """Take what is now known of a session that is counted already.

        Further lines of a session that is counted already do not keep the incident open.
        """
        before = (self.start, self.top)
        self.start = min(filter(None, (self.start, anomaly.start)), default=None)
        self.score = max(self.score, anomaly.score)
        # Its former score goes first, or one session would stand in the list several times.
        others = [session for session in self.top if not _same(session, anomaly)]
        mine = {**anomaly.key, "score": anomaly.score}
        highest = sorted([*others, mine], key=lambda session: -session["score"])
        self.top = highest[:_MOST_TOP]

        # An open session is judged twice a second: what stays as it is is not written again.
        self.changed |= before != (self.start, self.top)

    def leave(self, anomaly: Anomaly) -> None:
        """Take back a session that has turned out normal. An incident without sessions is over."""
        self.changed = True
        self.sessions -= 1
        self.top = [session for session in self.top if not _same(session, anomaly)]
        # Nothing is left of it that a person could look at.
        self.over = self.sessions == 0


class Board:
    """The open incidents of a stream."""

    def __init__(
        self,
        incidents: Iterable[OpenIncident],
        *,
        stream: str,
        section: IncidentSection,
        muted: Collection[str],
    ) -> None:
        """A board of the incidents that the store has.

        Args:
            incidents: Those that are open.
            stream: Whose.
            section: When sessions are one incident.
            muted: Kinds of message that nobody wants to be told of now.
        """
        self.incidents = list(incidents)
        self._stream = stream
        self._quiet = timedelta(seconds=section.quiet)
        self._together = timedelta(seconds=section.together)
        self._muted = muted

    def place(self, anomaly: Anomaly) -> OpenIncident:
        """The incident that a session joins, or that it opens."""
        # Its own kind first: the same fault again after a long silence is another incident.
        incident = self._same_kind(anomaly)
        if incident is not None and not incident.reached_by(anomaly, self._quiet):
            incident.over = incident.changed = True
            incident = None
        # Then what may be another face of a fault that is known, and only then a new one: people
        # are told of each incident, not of each kind of line.
        incident = incident or self._related(anomaly) or self._crowded(anomaly)
        if incident is None:
            incident = self._opened(anomaly)
        incident.join(anomaly)
        # An incident that is muted says nothing; a kind that nobody has muted must be told of.
        if incident.muted and anomaly.kind not in self._muted:
            incident.muted = False
        return incident

    def revise(self, anomaly: Anomaly) -> OpenIncident | None:
        """Take what is now known of a session that an incident counts already.

        If its kind is muted by now, it goes to the incident of muted kinds.

        Returns:
            The incident that it belongs to from now on, where that is another one.
        """
        incident = self._numbered(anomaly.incident)
        if incident is None:
            return None  # it is over
        if anomaly.kind in self._muted and not incident.muted:
            incident.leave(anomaly)
            return self.place(anomaly)
        incident.revise(anomaly)
        # A session that goes on may show another line as its most telling one: it counts once, and
        # its new kind is remembered without a session of its own.
        if self._same_kind(anomaly) is None:
            incident.add(anomaly, sessions=0)
        return None

    def leave(self, anomaly: Anomaly) -> bool:
        """Take a session back that has turned out normal; false: its incident is over."""
        incident = self._numbered(anomaly.incident)
        if incident is not None:
            incident.leave(anomaly)
        return incident is not None

    def _numbered(self, number: int | None) -> OpenIncident | None:
        """The one of a number."""
        numbered = (incident for incident in self.incidents if incident.number == number)
        return next(numbered, None)

    def _open(self) -> list[OpenIncident]:
        """Those that are not over."""
        return [incident for incident in self.incidents if not incident.over]

    def _same_kind(self, anomaly: Anomaly) -> OpenIncident | None:
        """The open incident that has a session's kind of message."""
        of_kind = (incident for incident in self._open() if anomaly.kind in incident.kinds)
        return next(of_kind, None)

    def _joinable(self, anomaly: Anomaly) -> list[OpenIncident]:
        """Incidents that a session of another kind may join, the newest first.

        What is muted stays alone.
        """
        if anomaly.kind in self._muted:
            return []
        loud = [incident for incident in self._open() if not incident.muted]
        near = [incident for incident in loud if incident.reached_by(anomaly, self._quiet)]
        return sorted(near, key=lambda incident: incident.opened, reverse=True)

    def _related(self, anomaly: Anomaly) -> OpenIncident | None:
        """The incident whose fault a session of another kind shows, too.

        It has a line of that incident's kind among its telling lines, or its own line says nearly
        the same, or it came when the incident began.
        """
        near = self._joinable(anomaly)
        for incident in near:
            if incident.kinds.keys() & set(anomaly.others):
                return incident
        # By kinds first, which are exact, then by words, then by time alone, which is the weakest
        # sign.
        words = _words(anomaly.kind)
        for incident in near:
            if any(_alike(words, _words(kind)) for kind in incident.kinds):
                return incident
        for incident in near:
            if abs(anomaly.moment - incident.first) < self._together:
                return incident
        return None

    def _crowded(self, anomaly: Anomaly) -> OpenIncident | None:
        """The newest incident, where there are too many for another one."""
        loud = [incident for incident in self._open() if not incident.muted]
        if len(loud) < MOST_OPEN:
            return None

        # Of a log that is read fast those go first that it has left behind.
        for incident in loud:
            if not incident.reached_by(anomaly, self._quiet):
                incident.over = incident.changed = True
        near = self._joinable(anomaly)
        # Fewer are open by now: there is room for one of its own.
        return near[0] if len(near) >= MOST_OPEN else None

    def _opened(self, anomaly: Anomaly) -> OpenIncident:
        """A new one."""
        muted = anomaly.kind in self._muted
        incident = OpenIncident(
            self._stream,
            opened=anomaly.arrived,
            updated=anomaly.arrived,
            first=anomaly.moment,
            evidence=anomaly.evidence,
            muted=muted,
        )
        self.incidents.append(incident)
        return incident


def _same(session: Mapping[str, Any], anomaly: Anomaly) -> bool:
    """Whether an entry of `top` is a session."""
    return all(session[name] == value for name, value in anomaly.key.items())


def _words(kind: str) -> frozenset[str]:
    """The words of a kind of message."""
    return frozenset(kind.split())


def _alike(words: frozenset[str], others: frozenset[str]) -> bool:
    """Whether two kinds of message differ in few words, such as a name that no mask takes out.

    >>> first, second = "job nightly-a failed with code <*>", "job nightly-b failed with code <*>"
    >>> _alike(_words(first), _words(second))
    True
    >>> _alike(_words("connection reset by peer"), _words("connection timed out"))
    False
    """
    # Of three words, one that differs is a third of the message: "disk full" is not "queue full".
    if min(len(words), len(others)) < _SHORTEST:
        return False
    return len(words & others) >= _ALIKE * len(words | others)
