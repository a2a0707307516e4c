"""Lines of JSON taken apart in Python, where Polars would have to know their fields beforehand."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def json_fields(line: str) -> Mapping[str, str]:
    """Fields of a JSON object by their dotted paths; nothing where the line is none.

    >>> json_fields('{"a": {"b": 1, "c": null}, "d": "x"}'), json_fields("[1]")
    ({'a.b': '1', 'd': 'x'}, {})
    """
    try:
        value = json.loads(line)
        return dict(_leaves(value)) if isinstance(value, dict) else {}
    except (ValueError, RecursionError):  # the latter: nested deeper than Python follows
        return {}


def _leaves(value: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Paths and values of what is no object in an object."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{before}.{name}" if before else name)
    elif value is not None:
        yield before, value if isinstance(value, str) else json.dumps(value)


def json_records(line: str, path: Sequence[str]) -> list[str] | None:
    """The records in a line's lists, as lines of JSON.

    None where the line has no such list, or the list holds no record.

    >>> json_records('{"a": [{"b": [{"x": 1}, {"x": 2}]}, {"b": []}]}', ["a", "b"])
    ['{"x": 1}', '{"x": 2}']
    >>> json_records("{", ["a"]) is None
    True
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):  # the latter: nested deeper than Python follows
        return None
    if not isinstance(value, dict) or path[0] not in value:
        return None
    # Name after name: the lists of one level are opened, and all that is in them is gone through.
    values = [value]
    for name in path:
        inner = [entry[name] for entry in values if isinstance(entry, dict) and name in entry]
        values = []
        for listed in inner:
            values += listed if isinstance(listed, list) else [listed]
    return [json.dumps(record, ensure_ascii=False) for record in values] or None
