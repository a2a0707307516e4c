"""Sessions as rows of a matrix: counts of messages or words, or a summary of vectors."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import polars as pl

from logllm.errors import DataError
from logllm.methods.learnt import Learnt
from logllm.methods.matrix import Dense, Matrix, Sparse
from logllm.methods.vectors import FrozenVectors, Vectors
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, lengths, occurring

Reader = Callable[[Sequence[Rows]], Matrix]
"""Makes a matrix of some sessions, one row each."""
Summary = Literal["mean", "max", "min"]

_REDUCED: dict[Summary, np.ufunc] = {"mean": np.add, "max": np.maximum, "min": np.minimum}
_AT_ONCE = 2048
"""How many sessions' vectors are held at once."""
_CELLS = 16 * 2**20
"""How many cells a matrix has at most: 64 MB where all of them are held."""
_ROWS = 4096
"""How many sessions a matrix has at most, however few columns it has."""
_WORD = re.compile(r"\b\w\w+\b")
"""What scikit-learn's `CountVectorizer` takes for a word."""


class Features(Protocol):
    """What a classical method sees of a session."""

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Settle the columns."""

    def reader(self, sessions: Sequence[Rows], messages: pl.Series) -> Reader:
        """A function that makes matrices of these sessions, a few at a time.

        Each message is looked at once.
        """

    def about(self) -> dict[str, Any]:
        """What a run's manifest says of it."""

    def fitted(self) -> Learnt:
        """The columns, for files."""

    def restore(self, fitted: Learnt) -> None:
        """Settle the columns as files say.

        Raises:
            ModelError: the files are of another method.
        """


