"""Sessions to logits.

A call scores each distinct session once; a message is encoded once for as long as it is remembered.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from logllm.config.detect import DetectSection
from logllm.errors import ModelError
from logllm.model.encoder import MessageTokens, in_passes
from logllm.model.fast.bert import Bert
from logllm.model.fast.light import Light
from logllm.model.fast.llama import Llama
from logllm.model.fast.rounding import DOUBT
from logllm.model.fast.source import source_of
from logllm.model.fast.tree import Tree, grow
from logllm.model.fast.walks import Walks, in_groups, room_for
from logllm.model.logllm import LogLLM, collate
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, distinct, occurring

Logits = npt.NDArray[np.float64]
"""Verdict logits, anomalous minus normal, one a session; the score is their sigmoid."""

REMEMBERED = 65_536
"""Messages whose vectors are remembered between calls: 100 MB of the small tier's vectors, 200 MB
of BERT-base's."""
TOLERANCE = 0.01
"""Difference of scores that matters."""
_DIGEST = 16


class Scorer:
    """An engine, and the vectors of the messages that it met last.

    Each call may bring a different message table, in which a message has a different row. A call
    costs what the messages of its sessions cost, however long the table is. One scorer may serve
    several threads at once: they take turns where messages are looked up and encoded.
    """

    def __init__(
        self, engine: "Engine", tokenizer: Any, *, max_tokens: int, most: int = REMEMBERED
    ) -> None:
        """Begin with no message remembered.

        Args:
            engine: what encodes messages and judges sessions.
            tokenizer: the encoder's.
            max_tokens: how much of a message the encoder reads.
            most: messages whose vectors are remembered between calls; a call itself may bring more.
        """
        self.engine = engine
        """What encodes messages and judges sessions."""
        self.tokenizer = tokenizer
        """The encoder's."""
        self.memory = VectorMemory(self._encoded, most=most)
        """What is remembered of messages."""
        self._max_tokens = max_tokens

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        walks: Walks | None = None,
        progress: Progress | None = None,
    ) -> Logits:
        """Score sessions.

        Args:
            sessions: for each session the message-table rows of its messages.
            messages: the message table, of this call alone.
            walks: what is kept of longer sessions, of which these are beginnings; their table is
                the same in each call. None: nothing is kept.
            progress: told as the decoder goes on.

        Returns:
            One logit difference a session, in the order given.
        """
        if not len(sessions):
            return np.zeros(0)
        # Each distinct session once, and of the table only the messages that occur in one.
        once = distinct([session.astype(np.int64) for session in sessions])
        rows = occurring(once.sessions) if walks is None else walks.rows
        texts = messages.gather(rows).to_list()
        vectors = self.memory.vectors(texts)  # (u, d_enc)
        places = [np.searchsorted(rows, session) for session in once.sessions]
        pair = self.engine.judge(places, vectors, walks=walks, progress=progress)  # (b, 2)

        # Back to all sessions, repeated ones too.
        of_distinct = pair[:, 1] - pair[:, 0]
        difference = of_distinct.cpu().numpy().astype(np.float64)
        logits: Logits = difference[once.of]
        return logits

    def groups(self, sessions: Sequence[Rows]) -> Iterator[tuple[Rows, Walks | None]]:
        """Numbers of sessions whose beginnings are scored in rounds, and what is kept of them."""
        engine = self.engine
        return in_groups(sessions, engine.model.prompt, room=engine.room)

    def _encoded(self, texts: list[str]) -> Tensor:
        """The vectors of messages that are not remembered, (u, d_enc)."""
        tokens = MessageTokens(texts, self.tokenizer, max_tokens=self._max_tokens)
        return self.engine.encode(tokens)


