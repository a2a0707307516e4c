"""How sessions are scored."""

from typing import Literal

from pydantic import Field

from logllm.config.section import Section


class DetectSection(Section):
    """Sizes of the passes that score, and what is remembered."""

    engine: Literal["auto", "exact", "bf16"] = "auto"
    """`exact`: in the weights' own number format. `bf16`: matrix products in bfloat16, and sessions that this leaves in doubt once more exactly;
    refused where training has found that it is not near enough. `auto`: `bf16` for 64 distinct sessions and more, where training has found it near
    enough and the processor is faster with it (AMX or AVX512-BF16, measured once a machine), else `exact`."""
    # Sizes: larger ones are faster, until memory is full.
    batch_positions: int = Field(default=1024, ge=1)
    """Positions that pass a decoder's layer together; where sessions are padded, most positions (sessions times the longest prompt) of a pass."""
    tree_positions: int = Field(default=65_536, ge=1)
    """Most positions whose common beginnings are looked for, and computed once."""
    batch_tokens: int = Field(default=4096, ge=1)
    """Most positions (messages times the longest one's tokens) an encoder pass holds."""
    read_lines: int = Field(default=100_000, ge=1)
    """Lines read at once."""
    cache_sessions: int = Field(default=1_000_000, ge=0)
    """Distinct sessions whose scores `detect` keeps on disk for later calls of the same run, those last in use (about 70 bytes each,
    150 with what several minds say); 0: none."""