class EventCounts:
    """How often each message occurs; a message that was not learnt from has no column."""

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Settle the columns: the messages of these sessions."""
        self._vocabulary = Vocabulary.of(sessions, messages)

    def reader(self, sessions: Sequence[Rows], messages: pl.Series) -> Reader:
        """What makes matrices of counts, (b, messages known)."""
        numbers = self._vocabulary.numbers(sessions, messages)

        def read(chunk: Sequence[Rows]) -> Matrix:
            # What has no column is left out: a forest or a regression could say nothing of it.
            rows, places = _flat(chunk)
            counted = numbers[places]
            here = counted != UNKNOWN
            shape = len(chunk), len(self._vocabulary)
            return Sparse.counted(rows[here], counted[here] - 1, shape=shape)

        return read

    def about(self) -> dict[str, Any]:
        """Nothing that its files do not say."""
        return {}

    def fitted(self) -> Learnt:
        """The messages."""
        return Learnt({}, {"messages": self._vocabulary.texts})

    def restore(self, fitted: Learnt) -> None:
        """Know the messages that files name."""
        self._vocabulary = Vocabulary(fitted.fact("messages"))


class WordCounts:
    """How often each word of the masked messages occurs.

    Words are separated by blanks; signs and capitals count. A message never seen is known by the
    words it shares with others.
    """

    lacking: ClassVar[str] = "no word: take a method on counts of messages"
    """What is wrong with messages of which there is nothing to learn."""

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Settle the columns: the words of these sessions' messages.

        Raises:
            DataError: they hold no words.
        """
        texts = messages.gather(occurring(sessions)).to_list()
        words: set[str] = set()
        for text in texts:
            words.update(self._words(text))
        if not words:
            raise DataError(f"the messages to learn from hold {self.lacking}")
        # In an order that does not depend on the data's: the same words, the same columns.
        self._know(sorted(words))

    def reader(
        self, sessions: Sequence[Rows], messages: pl.Series
    ) -> Callable[[Sequence[Rows]], Sparse]:
        """What makes matrices of counts, (b, words known)."""
        # The columns of all messages' words, one message after the other: message m has
        # `sizes[m]` of them, from `starts[m]` on.
        rows = occurring(sessions)
        of_rows = [self._columns(text) for text in messages.gather(rows).to_list()]
        sizes = np.zeros(len(messages), dtype=np.int64)
        sizes[rows] = lengths(of_rows)
        starts = np.cumsum(sizes) - sizes
        columns = np.concatenate([*of_rows, np.zeros(0, dtype=np.int64)])

        def read(chunk: Sequence[Rows]) -> Sparse:
            # Each message of a session once, then its words, which count as often as it does.
            sessions, places = _flat(chunk)
            texts = Sparse.counted(sessions, places, shape=(len(chunk), len(messages)))
            size = sizes[texts.columns]
            words = columns[_runs(starts[texts.columns], size)]
            shape = len(chunk), len(self._numbers)
            of_words = np.repeat(texts.rows, size)
            times = np.repeat(texts.values, size)
            return Sparse.counted(of_words, words, shape=shape, times=times)

        return read

    def new_words(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """The share of each session's words that have no column, (b,); 0 where there is no word."""
        rows = occurring(sessions)
        words, new = np.zeros(len(messages)), np.zeros(len(messages))
        for row, text in zip(rows, messages.gather(rows).to_list(), strict=True):
            of_text = list(self._words(text))
            words[row] = len(of_text)
            new[row] = sum(word not in self._numbers for word in of_text)

        # What is known of each message is added up by sessions.
        session, place = _flat(sessions)
        total = np.bincount(session, weights=words[place], minlength=len(sessions))
        unknown = np.bincount(session, weights=new[place], minlength=len(sessions))
        return unknown / np.maximum(total, 1.0)

    def about(self) -> dict[str, Any]:
        """Nothing that its files do not say."""
        return {}

    def fitted(self) -> Learnt:
        """The words."""
        return Learnt({}, {"words": list(self._numbers)})

    def restore(self, fitted: Learnt) -> None:
        """Know the words that files name."""
        self._know(fitted.fact("words"))

    def _words(self, text: str) -> Iterable[str]:
        """The words of a message; a word that it holds twice comes twice."""
        return text.split()

    def _know(self, words: Sequence[str]) -> None:
        """A column for each word, in their order."""
        self._numbers = {word: number for number, word in enumerate(words)}

    def _columns(self, text: str) -> Rows:
        """The columns of a message's words."""
        words = self._words(text)
        numbers = [self._numbers[word] for word in words if word in self._numbers]
        return np.array(numbers, dtype=np.int64)


class WordPresence(WordCounts):
    """Which words of the masked messages occur; they are in small letters and without signs."""

    lacking: ClassVar[str] = "no word of two letters or more: take a baseline on counts"

    def reader(
        self, sessions: Sequence[Rows], messages: pl.Series
    ) -> Callable[[Sequence[Rows]], Sparse]:
        """What makes matrices of zeros and ones, (b, words known)."""
        counted = super().reader(sessions, messages)

        def read(chunk: Sequence[Rows]) -> Sparse:
            counts = counted(chunk)
            return counts._replace(values=np.ones(len(counts.values)))

        return read

    def _words(self, text: str) -> Iterable[str]:
        """The words of a message, each once."""
        return _words(text)


class VectorSummary:
    """Elementwise mean, maximum and minimum of the vectors of a session's messages.

    Every message has a vector.
    """

    def __init__(
        self,
        vectors: FrozenVectors,
        *,
        kinds: Sequence[Summary] = ("mean", "max", "min"),
    ) -> None:
        """Summarise a session by some of the three, side by side."""
        self._vectors = vectors
        self._kinds = tuple(kinds)

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Settle nothing: the columns are the encoder's."""

    def reader(self, sessions: Sequence[Rows], messages: pl.Series) -> Reader:
        """What makes matrices of components, (b, kinds * d_enc)."""
        table = self._vectors.table(sessions, messages)

        def read(chunk: Sequence[Rows]) -> Matrix:
            width = len(self._kinds) * table.shape[1]
            # A session without a message stays zeros: there is nothing to reduce.
            cells = np.zeros((len(chunk), width), dtype=np.float32)
            filled = np.flatnonzero(lengths(chunk))
            for start in range(0, len(filled), _AT_ONCE):
                rows = filled[start : start + _AT_ONCE]
                some = [chunk[row] for row in rows]
                cells[rows] = self._summarised(some, table)
            return Dense(cells)

        return read

    def about(self) -> dict[str, Any]:
        """The encoder."""
        return self._vectors.about()

    def fitted(self) -> Learnt:
        """Nothing: the encoder is known by its name."""
        return Learnt({}, {})

    def restore(self, fitted: Learnt) -> None:
        """Settle nothing."""

    def _summarised(self, sessions: Sequence[Rows], table: Vectors) -> Vectors:
        """The matrix's rows for sessions that are not empty."""
        # All messages of all sessions below one another, reduced from each session's first to the
        # next's.
        vectors = table[np.concatenate(sessions)]
        sizes = lengths(sessions)
        starts = np.cumsum(sizes) - sizes
        summaries = []
        for kind in self._kinds:
            reduced = _REDUCED[kind].reduceat(vectors, starts)
            if kind == "mean":
                reduced = reduced / sizes[:, None]
            summaries.append(reduced)
        return np.concatenate(summaries, axis=1, dtype=np.float32)


def matrices(
    features: Features,
    sessions: Sequence[Rows],
    *,
    messages: pl.Series,
    progress: Progress | None = None,
    cells: int = _CELLS,
) -> Iterator[Matrix]:
    """Matrices of some sessions, a few at a time so that none is large.

    Args:
        features: the columns.
        sessions: one row each.
        messages: the table that their messages are rows of.
        progress: told how many sessions are done, when the next matrix is asked for.
        cells: how many cells a matrix has at most; it has at least one row.
    """
    read = features.reader(sessions, messages)
    # How wide a row is, only the reader knows: it is asked with no session.
    columns = read([]).table().shape[1]
    at_once = max(1, min(_ROWS, cells // max(1, columns)))
    total = len(sessions)
    for start in range(0, total, at_once):
        end = min(start + at_once, total)
        yield read(sessions[start:end])
        if progress is not None:
            progress(end, total)


def _flat(sessions: Sequence[Rows]) -> tuple[Rows, Rows]:
    """For each message of some sessions, which session holds it, and its row in the table."""
    places = np.concatenate([*sessions, np.zeros(0, dtype=np.int64)])
    holders = np.repeat(np.arange(len(sessions)), lengths(sessions))
    return holders, places


def _runs(starts: Rows, sizes: Rows) -> Rows:
    """Whole numbers that count up by one from each start.

    >>> _runs(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    # One count goes through all runs: each begins at its start, less what was counted before it.
    counted_before = np.cumsum(sizes) - sizes
    first = np.repeat(starts - counted_before, sizes)
    runs: Rows = first + np.arange(sizes.sum())
    return runs


def _words(text: str) -> set[str]:
    """The words of a message.

    >>> sorted(_words("Lost <*> of 3 replicas, lost 12 bytes"))
    ['12', 'bytes', 'lost', 'of', 'replicas']
    """
    return set(_WORD.findall(text.lower()))
