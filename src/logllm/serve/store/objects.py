"""Verdicts of a store as the JSON objects that `detect` writes."""

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from logllm.detect.verdict import FIELDS, OPTIONAL, SCHEMA

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_OPTIONAL = [name for name in OPTIONAL if name != "state"]
_FIRST = ("stream", *FIELDS, "state", *_OPTIONAL)
"""Keys in their order, what only a store has apart."""
_TIMES = ("start", "end", "updated")
_JSON = ("evidence", "texts")
_NEVER_LACKING = {*FIELDS, "stream", "state", "partition", "piece", "updated"}


def verdict_objects(verdicts: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Verdicts, as `Store.verdicts` gives them, one by one.

    They have the keys of a verdict's own schema, without those that would be null, and besides
    `stream`, `partition`, `piece`, `updated`, `change`, `texts`, and where there are such `kind`
    and `incident`. `state` is always there.
    """
    for row in verdicts.iter_rows(named=True):
        yield _object(row)


def _object(row: dict[str, Any]) -> dict[str, Any]:
    """One verdict."""
    # `more` holds what only some methods say, such as `minds`: keys of the verdict like all others.
    more = json.loads(row.pop("more") or "{}")
    lists = {name: json.loads(row[name]) for name in _JSON if row[name] is not None}
    times = {}
    for name in _TIMES:
        time = row[name]
        times[name] = time and time.strftime(_TIME)
    values = row | more | lists | times | {"schema": SCHEMA}

    # Where a line is in the log is told by `lines` already; masked messages are for training.
    for name in ("first_position", "last_position", "messages"):
        del values[name]
    # Null stays where a reader counts on the key, and goes where it would say nothing.
    speaking = {name for name, value in values.items() if value is not None}
    shown = speaking | _NEVER_LACKING
    order = dict.fromkeys([*_FIRST, *values])
    return {name: values[name] for name in order if name in shown}
