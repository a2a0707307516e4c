"""What a transaction that writes is made of."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import polars as pl
from sqlalchemy import Connection, Insert, Row, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from logllm.serve.store.frames import KEY, VERDICTS, Columns
from logllm.serve.store.schema import IS_OPEN, places, spans, verdicts
from logllm.serve.store.troubles import OwnershipLost

_AT_ONCE = 500
"""Values that are asked for at once."""
_OPEN = "open"


class Place(Protocol):
    """How far a partition is accounted for."""

    @property
    def low(self) -> int: ...  # noqa: D102
    @property
    def place(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def counters(self) -> Mapping[str, Any]: ...  # noqa: D102


class SortedOut(NamedTuple):
    """Which of the rows given are to be stored."""

    stored: pl.DataFrame
    """One a session, none of a session that is closed already."""
    new: int
    """How many of them are of sessions that are not there yet."""


def claim(
    connection: Connection,
    stream: str,
    *,
    partition: str,
    owner: str,
    updated: str,
) -> Row[Any]:
    """Raise a partition's epoch by one, or begin it; its row."""
    fresh = {"epoch": 1, "low": 0, "place": "{}", "counters": "{}"}
    named = {"stream": stream, "partition": partition, "owner": owner, "updated": updated}
    statement = _insert(connection, places).values(fresh | named)
    taken_over = statement.on_conflict_do_update(
        index_elements=[places.c.stream, places.c.partition],
        set_={"epoch": places.c.epoch + 1, "owner": owner, "updated": updated},
    )
    columns = (places.c.epoch, places.c.low, places.c.place, places.c.counters)
    return connection.execute(taken_over.returning(*columns)).one()


def compare_epochs(connection: Connection, stream: str, *, epochs: Mapping[str, int]) -> None:
    """Whether partitions still have the epochs of this owner.

    Nobody else can claim them until the transaction ends.

    Raises:
        OwnershipLost: some have not.
    """
    current: dict[str, int] = {}
    for names in _slices(sorted(epochs)):
        statement = select(places.c.partition, places.c.epoch)
        ours = statement.where(places.c.stream == stream, places.c.partition.in_(names))
        # One order for all who write, or two could wait for each other.
        rows = connection.execute(ours.order_by(places.c.partition).with_for_update())
        current.update({name: epoch for name, epoch in rows})
    lost = [name for name, epoch in epochs.items() if current.get(name) != epoch]
    if lost:
        raise OwnershipLost(lost)


def sort_out(connection: Connection, rows: pl.DataFrame) -> SortedOut:
    """Of rows the ones that say something that is not stored yet."""
    # Of a session's rows the first that is no longer open counts, else the last one.
    final = rows.filter(pl.col("state") != _OPEN).unique(KEY, keep="first", maintain_order=True)
    still_open = rows.filter(pl.col("state") == _OPEN).unique(KEY, keep="last", maintain_order=True)
    distinct = pl.concat([final, still_open.join(final, on=KEY, how="anti", maintain_order="left")])

    stored_states = _states(connection, distinct)
    states = distinct.join(stored_states, on=KEY, how="left", maintain_order="left")["stored_state"]
    wanted = states.is_null() | (states == _OPEN)
    return SortedOut(distinct.filter(wanted), states.null_count())


def _states(connection: Connection, rows: pl.DataFrame) -> pl.DataFrame:
    """The states of those rows' sessions that are stored."""
    key = [verdicts.c[name] for name in KEY]
    stored: list[tuple[Any, ...]] = []
    for (stream, partition), of_one in rows.group_by("stream", "partition", maintain_order=True):
        for names in _slices(of_one["session"].unique(maintain_order=True).to_list()):
            statement = select(*key, verdicts.c.state).where(
                verdicts.c.stream == stream,
                verdicts.c.partition == partition,
                verdicts.c.session.in_(names),
            )
            stored += [tuple(row) for row in connection.execute(statement)]
    schema: Columns = {name: VERDICTS[name] for name in KEY}
    schema["stored_state"] = pl.String
    return pl.DataFrame(stored, schema=schema, orient="row")


def put_verdicts(connection: Connection, rows: pl.DataFrame) -> None:
    """Store rows; one that is closed already is left, whoever wrote it."""
    if rows.is_empty():
        return
    statement = _insert(connection, verdicts)
    key = verdicts.primary_key.columns
    revised = {name: statement.excluded[name] for name in rows.columns if name not in key}
    upsert = statement.on_conflict_do_update(index_elements=list(key), set_=revised, where=IS_OPEN)
    _execute_many(connection, upsert, rows=rows)


def put_spans(connection: Connection, stream: str, *, last: pl.DataFrame) -> None:
    """Store the last lines of sessions over several partitions."""
    if last.is_empty():
        return
    named = last.rename({"partition": "home", "into": "partition"})
    rows = named.with_columns(pl.lit(stream).alias("stream"))
    statement = _insert(connection, spans)
    upsert = statement.on_conflict_do_update(
        index_elements=list(spans.primary_key.columns),
        set_={"last_position": statement.excluded.last_position},
    )
    _execute_many(connection, upsert, rows=rows)


def put_places(
    connection: Connection,
    stream: str,
    *,
    kept: Mapping[str, Place],
    updated: str,
) -> None:
    """Store how far partitions are accounted for, all of which have their rows."""
    statement = (
        places.update()
        .where(places.c.stream == stream, places.c.partition == bindparam("of"))
        .values(
            low=bindparam("new_low"),
            place=bindparam("new_place"),
            counters=bindparam("new_counters"),
            updated=updated,
        )
    )
    rows = [
        {
            "of": name,
            "new_low": mine.low,
            "new_place": _json(mine.place),
            "new_counters": _json(mine.counters),
        }
        for name, mine in kept.items()
    ]
    if rows:
        connection.execute(statement, rows)


def _json(value: Mapping[str, Any]) -> str:
    """An object as text."""
    return json.dumps(dict(value), separators=(",", ":"))


def _execute_many(connection: Connection, statement: Insert, *, rows: pl.DataFrame) -> None:
    """Execute a statement for every row, whose values are as the driver takes them.

    SQLAlchemy would look at each value of each row, which takes longer than to store it.
    """
    compiled = statement.compile(dialect=connection.dialect, column_keys=rows.columns)
    in_order = compiled.positiontup
    values = rows.to_dicts() if in_order is None else rows.select(in_order).rows()
    connection.exec_driver_sql(str(compiled), values)


def _insert(connection: Connection, table: Table) -> Any:
    """An insertion in this database's own dialect, which alone knows what to do on a conflict."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table)


def _slices(values: list[str]) -> Iterator[list[str]]:
    """Some values at a time."""
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
