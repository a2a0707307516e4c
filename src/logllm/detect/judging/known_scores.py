"""Scores of sessions: each distinct sequence of messages is looked up, or judged, once."""

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice, pairwise
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from logllm.detect.cache import Known, ScoreCache
from logllm.methods.contract import Opinion
from logllm.progress import Progress
from logllm.sessions.message_table import Rows

_DIGEST = 16
_REMEMBERED = 200_000
"""Distinct sessions whose scores are kept between calls."""
_AT_ONCE = 16_384
"""Distinct sessions that are scored, and then kept, at once."""


class Judges(Protocol):
    """What says how anomalous sessions are, such as a method's `opinion`."""

    def __call__(
        self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None
    ) -> Opinion:
        """The opinion of sessions, each given as the rows of its messages in the table."""


class JudgesMany(Protocol):
    """Judges several lots of sessions, where that is not done one after the other."""

    def __call__(self, lots: Iterable[Sequence[Rows]], messages: pl.Series) -> Iterator[Opinion]:
        """The opinion of each lot, in their order.

        It is the same, to the last bit, as if `Judges` were called with one lot after the other.
        """


class Question(NamedTuple):
    """Something that is asked of sessions besides how anomalous they are."""

    name: bytes
    """At most 16 bytes: what is answered is known by it."""
    judge: Judges
    """Answers it."""


