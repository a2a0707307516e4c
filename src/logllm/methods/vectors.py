"""Messages as vectors of an encoder that is not trained."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from logllm.config.model import EncoderSection
from logllm.data.sequences import Rows, occurring
from logllm.model.backbone import load_backbone
from logllm.model.batch import MessageTokens
from logllm.model.encoder import Encoder
from logllm.model.weights import Progress, locate

Vectors = npt.NDArray[np.float32]

_POSITIONS = 4096
"""Token positions of one pass."""


class FrozenVectors:
    """A frozen encoder's vectors, each message encoded once however often it is asked for."""

    def __init__(self, section: EncoderSection, *, progress: Progress | None = None) -> None:
        """Use an encoder as it comes, without adapters; it is loaded when the first message needs it."""
        self.section = section
        self._progress = progress
        self._known: dict[str, Vectors] = {}
        self._encoder: tuple[Encoder, object] | None = None

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Vectors:
        """Vectors of a table's messages that occur in sessions, zeros for the others, (len(messages), d_enc).

        Raises:
            ModelError: the encoder is missing or does not serve.
        """
        rows = occurring(sessions)
        texts = messages.gather(rows).to_list()
        self._encode([text for text in texts if text not in self._known])
        table = np.zeros((len(messages), self._loaded()[0].width), dtype=np.float32)
        if len(rows):
            table[rows] = np.stack([self._known[text] for text in texts])
        return table

    def _loaded(self) -> tuple[Encoder, object]:
        """The encoder and its tokenizer."""
        if self._encoder is None:
            model, tokenizer = load_backbone(locate(self.section.weights, progress=self._progress), self.section)
            self._encoder = Encoder(model, self.section, adapters=False).eval(), tokenizer
        return self._encoder

    def _encode(self, texts: list[str]) -> None:
        """Make sure that some messages are known."""
        if not texts:
            return
        encoder, tokenizer = self._loaded()
        tokens = MessageTokens(texts, tokenizer, max_tokens=self.section.max_tokens)
        found = encoder.table(tokens, positions=_POSITIONS, device=torch.device("cpu")).numpy()
        self._known.update(zip(texts, found, strict=True))
