"""How sessions are scored."""

from pydantic import Field

from logllm.config.section import Section


class DetectSection(Section):
    """Sizes of the passes that score, and what is remembered."""

    batch_positions: int = Field(default=1024, ge=1)
    """Most positions (sessions times the longest one's prompt) a decoder pass holds."""
    batch_tokens: int = Field(default=4096, ge=1)
    """Most positions (messages times the longest one's tokens) an encoder pass holds."""
    read_lines: int = Field(default=100_000, ge=1)
    """Lines read at once."""
    cache_sessions: int = Field(default=1_000_000, ge=0)
    """Distinct sessions whose scores `detect` keeps on disk for later calls of the same run, those last in use (about 70 bytes each); 0: none."""
