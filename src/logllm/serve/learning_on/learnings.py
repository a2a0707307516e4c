"""What watches have learnt, as a store holds it: told, and forgotten."""

from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from logllm.errors import ModelError
from logllm.serve.learning_on.learner import Learner
from logllm.serve.learning_on.learnt_rows import Learning, forget
from logllm.serve.store.service_schema import learnt
from logllm.serve.store.verdict_store import Store


def told(store: Store, stream: str | None, *, run: Path | None) -> list[dict[str, Any]]:
    """What was learnt, for people.

    Args:
        store: holds it.
        stream: of one stream; none: of all.
        run: only what was learnt beside this run; none: beside any run.

    Returns:
        Objects with `stream`, `model` and `last`, the time of the last entry. Where a run is named
        also `counts` by name, and `kinds`: for each kind of message that was learnt, a line of it.

    Raises:
        ModelError: the run cannot be read, or nothing was learnt beside it.
        RecipeError: the run's method does not learn while it watches.
    """
    of_runs: list[dict[str, Any]] = []
    for known, last in _learnings(store, stream):
        of_runs.append({**known._asdict(), "last": last})
    if run is None:
        return of_runs

    from logllm.detect.opened_run import OpenedRun

    opened = OpenedRun.open(run, progress=None, engine=None, threshold=None, verify=False)
    # Beside another run the kinds mean nothing: its messages are masked by other rules.
    ours = [learning for learning in of_runs if learning["model"] == opened.name]
    if not ours:
        models = {learning["model"] for learning in of_runs}
        others = ", ".join(sorted(models)) or "none"
        what = f"{store.name} holds nothing that was learnt beside {opened.name}"
        raise ModelError(f"{what}: it was beside {others}")
    for learning in ours:
        learner = Learner(opened, stream=learning["stream"], redacted=False)
        learner.load(store)
        learning |= {"counts": learner.counts, "kinds": learner.lines}
    return ours


def forgotten(store: Store, stream: str | None) -> list[Learning]:
    """Forget what was learnt, of one stream or of all; what it was."""
    every = [learning for learning, _ in _learnings(store, stream)]
    for learning in every:
        forget(store, learning)
    return every


def _learnings(store: Store, stream: str | None) -> list[tuple[Learning, str]]:
    """What a store knows to have been learnt, each with its last time."""
    of_run = (learnt.c.stream, learnt.c.model)
    last_made = func.max(learnt.c.made)
    wanted = select(*of_run, last_made).group_by(*of_run).order_by(*of_run)
    if stream is not None:
        wanted = wanted.where(learnt.c.stream == stream)
    with store.transaction(reading=True) as connection:
        rows = connection.execute(wanted).all()
    return [(Learning(of_stream, model), last) for of_stream, model, last in rows]
