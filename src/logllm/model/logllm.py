"""Encode, project, splice, decode: the forward pass of training, evaluation and detection."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from logllm.config.model import ModelSection
from logllm.config.train import Part
from logllm.errors import ModelError
from logllm.model.base.backbone import load_backbone
from logllm.model.base.weights import locate
from logllm.model.decoder import Decoder
from logllm.model.encoder import Encoder, MessageTokens
from logllm.model.fast.tree import grow
from logllm.model.prompt import Prompt, render
from logllm.progress import Report
from logllm.sessions.message_table import Rows

IGNORED = -100
"""Target of positions without loss."""


@dataclass(frozen=True)
class Batch:
    """What one forward pass reads (design: `u` distinct messages, `t` tokens, `b` sessions).

    Attributes:
        ids: token ids of the distinct messages, (u, t).
        mask: 1 at tokens, 0 at padding, (u, t).
        vectors: the messages' vectors where they are known already, (u, d_enc); `ids` is then not
            read.
        places: for each session the row of each of its messages.
        labels: 1 for anomalous, (b,); none when scoring.
        beginnings: sessions of which a beginning is judged too, as if it were one more session at
            the end of the batch, and its length; `labels` has theirs as well.
    """

    ids: Tensor
    mask: Tensor
    vectors: Tensor | None
    places: tuple[Rows, ...]
    labels: Tensor | None = None
    beginnings: tuple[tuple[int, int], ...] = ()

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        vectors = None if self.vectors is None else self.vectors.to(device)
        labels = None if self.labels is None else self.labels.to(device)
        ids = self.ids.to(device)
        mask = self.mask.to(device)
        return replace(self, ids=ids, mask=mask, vectors=vectors, labels=labels)


def collate(
    sessions: Sequence[Rows],
    *,
    tokens: MessageTokens | None = None,
    vectors: Tensor | None = None,
    labels: Tensor | None = None,
    beginnings: tuple[tuple[int, int], ...] = (),
) -> Batch:
    """Make one batch of sessions, from the message table's tokens or from its known vectors.

    Args:
        sessions: for each session the message-table rows of its messages.
        tokens: the message table's tokens.
        vectors: the message table's vectors, (messages, d_enc).
        labels: 1 for anomalous, (b,).
        beginnings: sessions of which a beginning is judged too, and its length.
    """
    # A message that several sessions hold is encoded once. Of (4, 2) and (2, 4, 2) distinct are
    # (2, 4), and the places (1, 0) and (0, 1, 0).
    distinct, places = np.unique(np.concatenate(sessions), return_inverse=True)
    cuts = np.cumsum([len(session) for session in sessions])[:-1]
    split = tuple(np.split(places, cuts))
    if vectors is not None:
        ids = mask = torch.zeros((len(distinct), 0), dtype=torch.int64)
        vectors = vectors[torch.from_numpy(distinct).to(vectors.device)]  # (u, d_enc)
    else:
        assert tokens is not None  # noqa: S101 - a caller's mistake, not a user's
        ids, mask = tokens.tensors(distinct)
    return Batch(ids, mask, vectors, split, labels=labels, beginnings=beginnings)


class LogLLM(nn.Module):
    """Encoder, projector and decoder around a prompt (paper, section 1)."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        *,
        prompt: Prompt,
        rounding: torch.dtype = torch.float32,
    ) -> None:
        """Join the two with a new projector.

        It is a linear layer, always in float32, whose output is rounded to `rounding`.
        """
        super().__init__()
        self.encoder = encoder
        self.projector = nn.Linear(encoder.width, decoder.width)
        self.decoder = decoder
        self.prompt = prompt
        self.rounding = rounding
        self.message_dropout = nn.Dropout(0.0)
        self.words: Tensor
        self.register_buffer("words", torch.tensor(prompt.words), persistent=False)

    def trains(
        self,
        parts: Sequence[Part],
        *,
        message_dropout: float = 0.0,
        base_dropout: bool = False,
    ) -> list[nn.Parameter]:
        """Let some parts learn and freeze the others.

        Of encoder and decoder the adapters learn, of the projector everything. The adapters'
        dropout acts in the parts that learn; the base models' own dropout acts there only with
        `base_dropout` (the paper's scripts leave it off).

        Returns:
            The parameters that learn.
        """
        self.eval()
        learning = []
        all_parts: dict[Part, nn.Module] = {
            "encoder": self.encoder,
            "projector": self.projector,
            "decoder": self.decoder,
        }
        for name, part in all_parts.items():
            for path, parameter in part.named_parameters():
                parameter.requires_grad_(name in parts and (name == "projector" or "lora_" in path))
                if parameter.requires_grad:
                    learning.append(parameter)
            for path, module in part.named_modules():
                drops = name in parts and (base_dropout or "lora_dropout" in path)
                # transformers' layers are computed again on the way back only where they are in
                # training mode themselves.
                module.training = drops or getattr(module, "gradient_checkpointing", False)
        self.message_dropout.p = message_dropout
        self.message_dropout.train()
        return learning

    def checkpoint_gradients(self) -> None:
        """Have both models compute their layers a second time in the backward pass.

        The layers' inner states need not be kept then.

        Raises:
            ModelError: transformers cannot do it for an architecture.
        """
        for name, part in (("encoder", self.encoder), ("decoder", self.decoder)):
            base = part.model.get_base_model()
            if not base.supports_gradient_checkpointing:
                what = f"{name} {type(base).__name__} has no gradient checkpointing"
                raise ModelError(f"{what}: set train.gradient_checkpointing = false")
            # transformers 5 gave it a new name and warns of the old one.
            new = getattr(base, "activation_checkpointing_enable", None)
            enable = new or base.gradient_checkpointing_enable
            enable({"use_reentrant": False})
            # only re-entrant checkpointing needs the hooks that it set
            base.disable_input_require_grads()

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.projector.weight.device

    def forward(
        self, batch: Batch, *, objective: Literal["answer", "verdict"] = "verdict"
    ) -> Tensor:
        """Logits after the prompt.

        Args:
            batch: sessions and their distinct messages.
            objective: `verdict` reads the two verdict logits; `answer` needs labels and reads every
                position that predicts one of the answer's tokens.

        Returns:
            `verdict`: logits of normal and anomalous, (b, 2). `answer`: logits of the last
            positions, (b, k, v), right-aligned: an answer of n tokens uses the last n.
        """
        vectors = batch.vectors
        if vectors is None:
            vectors = self.encoder(batch.ids, batch.mask)  # (u, d_enc)
        places: Sequence[Rows] = batch.places
        if self.message_dropout.training and self.message_dropout.p:
            vectors, places = self._dropped(vectors, places)

        # A beginning is one more session, of the first messages of another.
        places = [*places, *(places[at][:length] for at, length in batch.beginnings)]
        if objective == "verdict":
            logits = self._read(vectors, places, endings=None, keep=1)
            return logits[:, 0, list(self.prompt.verdict_ids)]  # (b, 2)

        # All of an answer but its last token is read; that one is only predicted.
        answers = self._answers(batch)
        endings = [answer[:-1] for answer in answers]
        longest = max(map(len, answers))
        return self._read(vectors, places, endings=endings, keep=longest)  # (b, k, v)

    def loss(self, batch: Batch, *, objective: Literal["answer", "verdict"]) -> Tensor:
        """Mean cross-entropy: of the answers' tokens (paper), or of the two verdict logits."""
        assert batch.labels is not None  # noqa: S101 - a caller's mistake, not a user's
        logits = self(batch, objective=objective)
        if objective == "verdict":
            return nn.functional.cross_entropy(logits, batch.labels)
        targets = torch.full(logits.shape[:2], IGNORED, device=logits.device)  # (b, k)
        for row, answer in enumerate(self._answers(batch)):
            targets[row, -len(answer) :] = self.words[answer]
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED
        )

    def _dropped(self, vectors: Tensor, places: Sequence[Rows]) -> tuple[Tensor, list[Rows]]:
        """Vectors of all occurrences of messages, each with dropout of its own, and their places.

        The vectors are (b * s, d_enc). With one mask for all occurrences of a message there would
        be no noise within a batch.
        """
        occurrences = torch.from_numpy(np.concatenate(places)).to(vectors.device)
        dropped = self.message_dropout(vectors[occurrences])  # (b * s, d_enc)
        ends = np.cumsum([len(place) for place in places])
        return dropped, np.split(np.arange(len(dropped), dtype=np.int64), ends[:-1])

    def _answers(self, batch: Batch) -> list[Rows]:
        """Each session's right answer as rows of `words`."""
        assert batch.labels is not None  # noqa: S101 - a caller's mistake, not a user's
        normal, anomalous = self.prompt.answers
        return [anomalous if label else normal for label in batch.labels.tolist()]

    def _read(
        self,
        vectors: Tensor,
        places: Sequence[Rows],
        *,
        endings: Sequence[Rows] | None,
        keep: int,
    ) -> Tensor:
        """Logits at the last positions of whole prompts, (b, keep, v).

        The prompts are read as one tree, or padded on the left.

        Raises:
            ModelError: a prompt that is longer than the decoder's positions.
        """
        table = self.table(vectors)
        rows = self.prompt.rows(places, endings=endings, most=self.decoder.positions)
        if self.decoder.reads_trees:
            tree = grow(rows)
            nodes = torch.from_numpy(tree.rows).to(table.device)
            embeddings = nn.functional.embedding(nodes, table)  # (n, d_dec)
            logits: Tensor = self.decoder.read(embeddings, tree, keep=keep)  # (b, keep, v)
            return logits

        # Padded on the left, so that the last position of each prompt is the last of its row.
        longest = max(map(len, rows))
        index = np.zeros((len(rows), longest), dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for at, row in enumerate(rows):
            index[at, longest - len(row) :] = row
            mask[at, longest - len(row) :] = 1
        padded = torch.from_numpy(index).to(table.device)
        embeddings = nn.functional.embedding(padded, table)  # (b, p, d_dec)
        logits = self.decoder(embeddings, torch.from_numpy(mask).to(table.device), keep=keep)
        return logits

    def table(self, vectors: Tensor) -> Tensor:
        """Input vectors of the prompt's words, then of messages, (w + u, d_dec).

        Args:
            vectors: the messages', (u, d_enc).
        """
        messages = self.projector(vectors).to(self.rounding)  # (u, d_dec)
        words = self.decoder.embed(self.words)  # (w, d_dec)
        return torch.cat([words, messages.to(words.dtype)])


def assemble(
    section: ModelSection,
    *,
    adapters: bool = True,
    progress: Report | None = None,
) -> tuple[LogLLM, Any]:
    """Load base models and join them.

    New adapters and the projector draw their first weights from torch's default generator: seed it
    before. Without `adapters` the models are taken as they are: those of a merged bundle.

    Returns:
        The model, in evaluation mode, and the encoder's tokenizer.

    Raises:
        ModelError: weights that are missing or do not serve.
    """
    # In this order, as weights are drawn: encoder's adapters, decoder's, projector.
    folder = locate(section.encoder.weights, progress=progress)
    base, tokenizer = load_backbone(folder, section.encoder)
    encoder = Encoder(base, section.encoder, adapters=adapters)
    folder = locate(section.decoder.weights, progress=progress)
    base, words = load_backbone(folder, section.decoder)
    decoder = Decoder(base, section.decoder, adapters=adapters)

    # The paper's scripts cast the projector's output; ours leave it whole unless told to.
    rounding = torch.float16 if section.projector.output == "float16" else torch.float32
    prompt = render(section.prompt, words)
    model = LogLLM(encoder, decoder, prompt=prompt, rounding=rounding)
    return model.eval(), tokenizer
