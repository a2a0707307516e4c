"""Answers of people to verdicts: given, listed, taken back.

A false alarm mutes its kind at once.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import polars as pl
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select

from logllm.errors import DataError
from logllm.serve.incidents.mutes import Muting, put_mutes, take_mute_back
from logllm.serve.store.frames import NUL_PICTURE, VerdictKey, stored_names, stored_time
from logllm.serve.store.schema import places, verdicts
from logllm.serve.store.service_schema import feedback, incidents, mutes
from logllm.serve.store.verdict_store import Store
from logllm.serve.store.writing import next_change

ANOMALOUS: Literal["anomalous"] = "anomalous"
NORMAL: Literal["normal"] = "normal"
MUTED = timedelta(days=7)
"""How long a kind is muted that was a false alarm: by then it should have been learnt."""
_LONGEST_NOTE = 2_000
_SHOWN = 5


class Said(NamedTuple):
    """What a person says of a session."""

    answer: Literal["anomalous", "normal"]
    by: str
    """Who says it, as far as that is known."""
    lines: tuple[int, ...] | None = None
    """Numbers of the guilty lines; none: that is not said."""
    note: str = ""
    messages: tuple[str, ...] | None = None
    """The session's masked messages, where the store has none of it."""
    incident: int | None = None
    """The incident that is meant as a whole, to which the session belongs: a false alarm mutes all
    of its kinds. None: the session alone is meant."""


class Missed(NamedTuple):
    """A session that the store may know nothing of."""

    stream: str
    session: str
    model: str
    """What verdicts call the run by whose settings its lines were read."""


