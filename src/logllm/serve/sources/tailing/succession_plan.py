"""What is to be read after a file of a log that is not what it was."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from logllm.serve.sources.tailing.generation import Generation
from logllm.serve.sources.tailing.rotated_names import Entry, fitting

_PATIENCE = 10.0
"""Seconds for which files are waited for that keep changing their names."""


class Plan(NamedTuple):
    """What is to be read after a file that is not what it was."""

    stays: bool
    """Whether it is read on."""
    name: str
    """What it is called now."""
    rest: Entry | None
    """Its copy, if that has what was not read of it."""
    following: list[Entry]
    """The files after it."""
    learnt: Sequence[Generation] = ()
    """Those once more, opened."""
    again: Sequence[Entry | None] = ()
    """Files where lines are read again after a restart."""


def settled(
    decide: Callable[[list[Entry]], Plan],
    look: Callable[[], list[Entry]],
    *,
    learn: Callable[[Plan], list[Generation]],
    close: Callable[[Generation], None],
) -> tuple[Plan, bool]:
    """A plan made while no file changed its name, and whether there was such a while.

    A look in the middle of a rotation misses a file, so it is looked until two looks agree.

    Args:
        decide: makes a plan of the files that a look saw.
        look: lists the log's files.
        learn: opens the files that follow, and learns their first and last bytes.
        close: closes one of these again.
    """
    patient_until = time.monotonic() + _PATIENCE
    entries = look()
    while True:
        plan = decide(entries)
        following = learn(plan)
        again = look()
        # Names that change for ever are no reason to read nothing for ever.
        is_settled = _names(again) == _names(entries)
        if is_settled or time.monotonic() > patient_until:
            return plan._replace(learnt=following), is_settled
        # What was opened may be another file by now.
        entries = again
        for generation in following:
            close(generation)


def moved(generation: Generation, entries: list[Entry]) -> Plan:
    """Where a file is now that is read, as `rest`; None where no file of the log is that one."""
    mark, since = generation.known_mark, generation.sound[1]
    return Plan(True, generation.name, fitting(mark, entries, since=since), [])


def _names(entries: Sequence[Entry]) -> list[tuple[str, int, int]]:
    """Which file each name stands for; sizes may grow meanwhile."""
    return [(entry.name, entry.device, entry.inode) for entry in entries]
