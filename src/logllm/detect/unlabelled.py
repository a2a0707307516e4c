"""Novelty at once: learnt from good logs, or from the log itself, for logs that no run knows."""

from collections.abc import Sequence
from copy import copy
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.config.sessions import SessionSection
from logllm.detect.cache import ScoreCache
from logllm.detect.evidence.turning import Turns
from logllm.detect.judge import Judgement
from logllm.detect.judging.known_scores import JudgesMany
from logllm.errors import DataError
from logllm.formats.recognition import advised
from logllm.logs.reader import Reader
from logllm.logs.tally import WrongFormat
from logllm.methods.contract import Opinion, Workplace
from logllm.methods.novelty import Flags, New, Novelty
from logllm.methods.tail import Fresh
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.cut import Span
from logllm.sessions.ends import DOUBT, Ends
from logllm.sessions.message_sets import MessageKeys
from logllm.sessions.message_table import MessageTable, Rows, kinds_of, rows_of
from logllm.sessions.sessionizer import Sessionizer

if TYPE_CHECKING:
    from logllm.datasets.services_reader import ServicesReader

METHOD = "novelty"


class Good(NamedTuple):
    """What good logs hold."""

    sessions: pl.DataFrame
    """Their sessions, `logllm.sessions.sessionizer.SESSIONS`."""
    messages: pl.Series
    """The message table."""
    span: Span
    """Where they begin and end."""


_FALSE = 0.05
"""How many cut sessions may be taken for whole ones, in as many sessions as were learnt from."""
_SPREAD = 5
"""How many times as many sessions must hold a new kind as held the most frequent new kind of a
held-back fifth."""


