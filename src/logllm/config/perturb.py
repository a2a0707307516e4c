"""How the test part of prepared data is altered."""

from typing import Literal

from pydantic import Field

from logllm.config.section import Section


class PerturbSection(Section):
    """One alteration (`logllm perturb`); a manifest says it as `perturbed`."""

    kind: Literal["insert", "remove", "duplicate", "shuffle", "reword"]
    """`insert`: messages of the train part at random places; `remove`: messages left out;
    `duplicate`: messages that come one to three times more, right after themselves; `shuffle`:
    neighbouring messages in another order; `reword`: messages as another release might word
    them."""
    ratio: float = Field(default=0.2, gt=0, le=1)
    """Share of the test sessions that are altered, rounded up."""
    strength: float = Field(default=0.05, gt=0, le=1)
    """Share of an altered session's messages that are altered, rounded up (LogRobust, LogLLM: a few
    messages)."""
    seed: int = Field(default=0, ge=0)
    """Decides which sessions, which messages and what becomes of them. The sessions of a smaller
    ratio are among those of a larger one."""
