"""What the service reads of a store; every query is served by an index, or bounded."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import ColumnElement, Connection, Row, TextClause, and_, func, or_, select, tuple_

from logllm.serve.store.frames import READ, VerdictKey, from_rows, stored_time
from logllm.serve.store.objects import verdict_objects
from logllm.serve.store.reading import streams as stored_streams
from logllm.serve.store.schema import IS_ANOMALOUS, IS_OPEN, numbers, places, verdicts
from logllm.serve.store.service_schema import deliveries, feedback, incidents, kinds
from logllm.serve.web.request_models import Cursor, KindsQuery, VerdictQuery, cursor
from logllm.serve.web.verdict_ids import encode

_SEARCHED = 5_000
"""Verdicts that one search looks through; it goes on with the next page."""
_CLOCKS_DIFFER = timedelta(minutes=10)
"""How far the clocks of machines that write one stream may lie apart."""
_TEXTS = {"lines", "files", "start", "end", "updated"}
_UNSEEN = {"texts", "messages"}
"""Columns that lists of verdicts are without."""
_ROWS = {name: pl.String if name in _TEXTS else kind for name, kind in READ.items()}
_KEY = tuple(verdicts.c[name] for name in VerdictKey._fields)
_NEWEST = (verdicts.c.change.desc(), *(column.desc() for column in _KEY))
_OLDEST = (verdicts.c.change, *_KEY)
Conditions = list[ColumnElement[bool] | TextClause]
Objects = list[dict[str, Any]]


class Page(NamedTuple):
    """Some verdicts, and where the next ones are."""

    rows: Sequence[Row[Any]]
    next: Cursor | None
    """None: there are no more."""


def newest_change(connection: Connection) -> int:
    """The number of the last change."""
    latest = select(numbers.c.value).where(numbers.c.name == "change")
    return connection.scalar(latest) or 0


def page(connection: Connection, query: VerdictQuery) -> Page:
    """The verdicts that are wanted: the newest first, or the oldest after a change."""
    conditions = _conditions(connection, query)
    oldest_first = query.after is not None
    order = _OLDEST if oldest_first else _NEWEST
    if query.q is None:
        return _page(connection, conditions, order=order, limit=query.limit)

    # A session's whole name is looked up; anything else is looked for in some verdicts at a time.
    if query.before is None and not oldest_first:
        # Only for a first page: a name has few verdicts, all of which are on it.
        rows = _named(connection, query, conditions=conditions)
        if rows:
            return Page(rows, None)
    # A search for a text can use no index: it looks through 5,000 verdicts, and says where the next
    # page goes on. The edge is where that ends.
    edge = _edge(connection, conditions, order=order)
    if edge is not None:
        conditions.append(_up_to(edge, oldest_first=oldest_first))
    # Escaped: `%` and `_` of a person are those letters.
    like = [column.icontains(query.q, autoescape=True) for column in _searched()]
    # A page that is full ends before the edge.
    matching = _page(connection, [*conditions, or_(*like)], order=order, limit=query.limit)
    return matching if matching.next is not None else Page(matching.rows, edge)


def one(connection: Connection, key: VerdictKey) -> Row[Any] | None:
    """A verdict with all that is kept of it."""
    same = [column == value for column, value in zip(_KEY, key, strict=True)]
    statement = select(*(verdicts.c[name] for name in _ROWS)).where(*same)
    return connection.execute(statement).one_or_none()


def changed(connection: Connection, *, after: Cursor, until: int, limit: int) -> Page:
    """Verdicts of the changes after a place, up to a change and with it, the oldest first."""
    conditions: Conditions = [_is_after(after), verdicts.c.change <= until]
    return _page(connection, conditions, order=_OLDEST, limit=limit)


def objects(connection: Connection, rows: Sequence[Row[Any]]) -> Objects:
    """Verdicts as they are given, with what people said of them."""
    # Lists come without texts, one verdict with them: both are the same frame.
    lacking = {name: None for name in _UNSEEN}
    values = [lacking | row._asdict() for row in rows]
    frame = from_rows(pl.DataFrame(values, schema=_ROWS))
    answers = _answers(connection, rows)
    given = []
    for row, verdict in zip(values, verdict_objects(frame), strict=True):
        key = VerdictKey(*(row[name] for name in VerdictKey._fields))
        verdict["id"] = encode(key)
        if key in answers:
            verdict["feedback"] = answers[key]
        given.append(verdict)
    return given


def new_kinds(connection: Connection, query: KindsQuery) -> Objects:
    """Kinds of message that training never saw, the newest first."""
    conditions: Conditions = []
    # Streams of kinds have an index of their own; without one all are looked at, of which there are
    # few.
    if query.stream is not None:
        conditions.append(kinds.c.stream == query.stream)
    if query.since is not None:
        conditions.append(kinds.c.first_seen >= stored_time(query.since))
    if query.before is not None:
        conditions.append(kinds.c.change < query.before)
    statement = select(kinds).where(*conditions).order_by(kinds.c.change.desc())
    return [row._asdict() for row in connection.execute(statement.limit(query.limit))]


def changed_kinds(connection: Connection, *, after: int, until: int) -> Objects:
    """Kinds of message that came after a change, up to another one and with it."""
    span = (kinds.c.change > after, kinds.c.change <= until)
    statement = select(kinds).where(*span).order_by(kinds.c.change)
    return [row._asdict() for row in connection.execute(statement)]


def open_incidents(connection: Connection) -> int:
    """How many incidents go on."""
    going_on = select(func.count()).select_from(incidents).where(incidents.c.state == "open")
    return connection.scalar(going_on) or 0


def deliveries_by_state(connection: Connection) -> list[tuple[str, float]]:
    """How many messages wait, were sent, or could not be."""
    state = deliveries.c.state
    rows = connection.execute(select(state, func.count()).group_by(state).order_by(state))
    return [(name, count) for name, count in rows]


def _conditions(connection: Connection, query: VerdictQuery) -> Conditions:
    """What rows must fulfil."""
    columns = verdicts.c
    conditions: Conditions = []
    if query.anomalous is not None:
        conditions.append(IS_ANOMALOUS if query.anomalous else ~columns.anomalous)
    if query.state is not None:
        conditions.append(IS_OPEN if query.state == "open" else columns.state == query.state)
    for name in ("stream", "incident", "kind"):
        # Called as the columns are.
        value = getattr(query, name)
        if value is not None:
            conditions.append(columns[name] == value)
    if query.kind is not None and query.anomalous is None:
        conditions.append(IS_ANOMALOUS)  # no other has a kind, and these have an index
    if query.since is not None:
        conditions += _written_since(connection, query)
    if query.until is not None:
        conditions += _written_before(connection, query)
    if query.before is not None:
        conditions.append(_is_before(cursor(query.before)))
    if query.after is not None:
        conditions.append(_is_after(cursor(query.after)))
    return conditions


def _written_since(connection: Connection, query: VerdictQuery) -> Conditions:
    """Rows that were written at a time or later.

    Rows are in order of their changes, which grow with time: those before the last one that is
    clearly older are not looked at.
    """
    assert query.since is not None  # noqa: S101 - asked before
    older = stored_time(query.since - _CLOCKS_DIFFER)
    names = stored_streams(connection) if query.stream is None else [query.stream]
    # Each stream by itself: its rows have an index by time. The earliest of all bounds the scan.
    before = [_last_change(connection, name, written_before=older) for name in names]
    earliest = min(before, default=0)
    return [verdicts.c.updated >= stored_time(query.since), verdicts.c.change > earliest]


def _written_before(connection: Connection, query: VerdictQuery) -> Conditions:
    """Rows that were written before a time.

    Those after the first clearly newer ones are not looked at.
    """
    assert query.until is not None  # noqa: S101 - asked before
    newer = stored_time(query.until + _CLOCKS_DIFFER)
    names = stored_streams(connection) if query.stream is None else [query.stream]
    after = [_first_change(connection, name, written_after=newer) for name in names]
    latest = [change for change in after if change is not None]
    conditions: Conditions = [verdicts.c.updated < stored_time(query.until)]
    # A stream without a newer row has all of its rows before that time: nothing bounds them.
    if len(latest) == len(names) > 0:
        conditions.append(verdicts.c.change < max(latest))
    return conditions


def _first_change(connection: Connection, stream: str, *, written_after: str) -> int | None:
    """The change of a stream's first row from after a time; none: there is no such row."""
    newer = (verdicts.c.stream == stream, verdicts.c.updated > written_after)
    first = select(verdicts.c.change).where(*newer).order_by(verdicts.c.updated).limit(1)
    change: int | None = connection.scalar(first)
    return change


