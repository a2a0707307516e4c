"""The contract of methods as checks on a toy log: run them on a method of your own.

A test of a package that brings a method calls `check_method(NewWords, tmp_path)`, with pytest's
`tmp_path`.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.errors import DataError, ModelError
from logllm.methods.contract import Method, Needs, Workplace
from logllm.metrics import Labels, Scores
from logllm.sessions.message_table import Rows

SUFFIXES = {".safetensors", ".json", ".toml", ".txt"}
"""Endings of the files that a method may write."""

OPEN, WRITE, SYNC, CLOSE, LOST, PANIC = range(6)
MESSAGES = pl.Series(
    [
        "file opened",
        "bytes written",
        "replica synced",
        "file closed",
        "replica lost at <*>",
        "kernel panic",
    ]
)
"""The message table of the toy log; no session of `toy` holds the last one."""
ALTERED = pl.concat(
    [MESSAGES, pl.Series(["replica <*> was lost", "<*>", "something else entirely"])]
)
"""A table with messages that `MESSAGES` lacks."""


class Toy(NamedTuple):
    """Sessions of a toy log over `MESSAGES`."""

    sessions: list[Rows]
    labels: Labels
    line_labels: list[Labels]

    def only(self, kind: bool) -> "Toy":
        """The sessions of one kind."""
        rows = np.flatnonzero(self.labels == kind)
        line_labels = [self.line_labels[row] for row in rows]
        return Toy([self.sessions[row] for row in rows], self.labels[rows], line_labels)


def toy(*, sessions: int, seed: int) -> Toy:
    """Sessions that open, work and close; every tenth one loses replicas instead of working."""
    rng = np.random.default_rng(seed)
    labels = np.arange(sessions) % 10 == 0
    made = []
    for label in labels:
        kinds = [LOST] if label else [WRITE, SYNC]
        # Anomalous ones are longer as well: a method that only counts has something to go by.
        work = rng.choice(kinds, size=rng.integers(1, 6) + 3 * label)
        made.append(np.array([OPEN, *work, CLOSE]))
    return Toy(made, labels, [session == LOST for session in made])


@dataclass(frozen=True)
class Trial:
    """A method to check."""

    make: Callable[[Recipe, Workplace], Method]
    folder: Path
    recipe: Recipe
    close: float

    @cached_property
    def train(self) -> Toy:
        """The sessions that it learns from."""
        return toy(sessions=80, seed=0)

    @cached_property
    def sessions(self) -> list[Rows]:
        """The sessions that it scores, over `ALTERED`.

        Some hold messages never seen, one is there twice, and one is empty.
        """
        sessions = toy(sessions=40, seed=1).sessions
        unknown = [np.array([OPEN, 6, 7, 8, CLOSE]), np.array([PANIC])]
        return [*sessions, *unknown, sessions[0], np.array([], dtype=np.int64)]

    @cached_property
    def fitted(self) -> Method:
        """A method that has learnt, with seed 3."""
        return self.learnt(self.train, seed=3)

    def empty(self) -> Path:
        """A new folder."""
        return Path(mkdtemp(dir=self.folder))

    def learnt(self, train: Toy, *, seed: int) -> Method:
        """A new method that has learnt, with the labels of lines only if it needs them."""
        method = self.make(self.recipe, Workplace())
        lines = train.line_labels if method.needs is Needs.LINES else None
        method.fit(train.sessions, MESSAGES, labels=train.labels, line_labels=lines, seed=seed)
        return method

    def same(self, first: Scores, second: Scores) -> bool:
        """Whether scores that should be the same are."""
        if self.close == 0.0:
            return np.array_equal(first, second)
        return np.allclose(first, second, rtol=0.0, atol=self.close)


def check_method(
    make: Callable[[Recipe, Workplace], Method],
    folder: Path,
    *,
    recipe: Recipe | None = None,
    close: float = 0.0,
) -> None:
    """Check on a toy log that a method keeps the contract (`logllm.methods.contract.Method`).

    Args:
        make: what makes it: its class, or what its entry point names.
        folder: where to write.
        recipe: the recipe to make it with; None: one without options.
        close: how far apart two scores of one session may be that should be the same. Leave it at
            0 unless the arithmetic depends on what else is scored, as that of networks does.

    Raises:
        AssertionError: it does not keep it; the message says where.
    """
    made_with = recipe or Recipe.of_method("checked")
    trial = Trial(make, folder, made_with, close)
    for check in CHECKS:
        check(trial)


def check_declaration(trial: Trial) -> None:
    """It says what it needs, and says of itself only what a manifest can hold."""
    method = trial.make(trial.recipe, Workplace())
    assert isinstance(type(method).needs, Needs), "needs is one of logllm.methods.contract.Needs"
    assert method.scale in (
        "logits",
        "scores",
    ), f"scale is 'logits' or 'scores', not {method.scale}"
    assert isinstance(method.judges_beginnings, bool), "judges_beginnings is True or False"
    about = trial.fitted.about()
    assert json.loads(json.dumps(about)) == about, f"about() is plain JSON, not {about!r}"


def check_scores(trial: Trial) -> None:
    """One number in [0, 1] a session, whatever the session."""
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    scores = trial.fitted.score(trial.sessions, ALTERED, progress=progress)
    _are_scores(scores, count=len(trial.sessions), what="scores")
    assert trial.same(scores[-2], scores[0]), "a session that is there twice scores the same twice"
    assert all(0 <= done <= total for done, total in told), f"progress goes to its total: {told}"
    assert told == sorted(told), f"progress goes forwards: {told}"
    # What is remembered of the first time must not change the second.
    again = trial.fitted.score(trial.sessions, ALTERED)
    assert trial.same(again, scores), "scored a second time, sessions score the same"
    # Nothing at all, a table of nothing, and a session of nothing: a quiet minute of a live log.
    _are_scores(trial.fitted.score([], ALTERED), count=0, what="scores of no session")
    _are_scores(trial.fitted.score([], ALTERED[:0]), count=0, what="scores of an empty table")
    one = trial.fitted.score([trial.sessions[-1]], ALTERED)
    _are_scores(one, count=1, what="scores of one empty session")


def check_opinion(trial: Trial) -> None:
    """Its opinion has its scores; what else it says is one row for each session, as plain JSON."""
    opinion = trial.fitted.opinion(trial.sessions, ALTERED)
    scores = trial.fitted.score(trial.sessions, ALTERED)
    assert trial.same(opinion.scores, scores), "opinion gives the scores of score"
    if opinion.more is not None:
        rows = opinion.more.to_dicts()
        assert len(rows) == len(trial.sessions), "opinion says as much besides of each session"
        assert json.loads(json.dumps(rows)) == rows, (
            f"what opinion says besides is plain JSON, not {rows[0]!r}"
        )
    assert len(trial.fitted.opinion([], ALTERED).scores) == 0, "of no session there is no opinion"


def check_lines(trial: Trial) -> None:
    """One number in [0, 1] a message of a session."""
    lines = trial.fitted.score_lines(trial.sessions, ALTERED)
    assert len(lines) == len(trial.sessions), "score_lines gives one array a session"
    for scores, session in zip(lines, trial.sessions, strict=True):
        _are_scores(scores, count=len(session), what="line scores")
    assert len(trial.fitted.score_lines([], ALTERED)) == 0, "of no session there are no line scores"


def check_beginnings(trial: Trial) -> None:
    """Beginnings of sessions score as sessions do, asked for in any order."""
    sessions = [session for session in trial.sessions if len(session)]
    numbers: list[int] = []
    for group, score in trial.fitted.beginnings(sessions, ALTERED):
        numbers += group.tolist()
        for share in (2, 1, 3):
            asked = [sessions[number][: -(-len(sessions[number]) // share)] for number in group]
            scores = trial.fitted.score(asked, ALTERED)
            assert trial.same(score(asked), scores), "beginnings gives the scores of score"
    assert sorted(numbers) == list(range(len(sessions))), "beginnings has each session once"


def check_seeds(trial: Trial) -> None:
    """The same seed, the same scores; another seed is as good."""
    scores = trial.fitted.score(trial.sessions, ALTERED)
    same = trial.learnt(trial.train, seed=3).score(trial.sessions, ALTERED)
    assert trial.same(same, scores), "the same seed gives the same scores"
    # The largest seed that NumPy's and torch's generators both take.
    other = trial.learnt(trial.train, seed=2**32 - 1).score(trial.sessions, ALTERED)
    _are_scores(other, count=len(trial.sessions), what="scores with another seed")


def check_tables(trial: Trial) -> None:
    """Messages are known by their text: in another order of the table they are the same."""
    # Message m of the one table is message argsort(order)[m] of the other.
    order = np.array([8, 2, 5, 0, 7, 1, 6, 4, 3])
    moved = [order.argsort()[session] for session in trial.sessions]
    scores = trial.fitted.score(trial.sessions, ALTERED)
    elsewhere = trial.fitted.score(moved, ALTERED.gather(order))
    assert trial.same(elsewhere, scores), "in a table of another order the scores are the same"
    lines = np.concatenate(trial.fitted.score_lines(trial.sessions, ALTERED))
    moved_lines = np.concatenate(trial.fitted.score_lines(moved, ALTERED.gather(order)))
    assert trial.same(moved_lines, lines), "and so are the line scores"


def check_files(trial: Trial) -> None:
    """What is saved and loaded scores the same.

    Nothing but open formats is written, and in the folder alone.
    """
    home = trial.empty()
    # A file of somebody else's lies in the folder already.
    other = home / "manifest.json"
    other.write_text("{}", encoding="utf-8")
    before = set(trial.folder.rglob("*"))
    trial.fitted.save(home)
    files = set(trial.folder.rglob("*")) - before
    assert all(home in path.parents for path in files), (
        f"save writes into its folder alone: {files}"
    )
    written = [path for path in files if path.is_file()]
    strange = sorted(path.name for path in written if path.suffix not in SUFFIXES)
    assert not strange, f"files are {', '.join(sorted(SUFFIXES))}, not {strange}"
    assert other.read_text(encoding="utf-8") == "{}", "save leaves alone what is not its own"
    # A new one that has learnt nothing: all that it needs must be in the files.
    loaded = trial.make(trial.recipe, Workplace())
    loaded.load(home)
    scores = trial.fitted.score(trial.sessions, ALTERED)
    again = loaded.score(trial.sessions, ALTERED)
    assert trial.same(again, scores), "what was loaded scores as what was saved"
    lines = np.concatenate(trial.fitted.score_lines(trial.sessions, ALTERED))
    lines_again = np.concatenate(loaded.score_lines(trial.sessions, ALTERED))
    assert trial.same(lines_again, lines), "and its lines, too"
    about = trial.fitted.about()
    # Such as the seconds that a fit took, which a run's manifest has and its files have not.
    less = {name: about.get(name) for name in loaded.about()}
    assert loaded.about() == less, "about() says nothing else after load, though it may say less"
    with _refused(ModelError, "load from a folder without its files"):
        trial.make(trial.recipe, Workplace()).load(trial.empty())


def check_labels(trial: Trial) -> None:
    """Labels are needed where it says so, and nowhere else."""
    train = trial.train
    method = trial.make(trial.recipe, Workplace())
    if method.needs is Needs.NOTHING:
        method.fit(train.sessions, MESSAGES, labels=None, line_labels=None, seed=0)
        scores = method.score(trial.sessions, ALTERED)
        _are_scores(scores, count=len(trial.sessions), what="scores learnt without labels")
        scores = trial.learnt(train.only(False), seed=0).score(trial.sessions, ALTERED)
        _are_scores(scores, count=len(trial.sessions), what="scores learnt from normal sessions")
        return
    labels = train.labels if method.needs is Needs.LINES else None
    with _refused(DataError, f"fit without {method.needs}"):
        method.fit(train.sessions, MESSAGES, labels=labels, line_labels=None, seed=0)
    for kind in (False, True):
        with _refused(DataError, "fit on sessions of one kind"):
            trial.learnt(train.only(kind), seed=0)


def check_nothing(trial: Trial) -> None:
    """No session to learn from is refused in words."""
    with _refused(DataError, "fit on no session"):
        trial.learnt(Toy([], np.zeros(0, dtype=np.bool_), []), seed=0)


def check_threads(trial: Trial) -> None:
    """Two callers at once have each their own scores."""
    # Different calls at once, with sessions in common: what one remembers the other may find.
    halves = [trial.sessions[:30], trial.sessions[10:]] * 2
    alone = [trial.fitted.score(half, ALTERED) for half in halves]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda half: trial.fitted.score(half, ALTERED), halves))
    same = all(trial.same(*pair) for pair in zip(alone, together, strict=True))
    assert same, "two threads that score at once get the scores that each gets alone"


def check_chance(trial: Trial) -> None:
    """The random generators of the whole process are left as they were."""
    trial.fitted.score(trial.sessions, ALTERED)  # whatever it imports is there
    before = _dice()
    # All that a method does, from learning to loading.
    method = trial.learnt(trial.train, seed=5)
    method.score(trial.sessions, ALTERED)
    home = trial.empty()
    method.save(home)
    trial.make(trial.recipe, Workplace()).load(home)
    assert _dice() == before, "draw from generators of your own, made of the seed"


CHECKS: Sequence[Callable[[Trial], None]] = (
    check_declaration,
    check_scores,
    check_opinion,
    check_lines,
    check_beginnings,
    check_seeds,
    check_tables,
    check_files,
    check_labels,
    check_nothing,
    check_threads,
    check_chance,
)
"""All of them, in order."""


def _are_scores(scores: Any, *, count: int, what: str) -> None:
    """Check that something is an array of so many scores."""
    assert isinstance(scores, np.ndarray), f"{what}: a numpy array, not {type(scores).__name__}"
    assert scores.dtype == np.float64, f"{what}: float64, not {scores.dtype}"
    assert scores.shape == (count,), f"{what}: shape {(count,)}, not {scores.shape}"
    assert ((scores >= 0) & (scores <= 1)).all(), f"{what}: in [0, 1], not {scores}"


@contextmanager
def _refused(kind: type[Exception], what: str) -> Iterator[None]:
    """Check that what is done inside raises an error of this kind."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{what} must raise {kind.__name__}, and did not")


def _dice() -> list[Any]:
    """The states of the generators that belong to the whole process."""
    name, keys, place, *_ = np.random.get_state()  # noqa: NPY002 - to see that nobody uses it
    states = [random.getstate(), name, np.asarray(keys).tolist(), place]
    torch = sys.modules.get("torch")
    if torch is not None:
        states.append(torch.get_rng_state().tolist())
    return states
