"""A run's network as its files hold it: all that an engine with passes of our own needs, without transformers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from logllm.model.fast.source import Source
from logllm.model.prompt import Prompt, PromptTable
from logllm.sessions.message_table import Rows

_EMBEDDINGS = "model.embed_tokens.weight"


@dataclass(frozen=True)
class LightPart:
    """Encoder or decoder.

    Attributes:
        model: its source.
        width: of a vector, d_enc or d_dec.
        pooling: how an encoder makes one vector of a message's states.
    """

    model: Source
    width: int
    pooling: Literal["mean", "pooler"] = "mean"

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The part's tensors by name."""
        for name in self.model.shapes:
            yield name, self.model.read(name)


class Light:
    """Encoder, projector and decoder around a prompt, to be scored with and nothing else.

    It has the names of `LogLLM` for what an engine asks of either.
    """

    def __init__(
        self, encoder: LightPart, decoder: LightPart, *, projector: Mapping[str, Tensor], prompt: Prompt, rounding: torch.dtype
    ) -> None:
        """Join the parts; the projector, its `weight` and `bias`, gives numbers that are rounded to `rounding`."""
        self.encoder, self.decoder = encoder, decoder
        self.projector, self.prompt, self.rounding = projector, prompt, rounding
        self._rows = PromptTable(prompt)
        self._embeddings = decoder.model.read(_EMBEDDINGS)  # (v, d_dec)

    @property
    def device(self) -> torch.device:
        """Where the tensors are wanted."""
        return self.projector["weight"].device

    def sources(self) -> tuple[Source, Source]:
        """What passes of encoder and decoder are made from."""
        return self.encoder.model, self.decoder.model

    @torch.inference_mode()
    def prompts(self, sessions: Sequence[Rows], vectors: Tensor) -> tuple[Tensor, list[Rows]]:
        """Everything that sessions are read from, and each session's whole prompt up to its verdict: as `LogLLM.prompts`.

        Raises:
            ModelError: a prompt that is longer than the decoder's positions.
        """
        words = self._embeddings[torch.tensor(self._rows.words, device=self.device)]  # (w, d_dec)
        projected = nn.functional.linear(vectors, self.projector["weight"], self.projector["bias"])
        messages = projected.to(self.rounding).to(words.dtype)  # (u, d_dec)
        most = self.decoder.model.config.max_position_embeddings
        return torch.cat([words, messages]), self._rows.rows(sessions, endings=[self._rows.opening] * len(sessions), most=most)