class KnownScores:
    """What is known of the sessions of one log.

    An object serves one message table, which may grow between calls. Repeated sessions stay in
    columns: what a call costs in Python grows with the distinct ones. Memory kept between calls
    grows neither with the number of calls nor with that of sessions.
    """

    def __init__(
        self,
        judge: Judges,
        *,
        many: JudgesMany | None = None,
        cache: ScoreCache | None = None,
        remembered: int = _REMEMBERED,
    ) -> None:
        """Judge with a function, or take from a cache what it knows.

        Args:
            judge: scores sessions that are not known.
            many: does this in its place, where processes share the work.
            cache: scores that are kept on this machine.
            remembered: how many distinct sessions' scores are kept between calls.
        """
        self._most = remembered
        self.from_cache = 0
        """How many distinct sessions' scores the cache knew so far."""
        self._judge = judge
        self._many = many
        self._cache = cache
        # A message is known by the hash of its text: its number is another one in each run.
        self._digests = np.zeros((0, _DIGEST), dtype=np.uint8)
        self._remembered: dict[bytes, Known] = {}

    def new_table(self) -> None:
        """Serve another message table from now on: scores stay, since they go by texts."""
        self._digests = self._digests[:0]

    def of(
        self,
        sessions: pl.Series,
        messages: pl.Series,
        *,
        question: Question | None = None,
        progress: Progress | None = None,
    ) -> Opinion:
        """The opinion of sessions, in their order.

        Args:
            sessions: lists of rows of the message table, none of them empty.
            messages: the message table: that of earlier calls, or one that continues it.
            question: asked in place of how anomalous they are.
            progress: told of the distinct sessions scored.
        """
        # Equal sessions are put together by Polars: Python sees each distinct one once.
        numbered = sessions.alias("messages").to_frame().with_row_index("row")
        rows = numbered.group_by("messages", maintain_order=True).agg("row")
        distinct = rows["messages"]
        known = self._known(distinct, messages, question=question, progress=progress)

        # And back: which of the distinct ones each session is.
        times = rows["row"].list.len().to_numpy()
        places = rows["row"].explode().to_numpy()
        of = np.empty(len(sessions), dtype=np.int64)
        of[places] = np.repeat(np.arange(len(known)), times)
        scores = np.array([score for score, _ in known], dtype=np.float64)
        texts = [text for _, text in known]
        more = _decoded(texts)[of] if any(texts) else None
        return Opinion(scores[of], more)

    def _known(
        self,
        distinct: pl.Series,
        messages: pl.Series,
        *,
        question: Question | None,
        progress: Progress | None,
    ) -> list[Known]:
        """What is said of distinct sessions."""
        ends = distinct.list.len().to_numpy().cumsum(dtype=np.int64)
        flat = distinct.explode().to_numpy().astype(np.int64)
        name = b"" if question is None else question.name
        keys = self._keys(flat, ends, messages=messages, name=name)
        # What this object remembers comes first, then what the cache on disk knows.
        known = {key: self._remembered[key] for key in keys if key in self._remembered}
        if self._cache is not None and len(known) < len(keys):
            cached = self._cache.known(key for key in keys if key not in known)
            self.from_cache += len(cached)
            known |= cached

        # What is left is judged some thousand at a time, and kept after each: who interrupts a long
        # run loses little.
        new = [place for place, key in enumerate(keys) if key not in known]
        lots = [new[start : start + _AT_ONCE] for start in range(0, len(new), _AT_ONCE)]
        begins = [0, *ends[:-1].tolist()]
        sessions = ([flat[begins[place] : ends[place]] for place in places] for places in lots)
        if question is None:
            opinions = self._opinions(sessions, messages, total=len(new), progress=progress)
        else:
            opinions = (question.judge(some, messages) for some in sessions)
        for places, opinion in zip(lots, opinions, strict=True):
            more = [None] * len(places) if opinion.more is None else _encoded(opinion.more)
            pairs = zip(opinion.scores.tolist(), more, strict=True)
            keys_of_lot = [keys[place] for place in places]
            fresh = dict(zip(keys_of_lot, pairs, strict=True))
            known |= fresh
            if self._cache is not None:
                self._cache.keep(fresh)

        # The longest remembered go first, so that memory does not grow with the log.
        self._remembered |= known
        excess = max(0, len(self._remembered) - self._most)
        for key in list(islice(self._remembered, excess)):
            del self._remembered[key]
        return [known[key] for key in keys]

    def _opinions(
        self,
        lots: Iterable[list[Rows]],
        messages: pl.Series,
        *,
        total: int,
        progress: Progress | None,
    ) -> Iterator[Opinion]:
        """Opinions of lots of sessions that are not known, `total` sessions in all."""
        if self._many is not None:
            yield from self._many(lots, messages)
            return
        done = 0
        for sessions in lots:
            told = None if progress is None else _further(progress, done, total=total)
            yield self._judge(sessions, messages, progress=told)
            done += len(sessions)

    def _keys(self, flat: Rows, ends: Rows, *, messages: pl.Series, name: bytes) -> list[bytes]:
        """A digest of each session's messages, by their texts: rows differ from call to call.

        `name` is that of what is asked.
        """
        new = messages[len(self._digests) :]
        if len(new):
            digests = [blake2b(message.encode(), digest_size=_DIGEST).digest() for message in new]
            joined = np.frombuffer(b"".join(digests), dtype=np.uint8)
            rows = joined.reshape(-1, _DIGEST)
            self._digests = np.concatenate([self._digests, rows])
        # A session's digest is that of its messages' digests, one after the other.
        texts = memoryview(self._digests[flat].tobytes())
        bounds = [0, *(ends * _DIGEST).tolist()]
        return [
            blake2b(texts[start:end], digest_size=_DIGEST, person=name).digest()
            for start, end in pairwise(bounds)
        ]


def _encoded(more: pl.DataFrame) -> list[str | None]:
    """Rows of further columns as JSON."""
    return [json.dumps(row) for row in more.iter_rows(named=True)]


def _decoded(texts: Sequence[str | None]) -> pl.DataFrame:
    """The rows that `_encoded` wrote as JSON; an empty row where there is no text."""
    rows = [{} if text is None else json.loads(text) for text in texts]
    return pl.DataFrame(rows, infer_schema_length=None)


def _further(progress: Progress, done: int, *, total: int) -> Progress:
    """The same progress, counted on from what was done before."""
    return lambda more, _: progress(done + more, total)
