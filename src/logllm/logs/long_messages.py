"""Long messages with their last words behind the first ones.

A model reads the beginning, and the reason often stands at the end.
"""

import polars as pl

_UNIT = r"[A-Za-z]{1,5}|[0-9]{1,2}|[^\sA-Za-z0-9]"
"""About what tokenizers of language models take for one token."""
_PIECE = r"[^\s,;]+[\s,;]*|[\s,;]+"  # a word and what divides it from the next
_READ = 90  # tokens that are read for sure where a model reads 100, as the paper's does
_FIRST, _LAST = 48, 36  # of these, with two signs between them
_BREAK = " … "


def with_early_ends(messages: pl.Series) -> pl.Series:
    """Messages, those too long for a model with their last words behind their first ones, and what was between them at the end.

    No word is lost. A message stays as it is where its last word alone is long.

    >>> statement = "failed: SELECT " + ", ".join("c" * 9 for _ in range(60)) + " FROM t: deadlock detected"
    >>> early = with_early_ends(pl.Series([statement, "up"]))
    >>> early[0].split(" … ")[1][-25:], len(early[0]) - len(statement), early[1]
    ('FROM t: deadlock detected', 4, 'up')
    """
    # A token is a byte at least: most messages are out of question by their length alone.
    may_be_long = messages.str.len_bytes() > _READ
    if not may_be_long.any():
        return messages
    distinct = messages.filter(may_be_long).unique()
    distinct = distinct.filter(distinct.str.count_matches(_UNIT) > _READ)
    if not len(distinct):
        return messages
    return messages.replace(distinct, _turned(distinct))


def _turned(messages: pl.Series) -> pl.Series:
    """Long messages, each turned."""
    split = messages.str.extract_all(_PIECE).alias("piece")
    pieces = split.to_frame().with_row_index("message").explode("piece")
    piece, tokens = pl.col("piece"), pl.col("tokens")
    pieces = pieces.with_columns(tokens=piece.str.count_matches(_UNIT))
    pieces = pieces.with_columns(
        first=tokens.cum_sum().over("message") <= _FIRST,
        last=tokens.cum_sum(reverse=True).over("message") <= _LAST,
    )
    first, last = pl.col("first"), pl.col("last")
    # `first words … last words … what was between them`: the end comes where a model still reads.
    by_message = pieces.group_by("message", maintain_order=True)
    parts = by_message.agg(
        first=piece.filter(first).str.join(""),
        last=piece.filter(last).str.join(""),
        between=piece.filter(~first & ~last).str.join(""),
    )
    parts = parts.with_columns(pl.col("first", "between").str.strip_chars_end(), whole=messages)
    turned = pl.concat_str("first", "last", "between", separator=_BREAK)
    divided = (pl.col("first") != "") & (pl.col("last") != "")
    return parts.select(pl.when(divided).then(turned).otherwise("whole")).to_series()
