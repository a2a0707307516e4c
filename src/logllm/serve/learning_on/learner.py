"""A stream's watch learns: in the transaction of its verdicts, and once, through any kill."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Connection, Row, select

from logllm.detect.judge import Judge, LearnsOn
from logllm.errors import RecipeError
from logllm.methods.contract import Bag
from logllm.serve.learning_on.closed_bags import Judged, Key, Texts, merged, offered
from logllm.serve.learning_on.learnt import Answered, Entry, Learnt
from logllm.serve.learning_on.learnt_rows import Learning, LearntRow, numbers_from, put, rows_after
from logllm.serve.store.frames import KEY
from logllm.serve.store.schema import verdicts
from logllm.serve.store.service_schema import feedback
from logllm.serve.store.verdict_store import Store
from logllm.sessions.message_table import kinds_of

_WHOLE_EVERY = 256
"""Entries after which all that was learnt is written in one."""
_ANSWERS = 100
"""Answers that are taken in one transaction."""
_MOST_NEWS = 1_000
"""Kinds of message learnt since the start that are remembered to be told."""
_KEY = [verdicts.c[name] for name in KEY]
_COLUMNS = [verdicts.c[name] for name in ("state", "anomalous", "incident", "kind")]


class Learner:
    """Learns what a stream's verdicts say is normal.

    All that it has learnt is held by its store, which it reads when it starts. It learns in the
    transaction that writes verdicts, after incidents: their sessions are not learnt.

    Attributes:
        judge: judges by the run and by what was learnt.
        news: kinds of message learnt since this start, each with a line of it.
    """

    def __init__(self, run: Judge, *, stream: str, redacted: bool) -> None:
        """Nothing learnt yet.

        Args:
            run: what judges.
            stream: whose sessions.
            redacted: whether nothing secret is stored.

        Raises:
            RecipeError: the run's method cannot learn without labels.
        """
        method = run.learning_on() if isinstance(run, LearnsOn) else None
        if method is None:
            what = f"{run.name} is of method {run.recipe.method}"
            without = "leave --learn out, and let `logllm retrain` learn from answers"
            other = "watch with a run of `logllm train novelty`, which does"
            raise RecipeError(
                f"{what}, which does not learn while it watches: {without}; or {other}"
            )
        assert isinstance(run, LearnsOn)  # noqa: S101 - or there were no method
        self.judge = run.judging_by(method)
        self.news: dict[str, str] = {}
        self._learning = Learning(stream, run.name)
        self._redacted = redacted
        self._learnt = Learnt(method, threshold=run.threshold)
        self._last = 0  # the entry up to which it has learnt
        self._since_whole = 0
        self._offered: dict[Key, Bag] = {}
        self._lines: dict[str, str] = {}
        self._made: LearntRow | None = None
        self._changed = False

    @property
    def room(self) -> int:
        """How many sessions may be judged before something is learnt."""
        return self._learnt.point - self._learnt.sessions

    @property
    def counts(self) -> dict[str, int]:
        """What was learnt and what was not, by name, since the store knows of it."""
        return self._learnt.counts

    @property
    def lines(self) -> dict[str, str]:
        """Kinds of message that were learnt and are not forgotten, each with a line of it."""
        lines = self._learnt.lines
        lacking = set(self._learnt.method.lacks(list(lines)))
        return {kind: line or kind for kind, line in lines.items() if kind not in lacking}

    def load(self, store: Store) -> None:
        """Take up what the store holds.

        Raises:
            ServeError: it does not answer.
        """
        with store.transaction(reading=True) as connection:
            self._catch_up(connection)
        self._changed = False

    def offer(
        self, sessions: pl.DataFrame, rows: pl.DataFrame, *, messages: pl.Series, texts: Texts
    ) -> None:
        """Take sessions that have closed, to be learnt once their verdicts are stored.

        Args:
            sessions: of `logllm.sessions.sessionizer.SESSIONS`.
            rows: what is stored of them, in the same order.
            messages: the message table.
            texts: gives lines as they may be shown.
        """
        judged = Judged(sessions, rows, messages)
        offer = offered(judged, texts=texts, redacted=self._redacted, new=self._learnt.method.lacks)
        # They wait for the transaction that stores their verdicts, which says whether they are
        # normal still.
        self._offered |= offer.bags
        self._lines = offer.lines | self._lines

    def __call__(self, connection: Connection, stream: str, change: int) -> None:
        """Write what the verdicts of a transaction bring to be learnt."""
        self._catch_up(connection)
        # Who starts later reads one entry instead of hundreds.
        if self._since_whole >= _WHOLE_EVERY:
            everything = LearntRow(self._last, True, self._learnt.state())
            put(connection, self._learning, row=everything)
        ours = (verdicts.c.change == change, verdicts.c.stream == stream)
        is_over = verdicts.c.state != "open"
        closed = select(*_KEY, *_COLUMNS).where(*ours, is_over)
        sessions = connection.execute(closed).all()
        answers = connection.execute(self._new_answers()).all()
        entry = self._entry(sessions, answers)
        self._made = None
        if entry is not None:
            self._made = LearntRow(self._last + 1, False, entry.as_object())
            put(connection, self._learning, row=self._made)

    def stored(self) -> bool:
        """Called after the transaction; whether sessions are judged otherwise from now on."""
        if self._since_whole >= _WHOLE_EVERY:
            self._since_whole = 0
        if self._made is not None:
            self._apply(self._made)
        self._made = None
        self._offered, self._lines = {}, {}
        changed, self._changed = self._changed, False
        return changed

    def _catch_up(self, connection: Connection) -> None:
        """Take entries that were written since.

        Others may have written them, or a transaction of this watch that ended without an answer.
        Where the last entry taken is gone, everything was forgotten or put into one entry, and is
        read anew.
        """
        numbers = numbers_from(connection, self._learning, number=self._last)
        # Nearly always: nobody else has written, and nothing was forgotten.
        if numbers == [self._last]:
            return
        if self._last and numbers[:1] != [self._last]:
            self._learnt.restore({})
            self._last, self._changed = 0, True
        # What others wrote is taken in their order, as they took it themselves.
        for row in rows_after(connection, self._learning, number=self._last):
            self._apply(row)

    def _apply(self, row: LearntRow) -> None:
        """Take an entry."""
        self._last = row.number
        self._since_whole += 1
        # It stands for all entries before it.
        if row.whole:
            self._learnt.restore(row.body)
            self._changed = True
            return
        entry = Entry.of_object(row.body)
        kinds = self._learnt.apply(entry)
        self._changed |= kinds is not None
        # Bounded: in a log where every line is new they would fill the memory.
        room = _MOST_NEWS - len(self.news)
        for kind in (kinds or ())[:room]:
            self.news[kind] = self._learnt.lines.get(kind) or kind

    def _new_answers(self) -> Any:
        """Asks for answers on this run's verdicts that neither the watch nor a run has learnt."""
        columns = (feedback.c.answer, feedback.c.messages, feedback.c.change)
        of_stream = feedback.c.stream == self._learning.stream
        of_run = feedback.c.model == self._learning.model
        is_new = feedback.c.change > self._learnt.answered
        unlearnt = feedback.c.trained.is_(None)
        answers = select(*columns).where(of_stream, of_run, is_new, unlearnt)
        return answers.order_by(feedback.c.change).limit(_ANSWERS)

    def _entry(self, closed: Sequence[Row[Any]], answers: Sequence[Row[Any]]) -> Entry | None:
        """What is to be learnt of verdicts that were just written, and of answers.

        None: there are neither.
        """
        if not closed and not answers:
            return None
        normal = [row for row in closed if not row.anomalous]
        # What was closed early is not all of a session, and what an incident counts was anomalous
        # once.
        uncounted = [row for row in normal if row.incident is None]
        whole = [row for row in uncounted if row.state == "closed"]
        keys = (tuple(row[: len(KEY)]) for row in whole)
        waiting = (self._offered.get(key) for key in keys)
        bags = [bag for bag in waiting if bag is not None]

        # Kinds by which anomalous sessions are known are not to be learnt from normal ones.
        anomalous = [row for row in closed if row.anomalous]
        known_by = list(dict.fromkeys(row.kind for row in anomalous if row.kind))
        marks = self._learnt.method.knows(known_by)
        strange = [kind for kind, is_known in zip(known_by, marks, strict=True) if not is_known]

        # Lines of kinds that were offered, but whose sessions turned out otherwise, are dropped.
        held_kinds = {kind for bag in bags for kind in bag.times}
        lines = {kind: line for kind, line in self._lines.items() if kind in held_kinds}
        answered = max((row.change for row in answers), default=0)
        return Entry(
            sessions=self._learnt.sessions + len(closed),
            bags=merged(bags),
            passed=len(normal) - len(bags),
            lines=lines,
            alarmed=strange,
            answers=[_answered(row) for row in answers],
            answered=answered,
        )


def _answered(row: Row[Any]) -> Answered:
    """An answer as it is learnt."""
    bag = _bag(json.loads(row.messages))
    return Answered(row.answer == "normal", bag)


def _bag(messages: list[str]) -> Bag:
    """What a session with these messages holds."""
    texts = pl.Series(messages, dtype=pl.String)
    of_lines = kinds_of(texts).to_numpy()
    kinds, times = np.unique(of_lines, return_counts=True)
    pairs = zip(kinds, times, strict=True)
    return Bag({str(kind): int(often) for kind, often in pairs})
