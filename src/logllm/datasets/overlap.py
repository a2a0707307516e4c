"""What a part shares with the train part: how far its figures can be those of learning by heart."""

from typing import Any

import polars as pl


def seen(part: pl.DataFrame, train: pl.DataFrame) -> pl.Series:
    """For each session of a part whether its exact sequence of messages is a train session's.

    >>> sequences = pl.Series([[1, 2], [2, 1]], dtype=pl.List(pl.UInt32))
    >>> part = pl.DataFrame({"messages": sequences})
    >>> seen(part, part.head(1)).to_list()
    [True, False]
    """
    known = train.select(pl.col("messages").unique(), in_train=True)
    joined = part.select("messages").join(known, on="messages", how="left", maintain_order="left")
    return joined["in_train"].fill_null(False)


def leakage(part: pl.DataFrame, train: pl.DataFrame, *, in_train: pl.Series) -> dict[str, Any]:
    """How much of a labelled part the train part gives away, in shares.

    Args:
        part: labelled sessions that a model is judged on.
        train: the sessions that it learned from.
        in_train: which of the part's sessions are among them (`seen`).

    Returns:
        `seen`, `seen_normal`, `seen_anomalous`: sessions of the part (with that label) whose exact
        sequence is in train; `repeated`: sessions whose sequence came before within the part;
        `new_messages`: distinct messages of the part that train does not hold, and
        `new_occurrences`: how much of the part's messages they are; `early`: sessions that start
        before the last train session ends. None where there is nothing to take a share of, and for
        `early` without times.
    """
    sessions = part.select("anomalous", start=pl.col("start"), in_train=in_train)
    known = train["messages"].explode().unique().implode()
    messages = part["messages"].explode().drop_nulls()
    distinct = messages.unique()
    normal = sessions.filter(~pl.col("anomalous"))
    anomalous = sessions.filter("anomalous")
    repeated = None
    if part.height:
        repeated = 1 - part["messages"].n_unique() / part.height
    # "Early" is about time: without times nothing can be said of it.
    ends: Any = train["end"].max()
    starts = sessions["start"].drop_nulls()
    early = None if ends is None else _share(starts < ends)
    is_new = ~distinct.is_in(known)
    new_each_time = ~messages.is_in(known)
    return {
        "seen": _share(sessions["in_train"]),
        "seen_normal": _share(normal["in_train"]),
        "seen_anomalous": _share(anomalous["in_train"]),
        "repeated": repeated,
        "new_messages": _share(is_new),
        "new_occurrences": _share(new_each_time),
        "early": early,
    }


def _share(which: pl.Series) -> float | None:
    """How much of a column is true."""
    if not len(which):
        return None
    return float(which.sum() / len(which))
