"""Which parts of a message become `<*>`."""

from typing import Literal

from pydantic import Field

from logllm.config.section import Section


class MaskRuleSection(Section):
    """One rule of one's own."""

    name: str = Field(min_length=1)
    """What the rule is called in `logllm show mask`."""
    pattern: str = Field(min_length=1)
    """Regular expression (Rust syntax); what it matches becomes `<*>`, or in `own_keep` stays."""


class MaskSection(Section):
    """Masking of a message's variable parts."""

    rules: Literal["paper", "off"] = "paper"
    """`paper`: the thirteen rules of the paper's scripts, and where sessions are grouped by an id,
    a record's own id, though it hold no digit, such as `dffbcc` in `request dffbcc`; `off`: none
    of them."""
    own: tuple[MaskRuleSection, ...] = ()
    """Rules of one's own, tried before the paper's at each position."""
    keep: Literal["nothing", "codes"] = "nothing"
    """`codes`: what tells trouble from routine is not masked, such as 500 in `status=500`, 137 in
    `exit code 137`, 28 in `errno 28` (`logllm show mask --keep codes`); `nothing`: it is masked as
    every number is (paper). `prepare` keeps codes, unless a recipe is named or the log is one of
    the paper's data sets, or in the format of one."""
    traces: Literal["whole", "short"] = "whole"
    """`short`: of a stack trace the lines that name exceptions stay, and of each run of calls the
    innermost one that is not a library's; a model reads the first 100 tokens only, and the
    exception often stands at the end. `whole`: all lines stay (paper)."""
    ends: Literal["last", "early"] = "last"
    """`early`: of a message of more than some 90 tokens the last words follow the first ones, and
    what was between them comes after both (`first … last … between`): a model reads the first 100
    tokens only, and the reason often stands at the end, as behind a long statement. No word is
    lost. `last`: messages stay in their order (paper)."""
    own_keep: tuple[MaskRuleSection, ...] = ()
    """Rules of one's own for what is not masked: all that the pattern matches."""
