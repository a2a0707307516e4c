"""What the service reads of a store; every query is served by an index, or bounded."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import ColumnElement, Connection, Row, TextClause, and_, func, or_, select, tuple_

from logllm.serve.store.frames import READ, Columns, VerdictKey, from_rows, stored_time
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
_ROWS: Columns = READ | dict.fromkeys(_TEXTS, pl.String)
"""Columns as the database gives them."""
_KEY = tuple(verdicts.c[name] for name in VerdictKey._fields)
_KEY_BACKWARDS = [column.desc() for column in _KEY]
_NEWEST = (verdicts.c.change.desc(), *_KEY_BACKWARDS)
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
    conditions.append(or_(*like))
    # A page that is full ends before the edge.
    matching = _page(connection, conditions, order=order, limit=query.limit)
    return matching if matching.next is not None else Page(matching.rows, edge)


def one(connection: Connection, key: VerdictKey) -> Row[Any] | None:
    """A verdict with all that is kept of it."""
    pairs = zip(_KEY, key, strict=True)
    same = [column == value for column, value in pairs]
    columns = [verdicts.c[name] for name in _ROWS]
    statement = select(*columns).where(*same)
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
    verdict_list = []
    # Both are in the order of the rows.
    pairs = zip(values, verdict_objects(frame), strict=True)
    for row, verdict in pairs:
        key = VerdictKey(*(row[name] for name in VerdictKey._fields))
        verdict["id"] = encode(key)
        if key in answers:
            verdict["feedback"] = answers[key]
        verdict_list.append(verdict)
    return verdict_list


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
    matching = select(kinds).where(*conditions)
    newest_first = matching.order_by(kinds.c.change.desc()).limit(query.limit)
    return [row._asdict() for row in connection.execute(newest_first)]


def changed_kinds(connection: Connection, *, after: int, until: int) -> Objects:
    """Kinds of message that came after a change, up to another one and with it."""
    span = (kinds.c.change > after, kinds.c.change <= until)
    matching = select(kinds).where(*span)
    in_order = matching.order_by(kinds.c.change)
    return [row._asdict() for row in connection.execute(in_order)]


def open_incidents(connection: Connection) -> int:
    """How many incidents go on."""
    is_open = incidents.c.state == "open"
    going_on = select(func.count()).select_from(incidents).where(is_open)
    return connection.scalar(going_on) or 0


def deliveries_by_state(connection: Connection) -> list[tuple[str, float]]:
    """How many messages wait, were sent, or could not be."""
    state = deliveries.c.state
    counted = select(state, func.count()).group_by(state)
    rows = connection.execute(counted.order_by(state))
    return [(name, count) for name, count in rows]


def _conditions(connection: Connection, query: VerdictQuery) -> Conditions:
    """What rows must fulfil."""
    columns = verdicts.c
    conditions: Conditions = []
    if query.anomalous is not None:
        conditions.append(IS_ANOMALOUS if query.anomalous else ~columns.anomalous)
    if query.state is not None:
        in_state = columns.state == query.state
        conditions.append(IS_OPEN if query.state == "open" else in_state)
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
    # Places of pages: those before one, or after one.
    if query.before is not None:
        before = cursor(query.before)
        conditions.append(_is_before(before))
    if query.after is not None:
        after = cursor(query.after)
        conditions.append(_is_after(after))
    return conditions


def _written_since(connection: Connection, query: VerdictQuery) -> Conditions:
    """Rows that were written at a time or later.

    Rows are in order of their changes, which grow with time: rows before the last one that is
    clearly older are skipped.
    """
    assert query.since is not None  # noqa: S101 - asked before
    older = stored_time(query.since - _CLOCKS_DIFFER)
    names = stored_streams(connection) if query.stream is None else [query.stream]
    # Each stream by itself: its rows have an index by time. The earliest of all bounds the scan.
    before = [_last_change(connection, name, written_before=older) for name in names]
    earliest = min(before, default=0)
    in_time = verdicts.c.updated >= stored_time(query.since)
    is_later = verdicts.c.change > earliest
    return [in_time, is_later]


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
    of_stream = verdicts.c.stream == stream
    is_newer = verdicts.c.updated > written_after
    newer = select(verdicts.c.change).where(of_stream, is_newer)
    oldest_first = newer.order_by(verdicts.c.updated)
    change: int | None = connection.scalar(oldest_first.limit(1))
    return change


def _last_change(connection: Connection, stream: str, *, written_before: str) -> int:
    """The change of a stream's last row from before a time; -1 where there is none."""
    of_stream = verdicts.c.stream == stream
    is_older = verdicts.c.updated < written_before
    older = select(verdicts.c.change).where(of_stream, is_older)
    newest_first = older.order_by(verdicts.c.updated.desc())
    change = connection.scalar(newest_first.limit(1))
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
    in_order = select(*shown).where(*conditions).order_by(*order)
    # One more than is shown tells whether there is a next page, without counting all.
    statement = in_order.limit(limit + 1)
    # All at once, so that no reader holds an old state of the store.
    rows = connection.execute(statement).all()
    more = len(rows) > limit
    following = _place(rows[limit - 1]) if more else None
    return Page(rows[:limit], following)


