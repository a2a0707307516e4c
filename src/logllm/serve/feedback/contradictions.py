"""Answers that are hard to believe: labelled data contradict them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from logllm.datasets.prepared import Prepared
from logllm.serve.feedback.answered import Answer
from logllm.sessions.message_table import kinds_of, rows_of

_ENOUGH = 3
"""An answer contradicts the labels if at least so many labelled sessions say otherwise."""
_NEARLY_ALL = 0.95
"""The share of such sessions that must say otherwise."""


class Contradiction(NamedTuple):
    """An answer, and what speaks against it."""

    number: int
    """The number of the answer."""
    session: str
    answer: str
    against: str
    """What speaks against it, in words."""

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict()


def contradictions(answers: Sequence[Answer], prepared: Prepared) -> list[Contradiction]:
    """Answers that earlier labelled sessions contradict.

    There are two ways: sessions with the same kinds of message in the same order had the other
    label; or a session is called normal that holds a kind of message which only anomalous sessions
    held (only guilty lines, where lines have labels).

    Args:
        answers: those that count.
        prepared: the earlier data, with labels.
    """
    # Not the test part: the gate measures on it, and what it says must stay unseen.
    train = pl.concat([prepared.part("train"), prepared.part("validation")])
    # By kinds, not messages: a name that no mask takes out would make all sessions different.
    kinds = kinds_of(prepared.messages)
    equal = _equal_sessions(train, kinds)
    guilty = _guilty_kinds(train, kinds)
    against = []
    for answer in answers:
        words = _against(answer, equal, guilty=guilty)
        if words is not None:
            against.append(Contradiction(answer.number, answer.session, answer.said, words))
    return against


def _against(
    answer: Answer,
    equal: Mapping[str, tuple[int, int]],
    *,
    guilty: Mapping[str, int],
) -> str | None:
    """What labelled sessions say against an answer; none: nothing."""
    messages = pl.Series(answer.messages, dtype=pl.String)
    kinds = kinds_of(messages).to_list()
    # The whole session is the stronger word. A session that is called anomalous cannot be
    # contradicted by one kind of line: others of its lines, or their order, may be why.
    whole_session = "\n".join(kinds)
    words = _against_equal(answer, equal.get(whole_session))
    if words is not None or answer.anomalous:
        return words
    telling = next((kind for kind in kinds if kind in guilty), None)
    if telling is None:
        return None
    return f"{guilty[telling]:,} labelled sessions with such a line are anomalous: {telling}"


def _equal_sessions(train: pl.DataFrame, kinds: pl.Series) -> dict[str, tuple[int, int]]:
    """For each sequence of kinds, how many sessions are normal and how many anomalous."""
    counts: dict[str, tuple[int, int]] = {}
    labelled = zip(rows_of(train["messages"]), train["anomalous"], strict=True)
    for session, anomalous in labelled:
        name = "\n".join(kinds.gather(session))
        normal, bad = counts.get(name, (0, 0))
        counts[name] = (normal + (not anomalous), bad + bool(anomalous))
    return counts


def _guilty_kinds(train: pl.DataFrame, kinds: pl.Series) -> dict[str, int]:
    """Kinds of message that make sessions anomalous, each with the number of such sessions."""
    # Where lines have labels a kind is guilty by its own, else by those of its sessions.
    by_line = not train["item_anomalous"].null_count()
    lists = ["messages", "item_anomalous"] if by_line else ["messages"]
    rows = train.with_row_index("row").explode(lists)
    mark = "item_anomalous" if by_line else "anomalous"
    marked = rows.select("row", kind=kinds.gather(rows["messages"]), guilty=mark)

    # Each session counts once for each kind that it holds.
    by_session = marked.group_by("row", "kind").agg(pl.col("guilty").max())
    guilty = pl.col("guilty").sum()
    counted = by_session.group_by("kind").agg(guilty, of=pl.len())
    # Not all: labels of before hold errors, too.
    enough = pl.col("guilty") >= _ENOUGH
    nearly_all = pl.col("guilty") >= _NEARLY_ALL * pl.col("of")
    telling = counted.filter(enough & nearly_all)
    return dict(telling.select("kind", "guilty").iter_rows())


def _against_equal(answer: Answer, counts: tuple[int, int] | None) -> str | None:
    """What equal sessions say against an answer; none: nothing."""
    if counts is None:
        return None
    # Those with the other label: normal ones where the answer says anomalous.
    others = counts[0] if answer.anomalous else counts[1]
    nearly_all = _NEARLY_ALL * sum(counts)
    if others < _ENOUGH or others < nearly_all:
        return None
    other = "normal" if answer.anomalous else "anomalous"
    return f"{others:,} labelled sessions of just the same kinds of message are {other}"
