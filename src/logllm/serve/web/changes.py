"""What has changed in a store since a place, as events of the live stream."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from logllm.serve.feedback.answers_given import answers
from logllm.serve.incidents.incident_rows import Wished, incidents
from logllm.serve.store.verdict_store import Store
from logllm.serve.web import queries
from logllm.serve.web.request_models import Cursor

_AT_ONCE = 500
"""Verdicts that are read at once."""
_IN_ONE_EVENT = 100
"""Verdicts of one event."""


class Event(NamedTuple):
    """One event, written once for all who follow."""

    name: str
    data: str
    """JSON."""
    id: int
    """All changes up to this number were told by now."""


class Changes(NamedTuple):
    """What came after a place."""

    events: tuple[Event, ...]
    place: Cursor
    """Where the next ones begin; within a change where that has more verdicts than are read."""


class _Span(NamedTuple):
    """Changes after one, up to another one and with it."""

    after: int
    until: int


def newest(store: Store) -> Cursor:
    """The place after all that is there."""
    with store.transaction(reading=True) as connection:
        return Cursor(queries.newest_change(connection))


def changes_after(store: Store, place: Cursor, *, until: int | None = None) -> Changes:
    """What changed after a place: not all at once where that is much.

    Args:
        store: what is read.
        place: where the last ones ended.
        until: changes after this one are left for later; none: all count.
    """
    with store.transaction(reading=True) as connection:
        # Up to a number that is fixed now: what is committed meanwhile comes the next time.
        latest = queries.newest_change(connection)
        last = latest if until is None else min(latest, until)
        if last <= told_up_to(place):
            return Changes((), place)
        page = queries.changed(connection, after=place, until=last, limit=_AT_ONCE)
        # Where a change has more verdicts than are read at once, the page ends within it.
        reached = page.next or Cursor(last)
        verdicts = queries.objects(connection, page.rows)
        # Kinds, incidents and answers are of whole changes: they come with the last of a change's
        # verdicts.
        span = _Span(told_up_to(place), told_up_to(reached))
        kinds = queries.changed_kinds(connection, after=span.after, until=span.until)
    contents = [*_named("verdict", verdicts), *_named("kind", kinds)]
    contents += _named("incident", _incidents(store, span))
    # The word has no plural of its own, so that it cannot be named as the others are.
    for batch in _batches(_answers(store, span)):
        contents.append(("feedback", {"feedback": batch}))
    return Changes(_events(contents, span=span), reached)


def told_up_to(place: Cursor) -> int:
    """The last change all of which lies before a place.

    >>> told_up_to(Cursor(7))
    7
    """
    return place.change if place.key is None else place.change - 1


def event(name: str, content: dict[str, Any], *, number: int) -> Event:
    """An event as it is written."""
    data = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return Event(name, data, number)


def _named(name: str, rows: queries.Objects) -> Iterator[tuple[str, dict[str, Any]]]:
    """What events of one name say, of which each has some rows."""
    return ((name, {f"{name}s": batch}) for batch in _batches(rows))


def _batches(rows: queries.Objects) -> Iterator[queries.Objects]:
    """Some rows at a time."""
    starts = range(0, len(rows), _IN_ONE_EVENT)
    return (rows[start : start + _IN_ONE_EVENT] for start in starts)


def _events(contents: Sequence[tuple[str, dict[str, Any]]], *, span: _Span) -> tuple[Event, ...]:
    """Events in order.

    A client that has the last of them has all; one that breaks off earlier comes back to the first.
    """
    last = len(contents) - 1
    # The number of an event is where a client that breaks off there goes on. After 100 of 300
    # verdicts he must come back to all of them.
    events = []
    for place, (name, content) in enumerate(contents):
        number = span.until if place == last else span.after
        events.append(event(name, content, number=number))
    return tuple(events)


def _incidents(store: Store, span: _Span) -> queries.Objects:
    """Incidents that changed; one that changed once more meanwhile comes with that change."""
    changed: queries.Objects = []
    after, now = span.after, datetime.now(UTC)
    while after < span.until:
        # Page by page, as there may be more than one holds.
        rows = incidents(store, Wished(after=after), now=now)
        changed += [row for row in rows if row["change"] <= span.until]
        after = rows[-1]["change"] if rows else span.until
    return changed


def _answers(store: Store, span: _Span) -> queries.Objects:
    """What people said, the oldest first."""
    if span.after >= span.until:
        return []
    # They come newest first; events tell them in their order.
    newest = answers(store, after=span.after)
    return [answer for answer in reversed(newest) if answer["change"] <= span.until]