def give(
    store: Store,
    about: VerdictKey | Missed,
    *,
    said: Said,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Take an answer; it counts instead of earlier ones on the same session.

    Args:
        store: where verdicts are.
        about: the session.
        said: the answer.
        now: the time; none: that of this machine.

    Returns:
        As `answers` gives it, and where there are such `replaces`, the number of the earlier
        answer, `muted_until` and `muted`, the kinds.

    Raises:
        DataError: there is no such session, the store has no messages of it and none are given, or
            a line that is named is not in it.
    """
    if len(said.note) > _LONGEST_NOTE:
        raise DataError(f"the note has {len(said.note):,} characters: at most {_LONGEST_NOTE:,}")
    now = datetime.now(UTC) if now is None else now
    with store.transaction() as connection:
        # All in one transaction: an answer without its mute would leave people being told on.
        values, alarmed = _values(connection, about, said=said)
        kinds = _kinds(connection, about, said=said, own=values["kind"])
        change = next_change(connection)
        before = _before(connection, values)
        values |= {"made": stored_time(now), "change": change}
        new = insert(feedback).values(values).returning(feedback)
        stored = connection.execute(new).one()

        # What the earlier answer muted is no longer meant; the new one may mute it again.
        extra: dict[str, Any] = {}
        if before is not None:
            extra["replaces"] = before
            _unmute(connection, before, now=now, change=change)
        false_alarm = alarmed and said.answer == NORMAL
        if false_alarm and kinds:
            why = _why(stored.id)
            until = now + MUTED
            mutings = [Muting(stored.stream, kind, until, said.by, why) for kind in kinds]
            muted = put_mutes(connection, mutings, now=now, change=change)
            extra |= {"muted_until": muted[0]["until"], "muted": kinds}
    return _object(stored) | extra


def answers(
    store: Store,
    *,
    stream: str | None = None,
    session: str | None = None,
    after: int = 0,
    limit: int = 1_000,
) -> list[dict[str, Any]]:
    """Answers, the newest first.

    Args:
        store: where they are.
        stream: of one stream; none: of all.
        session: of one session.
        after: given or changed after this number of a change.
        limit: at most so many.

    Returns:
        Objects with `id, stream, partition, session, piece, answer, lines, kind, score, model,
        made, by, note, trained, change`.
    """
    # By change, not by number: one that was learnt meanwhile has changed, too.
    wanted: list[ColumnElement[bool]] = [feedback.c.change > after]
    if stream is not None:
        wanted.append(feedback.c.stream == stream)
    if session is not None:
        wanted.append(feedback.c.session == _stored(session))
    matching = select(feedback).where(*wanted)
    newest_first = matching.order_by(feedback.c.id.desc())
    with store.transaction(reading=True) as connection:
        rows = connection.execute(newest_first.limit(limit))
        return [_object(row) for row in rows]


def take_back(store: Store, number: int, *, now: datetime | None = None) -> bool:
    """Forget an answer, and what it has muted; whether there was such a one."""
    now = datetime.now(UTC) if now is None else now
    deletion = delete(feedback).where(feedback.c.id == number)
    with store.transaction() as connection:
        gone = connection.execute(deletion).rowcount
        if gone:
            _unmute(connection, number, now=now, change=next_change(connection))
    return bool(gone)


def find_session(store: Store, session: str, *, stream: str | None = None) -> VerdictKey:
    """The verdict that is meant by a session's name: the last one written.

    Raises:
        DataError: there is none, or several streams have one.
    """
    # Its name is looked for as the store writes it, and told as the person wrote it.
    rows = _named(store, _stored(session), stream=stream)
    if not rows:
        of = "" if stream is None else f" of {stream}"
        remedy = "`logllm store show` lists those that were judged last"
        raise DataError(f"{store.name} has no session {session}{of}: {remedy}")
    streams = sorted({row.stream for row in rows})
    if len(streams) > 1:
        several = ", ".join(streams[:_SHOWN])
        what = f"several streams have a session {session} ({several})"
        raise DataError(f"{what}: say which one with --stream")

    # Names come again, as numbers of processes do: the last one is meant, and its last piece.
    newest = max(rows, key=lambda row: (row.updated, row.piece))
    return VerdictKey(*newest[: len(VerdictKey._fields)])


def find_incident(store: Store, number: int) -> VerdictKey:
    """The verdict that stands for an incident: that of its most anomalous session.

    Raises:
        DataError: there is no such incident.
    """
    most_anomalous = select(incidents.c.top).where(incidents.c.id == number)
    with store.transaction(reading=True) as connection:
        top = connection.scalar(most_anomalous)
    sessions = json.loads(top or "[]")
    if not sessions:
        raise DataError(f"{store.name} has no incident {number}, or none of its sessions any more")
    # The first of them has the highest score.
    first = sessions[0]
    return VerdictKey(*(first[name] for name in VerdictKey._fields))


def _named(store: Store, name: str, *, stream: str | None) -> list[Row[Any]]:
    """The verdicts on sessions of a name: their keys, and when they were written."""
    # A few partitions and an index for each, where a look by name alone would read every verdict.
    columns = verdicts.c
    key = [columns[part] for part in VerdictKey._fields]
    homes = select(places.c.stream, places.c.partition)
    if stream is not None:
        homes = homes.where(places.c.stream == stream)

    # Asked of each partition by itself, since every key begins with it.
    rows: list[Row[Any]] = []
    with store.transaction(reading=True) as connection:
        for home in connection.execute(homes):
            here = (columns.stream == home.stream, columns.partition == home.partition)
            of_home = select(*key, columns.updated).where(*here)
            rows += connection.execute(of_home.where(columns.session == name))
    return rows


def _values(
    connection: Connection,
    about: VerdictKey | Missed,
    *,
    said: Said,
) -> tuple[dict[str, Any], bool]:
    """What is stored of an answer but for its number and time; whether the verdict was an alarm.

    Raises:
        DataError: as `give`.
    """
    words = {"answer": said.answer, "by": _clean(said.by), "note": _clean(said.note)}
    if isinstance(about, Missed):
        # No verdict tells its lines' numbers: they count from 1, as they were given. Nor is it
        # known in which partition they came, which the key leaves empty.
        messages = _messages(None, said, session=about.session)
        numbers = list(range(1, len(messages) + 1))
        key = VerdictKey(_clean(about.stream), "", _stored(about.session), 1, 0)
        judged = {"kind": None, "score": None, "model": about.model}
        guilty = _guilty_columns(said, messages, numbers=numbers)
        values = key._asdict() | judged | words | guilty
        return values, False

    this_verdict = select(verdicts).where(*_same_verdict(about))
    row = connection.execute(this_verdict).one_or_none()
    if row is None:
        what = f"there is no verdict on {about.session} in {about.stream} any more"
        raise DataError(f"{what}: it was deleted for its age, or never made")

    # A copy of what was judged: the verdict may be deleted for its age before a run learns of it.
    messages = _messages(row.messages, said, session=about.session)
    judged = {"kind": row.kind, "score": row.score, "model": row.model}
    guilty = _guilty_columns(said, messages, numbers=json.loads(row.lines))
    values = about._asdict() | judged | words | guilty
    return values, bool(row.anomalous)


def _same_verdict(key: VerdictKey) -> list[ColumnElement[bool]]:
    """What the row of a verdict fulfils."""
    return [verdicts.c[name] == value for name, value in key._asdict().items()]


def _messages(stored: str | None, said: Said, *, session: str) -> list[str]:
    """A session's masked messages: those in the store, or those that are given.

    Raises:
        DataError: there are none.
    """
    # What was judged goes before what somebody gives.
    if stored is None:
        messages = [_clean(message) for message in said.messages or ()]
    else:
        messages = json.loads(stored)
    if not messages:
        what = f"what {session} says is not kept, since it was judged normal"
        raise DataError(f"{what}: give its lines, too")
    return messages


def _guilty_columns(
    said: Said,
    messages: Sequence[str],
    *,
    numbers: Sequence[int],
) -> dict[str, Any]:
    """Columns of messages and guilty lines.

    Raises:
        DataError: a line is named that the session does not have, or of a normal session.
    """
    stored = json.dumps(list(messages), ensure_ascii=False)
    columns: dict[str, Any] = {"messages": stored, "lines": None, "guilty": None}
    if said.lines is None:
        return columns
    if said.answer == NORMAL:
        remedy = "leave the line out, or call the session anomalous"
        raise DataError(f"a normal session has no guilty line: {remedy}")

    # People see a line's number in the log; what is learnt is its place among the messages, from 0.
    place_of = {number: place for place, number in enumerate(numbers)}
    strange = [number for number in said.lines if number not in place_of]
    if strange:
        shown = list(numbers)[:_SHOWN]
        first = ", ".join(f"{number:,}" for number in shown)
        more = ", ..." if len(numbers) > _SHOWN else ""
        lines = f"its lines are {first}{more}"
        raise DataError(f"the session has no line {strange[0]:,}: {lines}")

    # Of a long session the last lines have no message that was kept: nothing is learnt of them.
    places = {place_of[number] for number in said.lines}
    guilty = sorted(place for place in places if place < len(messages))
    named = json.dumps(list(said.lines))
    return columns | {"lines": named, "guilty": json.dumps(guilty)}


def _kinds(
    connection: Connection, about: VerdictKey | Missed, *, said: Said, own: str | None
) -> list[str]:
    """The kinds of message that are meant: a session's own kind, or all kinds of an incident.

    Raises:
        DataError: there is no such incident, or the session does not belong to it.
    """
    if said.incident is None:
        return [] if own is None else [own]
    this = incidents.c.id == said.incident
    columns = (incidents.c.stream, incidents.c.kinds)
    row = connection.execute(select(*columns).where(this)).one_or_none()
    # The session's own verdict says which incident it belongs to.
    member = None
    if row is not None and isinstance(about, VerdictKey):
        belongs_to = select(verdicts.c.incident).where(*_same_verdict(about))
        member = connection.scalar(belongs_to)
    if row is None or member != said.incident:
        what = f"{about.session} is no session of incident {said.incident}"
        raise DataError(f"{what}: answer for the session alone")
    return [kind["kind"] for kind in json.loads(row.kinds)]


def _before(connection: Connection, row: dict[str, Any]) -> int | None:
    """The last answer on the same session; none: there is none."""
    # The same session is one with the same key: a name may come again.
    same = [feedback.c[name] == row[name] for name in VerdictKey._fields]
    earlier = select(feedback.c.id).where(*same)
    newest_first = earlier.order_by(feedback.c.id.desc())
    return connection.execute(newest_first.limit(1)).scalar()


def _unmute(connection: Connection, number: int, *, now: datetime, change: int) -> None:
    """Take back what an answer has muted."""
    # A mute has no column for its answer: its reason names it.
    is_due_to_it = mutes.c.why == _why(number)
    due_to_it = select(mutes.c.id).where(is_due_to_it)
    for mute in list(connection.scalars(due_to_it)):
        take_mute_back(connection, mute, now=now, change=change)


def _why(number: int) -> str:
    """How a mute names the answer that it is due to."""
    return f"false alarm (answer {number})"


def _stored(session: str) -> str:
    """A session's name as the store has it."""
    return str(stored_names(pl.Series([_clean(session)]))[0])


def _clean(text: str) -> str:
    """A text that every database takes.

    NUL, and halves of characters, become what stands for them.
    """
    return text.encode(errors="replace").decode().replace("\x00", NUL_PICTURE)


def _object(row: Row[Any]) -> dict[str, Any]:
    """An answer as JSON has it."""
    # What learning reads stays in the store: it can be long, and says nothing that people do not
    # see.
    values = dict(row._mapping)
    for name in ("messages", "guilty", "first_position"):
        del values[name]
    lines = None if row.lines is None else json.loads(row.lines)
    return values | {"lines": lines}
