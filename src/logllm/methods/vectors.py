"""Messages as vectors of an encoder that is not trained."""

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.config.model import EncoderSection
from logllm.config.recipe import Recipe
from logllm.methods.contract import Workplace
from logllm.progress import Report
from logllm.sessions.message_table import Rows, occurring

if TYPE_CHECKING:
    from logllm.model.encoder import Encoder

Vectors = npt.NDArray[np.float32]

REMEMBERED = 50_000
"""Messages whose vectors are kept: 77 MB of vectors of 384 components."""
_POSITIONS = 4096
"""Token positions of one pass."""


class FrozenVectors:
    """A frozen encoder's vectors; those of the 50,000 messages that were asked for last are remembered.

    A vector differs in its last digits with the messages that are encoded beside it, and so do scores made of it.
    Several threads may ask at once: one encodes at a time.
    """

    def __init__(self, section: EncoderSection, *, report: Report | None = None, verify: bool = False) -> None:
        """Use an encoder as it comes, without adapters; it is loaded when the first message needs it.

        Args:
            section: which encoder.
            report: told of a fetch or a conversion.
            verify: read its files in full to hash them.
        """
        self.section = section
        self._verify = verify
        self._report = report
        self._remembered: dict[str, Vectors] = {}  # the one asked for last is last
        self._loaded: tuple[Encoder, Any] | None = None
        self._lock = Lock()

    @classmethod
    def of(cls, recipe: Recipe, workplace: Workplace) -> Self:
        """Those of a recipe's encoder."""
        return cls(recipe.model.encoder, report=workplace.report, verify=workplace.verify)

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Vectors:
        """Vectors of a table's messages that occur in sessions, zeros for the others, (len(messages), d_enc).

        Raises:
            ModelError: the encoder is missing or does not serve.
        """
        rows = occurring(sessions)
        texts = messages.gather(rows).to_list()
        with self._lock:
            vectors = self._vectors(texts)
            width = self._encoder()[0].width
        table = np.zeros((len(messages), width), dtype=np.float32)
        if len(rows):
            table[rows] = np.stack(vectors)
        return table

    def about(self) -> dict[str, Any]:
        """The encoder's name and fingerprint, as a run's manifest has them."""
        from logllm.model.base.weights import locate
        from logllm.storage import fingerprint

        folder = locate(self.section.weights, progress=self._report)
        model = {"weights": self.section.weights, "sha256": fingerprint(folder, full=self._verify)}
        return {"base_models": {"encoder": model}}

    def _vectors(self, texts: list[str]) -> list[Vectors]:
        """Vectors of some messages, remembered or made now."""
        new = [text for text in texts if text not in self._remembered]
        self._remembered |= self._encoded(new)
        vectors = []
        for text in texts:
            vector = self._remembered.pop(text)
            self._remembered[text] = vector
            vectors.append(vector)
        for text in list(self._remembered)[: max(0, len(self._remembered) - REMEMBERED)]:
            del self._remembered[text]
        return vectors

    def _encoded(self, texts: list[str]) -> dict[str, Vectors]:
        """Vectors of some messages by their text, made now."""
        if not texts:
            return {}
        import torch

        from logllm.model.batch import MessageTokens

        encoder, tokenizer = self._encoder()
        tokens = MessageTokens(texts, tokenizer, max_tokens=self.section.max_tokens)
        device = torch.device("cpu")
        vectors = encoder.table(tokens, positions=_POSITIONS, device=device).numpy()
        # Copies: a row of an array keeps the whole of it in memory.
        return {text: vector.copy() for text, vector in zip(texts, vectors, strict=True)}

    def _encoder(self) -> "tuple[Encoder, Any]":
        """The encoder and its tokenizer."""
        if self._loaded is None:
            from logllm.model.base.backbone import load_backbone
            from logllm.model.base.weights import locate
            from logllm.model.encoder import Encoder

            folder = locate(self.section.weights, progress=self._report)
            model, tokenizer = load_backbone(folder, self.section)
            self._loaded = Encoder(model, self.section, adapters=False).eval(), tokenizer
        return self._loaded
