"""Which parts of a message become `<*>`."""

from typing import Literal

from pydantic import Field

from logllm.config.section import Section


class MaskRuleSection(Section):
    """One rule of one's own."""

    name: str = Field(min_length=1)
    """What the rule is called in `logllm show mask`."""
    pattern: str = Field(min_length=1)
    """Regular expression (Rust syntax); what it matches becomes `<*>`."""


class MaskSection(Section):
    """Masking of a message's variable parts."""

    rules: Literal["paper", "off"] = "paper"
    """`paper`: the thirteen rules of the paper's scripts; `off`: none of them."""
    own: tuple[MaskRuleSection, ...] = ()
    """Rules of one's own, tried before the paper's at each position."""
