"""What is new or unusual against sessions that were learnt from, without any label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Needs, Workplace, anything, normal_sessions
from logllm.methods.frequencies import Frequencies, Held, held
from logllm.methods.learnt import Learnt
from logllm.methods.likeness import Likeness, alike
from logllm.methods.tail import Fresh, Nats, Surprise, Tail
from logllm.methods.trouble import Grades, grades
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_kinds import kinds_of
from logllm.sessions.message_table import Rows, lengths, occurring

Flags = npt.NDArray[np.bool_]

_TROUBLE = 3.0
"""Nats that a word of trouble adds to the surprise of its message: as if it were 20 times rarer."""
_COMPARED = 5_000
"""Kinds that others are compared with: those that most sessions hold."""
_BLOCKS = 5
"""Parts of the sessions that are each judged by the others: so strange is what was not learnt from."""
_NEW = 1.0
"""A kind is new where not so much as one session holds it or its like."""


class _OfKinds(NamedTuple):
    """Kinds of surprise, in nats, one number an entry of what sessions hold."""

    rare: Nats
    """How few sessions hold it."""
    troubled: Nats
    """The same of what speaks of trouble, and more for that."""
    repeated: Nats
    """How few hold it, and of those so often."""
    seldom: Nats
    """How few hold it no more often."""


class New(NamedTuple):
    """New messages of sessions, one entry a kind of a session."""

    sessions: Rows
    kinds: Rows
    grades: Grades
    """How much trouble it speaks of (`logllm.methods.trouble`)."""
    total: int
    """How many sessions there are, whatever they hold."""

    def spread(self) -> Rows:
        """Of each new kind that speaks of trouble how many sessions hold it."""
        _, counts = np.unique(self.kinds[self.grades > 0], return_counts=True)
        return counts.astype(np.int64)


class Novelty(Method):
    """The surprise of a session's strangest message, by how many sessions hold the like of it.

    Surprise is measured in nats, -log of a share of sessions. That of a message is the largest of

    - rarity: how few sessions hold its kind (`logllm.sessions.message_kinds`) or one of similar
      words, and three nats more for a word of trouble, six for a grave one;
    - repetition: rarity, and how few of the sessions that hold it do so as often;
    - lack: how few sessions hold so little of it, or nothing.

    So a line never seen that says *failed* comes first, then a line never seen, then one that is
    repeated or missing as hardly ever. Nothing is drawn, and no network is needed.

    Scores are half where sessions are 20 times less likely than the strangest of those that were
    held back in learning: each fifth of the sessions, in their order, judged by the others. With
    labels the anomalous sessions are left out, without labels it learns from all.
    """

    needs: ClassVar[Needs] = Needs.NOTHING

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """There is nothing to set."""

    @property
    def reads_lines(self) -> bool:
        """Yes: how often it is there, too."""
        return True

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Count kinds of message in the normal sessions, without labels in all.

        Raises:
            DataError: there is no normal session, or none with a message.
        """
        normal = anything(normal_sessions(sessions, labels))
        kinds = kinds_of(messages.gather(occurring(normal)))
        texts = kinds.unique(maintain_order=True)
        self._vocabulary = Vocabulary(texts.to_list())
        self._likeness = Likeness.of(texts)
        self._grades = grades(texts)

        # In each fifth of the sessions how many hold a kind how often; the sum is what was learnt.
        numbers, _ = self._numbered(normal, messages)
        found = held(normal, numbers)
        blocks = np.arange(len(normal)) * min(_BLOCKS, len(normal)) // len(normal)
        fifths = [found.part(blocks == block) for block in range(blocks[-1] + 1)]
        parts = [Frequencies.of(fifth, kinds=len(texts)) for fifth in fifths]
        self._frequencies = Frequencies.sum(parts)

        # How many sessions hold a kind or its like: of all of them, and of each fifth.
        vectors = self._likeness.vectors(texts)
        most = np.argsort(-self._frequencies.holding, kind="stable")[:_COMPARED]
        self._compared = np.sort(most)
        self._others = vectors[self._compared]
        holding = np.stack([self._frequencies.holding, *(part.holding for part in parts)], axis=1)
        like = alike(vectors, self._others, weights=holding[self._compared].astype(np.float64))
        like = np.maximum(like, holding)
        self._like = like[:, 0]
        self._tail = self._held_back(fifths, parts, like=like[:, 1:])

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """The surprise of the strangest message, as a score."""
        return self._scores(sessions, messages, missed=True)

    def score_seen(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """The same of sessions of which only a part was seen: nothing is said of what is missing."""
        return self._scores(sessions, messages, missed=False)

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """The surprise of each message in its session, as a score; what is missing is not said."""
        found, like, graded = self._seen(sessions, messages)
        # Each entry as a session that lacks nothing.
        entries = np.arange(len(found.kinds))
        alone = found._replace(sessions=entries, total=len(entries))
        surprise = _surprises(alone, self._frequencies, like=like, grades=graded, missed=False)
        scores = self._tail.scores(surprise)[found.of]
        return np.split(scores, lengths(sessions).cumsum()[:-1]) if len(sessions) else []

    @property
    def tail(self) -> Tail:
        """How strange sessions were that were held back."""
        return self._tail

    def new_kinds(self, messages: pl.Series) -> Labels:
        """Which messages are of a kind that no session learnt from holds, (u,)."""
        numbers = self._vocabulary.of_texts(kinds_of(messages).to_list())
        new: Labels = numbers == UNKNOWN
        return new

    def new(self, sessions: Sequence[Rows], messages: pl.Series) -> New:
        """What sessions hold of which no session learnt from holds the like."""
        found, like, graded = self._seen(sessions, messages)
        return _new(found, like=like, grades=graded)

    def about(self) -> dict[str, Any]:
        """How many sessions were held back."""
        return {"held_back": len(self._tail.surprises)} if hasattr(self, "_tail") else {}

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        arrays = {
            **self._frequencies.arrays(),
            "compared": self._compared,
            "like": self._like,
            "held_back": self._tail.surprises,
            "most": self._tail.most,
        }
        facts = {
            "fresh": self._tail.fresh._asdict(),
            "kinds": self._vocabulary.texts,
            "words": self._likeness.frequencies,
        }
        Learnt(arrays, facts).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        fitted = Learnt.read(folder)
        self._vocabulary = Vocabulary(fitted.fact("kinds"))
        texts = pl.Series(self._vocabulary.texts, dtype=pl.String)
        self._frequencies = Frequencies.from_arrays(fitted)
        self._likeness = Likeness(fitted.fact("words"), messages=len(texts))
        self._compared = fitted.array("compared")
        self._others = self._likeness.vectors(texts.gather(self._compared))
        self._like = fitted.array("like")
        self._grades = grades(texts)
        fresh = Fresh(**fitted.fact("fresh"))
        self._tail = Tail(fitted.array("held_back"), fitted.array("most"), fresh=fresh)

    def _scores(self, sessions: Sequence[Rows], messages: pl.Series, *, missed: bool) -> Scores:
        """Scores of sessions, by what they hold and, where `missed`, by what they do not."""
        found, like, graded = self._seen(sessions, messages)
        learnt = self._frequencies
        surprise = _surprises(found, learnt, like=like, grades=graded, missed=missed)
        return self._tail.scores(surprise)

    def _held_back(
        self,
        fifths: Sequence[Held],
        parts: Sequence[Frequencies],
        *,
        like: Nats,
    ) -> Tail:
        """How strange the sessions of each fifth are to the others.

        Args:
            fifths: what their sessions hold.
            parts: how often they do.
            like: in each how many sessions hold a kind or its like, (kinds, fifths).
        """
        surprises, news = [], []
        for number, (fifth, part) in enumerate(zip(fifths, parts, strict=True)):
            # A single session is held against itself.
            rest = self._frequencies.less(part) if len(parts) > 1 else part
            others = self._like - like[:, number] if len(parts) > 1 else self._like
            others = np.maximum(others, rest.holding)
            surprises.append(_surprises(fifth, rest, like=others, grades=self._grades, missed=True))
            news.append(_new(fifth, like=others, grades=self._grades))
        return Tail.of(Surprise.joined(surprises), _fresh(news))

    def _numbered(self, sessions: Sequence[Rows], messages: pl.Series) -> tuple[Rows, pl.Series]:
        """Numbers of a table's messages by their kinds, (len(messages),), and the new kinds.

        Kinds that were learnt come first, from 0; the others after them, in the order of the table.
        """
        rows = occurring(sessions)
        kinds = kinds_of(messages.gather(rows))
        known = self._vocabulary.of_texts(kinds.to_list()) - 1
        new = kinds.filter(pl.Series(known < 0))
        others = new.unique(maintain_order=True)
        numbered = others.to_frame("kind").with_row_index("place")
        places = new.to_frame("kind").join(numbered, on="kind", maintain_order="left")
        known[known < 0] = places["place"].to_numpy().astype(np.int64) + len(self._vocabulary)
        numbers = np.zeros(len(messages), dtype=np.int64)
        numbers[rows] = known
        return numbers, others

    def _seen(self, sessions: Sequence[Rows], messages: pl.Series) -> tuple[Held, Nats, Grades]:
        """What sessions hold; of all kinds how many sessions hold the like, and grades of trouble."""
        numbers, others = self._numbered(sessions, messages)
        weights = self._frequencies.holding[self._compared].astype(np.float64)
        like = alike(self._likeness.vectors(others), self._others, weights=weights)
        graded = np.concatenate([self._grades, grades(others)])
        return held(sessions, numbers), np.concatenate([self._like, like]), graded


def _surprise(found: Held, learnt: Frequencies, *, rarity: Nats, grades: Grades) -> _OfKinds:
    """What is surprising of each kind that a session holds, one number an entry of `found`."""
    rare = rarity[found.kinds]
    trouble = _TROUBLE * grades[found.kinds]
    repeated, seldom = learnt.unusual(found)
    return _OfKinds(
        rare=rare,
        troubled=np.where(trouble > 0, rare + trouble, 0),
        repeated=np.where(repeated > 0, rare + repeated, 0),
        seldom=seldom,
    )


def _surprises(
    found: Held,
    learnt: Frequencies,
    *,
    like: Nats,
    grades: Grades,
    missed: bool,
) -> Surprise:
    """The surprise of sessions.

    Args:
        found: what they hold.
        learnt: how often those learnt from hold it.
        like: how many of those hold the like of each kind.
        grades: of trouble, of each kind.
        missed: whether it counts what a session does not hold, or holds less often than others.
    """
    surprise = _surprise(found, learnt, rarity=learnt.rarity(like), grades=grades)
    kinds = np.stack([_largest(found, nats) for nats in surprise], axis=1)
    kinds[:, -1] = np.maximum(kinds[:, -1], learnt.lacking(found)) if missed else 0
    largest = kinds.max(axis=1)

    # What is new and speaks of trouble adds up.
    trouble = _TROUBLE * grades[found.kinds] * (1 + np.log(found.times))
    new_trouble = np.where(like[found.kinds] < _NEW, trouble, 0)
    together = np.bincount(found.sessions, weights=new_trouble, minlength=found.total)
    return Surprise(largest, np.column_stack([kinds, together]))


def _new(found: Held, *, like: Nats, grades: Grades) -> New:
    """What sessions hold of which no session learnt from holds the like."""
    here = like[found.kinds] < _NEW
    kinds = found.kinds[here]
    return New(found.sessions[here], kinds, grades[kinds], total=found.total)


def _fresh(news: Sequence[New]) -> Fresh:
    """New messages of held-back sessions, in all parts together."""
    total = sum(new.total for new in news)
    counts = [new.spread() for new in news]
    return Fresh(
        share=sum(len(np.unique(new.sessions)) for new in news) / total,
        kinds=sum(map(len, counts)),
        most=int(np.concatenate(counts).max(initial=0)),
    )


def _largest(found: Held, nats: Nats | Flags) -> Nats:
    """The largest number of a session's entries, (b,)."""
    largest = np.zeros(found.total)
    np.maximum.at(largest, found.sessions, nats)
    return largest
