"""Kinds of message: masked messages that differ in nothing but what stands in quotes."""

import polars as pl

_QUOTED = r""""[^"]*"|'[^']*'|«[^»]*»|»[^«]*«|„[^“]*“"""


def kinds_of(messages: pl.Series) -> pl.Series:
    """The kind of each message: it, with `"…"` for what stands in quotes.

    A name in quotes is one of many that the same line of a program writes.

    >>> kinds_of(pl.Series(['role "ann" does not exist', "role 'bob' does not exist", "done"])).to_list()
    ['role "…" does not exist', 'role "…" does not exist', 'done']
    """
    return messages.str.replace_all(_QUOTED, '"…"')
