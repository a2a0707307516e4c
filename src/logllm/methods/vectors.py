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
    from torch import Tensor

    from logllm.model.encoder import Encoder
    from logllm.model.fast.scorer import VectorMemory

Vectors = npt.NDArray[np.float32]

REMEMBERED = 50_000
"""How many messages' vectors are remembered: 77 MB of vectors of 384 components."""
_POSITIONS = 4096
"""Token positions of one pass."""


class FrozenVectors:
    """A frozen encoder's vectors; those that were asked for last are remembered.

    The last digits of a vector depend on the messages that are encoded beside it, and so do scores
    made of it. Several threads may ask at once: one encodes at a time.
    """

    def __init__(
        self,
        section: EncoderSection,
        *,
        report: Report | None = None,
        verify: bool = False,
        most: int = REMEMBERED,
    ) -> None:
        """Use an encoder as it comes, without adapters.

        It is loaded when the first message needs it.

        Args:
            section: which encoder.
            report: told of a fetch or a conversion.
            verify: read its files in full to hash them.
            most: how many messages' vectors are remembered.
        """
        self.section = section
        self._report = report
        self._verify = verify
        self._most = most
        self._memory: VectorMemory | None = None
        self._loaded: tuple[Encoder, Any] | None = None
        self._making = Lock()

    @classmethod
    def of(cls, recipe: Recipe, workplace: Workplace) -> Self:
        """The vectors of a recipe's encoder."""
        return cls(recipe.model.encoder, report=workplace.report, verify=workplace.verify)

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Vectors:
        """Vectors of a table's messages that occur in sessions, (len(messages), d_enc).

        The others have zeros.

        Raises:
            ModelError: the encoder is missing or cannot be used.
        """
        from logllm.model.fast.scorer import VectorMemory

        with self._making:
            if self._memory is None:
                self._memory = VectorMemory(self._encoded, most=self._most)
        rows = occurring(sessions)
        vectors = self._memory.vectors(messages.gather(rows).to_list()).numpy()
        table = np.zeros((len(messages), vectors.shape[1]), dtype=np.float32)
        table[rows] = vectors
        return table

    def about(self) -> dict[str, Any]:
        """The encoder's name and fingerprint, as a run's manifest has them."""
        from logllm.model.base.weights import base_models

        names = {"encoder": self.section.weights}
        return {"base_models": base_models(names, full=self._verify, progress=self._report)}

    def _encoded(self, texts: list[str]) -> "Tensor":
        """Vectors of messages that are not remembered, (u, d_enc)."""
        from logllm.model.base.backbone import load_backbone
        from logllm.model.base.weights import locate
        from logllm.model.encoder import Encoder, MessageTokens

        # With the first message that is not remembered: a run whose log says nothing new needs no
        # encoder.
        if self._loaded is None:
            folder = locate(self.section.weights, progress=self._report)
            model, tokenizer = load_backbone(folder, self.section)
            self._loaded = Encoder(model, self.section, adapters=False).eval(), tokenizer
        encoder, tokenizer = self._loaded
        tokens = MessageTokens(texts, tokenizer, max_tokens=self.section.max_tokens)
        return encoder.table(tokens, positions=_POSITIONS)
