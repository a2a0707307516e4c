"""What is to be read after a file of a log that is not what it was."""

from collections.abc import Sequence
from typing import NamedTuple

from logllm.serve.sources.tailing.generation import Generation
from logllm.serve.sources.tailing.rotated_names import Entry


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