class Unlabelled:
    """Novelty as a judge."""

    def __init__(self, *, together: bool) -> None:
        """Begin with nothing learnt.

        Args:
            together: all sessions of a log are judged at once, when it has ended.
        """
        self.together = together
        self.recipe = Recipe.of_method(METHOD)
        self.novelty = Novelty(self.recipe, Workplace())
        self.manifest: dict[str, Any] = {}
        self.name = METHOD
        self.ends: Ends | None = None
        self.threshold = 0.5
        self.line_level: float | None = None
        self.doubt = DOUBT

    @property
    def method(self) -> Novelty:
        """The method that scores."""
        return self.novelty

    def fit(self, sessions: pl.DataFrame, messages: pl.Series) -> None:
        """Learn from sessions.

        Raises:
            DataError: they hold no message.
        """
        # No label is known: it learns what all sessions hold.
        rows = rows_of(sessions["messages"])
        self.novelty.fit(rows, messages, labels=None, line_labels=None, seed=0)
        # Verdicts name what judged: the same sessions and messages have the same name.
        learnt = f"{len(rows)} " + "\0".join(sorted(messages))
        digest = blake2b(learnt.encode(), digest_size=4)
        self.name = f"{METHOD}@{digest.hexdigest()}"

    @property
    def many(self) -> JudgesMany | None:
        """None: this process does all of the work."""
        return None

    def learn(self, sessions: pl.DataFrame, messages: pl.Series) -> None:
        """Learn nothing more: it knows what it needs."""

    def opinion(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Opinion:
        """How surprising sessions are, in [0, 1), (b,)."""
        return self.novelty.opinion(sessions, messages, progress=progress)

    def line_scores(self, rows: Rows, messages: pl.Series) -> Scores:
        """How surprising messages are, (u,)."""
        return self.novelty.score_lines([rows], messages)[0]

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """How surprising each message is in its session."""
        return self.novelty.score_lines(sessions, messages)

    def turns(self, sessions: Sequence[Rows], messages: pl.Series) -> Turns:
        """Nobody asks: a line always tells."""
        raise NotImplementedError

    def seen_scores(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """Scores of sessions that are cut, by what was seen of them, (b,)."""
        return self.novelty.score_seen(sessions, messages)

    def cache(self) -> ScoreCache:
        """There is none: what was learnt is forgotten when the reading ends."""
        raise NotImplementedError


class Ranking(Unlabelled):
    """Learns the log that it is to judge, and calls nothing anomalous."""

    def __init__(self) -> None:
        """Wait for the log's end."""
        super().__init__(together=True)

    def learn(self, sessions: pl.DataFrame, messages: pl.Series) -> None:
        """Learn them, to rank them."""
        self.fit(sessions, messages)

    def judged(
        self,
        scores: Scores,
        sessions: pl.Series,
        *,
        messages: pl.Series,
        count: int,
    ) -> Judgement:
        """The same scores, and none of them anomalous: nothing says what is good."""
        # How unusual a session is among its own log says nothing of whether something is wrong.
        none = np.zeros(len(scores), dtype=np.bool_)
        return Judgement(scores, none, self.novelty.tail.p_values(scores))


class Against(Unlabelled):
    """Has learnt good logs.

    A session is anomalous that goes beyond all sessions of the good logs, each of them judged while
    it was held back.
    """

    def __init__(
        self,
        good: Good,
        *,
        settings: SessionSection,
        together: bool,
        threshold: float | None,
    ) -> None:
        """Learn good logs.

        Args:
            good: sessions and messages of the good logs.
            settings: how they were grouped.
            together: whether the log to judge ends.
            threshold: scores from here on are anomalous; None: those beyond the held-back ones.

        Raises:
            DataError: there is no session.
        """
        super().__init__(together=together)
        self._given = threshold
        self.threshold = self.threshold if threshold is None else threshold
        sessions, messages = good.sessions, good.messages
        # How sessions end comes first: only whole ones are learnt from.
        self.ends = Ends.learn(sessions, messages, settings=settings)
        whole = _whole(good, self.ends, settings=settings)
        self.fit(whole, messages)
        self.sessions = whole.height
        """How many sessions were learnt from."""
        # Chance alone must not make a cut session pass for a whole one.
        self.doubt = _FALSE / self.sessions
        self._kinds = kinds_of(messages).unique()
        self.kinds = len(self._kinds)
        """How many kinds of message the good logs hold."""

    def judged(
        self,
        scores: Scores,
        sessions: pl.Series,
        *,
        messages: pl.Series,
        count: int,
    ) -> Judgement:
        """Scores, and which sessions go beyond all held-back ones, (b,).

        The more sessions are judged, the farther beyond they must go. Sessions with a new message
        of grave trouble are anomalous, too, where far more sessions hold it than held any such
        message among the held-back ones.
        """
        if self._given is not None:
            return Judgement(scores, scores >= self._given, self.novelty.tail.p_values(scores))
        # The more sessions are judged, the rarer one must be: else chance alone would give alarms.
        times = count / self.sessions
        least = self.novelty.tail.least(times)
        anomalous: Labels = scores >= least
        # A new line of grave trouble alarms by itself, however usual the rest of the session is.
        new = self.novelty.new(rows_of(sessions), messages)
        of_trouble = _often(new, self.novelty.tail.fresh)
        anomalous[new.sessions[of_trouble]] = True

        # An anomalous session's score is never below the threshold, whatever made it one.
        lifted = anomalous & (scores < self.threshold)
        scores = np.where(lifted, scores + self.threshold, scores)
        return Judgement(scores, anomalous, self.novelty.tail.p_values(scores))

    def new_kinds(self, messages: pl.Series) -> Labels:
        """Which messages are of a kind that the good logs do not hold, (u,)."""
        is_known = kinds_of(messages).is_in(self._kinds.implode())
        new: Labels = ~is_known.to_numpy()
        return new


def _often(new: New, fresh: Fresh) -> Flags:
    """Which new messages speak of grave trouble in far more sessions than held-back ones did."""
    grave = new.kinds[new.grades > 1]
    # Some are always new: only what is so in far more sessions than among the held-back ones
    # counts.
    kinds, counts = np.unique(grave, return_counts=True)
    frequent = kinds[counts > _SPREAD * (fresh.most + 1)]
    often: Flags = np.isin(new.kinds, frequent)
    return often


def read_good(
    reader: "Reader | ServicesReader", names: Sequence[str], *, progress: Progress | None
) -> Good:
    """The sessions of good logs, read one after the other as one log.

    Raises:
        DataError: one cannot be read, is not in the format, or there is no session.
    """
    sessionizer = Sessionizer(reader.settings.sessions)
    table = MessageTable()
    frames: list[pl.DataFrame] = []
    try:
        # Session by session, so that the log itself need not fit in memory.
        for batch in reader.read(list(names), progress=progress):
            frames.append(sessionizer.push(table.numbered(batch)))
    except WrongFormat as exc:
        raise advised(exc, today=reader.today) from None
    sessions = pl.concat([*frames, sessionizer.flush()])
    if not sessions.height:
        raise DataError(
            f"no session to learn from in {', '.join(names)}: name a longer good log, or another"
            " grouping"
        )
    return Good(sessions, table.messages, sessionizer.span)


def _whole(good: Good, ends: Ends, *, settings: SessionSection) -> pl.DataFrame:
    """The sessions that the good logs hold whole, unless hardly any is left."""
    # The ends of a good log cut sessions, which would teach that sessions may stop anywhere.
    sessions = good.sessions
    if settings.by_key:
        keys = MessageKeys(good.messages)
        # Nor is one learnt from that stopped in the middle: a fault there may be one here.
        patient = copy(ends)
        patient.starts, patient.stops = ends.starts.patient(), ends.stops.patient()
        cut = patient.cut(sessions, keys, span=good.span, over=True)
        sessions = sessions.with_columns(cut)
    # What is cut lacks its beginning or its end, and would teach that both may be missing.
    whole = sessions.filter(pl.col("cut").is_null())
    return whole if 2 * whole.height >= sessions.height else sessions