def _last_change(connection: Connection, stream: str, *, written_before: str) -> int:
    """The change of a stream's last row from before a time; -1 where there is none."""
    older = (verdicts.c.stream == stream, verdicts.c.updated < written_before)
    newest_first = verdicts.c.updated.desc()
    last = select(verdicts.c.change).where(*older).order_by(newest_first).limit(1)
    change = connection.scalar(last)
    return -1 if change is None else change


def _page(
    connection: Connection,
    conditions: Conditions,
    *,
    order: tuple[ColumnElement[Any], ...],
    limit: int,
) -> Page:
    """Rows in an order, and where the next ones begin."""
    shown = [verdicts.c[name] for name in _ROWS if name not in _UNSEEN]
    # One more than is shown tells whether there is a next page, without counting all.
    statement = select(*shown).where(*conditions).order_by(*order).limit(limit + 1)
    # All at once, so that no reader holds an old state of the store.
    rows = connection.execute(statement).all()
    more = len(rows) > limit
    return Page(rows[:limit], _place(rows[limit - 1]) if more else None)


def _named(
    connection: Connection,
    query: VerdictQuery,
    *,
    conditions: Conditions,
) -> Sequence[Row[Any]]:
    """Verdicts on the session of a name: looked up in each partition, of which there are few."""
    here = and_(
        places.c.stream == verdicts.c.stream,
        places.c.partition == verdicts.c.partition,
        verdicts.c.session == query.q,
    )
    shown = [verdicts.c[name] for name in _ROWS if name not in _UNSEEN]
    statement = select(*shown).select_from(places).join(verdicts, here).where(*conditions)
    return connection.execute(statement.order_by(*_NEWEST).limit(query.limit)).all()


