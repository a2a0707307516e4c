"""What has changed in a store since a place, as events of the live stream."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

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
        latest = queries.newest_change(connection)
        last = latest if until is None else min(latest, until)
        if last <= told_up_to(place):
            return Changes((), place)
        page = queries.changed(connection, after=place, until=last, limit=_AT_ONCE)
        reached = page.next or Cursor(last)
        verdicts = queries.objects(connection, page.rows)
        others = list(_others(connection, since=place, until=reached))
    contents = [("verdict", {"verdicts": batch}) for batch in _batches(verdicts)]
    return Changes(_events([*contents, *others], since=place, until=reached), reached)


def told_up_to(place: Cursor) -> int:
    """The last change all of which lies before a place.

    >>> told_up_to(Cursor(7))
    7
    """
    return place.change if place.key is None else place.change - 1


def event(name: str, content: dict[str, Any], *, number: int) -> Event:
    """An event as it is written."""
    return Event(name, json.dumps(content, ensure_ascii=False, allow_nan=False), number)


def _events(
    contents: Sequence[tuple[str, dict[str, Any]]],
    *,
    since: Cursor,
    until: Cursor,
) -> tuple[Event, ...]:
    """Events in order: who has the last of them has all, who has another comes back to the first."""
    before, after = told_up_to(since), told_up_to(until)
    last = len(contents) - 1
    numbers = [after if number == last else before for number in range(len(contents))]
    pairs = zip(contents, numbers, strict=True)
    return tuple(event(name, content, number=number) for (name, content), number in pairs)


def _others(
    connection: Connection,
    *,
    since: Cursor,
    until: Cursor,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What changed besides verdicts."""
    after, last = told_up_to(since), told_up_to(until)
    kinds = queries.changed_kinds(connection, after=after, until=last)
    if kinds:
        yield "kind", {"kinds": kinds}


def _batches(verdicts: queries.Objects) -> Iterator[queries.Objects]:
    """Some verdicts at a time."""
    starts = range(0, len(verdicts), _IN_ONE_EVENT)
    return (verdicts[start : start + _IN_ONE_EVENT] for start in starts)
