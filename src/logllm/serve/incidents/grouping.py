"""Anomalous sessions become incidents, in the transaction that stores their verdicts."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select, update

from logllm.config.alerts import IncidentSection
from logllm.serve.incidents import open_incidents
from logllm.serve.incidents.anomalies import anomalies
from logllm.serve.incidents.board import Anomaly, Board
from logllm.serve.incidents.events import keep
from logllm.serve.incidents.mutes import muted_kinds
from logllm.serve.store.frames import KEY, stored_time
from logllm.serve.store.schema import IS_ANOMALOUS, verdicts
from logllm.serve.store.service_schema import incidents
from logllm.serve.store.verdict_store import Clock, Store, machine_time
from logllm.serve.store.writing import next_change

_KEY = [verdicts.c[name] for name in ("stream", *KEY)]
_TOLD = ("lines", "files", "messages", "evidence", "kind", "score", "anomalous", "incident")
_TIMES = ("start", "end", "updated")
_READ = [verdicts.c[name] for name in (*_TOLD, *_TIMES)]
_IN_CHANGE = verdicts.c.change == bindparam("change")
_CONCERNED = or_(IS_ANOMALOUS, verdicts.c.incident.is_not(None))
_WRITTEN = select(*_KEY, *_READ).where(_IN_CHANGE, _CONCERNED)
"""What a transaction has written that concerns incidents, or did."""
_SAME = [column == bindparam(f"of_{column.name}") for column in _KEY]
_PUT = update(verdicts).where(*_SAME).values(incident=bindparam("number"))
"""Writes into verdicts which incident they belong to."""
_LOOKS = 10
"""Looks for quiet incidents in the time that they must be quiet for."""
_LONGEST_PAUSE = timedelta(minutes=1)
"""Between two such looks."""


class Incidents:
    """Puts anomalous sessions into incidents, and ends incidents that are quiet."""

    def __init__(self, section: IncidentSection, *, clock: Clock = machine_time) -> None:
        """Nothing done yet.

        Args:
            section: When sessions are one incident.
            clock: The time now.
        """
        self._section = section
        self._repeat = timedelta(seconds=section.repeat)
        self._clock = clock
        self._quiet = timedelta(seconds=section.quiet)
        self._due = clock() + self._quiet

    def __call__(self, connection: Connection, stream: str, change: int) -> None:
        """Put the sessions that this transaction has written into incidents.

        A session counts when it becomes anomalous, and once: its verdict holds its incident's
        number from then on, and whoever writes the verdict again leaves that. One that turns out
        normal when it ends leaves its incident.

        Args:
            connection: Of the transaction, whose number nobody else can have: writers of one store
                come one after the other from there on.
            stream: Whose verdicts they are.
            change: The number.
        """
        # Nearly always there is nothing: a healthy log pays one look at an index.
        rows = connection.execute(_WRITTEN, {"change": change}).all()
        if not rows:
            return
        now = self._clock()
        going_on = open_incidents.load(connection, stream)
        muted = muted_kinds(connection, stream, now=now)
        board = Board(going_on, stream=stream, section=self._section, muted=muted)
        # Who leaves goes before who comes: a session that turned out normal must not be what holds
        # an incident open for the next one.
        numbers = _Numbers(rows)
        moved = [(anomaly, board.revise(anomaly)) for anomaly in numbers.revised]
        for anomaly in numbers.normal:
            # Only open incidents are on the board; one that is over is put right where it is
            # stored.
            if not board.leave(anomaly):
                _leave_closed(connection, anomaly, change=change)
        placed = [(anomaly, board.place(anomaly)) for anomaly in numbers.fresh]
        placed += [(anomaly, incident) for anomaly, incident in moved if incident is not None]

        # New incidents get their numbers, then sessions theirs. What is over goes first: of one
        # kind a single incident is open.
        changed = [incident for incident in board.incidents if incident.changed]
        for incident in sorted(changed, key=lambda incident: not incident.over):
            keep(connection, incident, now=now, change=change, repeat=self._repeat)
        joined = [_row(anomaly, incident.number) for anomaly, incident in placed]
        # Without its number, so that it counts anew should it become anomalous again.
        left = [_row(anomaly, None) for anomaly in numbers.normal]
        if joined or left:
            connection.execute(_PUT, [*joined, *left])

    def tidy(self, store: Store, *, watched: Collection[str] = ()) -> int:
        """End what has been quiet for too long by this machine's time; how many incidents.

        That time counts from the start of this process: what came while nobody watched is read
        first.

        Args:
            store: where incidents are.
            watched: streams whose incidents are left alone, since others end them.
        """
        now = self._clock()
        if now < self._due:
            return 0
        # Often enough that an incident ends about when it should, seldom enough to cost nothing.
        pause = min(self._quiet / _LOOKS, _LONGEST_PAUSE)
        self._due = now + pause
        before = now - self._quiet
        silent = (open_incidents.IS_OPEN, incidents.c.updated < stored_time(before))
        # Looked at without a lock: nearly always none is quiet, and nobody needs to wait.
        theirs = select(incidents.c.stream).where(*silent).distinct()
        with store.transaction(reading=True) as connection:
            streams = list(connection.scalars(theirs))
        ours = [stream for stream in streams if stream not in watched]
        return sum(self._end_quiet(store, stream, before=before) for stream in ours)

    def _end_quiet(self, store: Store, stream: str, *, before: datetime) -> int:
        """End a stream's incidents that no session has joined since a time; how many."""
        now = self._clock()
        with store.transaction() as connection:
            # The number's lock first, then what is open: a session that joined meanwhile is seen.
            change = next_change(connection)
            going_on = open_incidents.load(connection, stream)
            silent = [incident for incident in going_on if incident.updated < before]
            for incident in silent:
                incident.over = True
                keep(connection, incident, now=now, change=change, repeat=self._repeat)
        return len(silent)


class _Numbers:
    """Verdicts of one transaction by what they are to incidents, in order of time."""

    def __init__(self, rows: Sequence[Row[Any]]) -> None:
        ordered = anomalies(rows)
        counted = [it for it in ordered if it.incident is not None]
        self.fresh = [it for it in ordered if it.incident is None]
        """Anomalous now for the first time."""
        self.revised = [it for it in counted if it.anomalous]
        """Counted already."""
        self.normal = [it for it in ordered if not it.anomalous]
        """Counted, and no longer anomalous."""


def _row(anomaly: Anomaly, number: int | None) -> dict[str, Any]:
    """Which incident a verdict belongs to, for `_PUT`."""
    key = {f"of_{name}": value for name, value in anomaly.key.items()}
    return {**key, "number": number}


def _leave_closed(connection: Connection, anomaly: Anomaly, *, change: int) -> None:
    """Take a session that has turned out normal back from an incident that is over."""
    fewer = {"sessions": incidents.c.sessions - 1, "change": change}
    this = incidents.c.id == anomaly.incident
    connection.execute(update(incidents).where(this).values(fewer))
