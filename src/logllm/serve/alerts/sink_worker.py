"""One place that is told: messages are sent, tried again when they fail, and never too many."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from logllm.serve.alerts import outbox_rows
from logllm.serve.alerts.alertmanager import AlertmanagerForm, link_to
from logllm.serve.alerts.notes import Note, Summary, key_of
from logllm.serve.alerts.posting import Answer, post
from logllm.serve.alerts.sinks import Sink
from logllm.serve.incidents.incident_objects import incident_object
from logllm.serve.store.frames import stored_time
from logllm.serve.store.verdict_store import Clock, Store

LOOK = 1.0
"""Seconds between two looks for something to send."""
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 300.0
_LONGEST_ASKED = 3_600.0
"""Seconds that a place may ask to be left alone for."""


class Batch(NamedTuple):
    """What one request tells."""

    rows: Sequence[Row[Any]]
    """Of the outbox, in order; none where alerts are only told again."""
    value: Any
    """What is sent."""
    key: str


class Around(NamedTuple):
    """What the workers of a process share."""

    store: Store
    owner: str
    """Who sends: no other process has this name."""
    page: str | None
    """Where people reach the page."""
    clock: Clock
    chance: Random
    """Spreads tries, so that many that failed together do not come together again."""
    told: Callable[[str], None]
    """Told what a person should know, a sentence."""


class SinkWorker:
    """Sends messages to one place.

    Whoever sends holds a lease on the place in the store, so that any number of processes may run
    and each message is sent once. A message is sent twice where a process ends, or a connection is
    lost, after the request and before its answer is noted; both have the same `Idempotency-Key`.
    """

    def __init__(self, sink: Sink, around: Around) -> None:
        """Nothing sent yet."""
        self.sink = sink
        self._around = around
        self._room_at: datetime | None = None
        """When it may be told again, where it was told as much as an hour allows."""
        self._resend_at: datetime | None = None
        """When alerts are told again, where they must be."""
        if isinstance(sink.form, AlertmanagerForm):
            # At once: an Alertmanager forgets what is not told again, also while this process was
            # away.
            self._resend_at = around.clock()
        self._troubled = False

    def introduce(self) -> None:
        """Make the place known to the store: it is told what comes from now on."""
        with self._around.store.transaction() as connection:
            outbox_rows.introduce(connection, self.sink, now=self._around.clock())

    def step(self) -> float:
        """Send what one request tells, if anything; the seconds until the next look.

        Raises:
            StoreFull, StoreAway: what was sent may be sent again.
        """
        now = self._around.clock()
        # Looked at without a lock first: a write every second for nothing would hold the watch up.
        room = self._room_at is None or now >= self._room_at
        resends = self._resend_at is not None and now >= self._resend_at
        with self._around.store.transaction(reading=True) as connection:
            work = outbox_rows.has_work(connection, self.sink, now=now, room=room)
        if not work and not resends:
            return LOOK
        owner = self._around.owner
        with self._around.store.transaction() as connection:
            # The request itself is outside of any transaction: it may take as long as its timeouts.
            leased = outbox_rows.take(connection, self.sink, owner=owner, now=now)
            batch = None if leased is None else self._next(connection, now=now)
        if resends:
            self._resend_at = now + timedelta(seconds=self.sink.section.resend)
        if leased is None or batch is None:
            return LOOK
        answer = post(self.sink.target, batch.value, key=batch.key)
        self._record(batch, answer, failures=leased.failures)
        return 0.0 if answer.taken else LOOK

    def finish(self) -> None:
        """Send what waits for nothing but more of its incident, and leave the place to others."""
        # Nothing was due. What waits only for more of its incident goes now, for nobody may send it
        # later.
        if self.step() > 0:
            with self._around.store.transaction() as connection:
                outbox_rows.hurry(connection, self.sink, now=self._around.clock())
        while self.step() == 0:
            pass
        self.release()

    def release(self) -> None:
        """Leave the place to other processes."""
        with self._around.store.transaction() as connection:
            outbox_rows.release(connection, self.sink, owner=self._around.owner)

    def _next(self, connection: Connection, *, now: datetime) -> Batch | None:
        """What is to be sent now."""
        # New messages first, so that they count among what waits or is held back.
        outbox_rows.spread(connection, self.sink, now=now)
        self._room_at = outbox_rows.room_at(connection, self.sink, now=now)
        if self._room_at is not None:
            outbox_rows.hold(connection, self.sink, now=now)
            return None

        # One incident is a note, several are a summary; where nothing waits, alerts that must be
        # told again may be due.
        rows = outbox_rows.next_rows(connection, self.sink, now=now)
        notes = self._notes(connection, rows, now=now)
        written = stored_time(now)
        form = self.sink.form
        if len(notes) == 1:
            (note,) = notes
            return Batch(rows, form.note(note, now=written), note.key)
        if notes:
            key = key_of([row.id for row in rows], notes[0].incident)
            summary = Summary(key, tuple(notes), self._around.page)
            return Batch(rows, form.summary(summary, now=written), key)
        return self._again(connection, now=now)

    def _again(self, connection: Connection, *, now: datetime) -> Batch | None:
        """Alerts that still hold, told again, when it is time."""
        form = self.sink.form
        # Only an Alertmanager must be told again.
        if not isinstance(form, AlertmanagerForm) or self._resend_at is None:
            return None
        if now < self._resend_at:
            return None
        rows = outbox_rows.open_incidents_of(connection, self.sink)
        if not rows:
            return None
        objects = [incident_object(row) for row in rows]
        written = stored_time(now)
        return Batch([], form.open(objects, now=written), written)

    def _notes(
        self,
        connection: Connection,
        rows: Sequence[Row[Any]],
        *,
        now: datetime,
    ) -> list[Note]:
        """A note for each incident; what nobody needs to be told any more is withdrawn."""
        current = outbox_rows.incidents_of(connection, [row.incident for row in rows])
        by_incident: dict[int, list[Row[Any]]] = {}
        for row in rows:
            by_incident.setdefault(row.incident, []).append(row)
        notes = []
        for number, own_rows in by_incident.items():
            # As it is now; as it was, where it has been deleted for its age.
            stored = current.get(number)
            if stored is None:
                incident = json.loads(own_rows[-1].body)
            else:
                incident = incident_object(stored)
            # Each event once, in order: `continues` may have waited several times.
            events = tuple(dict.fromkeys(row.event for row in own_rows))
            messages = [row.id for row in own_rows]

            # It was muted meanwhile; or nobody knows of it yet, and it was nothing.
            nothing = not incident["sessions"] and "opened" in events
            if incident["muted"] or nothing:
                values = {"state": "withdrawn", "updated": stored_time(now)}
                outbox_rows.settle(connection, self.sink, messages=messages, values=values)
                continue
            key = key_of(messages, incident)
            link = link_to(self._around.page, incident)
            notes.append(Note(key, events, incident, link))
        return notes

    def _record(self, batch: Batch, answer: Answer, *, failures: int) -> None:
        """Write what has become of a request."""
        now = self._around.clock()
        written = stored_time(now)
        messages = [row.id for row in batch.rows]
        with self._around.store.transaction() as connection:
            if answer.taken:
                # One request, one message of the hour's budget: the last of its messages counts as
                # sent, those before it as told with it.
                folded = {"state": "folded", "error": None, "updated": written}
                outbox_rows.settle(connection, self.sink, messages=messages[:-1], values=folded)
                sent = folded | {"state": "sent"}
                outbox_rows.settle(connection, self.sink, messages=messages[-1:], values=sent)
                well = {"failures": 0, "due": written, "error": None, "updated": written}
                outbox_rows.set_sink(connection, self.sink, values=well)
            elif answer.refused:
                # The message is at fault, not the place: others go on.
                self._bury(connection, messages, answer=answer, now=now)
            else:
                self._put_off(connection, batch, answer=answer, failures=failures + 1)
        self._tell(answer)

    def _bury(
        self,
        connection: Connection,
        messages: Sequence[int],
        *,
        answer: Answer,
        now: datetime,
    ) -> None:
        """Give messages up; the place itself is well."""
        written = stored_time(now)
        dead = {"state": "dead", "error": answer.told, "updated": written}
        outbox_rows.settle(connection, self.sink, messages=messages, values=dead)
        refused = {"failures": 0, "error": answer.told, "updated": written}
        outbox_rows.set_sink(connection, self.sink, values=refused)

    def _put_off(
        self,
        connection: Connection,
        batch: Batch,
        *,
        answer: Answer,
        failures: int,
    ) -> None:
        """Try again later; what has been tried for too long is given up."""
        now = self._around.clock()
        # A place that is gone for good must not keep messages for ever.
        patience = timedelta(hours=self.sink.section.give_up)
        oldest = stored_time(now - patience)
        too_old = [row.id for row in batch.rows if row.made < oldest]
        if too_old:
            self._bury(connection, too_old, answer=answer, now=now)
        failed = {"error": answer.told, "updated": stored_time(now)}
        # Messages of one request may have been tried differently often, and wait accordingly.
        for former in sorted({row.tries for row in batch.rows}):
            messages = [row.id for row in batch.rows if row.tries == former]
            tries = former + 1
            due = stored_time(now + self._wait(tries, answer))
            put_off = failed | {"tries": tries, "due": due}
            outbox_rows.settle(connection, self.sink, messages=messages, values=put_off)
        due = stored_time(now + self._wait(failures, answer))
        # The place waits as well, or each of its messages would be tried in turn.
        ill = failed | {"failures": failures, "due": due}
        outbox_rows.set_sink(connection, self.sink, values=ill)

    def _wait(self, tries: int, answer: Answer) -> timedelta:
        """How long to wait after so many tries: twice as long each time, with a random share."""
        # 1, 2, 4 ... seconds, 300 at most; the exponent is bounded, or the number would overflow.
        longest = min(_FIRST_WAIT * 2 ** min(tries - 1, 16), _LONGEST_WAIT)
        # Between half of it and all of it.
        spread = longest * (1 + self._around.chance.random()) / 2
        asked_for = min(answer.wait or 0.0, _LONGEST_ASKED)
        return timedelta(seconds=max(spread, asked_for))

    def _tell(self, answer: Answer) -> None:
        """Tell a person when things go wrong, and when they are right again."""
        name = self.sink.name
        # Once when it begins and once when it ends: not at every try.
        if not answer.taken and not self._troubled:
            self._around.told(f"{name} takes no messages: {answer.told}; what waits is kept")
        elif answer.taken and self._troubled:
            self._around.told(f"{name} takes messages again")
        self._troubled = not answer.taken
