"""How a model scores: message vectors, and verdict logits of distinct sessions, by the fastest way that is right."""

from collections.abc import Sequence
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from logllm.config.detect import DetectSection
from logllm.errors import ModelError
from logllm.model.batch import MessageTokens, collate, in_passes
from logllm.model.fast.bert import Bert
from logllm.model.fast.light import Light
from logllm.model.fast.llama import Llama
from logllm.model.fast.rounding import DOUBT
from logllm.model.fast.source import Source
from logllm.model.fast.tree import Tree, grow
from logllm.model.logllm import LogLLM
from logllm.progress import Progress
from logllm.sessions.message_table import Rows

TOLERANCE = 0.01
"""Difference of scores that matters."""


class Engine:
    """A model in evaluation mode, its weights as they are now, made ready to score.

    Decoders of the Llama family and BERT encoders in float32 go through passes of our own, adapters merged, without
    padding, each beginning that sessions share once; all others through transformers', padded, in passes of like length.
    """

    def __init__(self, model: LogLLM | Light, *, section: DetectSection, threshold: float = 0.5, least: int = 0) -> None:
        """Copy and merge the weights that need it.

        Args:
            model: a network, not trained on afterwards, for as long as this is used; or what a run's files hold, which needs no others.
            section: which engine, and how large its passes are.
            threshold: scores that are near it are not left to an engine that rounds.
            least: sessions from which on a call is rounded, where the section's engine rounds; fewer are not worth the second copy of
                the weights that this takes.

        Raises:
            ModelError: an engine that cannot run this decoder.
        """
        self.model = model.eval() if isinstance(model, LogLLM) else model
        self._section = section
        encoder, decoder = model.sources()
        chunk = section.batch_positions
        self._encoder = None
        if encoder.dtype == torch.float32 and Bert.serves(encoder):
            self._encoder = Bert(encoder, pooling=model.encoder.pooling, chunk=chunk)
        served = Llama.serves(decoder)
        self._exact_source = decoder if decoder.dtype == torch.float32 and served else None
        self._making = Lock()
        self._least = least
        self._threshold = float(np.log(threshold / (1 - threshold))) if 0 < threshold < 1 else 0.0
        self.doubted = 0
        if section.engine == "bf16":
            if not served:
                raise ModelError(f"detect.engine = 'bf16' cannot run a {decoder.architecture}: leave it at 'exact'")
            self._rounded_source: Source | None = decoder
        else:
            self._rounded_source = None
            self._decoder  # noqa: B018 - made here, so that the first session does not wait for it

    @cached_property
    def _exact_decoder(self) -> Llama | None:
        """Exact passes; where others round, made when the first session is in doubt."""
        if self._exact_source is None:
            return None
        return Llama(self._exact_source, dtype=torch.float32, chunk=self._section.batch_positions)

    @cached_property
    def _rounded_decoder(self) -> Llama | None:
        """Passes in bfloat16, where the engine rounds."""
        if self._rounded_source is None:
            return None
        return Llama(self._rounded_source, dtype=torch.bfloat16, chunk=2 * self._section.batch_positions)

    @property
    def _rounding(self) -> Llama | None:
        """Passes in bfloat16, made once, when the first call is large enough for them."""
        with self._making:
            return self._rounded_decoder

    @property
    def _decoder(self) -> Llama | None:
        """Exact passes of our own, made once, whichever thread asks first."""
        with self._making:
            return self._exact_decoder

    def encode(self, tokens: MessageTokens) -> Tensor:
        """Vectors of all messages of a table, (len(tokens), d_enc)."""
        if not len(tokens):
            return torch.zeros((0, self.model.encoder.width), device=self.model.device)
        if self._encoder is None:
            return self._network.encode(tokens, positions=self._section.batch_tokens)
        return self._encoder.vectors(tokens, device=self.model.device)

    def judge(self, sessions: Sequence[Rows], vectors: Tensor, *, progress: Progress | None = None) -> Tensor:
        """Verdict logits of sessions that are all different.

        Args:
            sessions: for each session the rows of its messages.
            vectors: the message table's, (messages, d_enc).
            progress: told as the passes go on.

        Returns:
            Logits of normal and anomalous, (b, 2), float64.

        Raises:
            ModelError: a session that is longer than the decoder can read.
        """
        rounding = None if len(sessions) < self._least else self._rounding
        if rounding is None:
            return self._exact(sessions, vectors, progress=progress)
        logits = self._through(rounding, sessions, vectors=vectors, progress=progress)
        again = torch.nonzero(_doubtful(logits[:, 1] - logits[:, 0], threshold=self._threshold))[:, 0].cpu()
        self.doubted += len(again)
        if len(again):
            logits[again] = self._exact([sessions[row] for row in again.tolist()], vectors)
        return logits

    def rounding_error(self, sessions: Sequence[Rows], vectors: Tensor) -> float | None:
        """The largest error of a logit, anomalous minus normal, of some sessions; none where nothing is rounded."""
        if (rounding := self._rounding) is None:
            return None
        rounded = self._through(rounding, sessions, vectors=vectors, progress=None)  # (b, 2)
        errors = (rounded - self._exact(sessions, vectors)).diff(dim=1)  # (b, 1)
        return float(errors.abs().max())

    def _exact(self, sessions: Sequence[Rows], vectors: Tensor, *, progress: Progress | None = None) -> Tensor:
        if (decoder := self._decoder) is not None:
            return self._through(decoder, sessions, vectors=vectors, progress=progress)
        network = self._network
        around = len(network.prompt.head) + len(network.prompt.question)
        lengths = np.array([len(session) + around for session in sessions])
        by_length = np.argsort(lengths, kind="stable")
        logits, done = torch.zeros((len(sessions), 2), dtype=torch.float64, device=network.device), 0
        for rows in in_passes(by_length, lengths[by_length], positions=self._section.batch_positions):
            with torch.inference_mode():
                logits[torch.from_numpy(rows)] = network(collate([sessions[row] for row in rows], vectors=vectors)).double()
            done += len(rows)
            if progress is not None:
                progress(done, len(sessions))
        return logits

    @property
    def _network(self) -> LogLLM:
        """The network whose own passes serve what has none of ours."""
        assert isinstance(self.model, LogLLM)  # noqa: S101 - what comes from files alone has passes of ours
        return self.model

    def _through(self, decoder: Llama, sessions: Sequence[Rows], *, vectors: Tensor, progress: Progress | None) -> Tensor:
        """Logits by a tree of the sessions' prompts, or several where one would be too large."""
        table, prompts = self.model.prompts(sessions, vectors)  # (rows, d_dec)
        logits = torch.zeros((len(sessions), 2), dtype=torch.float64, device=table.device)
        done = 0
        for some, tree in _trees(prompts, positions=self._section.tree_positions):
            told = None
            if progress is not None:
                before, report = done, progress  # fixed for this pass
                told = lambda layer, layers: report(before + len(some) * layer // layers, len(sessions))  # noqa: E731, B023
            inputs = table[torch.from_numpy(tree.rows).to(table.device)]  # (n, d_dec)
            logits[torch.from_numpy(some)] = decoder.logits(inputs, tree, ids=self.model.prompt.verdict_ids, progress=told).double()
            done += len(some)
        return logits


def _trees(prompts: Sequence[Rows], *, positions: int) -> list[tuple[Rows, Tree]]:
    """The prompts as trees of at most about so many nodes, and which prompts are in each."""
    tree = grow(prompts)
    if len(tree) <= positions:
        return [(np.arange(len(prompts)), tree)]
    piece = tree.starts[:-1] // positions
    cut = [tree.order[piece == number] for number in np.unique(piece)]
    return [(some, grow([prompts[at] for at in some])) for some in cut]


def _doubtful(logits: Tensor, *, threshold: float) -> Tensor:
    """Which logit differences an error of `DOUBT` would change the score or the verdict of."""
    score = logits.sigmoid()
    moved = torch.maximum((logits + DOUBT).sigmoid() - score, score - (logits - DOUBT).sigmoid())
    return (moved > TOLERANCE) | ((logits - threshold).abs() < DOUBT)