def _edge(
    connection: Connection,
    conditions: Conditions,
    *,
    order: tuple[ColumnElement[Any], ...],
) -> Cursor | None:
    """The last of the verdicts that one search looks through; none: it comes to the end."""
    columns = (verdicts.c.change, *_KEY)
    statement = select(*columns).where(*conditions).order_by(*order)
    row = connection.execute(statement.offset(_SEARCHED - 1).limit(1)).one_or_none()
    return None if row is None else _place(row)


def _searched() -> tuple[ColumnElement[Any], ...]:
    """Columns that a text is looked for in."""
    return (verdicts.c.session, verdicts.c.kind, verdicts.c.evidence)


def _place(row: Row[Any]) -> Cursor:
    """Where a row stands in the order of changes."""
    fields = row._asdict()
    return Cursor(row.change, VerdictKey(*(fields[name] for name in VerdictKey._fields)))


def _is_before(place: Cursor) -> ColumnElement[bool]:
    """Rows before a place."""
    earlier = verdicts.c.change < place.change
    if place.key is None:
        return earlier
    # The first condition is the one that an index serves.
    return and_(verdicts.c.change <= place.change, earlier | (tuple_(*_KEY) < place.key))


def _is_after(place: Cursor) -> ColumnElement[bool]:
    """Rows after a place."""
    later = verdicts.c.change > place.change
    if place.key is None:
        return later
    return and_(verdicts.c.change >= place.change, later | (tuple_(*_KEY) > place.key))


def _up_to(edge: Cursor, *, oldest_first: bool) -> ColumnElement[bool]:
    """Rows up to a place, and the one there.

    The first condition is the one that an index serves.
    """
    change, key = verdicts.c.change, tuple_(*_KEY)
    if oldest_first:
        return and_(change <= edge.change, (change < edge.change) | (key <= edge.key))
    return and_(change >= edge.change, (change > edge.change) | (key >= edge.key))


def _answers(
    connection: Connection,
    rows: Sequence[Row[Any]],
) -> Mapping[VerdictKey, dict[str, Any]]:
    """What people said last of verdicts."""
    # By stream and session, which an index serves; what else the key holds is compared below.
    streams, sessions = {row.stream for row in rows}, {row.session for row in rows}
    columns = [feedback.c[name] for name in VerdictKey._fields]
    told = (feedback.c.id, feedback.c.answer, feedback.c.lines)
    theirs = (feedback.c.stream.in_(streams), feedback.c.session.in_(sessions))
    statement = select(*columns, *told).where(*theirs)
    answers = {}
    for row in connection.execute(statement.order_by(feedback.c.id)):
        *key, number, answer, lines = row
        # Oldest first, so that the last answer on a session stays.
        answers[VerdictKey(*key)] = _answer(number, answer, lines=lines)
    return answers


def _answer(number: int, answer: str, *, lines: str | None) -> dict[str, Any]:
    """What a person said of a session."""
    told: dict[str, Any] = {"id": number, "answer": answer}
    return told if lines is None else told | {"lines": json.loads(lines)}
