"""How sessions are scored."""

from pydantic import Field

from logllm.config.section import Section


class DetectSection(Section):
    """Sizes of the passes that score."""

    batch_positions: int = Field(default=1024, ge=1)
    """Most positions (sessions times the longest one's prompt) a decoder pass holds."""
    batch_tokens: int = Field(default=4096, ge=1)
    """Most positions (messages times the longest one's tokens) an encoder pass holds."""
    read_lines: int = Field(default=100_000, ge=1)
    """Lines read at once."""
