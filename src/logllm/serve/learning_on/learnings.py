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
        run: of what was learnt beside this run, which takes the run itself; none: of all runs.

    Returns:
        Objects with `stream`, `model` and `last`, when it was learnt last; where a run is named
        also `counts` by name, and `kinds`: a line of each kind of message that was learnt, by kind.

    Raises:
        ModelError: it is no run that can be read, or nothing was learnt beside it.
        RecipeError: its method does not learn on.
    """
    of_runs = [{**learning._asdict(), "last": last} for learning, last in _learnings(store, stream)]
    if run is None:
        return of_runs

    from logllm.detect.opened_run import OpenedRun

    opened = OpenedRun.open(run, progress=None, engine=None, threshold=None, verify=False)
    # Beside another run the kinds mean nothing: its messages are masked by other rules.
    ours = [learning for learning in of_runs if learning["model"] == opened.name]
    if not ours:
        others = ", ".join(sorted({learning["model"] for learning in of_runs})) or "none"
        raise ModelError(
            f"{store.name} holds nothing that was learnt beside {opened.name}: it was beside"
            f" {others}"
        )
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
    wanted = select(*of_run, func.max(learnt.c.made)).group_by(*of_run).order_by(*of_run)
    if stream is not None:
        wanted = wanted.where(learnt.c.stream == stream)
    with store.transaction(reading=True) as connection:
        return [(Learning(row[0], row[1]), row[2]) for row in connection.execute(wanted)]
