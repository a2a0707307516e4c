"""How sessions are scored."""

from typing import Literal

from pydantic import Field

from logllm.config.section import CountOrAuto, Section

_POSITIONS, _POSITIONS_OF_GPU = 1_024, 16_384
_TOKENS, _TOKENS_OF_GPU = 4_096, 32_768


class DetectSection(Section):
    """Sizes of the passes that score, and what is remembered."""

    engine: Literal["auto", "exact", "bf16"] = "auto"
    """`exact`: in the weights' own number format. `bf16`: matrix products in bfloat16, and sessions
    that this leaves in doubt once more exactly; refused where training has found that it is not
    near enough. `auto`: `bf16` for 64 distinct sessions and more, where training has found it near
    enough and the processor is faster with it (AMX or AVX512-BF16, measured once a machine), else
    `exact`."""
    # Sizes: larger ones are faster, until memory is full.
    batch_positions: CountOrAuto = "auto"
    """Positions that pass a decoder's layer together; where sessions are padded, most positions
    (sessions times the longest prompt) of a pass. `auto`: 1,024 on a processor, whose cache holds
    so many, and 16,384 on a GPU, which waits for smaller ones to be handed over. On a processor few
    positions are divided into eight passes, of 384 at least, for its cores to share."""
    tree_positions: int = Field(default=65_536, ge=1)
    """Most positions whose common beginnings are looked for, and computed once."""
    batch_tokens: CountOrAuto = "auto"
    """Most positions (messages times the longest one's tokens) an encoder pass holds. `auto`: 4,096
    on a processor, 32,768 on a GPU."""
    read_lines: int = Field(default=100_000, ge=1)
    """Lines read at once."""
    cache_sessions: int = Field(default=1_000_000, ge=0)
    """Distinct sessions whose scores `detect` keeps on disk for later calls of the same run, those
    last in use (about 70 bytes each, 150 with what several minds say); 0: none."""

    def positions_on(self, device: str) -> int:
        """Size of the decoder's passes on a kind of device, as torch calls it.

        >>> section = DetectSection()
        >>> section.positions_on("cpu"), section.positions_on("cuda")
        (1024, 16384)
        """
        if self.batch_positions == "auto":
            return _POSITIONS if device == "cpu" else _POSITIONS_OF_GPU
        return self.batch_positions

    def tokens_on(self, device: str) -> int:
        """Size of the encoder's padded passes on a kind of device, as torch calls it."""
        if self.batch_tokens == "auto":
            return _TOKENS if device == "cpu" else _TOKENS_OF_GPU
        return self.batch_tokens
