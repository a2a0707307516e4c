"""From a raw log to train, validation and test parts."""

from typing import Literal

from pydantic import Field

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.section import Section
from logllm.config.sessions import SessionSection


class SplitSection(Section):
    """Division of the sessions into train, validation and test."""

    by: Literal["time", "random"] = "time"
    """`time`: the first part trains, the last part tests (windows: cut by lines, then windowed);
    `random`: by session, stratified by label."""
    test: float = Field(default=0.2, ge=0, lt=1)
    """Share of the test part (paper: .2)."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the train part carved out for validation: by time its last sessions, at random
    stratified (paper: 0)."""
    seed: int = Field(default=0, ge=0)
    """Seed of a random split."""


class ServiceSection(Section):
    """One of several logs that are read together: the files of a service, and their format."""

    name: str = Field(min_length=1)
    """What its files' names have in common: `postgresql` of `postgresql-2024-07-03.log`."""
    format: FormatSection
    """How their lines become records; where sessions are by key, its `sessions` say by which."""
    apart: bool = True
    """Its keys are of it alone: a session is called `name/key`. Else equal keys of several services
    are one session."""


class PrepareSection(Section):
    """Everything that decides what sessions a raw log gives.

    A run carries it, and `detect` reads logs by it.
    """

    # In the order of work: lines, messages, sessions, parts.
    format: FormatSection
    """How lines become records."""
    services: tuple[ServiceSection, ...] = ()
    """Logs of several kinds that are read together, each file by the format of its service; none:
    all by `format`."""
    mask: MaskSection = MaskSection()
    """Which parts of a message become `<*>`."""
    sessions: SessionSection = SessionSection()
    """How records become sessions."""
    split: SplitSection = SplitSection()
    """How sessions are divided."""
    redact: bool = False
    """Secrets (e-mail and IP addresses, tokens, keys, passwords, card and telephone numbers and the
    like) are replaced in messages before they are masked, and in all that is written: names of
    sessions and files, lines that did not parse, errors. Detection with a run does the same."""
