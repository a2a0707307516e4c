"""What a transaction that writes is made of."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import polars as pl
from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Table,
    Text,
    UpdateBase,
    bindparam,
    exists,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from logllm.serve.store.frames import KEY
from logllm.serve.store.schema import IS_OPEN, numbers, places, spans, verdicts
from logllm.serve.store.troubles import OwnershipLost

_AT_ONCE = 500
"""Values that are asked for at once."""


class Place(Protocol):
    """How far a partition is accounted for."""

    @property
    def low(self) -> int: ...  # noqa: D102
    @property
    def place(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def counters(self) -> Mapping[str, Any]: ...  # noqa: D102


def claim(
    connection: Connection,
    stream: str,
    *,
    partition: str,
    owner: str,
    updated: str,
) -> Row[Any]:
    """Raise a partition's epoch by one, or begin it; its row."""
    # A partition that nobody ever had: all of its lines are still to be read.
    fresh = {"epoch": 1, "low": 0, "place": "{}", "counters": "{}"}
    key_values = {"stream": stream, "partition": partition}
    named = key_values | {"owner": owner, "updated": updated}
    # One statement begins or takes over: of two processes that start at the same moment both are
    # counted, and the one with the lower epoch learns of it at its next write. Place and counters
    # stay as the former owner left them.
    statement = _insert(connection, places).values(fresh | named)
    key = [places.c.stream, places.c.partition]
    raised = {"epoch": places.c.epoch + 1, "owner": owner, "updated": updated}
    taken_over = statement.on_conflict_do_update(index_elements=key, set_=raised)
    left_off = (places.c.low, places.c.place, places.c.counters)
    returned = taken_over.returning(places.c.epoch, *left_off)
    return connection.execute(returned).one()


def compare_epochs(connection: Connection, stream: str, *, epochs: Mapping[str, int]) -> None:
    """Make sure that partitions still have the epochs of this owner.

    Nobody else can claim them until the transaction ends.

    Raises:
        OwnershipLost: another owner has claimed some of them.
    """
    current: dict[str, int] = {}
    for names in _slices(sorted(epochs)):
        of_stream = places.c.stream == stream
        is_named = places.c.partition.in_(names)
        ours = select(places.c.partition, places.c.epoch).where(of_stream, is_named)
        # One order for all who write, or two could wait for each other.
        in_order = ours.order_by(places.c.partition)
        rows = connection.execute(in_order.with_for_update())
        current.update({name: epoch for name, epoch in rows})
    # A place whose row is gone is lost as well: it has no epoch at all.
    lost = []
    for name, epoch in epochs.items():
        if current.get(name) != epoch:
            lost.append(name)
    if lost:
        raise OwnershipLost(lost)


def next_change(connection: Connection) -> int:
    """The number of this transaction among those that change what people see.

    Numbers are in the order of commits: nobody has the next one until this transaction ends.
    """
    # The row stays locked until the transaction ends, which is what orders the numbers.
    following = {"value": numbers.c.value + 1}
    raised = numbers.update().where(numbers.c.name == "change").values(following)
    return int(connection.execute(raised.returning(numbers.c.value)).scalar_one())


