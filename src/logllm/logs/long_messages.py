"""Long messages with their last words behind the first ones.

A model reads only the beginning, but the reason often stands at the end.
"""

import polars as pl

_UNIT = r"[A-Za-z]{1,5}|[0-9]{1,2}|[^\sA-Za-z0-9]"
"""About what tokenizers of language models take for one token."""
_PIECE = r"[^\s,;]+[\s,;]*|[\s,;]+"  # a word and what divides it from the next
_READ = 90  # tokens that are read for sure where a model reads 100, as the paper's does
_FIRST, _LAST = 48, 36  # of these, with two signs between them
_BREAK = " … "


def with_early_ends(messages: pl.Series) -> pl.Series:
    """Messages; those too long for a model have their last words behind their first ones.

    What was between them comes at the end, so that no word is lost. A message stays as it is where
    its last word alone is long.

    >>> columns = ", ".join("c" * 9 for _ in range(60))
    >>> statement = f"failed: SELECT {columns} FROM t: deadlock detected"
    >>> early = with_early_ends(pl.Series([statement, "up"]))
    >>> early[0].split(" … ")[1][-25:], len(early[0]) - len(statement), early[1]
    ('FROM t: deadlock detected', 4, 'up')
    """
    # A token is a byte at least: most messages are out of question by their length alone.
    may_be_long = messages.str.len_bytes() > _READ
    if not may_be_long.any():
        return messages
    distinct = messages.filter(may_be_long).unique()
    tokens = distinct.str.count_matches(_UNIT)
    distinct = distinct.filter(tokens > _READ)
    if not len(distinct):
        return messages
    return messages.replace(distinct, _turned(distinct))


def _turned(messages: pl.Series) -> pl.Series:
    """Long messages with their ends early."""
    split = messages.str.extract_all(_PIECE).alias("piece")
    pieces = split.to_frame().with_row_index("message").explode("piece")
    piece, tokens = pl.col("piece"), pl.col("tokens")
    pieces = pieces.with_columns(tokens=piece.str.count_matches(_UNIT))
    # Each piece is of the first words, of the last, or between them.
    tokens_so_far = tokens.cum_sum().over("message")
    tokens_to_come = tokens.cum_sum(reverse=True).over("message")
    is_first, is_last = pl.col("is_first"), pl.col("is_last")
    pieces = pieces.with_columns(is_first=tokens_so_far <= _FIRST, is_last=tokens_to_come <= _LAST)
    # `first words … last words … what was between them`: the end comes where a model still reads.
    first = piece.filter(is_first).str.join("").str.strip_chars_end()
    last = piece.filter(is_last).str.join("")
    between = piece.filter(~is_first & ~is_last).str.join("").str.strip_chars_end()
    by_message = pieces.group_by("message", maintain_order=True)
    parts = by_message.agg(first=first, last=last, between=between)
    parts = parts.with_columns(whole=messages)
    turned = pl.concat_str("first", "last", "between", separator=_BREAK)
    divided = (pl.col("first") != "") & (pl.col("last") != "")
    early = pl.when(divided).then(turned).otherwise("whole")
    return parts.select(early).to_series()
