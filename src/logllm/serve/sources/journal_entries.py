"""Entries of systemd's journal as lines: whole JSON objects, each with its cursor, at any size."""

import json
import re
from typing import Any, NamedTuple

import polars as pl

from logllm.logs.lines import LONGEST_LINE, lines_in, without_codes

_CURSOR = r'"__CURSOR"\s*:\s*"([^"]*)"'
_BYTES = r'"\s*:\s*\[\s*\d'
"""A field that is no text is a list of its bytes."""
_MOST_KEPT = 1 << 14
"""Characters that are kept of a field where the entry is too long for a line."""


class Entries(NamedTuple):
    """Entries that came together."""

    lines: pl.DataFrame
    """`line` and `text`, and the `cursor` of each."""
    bad: int
    """Lines that are no entry."""
    cut: int
    """Entries that were too long, with fields of which only the beginning is there."""


def entries_in(block: bytes, *, after: int) -> Entries:
    r"""The entries of some whole lines, numbered on.

    >>> written = b'{"__CURSOR":"s=1;i=2","MESSAGE":[104,105]}\nno journal\n'
    >>> entries_in(written, after=4).lines.rows()
    [(5, '{"__CURSOR": "s=1;i=2", "MESSAGE": "hi"}', 's=1;i=2')]
    """
    # A line that is too long would be cut in the middle of its JSON: its fields are cut instead.
    raw = block.removesuffix(b"\n").split(b"\n")
    long = [place for place, line in enumerate(raw) if len(line) > LONGEST_LINE]
    for place in long:
        whole = raw[place].decode(errors="replace")
        short = _as_text(whole, most=_MOST_KEPT)
        raw[place] = short.encode()
    frame = lines_in(b"\n".join(raw), after=0, encoding="utf-8").frame
    # An entry begins and ends, and has a cursor: what else a dying program writes has not.
    written = pl.col("text").str
    is_object = written.starts_with("{") & written.ends_with("}")
    cursor = pl.col("text").str.extract(_CURSOR)
    with_cursor = frame.with_columns(cursor=cursor)
    entries = with_cursor.filter(is_object & pl.col("cursor").is_not_null())
    text = _texts(entries["text"])
    numbers = pl.int_range(after + 1, after + 1 + len(text), dtype=pl.UInt64, eager=True)
    lines = entries.with_columns(line=numbers, text=text)
    return Entries(lines, frame.height - lines.height, len(long))


def last_cursor(block: bytes) -> str | None:
    """The cursor of the last entry of some lines."""
    cursors = re.findall(_CURSOR, block.decode(errors="replace"))
    return cursors[-1] if cursors else None


def _texts(entries: pl.Series) -> pl.Series:
    """Entries whose fields are text, those too that came as bytes."""
    # Few entries hold a field of bytes: only those go through Python.
    odd = entries.str.contains(_BYTES)
    if not odd.any():
        return entries
    texts = entries.to_list()
    for place in odd.arg_true():
        texts[place] = _as_text(texts[place], most=LONGEST_LINE)
    return pl.Series("text", texts, dtype=pl.String)


def _as_text(entry: str, *, most: int) -> str:
    """An entry with all fields as text, of each at most so many characters."""
    try:
        fields = json.loads(entry)
    except ValueError:
        return ""
    if not isinstance(fields, dict):
        return ""
    short = {name: _field(value, most=most) for name, value in fields.items()}
    return json.dumps(short, ensure_ascii=False)


def _field(value: Any, *, most: int) -> Any:
    """A field's value: bytes as text, and not too long."""
    if isinstance(value, list) and value and all(isinstance(byte, int) for byte in value):
        # journalctl writes what is no UTF-8 as a list: [104, 105] is "hi".
        text = bytes(byte & 255 for byte in value).decode(errors="replace")
        value = without_codes(pl.Series([text]))[0]
    if isinstance(value, list):
        return [_field(one, most=most) for one in value]
    return value[:most] if isinstance(value, str) else value