def last_words(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a session: the first that is no longer open counts, else the last one."""
    is_open = pl.col("state") == "open"
    # Over first: a session that ended cannot be judged otherwise by what was written before it did.
    # Of several that are open the last was judged on the most lines.
    final = rows.filter(~is_open).unique(KEY, keep="first", maintain_order=True)
    still_open = rows.filter(is_open).unique(KEY, keep="last", maintain_order=True)
    others = still_open.join(final, on=KEY, how="anti", maintain_order="left")
    return pl.concat([final, others])


def put_verdicts(connection: Connection, rows: pl.DataFrame) -> tuple[int, int]:
    """Store rows, one a session, but none of a session that is over already.

    Returns:
        How many sessions are new, and how many were open and are written anew.
    """
    is_open = rows["state"] == "open"
    # Most that are open were stored a moment ago by the same watch, so that they are looked for
    # first; those that were not there are added.
    still_open, over = rows.filter(is_open), rows.filter(~is_open)
    revised = _revise(connection, still_open)
    new = _add(connection, still_open)

    # Most sessions that are over were never stored while they were open, as when a log is read
    # from its start. What was added a moment ago is not open, so that it isn't counted twice.
    added = _add(connection, over)
    if added < over.height:
        revised += _revise(connection, over)
    return new + added, revised


def _revise(connection: Connection, rows: pl.DataFrame) -> int:
    """Write those rows anew that are stored and open; how many they are."""
    key = verdicts.primary_key.columns
    # A value that is looked for may not be called as a column that is set.
    looked_for = {column.name: f"of_{column.name}" for column in key}
    same = []
    for column in key:
        value: BindParameter[Any] = bindparam(looked_for[column.name])
        same.append(column == value)
    # All but the key is written anew; `incident` is no column of these rows, so that a session
    # stays in its incident.
    others = [name for name in rows.columns if name not in looked_for]
    values: dict[str, Any] = {name: bindparam(name) for name in others}
    statement = verdicts.update().where(*same, IS_OPEN).values(values)
    return _execute_many(connection, statement, rows=rows.rename(looked_for))


def _add(connection: Connection, rows: pl.DataFrame) -> int:
    """Write those rows that are not stored yet; how many they are."""
    statement = insert_new(connection, verdicts)
    return _execute_many(connection, statement, rows=rows)


def put_spans(connection: Connection, stream: str, *, last: pl.DataFrame, updated: str) -> None:
    """Store the last lines of sessions over several partitions, whose verdicts were just written.

    Nothing changes for a verdict that was over already: it says nothing of lines that came later.
    """
    # Here `partition` is the one where the last line lies; the verdict's own is called `home`.
    named = {"partition": "home", "into": "partition"}
    same_in_all = {"stream": pl.lit(stream), "updated": pl.lit(updated)}
    rows = last.rename(named).with_columns(**same_in_all)
    parameters: dict[str, BindParameter[Any]] = {}
    for column in spans.c:
        parameters[column.name] = bindparam(f"of_{column.name}", type_=column.type)
    key = ("stream", "session", "piece", "first_position")
    same = [verdicts.c[name] == parameters[name] for name in key]
    at_home = verdicts.c.partition == parameters["home"]
    # A verdict that was just written has this transaction's time; one that was over keeps its own.
    just_written = verdicts.c.updated == bindparam("of_updated", type_=Text)
    its_verdict = exists().where(*same, at_home, just_written)

    row = select(*parameters.values()).where(its_verdict)
    statement = _insert(connection, spans).from_select([*parameters], row)
    # An open session goes on: its last line in a partition moves with every verdict.
    span_key = list(spans.primary_key.columns)
    moved = {"last_position": statement.excluded.last_position}
    upsert = statement.on_conflict_do_update(index_elements=span_key, set_=moved)
    _execute_many(connection, upsert, rows=rows.rename(lambda name: f"of_{name}"))


def put_places(
    connection: Connection,
    stream: str,
    *,
    kept: Mapping[str, Place],
    updated: str,
) -> None:
    """Store how far partitions are accounted for, all of which have their rows."""
    # An update, never an insertion: only `claim` makes rows, and with them an owner.
    # A value that is looked for may not be called as a column that is set.
    of_stream = places.c.stream == stream
    of_partition = places.c.partition == bindparam("of")
    values: dict[str, Any] = {"updated": updated}
    for name in ("low", "place", "counters"):
        values[name] = bindparam(f"new_{name}")
    statement = places.update().where(of_stream, of_partition).values(values)
    rows = []
    for name, mine in kept.items():
        place, counters = _json(mine.place), _json(mine.counters)
        new = {"new_low": mine.low, "new_place": place, "new_counters": counters}
        rows.append({"of": name, **new})
    if rows:
        connection.execute(statement, rows)


def _json(value: Mapping[str, Any]) -> str:
    """An object as text."""
    return json.dumps(dict(value), separators=(",", ":"))


def _execute_many(connection: Connection, statement: UpdateBase, *, rows: pl.DataFrame) -> int:
    """Execute a statement for every row; how many rows it wrote.

    The rows' values are such as the driver takes: SQLAlchemy would look at each of them, which
    takes longer than to store it.
    """
    if rows.is_empty():
        return 0
    # SQLite's driver takes values by position, PostgreSQL's by name; `positiontup` is none there.
    compiled = statement.compile(dialect=connection.dialect, column_keys=rows.columns)
    in_order = compiled.positiontup
    if in_order is None:
        values: Sequence[Any] = rows.to_dicts()
    else:
        # A value may be asked for in several places.
        places_and_names = enumerate(in_order)
        numbered = [pl.col(name).alias(str(place)) for place, name in places_and_names]
        values = rows.select(numbered).rows()
    # Without it SQLAlchemy gives no count of rows for many at once.
    options = {"preserve_rowcount": True}
    result = connection.exec_driver_sql(str(compiled), values, execution_options=options)
    return result.rowcount


def insert_new(connection: Connection, table: Table) -> Any:
    """An insertion that leaves rows alone that are there already."""
    return _insert(connection, table).on_conflict_do_nothing()


def _insert(connection: Connection, table: Table) -> Any:
    """An insertion in this database's own dialect, which alone knows what to do on a conflict."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table)


def _slices(values: list[str]) -> Iterator[list[str]]:
    """Some values at a time."""
    starts = range(0, len(values), _AT_ONCE)
    return (values[start : start + _AT_ONCE] for start in starts)
