"""What is new or unusual against sessions that were learnt from, without any label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contexts import Contexts, usual_kinds
from logllm.methods.contract import LearningOn, Method, Needs, Workplace, anything, normal_sessions
from logllm.methods.frequencies import Frequencies, Held, held
from logllm.methods.learnt import Learnt
from logllm.methods.likeness import Likeness, alike
from logllm.methods.surprise import NEW, Counted, of_entries, of_sessions
from logllm.methods.tail import Fresh, Nats, Surprise, Tail
from logllm.methods.trouble import Grades, grades
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, kinds_of, lengths, occurring

Flags = npt.NDArray[np.bool_]

COMPARED = 5_000
"""How many kinds others are compared with at most: those that most sessions hold."""
_BLOCKS = 5
"""Into how many blocks the sessions are divided, each judged by the others: this tells how strange
sessions are that were not learnt from."""


class New(NamedTuple):
    """New messages of sessions, one entry for each kind of a session."""

    sessions: Rows
    kinds: Rows
    grades: Grades
    """How much trouble it speaks of (`logllm.methods.trouble`)."""
    total: int
    """How many sessions there are, whatever they hold."""

    def spread(self) -> Rows:
        """How many sessions hold each new kind that speaks of trouble."""
        troubled = self.kinds[self.grades > 0]
        _, counts = np.unique(troubled, return_counts=True)
        return counts.astype(np.int64)


class Novelty(Method):
    """The surprise of a session's strangest message, by how many sessions hold the like of it.

    Surprise is measured in nats, -log of a share of sessions. That of a message is the largest of

    - rarity: how few sessions hold its kind (`logllm.sessions.message_table`) or one of similar
      words, of all sessions or of those of one sort (`logllm.methods.contexts`), whichever are
      fewer; two and a half nats more for a word of trouble, five for a grave one; and one more for
      each time that a rare message doubles in a session;
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
        """Whether lines have scores of their own: they do, since repetition counts, too."""
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
        """Count kinds of message in the normal sessions, or without labels in all.

        Raises:
            DataError: there is no normal session, or none with a message.
        """
        normal = anything(normal_sessions(sessions, labels))
        # Only messages that occur in them: a table may hold those of other parts, too.
        kinds = kinds_of(messages.gather(occurring(normal)))
        texts = kinds.unique(maintain_order=True)
        self._vocabulary = Vocabulary(texts.to_list())
        self._likeness = Likeness.of(texts)
        self._grades = grades(texts)

        # In all sessions and in each fifth of them: how many hold a kind how often. Fifths in
        # order, not at random: neighbours in time are alike, and would say too much of each other.
        numbers, _ = self._numbered(normal, messages)
        whole = held(normal, numbers)
        count = min(_BLOCKS, len(normal))
        blocks = np.arange(len(normal)) * count // len(normal)
        fifths = [whole.part(blocks == block) for block in range(count)]
        groups = [whole, *fifths]
        frequencies = [Frequencies.of(group, kinds=len(texts)) for group in groups]
        holding = frequencies[0].holding
        usual = usual_kinds(holding, sessions=whole.total)
        contexts = [Contexts.of(group, usual=usual, kinds=len(texts)) for group in groups]

        # And how many hold a kind or its like.
        vectors = self._likeness.vectors(texts)
        most = np.argsort(-holding, kind="stable")[:COMPARED]
        self._compared = np.sort(most)
        self._others = vectors[self._compared]

        # Of all groups at once: cosines cost much, and are the same for each of them. A kind is
        # its own like at the least, also where it is none of those compared with.
        counts = np.concatenate([context.holding for context in contexts], axis=1)
        weights = counts[self._compared].astype(np.float64)
        like = alike(vectors, self._others, weights=weights)
        likes = np.split(np.maximum(like, counts), len(groups), axis=1)
        self._counted, *parts = map(Counted, frequencies, contexts, likes)
        self._tail = self._held_back(fifths, parts)

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
        """The same for sessions of which only a part was seen.

        What is missing does not count.
        """
        return self._scores(sessions, messages, missed=False)

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """The surprise of each message in its session, as a score; absence does not count."""
        whole, counted, graded = self._seen(sessions, messages)
        entries = of_entries(whole, counted, grades=graded)
        # Each entry as a session of its own that lacks nothing.
        numbers = np.arange(len(whole.kinds))
        alone = whole._replace(sessions=numbers, total=len(numbers))
        surprise = of_sessions(alone, entries, lacking=None)

        # `of` gives each message the score of its entry, session after session.
        scores = self._tail.scores(surprise)[whole.of]
        if not len(sessions):
            return []
        ends = lengths(sessions).cumsum()
        return np.split(scores, ends[:-1])

    @property
    def tail(self) -> Tail:
        """How strange the sessions were that were held back."""
        return self._tail

    def new_kinds(self, messages: pl.Series) -> Labels:
        """Which messages are of a kind that no session learnt from holds, (u,)."""
        kinds = kinds_of(messages)
        numbers = self._vocabulary.of_texts(kinds.to_list())
        new: Labels = numbers == UNKNOWN
        return new

    def new(self, sessions: Sequence[Rows], messages: pl.Series) -> New:
        """What sessions hold that is unlike anything in the sessions learnt from."""
        whole, counted, graded = self._seen(sessions, messages)
        return _new(whole, like=counted.like[:, 0], grades=graded)

    def about(self) -> dict[str, Any]:
        """How many sessions were held back."""
        return {"held_back": len(self._tail.surprises)} if hasattr(self, "_tail") else {}

    def learning_on(self) -> LearningOn:
        """A method that knows what this one knows and goes on to learn."""
        from logllm.methods.learning_on import LearningNovelty

        return LearningNovelty(self)

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        arrays = {
            **self._counted.frequencies.arrays(),
            **self._counted.contexts.arrays(),
            "compared": self._compared,
            "like": self._counted.like,
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
        self._counted = Counted(
            Frequencies.from_arrays(fitted),
            Contexts.from_arrays(fitted),
            fitted.array("like"),
        )
        self._likeness = Likeness(fitted.fact("words"), messages=len(texts))
        self._compared = fitted.array("compared")
        self._others = self._likeness.vectors(texts.gather(self._compared))
        self._grades = grades(texts)
        fresh = Fresh(**fitted.fact("fresh"))
        self._tail = Tail(fitted.array("held_back"), fitted.array("most"), fresh=fresh)

    def _scores(self, sessions: Sequence[Rows], messages: pl.Series, *, missed: bool) -> Scores:
        """Scores of sessions, by what they hold and, where `missed`, by what they lack."""
        whole, counted, graded = self._seen(sessions, messages)
        entries = of_entries(whole, counted, grades=graded)
        lacking = counted.frequencies.lacking(whole) if missed else None
        surprise = of_sessions(whole, entries, lacking=lacking)
        return self._tail.scores(surprise)

    def _held_back(self, fifths: Sequence[Held], parts: Sequence[Counted]) -> Tail:
        """How strange the sessions of each fifth are to the others.

        Args:
            fifths: what their sessions hold.
            parts: what was counted in each.
        """
        surprises, news = [], []
        for fifth, part in zip(fifths, parts, strict=True):
            # A single session is held against itself.
            rest = self._counted.less(part) if len(parts) > 1 else self._counted
            entries = of_entries(fifth, rest, grades=self._grades)
            lacking = rest.frequencies.lacking(fifth)
            surprises.append(of_sessions(fifth, entries, lacking=lacking))
            news.append(_new(fifth, like=rest.like[:, 0], grades=self._grades))
        return Tail.of(Surprise.joined(surprises), _fresh(news))

    def _numbered(self, sessions: Sequence[Rows], messages: pl.Series) -> tuple[Rows, pl.Series]:
        """A number for each message of a table by its kind, (len(messages),), and the new kinds.

        Kinds that were learnt have the first numbers, from 0; the others follow, in the order of
        the table.
        """
        # The vocabulary counts from 1 and has 0 for what it does not know: here that is -1.
        rows = occurring(sessions)
        kinds = kinds_of(messages.gather(rows))
        own = self._vocabulary.of_texts(kinds.to_list()) - 1
        is_new = own < 0

        # Each new kind once, numbered on behind those that were learnt.
        new = kinds.filter(pl.Series(is_new))
        others = new.unique(maintain_order=True)
        numbered = others.to_frame("kind").with_row_index("place")
        placed = new.to_frame("kind").join(numbered, on="kind", maintain_order="left")
        places = placed["place"].to_numpy().astype(np.int64)
        own[is_new] = places + len(self._vocabulary)

        numbers = np.zeros(len(messages), dtype=np.int64)
        numbers[rows] = own
        return numbers, others

    def _seen(self, sessions: Sequence[Rows], messages: pl.Series) -> tuple[Held, Counted, Grades]:
        """What sessions hold; what was counted of all their kinds, and grades of trouble."""
        numbers, others = self._numbered(sessions, messages)
        # Kinds that were learnt have their numbers already; new ones get theirs now, behind them.
        weights = self._counted.contexts.holding[self._compared].astype(np.float64)
        vectors = self._likeness.vectors(others)
        like = alike(vectors, self._others, weights=weights)
        all_like = np.concatenate([self._counted.like, like])
        counted = self._counted._replace(like=all_like)
        graded = np.concatenate([self._grades, grades(others)])
        return held(sessions, numbers), counted, graded


def _new(entries: Held, *, like: Nats, grades: Grades) -> New:
    """What sessions hold that is unlike anything in the sessions learnt from."""
    here = like[entries.kinds] < NEW
    kinds = entries.kinds[here]
    return New(entries.sessions[here], kinds, grades[kinds], total=entries.total)


def _fresh(news: Sequence[New]) -> Fresh:
    """New messages of held-back sessions, in all parts together."""
    total = sum(new.total for new in news)
    with_new = sum(len(np.unique(new.sessions)) for new in news)
    counts = [new.spread() for new in news]
    kinds = sum(map(len, counts))
    most = int(np.concatenate(counts).max(initial=0))
    return Fresh(share=with_new / total, kinds=kinds, most=most)