def _named(
    connection: Connection,
    query: VerdictQuery,
    *,
    conditions: Conditions,
) -> Sequence[Row[Any]]:
    """Verdicts on the session of a name: looked up in each partition, of which there are few."""
    same_stream = places.c.stream == verdicts.c.stream
    same_partition = places.c.partition == verdicts.c.partition
    is_named = verdicts.c.session == query.q
    here = and_(same_stream, same_partition, is_named)
    shown = [verdicts.c[name] for name in _ROWS if name not in _UNSEEN]
    joined = select(*shown).select_from(places).join(verdicts, here)
    newest_first = joined.where(*conditions).order_by(*_NEWEST)
    return connection.execute(newest_first.limit(query.limit)).all()


def _edge(
    connection: Connection,
    conditions: Conditions,
    *,
    order: tuple[ColumnElement[Any], ...],
) -> Cursor | None:
    """The last of the verdicts that one search looks through; none: it comes to the end."""
    columns = (verdicts.c.change, *_KEY)
    in_order = select(*columns).where(*conditions).order_by(*order)
    last = in_order.offset(_SEARCHED - 1).limit(1)
    row = connection.execute(last).one_or_none()
    return None if row is None else _place(row)


def _searched() -> tuple[ColumnElement[Any], ...]:
    """Columns that a text is looked for in."""
    return (verdicts.c.session, verdicts.c.kind, verdicts.c.evidence)


def _place(row: Row[Any]) -> Cursor:
    """Where a row stands in the order of changes."""
    fields = row._asdict()
    key = VerdictKey(*(fields[name] for name in VerdictKey._fields))
    return Cursor(row.change, key)


def _is_before(place: Cursor) -> ColumnElement[bool]:
    """Rows before a place."""
    change = verdicts.c.change
    earlier = change < place.change
    if place.key is None:
        return earlier
    # Of the same change those that come before it by their keys.
    before_it = earlier | (tuple_(*_KEY) < place.key)
    # The first condition is the one that an index serves.
    return and_(change <= place.change, before_it)


def _is_after(place: Cursor) -> ColumnElement[bool]:
    """Rows after a place."""
    change = verdicts.c.change
    later = change > place.change
    if place.key is None:
        return later
    after_it = later | (tuple_(*_KEY) > place.key)
    return and_(change >= place.change, after_it)


def _up_to(edge: Cursor, *, oldest_first: bool) -> ColumnElement[bool]:
    """Rows up to a place, and the one there.

    The first condition is the one that an index serves.
    """
    change, key = verdicts.c.change, tuple_(*_KEY)
    if oldest_first:
        earlier = change < edge.change
        return and_(change <= edge.change, earlier | (key <= edge.key))
    later = change > edge.change
    return and_(change >= edge.change, later | (key >= edge.key))


def _answers(
    connection: Connection,
    rows: Sequence[Row[Any]],
) -> Mapping[VerdictKey, dict[str, Any]]:
    """What people said last of verdicts."""
    # By stream and session, which an index serves; what else the key holds is compared below.
    streams = {row.stream for row in rows}
    sessions = {row.session for row in rows}
    of_streams = feedback.c.stream.in_(streams)
    of_sessions = feedback.c.session.in_(sessions)
    columns = [feedback.c[name] for name in VerdictKey._fields]
    answer_columns = (feedback.c.id, feedback.c.answer, feedback.c.lines)
    theirs = select(*columns, *answer_columns).where(of_streams, of_sessions)
    answers = {}
    for row in connection.execute(theirs.order_by(feedback.c.id)):
        *key, number, answer, lines = row
        # Oldest first, so that the last answer on a session stays.
        answers[VerdictKey(*key)] = _answer(number, answer, lines=lines)
    return answers


def _answer(number: int, answer: str, *, lines: str | None) -> dict[str, Any]:
    """What a person said of a session."""
    told: dict[str, Any] = {"id": number, "answer": answer}
    if lines is not None:
        told["lines"] = json.loads(lines)
    return told