class VectorMemory:
    """Vectors of the messages that were asked for last, found again by their texts.

    The memory is bounded: when there are more than `most` messages, those longest out of use are
    forgotten, and encoded again when they return. Several threads may ask at once; they take turns,
    so that no message is encoded twice.
    """

    def __init__(self, encode: Callable[[list[str]], Tensor], *, most: int) -> None:
        """Begin with no message remembered.

        Args:
            encode: makes the vectors of texts, (u, d_enc).
            most: messages that are remembered.
        """
        self._encode = encode
        self._most = most
        self._table: Tensor | None = None
        self._row: OrderedDict[bytes, int] = OrderedDict()  # the key longest out of use first
        self._turn = Lock()

    def __len__(self) -> int:
        return len(self._row)

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """The vectors of distinct messages, (u, d_enc)."""
        keys = [blake2b(text.encode(), digest_size=_DIGEST).digest() for text in texts]
        with self._turn:
            present = [place for place, key in enumerate(keys) if key in self._row]
            missing = [place for place, key in enumerate(keys) if key not in self._row]
            for place in present:
                self._row.move_to_end(keys[place])
            if missing or self._table is None:
                fresh = self._encode([texts[place] for place in missing])
                if self._table is None:
                    # Room for all: memory that is not written to yet costs nothing.
                    self._table = torch.empty((self._most, fresh.shape[1]), device=fresh.device)

            # Remembered and fresh ones, in the order asked for.
            width = self._table.shape[1]
            vectors = self._table.new_empty((len(keys), width))
            remembered_at = [self._row[keys[place]] for place in present]
            vectors[present] = self._table[remembered_at]
            if missing:
                vectors[missing] = fresh

            # New ones take the rows of those longest out of use; of more than there is room for,
            # the last stay.
            stay = missing[-self._most :]
            for place in stay:
                row = len(self._row)
                if row == self._most:
                    _, row = self._row.popitem(last=False)
                self._row[keys[place]] = row
            written_at = [self._row[keys[place]] for place in stay]
            self._table[written_at] = vectors[stay]
        return vectors


class Engine:
    """A model in evaluation mode, its weights as they are now, made ready to score.

    Decoders of the Llama family and BERT encoders in float32 go through passes of our own: adapters
    merged, no padding, and each beginning that sessions share computed once. All others go through
    transformers' own passes. Decoders that read trees, such as Llamas in 4 or 16 bits, then compute
    each beginning that the sessions of a pass share once; for the rest, sessions of like length are
    padded together.
    """

    def __init__(
        self,
        model: LogLLM | Light,
        *,
        section: DetectSection,
        threshold: float = 0.5,
        least: int = 0,
        doubt: float = DOUBT,
    ) -> None:
        """Copy and merge the weights that need it.

        Args:
            model: a network, which must not be trained further while this is used; or what a run's
                files hold, where that is enough.
            section: which engine, and how large its passes are.
            threshold: scores that are near it are not left to an engine that rounds.
            least: number of sessions from which on a call is rounded, where the section's engine
                rounds; fewer are not worth the second copy of the weights that rounding takes.
            doubt: how wrong a rounded logit may be; where an error of that size would matter the
                logit is computed again, exactly; 0: none is.

        Raises:
            ModelError: an engine that cannot run this decoder.
        """
        self.model = model.eval() if isinstance(model, LogLLM) else model
        self.doubted = 0
        """Sessions that were computed again."""
        self._section = section
        self._least = least
        self._doubt = doubt
        self._positions = section.positions_on(model.device.type)
        self._threshold = 0.0
        if 0 < threshold < 1:
            self._threshold = float(np.log(threshold / (1 - threshold)))

        # Passes of our own where the two models are of a kind that they compute.
        encoder = source_of(model.encoder.model)
        decoder = source_of(model.decoder.model)
        self._encoder = None
        if encoder.dtype == torch.float32 and encoder.passes == "bert":
            self._encoder = Bert(encoder, pooling=model.encoder.pooling, chunk=self._positions)
        self._source = decoder if decoder.passes == "llama" else None
        self._decoders: dict[torch.dtype, Llama | None] = {}
        self._making = Lock()
        if section.engine != "bf16":
            self._decoder(torch.float32)  # so that the first session does not wait for it
        elif self._source is None:
            raise ModelError(
                f"detect.engine = 'bf16' cannot run a {decoder.architecture}: leave it at 'exact'"
            )

    def _decoder(self, dtype: torch.dtype) -> Llama | None:
        """Passes of our own in a number format, made when a thread first wants them.

        None where the model's architecture is not computed here, or where exact passes are wanted
        of a model that is not in float32 itself.
        """
        exact = dtype == torch.float32
        source = self._source
        with self._making:
            if dtype not in self._decoders:
                self._decoders[dtype] = None
                if source is not None and (source.dtype == torch.float32 or not exact):
                    chunk = self._positions * (1 if exact else 2)
                    self._decoders[dtype] = Llama(source, dtype=dtype, chunk=chunk)
            return self._decoders[dtype]

    def encode(self, tokens: MessageTokens) -> Tensor:
        """Vectors of all messages of a table, (len(tokens), d_enc)."""
        if self._encoder is not None:
            return self._encoder.vectors(tokens, device=self.model.device)
        positions = self._section.tokens_on(self.model.device.type)
        return self._network.encoder.table(tokens, positions=positions)

    @property
    def room(self) -> int:
        """How many positions' keys and values may be kept from call to call; 0: none are."""
        return room_for(self._source, rounds=self._section.engine == "bf16")

    @torch.inference_mode()
    def judge(
        self,
        sessions: Sequence[Rows],
        vectors: Tensor,
        *,
        walks: Walks | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Verdict logits of sessions that are all different.

        Args:
            sessions: for each session the rows of its messages.
            vectors: the message table's, (messages, d_enc).
            walks: what is kept of longer sessions, of which these are beginnings.
            progress: told as the passes go on.

        Returns:
            Logits of normal and anomalous, (b, 2), float64.

        Raises:
            ModelError: a session that is longer than the decoder can read.
        """
        count = len(sessions) if walks is None else walks.total
        rounds = self._section.engine == "bf16" and count >= self._least
        rounding = self._decoder(torch.bfloat16) if rounds else None
        if rounding is None:
            return self._exact(sessions, vectors, walks=walks, progress=progress)
        logits = self._through(rounding, sessions, vectors=vectors, walks=walks, progress=progress)

        # Doubtful are the sessions whose score or verdict an error of that size would change.
        difference = logits[:, 1] - logits[:, 0]
        score = difference.sigmoid()
        above = (difference + self._doubt).sigmoid() - score
        below = score - (difference - self._doubt).sigmoid()
        near = (difference - self._threshold).abs() < self._doubt
        doubtful = (torch.maximum(above, below) > TOLERANCE) | near
        again = torch.nonzero(doubtful)[:, 0].cpu()
        self.doubted += len(again)
        if len(again):
            in_doubt = [sessions[row] for row in again.tolist()]
            logits[again] = self._exact(in_doubt, vectors, walks=walks)
        return logits

    def _exact(
        self,
        sessions: Sequence[Rows],
        vectors: Tensor,
        *,
        walks: Walks | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Logits without rounding, (b, 2): by passes of our own, or else by the network's."""
        decoder = self._decoder(torch.float32)
        if decoder is not None:
            return self._through(decoder, sessions, vectors=vectors, walks=walks, progress=progress)
        network = self._network
        logits = torch.zeros((len(sessions), 2), dtype=torch.float64, device=network.device)
        done = 0
        for rows in self._passes(sessions):
            batch = collate([sessions[row] for row in rows], vectors=vectors)
            logits[torch.from_numpy(rows)] = network(batch).double()
            done += len(rows)
            if progress is not None:
                progress(done, len(sessions))
        return logits

    def _passes(self, sessions: Sequence[Rows]) -> Iterable[Rows]:
        """Numbers of the sessions that pass the network's decoder together.

        Where it reads trees they are sessions that begin alike, else sessions of like length.
        """
        network = self._network
        if not network.decoder.reads_trees:
            around = len(network.prompt.head) + len(network.prompt.question)
            lengths = np.array([len(session) + around for session in sessions])
            return in_passes(lengths, positions=self._positions)
        prompts = network.prompt.rows(sessions, most=network.decoder.positions)
        return _pieces(grow(prompts), nodes=self._positions)

    @property
    def _network(self) -> LogLLM:
        """The network, for models that passes of our own do not serve."""
        # What is read from files alone always has passes of our own.
        assert isinstance(self.model, LogLLM)  # noqa: S101
        return self.model

    def _through(
        self,
        decoder: Llama,
        sessions: Sequence[Rows],
        *,
        vectors: Tensor,
        walks: Walks | None,
        progress: Progress | None,
    ) -> Tensor:
        """Logits by a tree of the sessions' prompts, (b, 2); by several where one is too large."""
        table = self.model.table(vectors)  # (rows, d_dec)
        prompts = self.model.prompt.rows(sessions, most=self.model.decoder.positions)
        ids = self.model.prompt.verdict_ids
        if walks is not None:
            return walks.by(decoder).logits(prompts, table, ids=ids).double()
        tree = grow(prompts)
        trees = [(np.arange(len(prompts)), tree)]
        if len(tree.rows) > self._section.tree_positions:
            pieces = _pieces(tree, nodes=self._section.tree_positions)
            trees = [(members, grow([prompts[at] for at in members])) for members in pieces]

        def told(steps: int, of: int) -> None:
            if progress is not None:
                progress(done + len(members) * steps // of, len(sessions))

        logits = torch.zeros((len(sessions), 2), dtype=torch.float64, device=table.device)
        done = 0
        for members, tree in trees:
            rows = torch.from_numpy(tree.rows).to(table.device)
            inputs = table[rows]  # (n, d_dec)
            pair = decoder.logits(inputs, tree, ids=ids, progress=told if progress else None)
            logits[torch.from_numpy(members)] = pair.double()
            done += len(members)
        return logits


def _pieces(tree: Tree, *, nodes: int) -> list[Rows]:
    """A tree's sequences in pieces of about `nodes` nodes each, neighbours together."""
    piece = tree.starts[:-1] // nodes
    return [tree.order[piece == number] for number in np.unique(piece)]
