"""How much computing a log's distinct work is, and how much this machine can do.

Both are in floating-point operations: the former are counted, the latter measured.
"""

import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from logllm.model.decoder import Decoder
from logllm.model.encoder import Encoder, MessageTokens
from logllm.model.fast.light import LightPart
from logllm.model.fast.source import Source
from logllm.model.fast.tree import grow
from logllm.model.prompt import Prompt
from logllm.sessions.message_table import Rows

GEMM_SIZE = 2048
"""Rows and columns of the matrices whose product shows the machine's peak."""
_REPEATS = 7
_PROCESSOR = torch.device("cpu")


@dataclass(frozen=True)
class Work:
    """Distinct work: what has to be computed at least once."""

    positions: int
    """Distinct positions (decoder) or real tokens of distinct messages (encoder); padding does not
    count."""
    contexts: int
    """Sum over these positions of how many positions each one reads: in the decoder all up to
    itself, in the encoder the whole message."""
    ends: int = 0
    """Of the positions those at which a verdict is read; 0 where all are wanted."""
    end_contexts: int = 0
    """Sum over the ends of how many positions each one reads."""

    def flops(self, model: Any) -> int:
        """Floating-point operations, a multiplication and an addition counted as two.

        `2 * w * positions + 4 * a * l * contexts`: w are the weights of all linear layers but the
        output head, adapters not counted; a is the width of attention (heads times their width); l
        is the number of layers. A token's scores cost 2 * a a position it reads, and so does the
        weighted sum of the values. Where verdicts are read at some positions only, the others are
        wanted in the last layer for their keys and values, and the rest of it is not counted there.
        Embeddings, norms and activations are not counted; of a mixture of experts all experts would
        be.

        Args:
            model: an encoder or a decoder of transformers, with or without adapters, or the source
                of one.
        """
        config = model.config
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        attention, layers = width * heads, config.num_hidden_layers
        weights = linear_weights(model)
        by_weights = 2 * weights * self.positions
        by_attention = 4 * attention * layers * self.contexts
        whole: int = by_weights + by_attention
        if not self.ends:
            return whole
        # In the last layer positions where nothing is read need their keys and values alone.
        key_heads = getattr(config, "num_key_value_heads", heads)
        keys_and_values = 2 * width * key_heads * config.hidden_size
        unread = self.positions - self.ends
        rest_of_layer = 2 * (weights // layers - keys_and_values) * unread
        unread_attention = 4 * attention * (self.contexts - self.end_contexts)
        unwanted: int = rest_of_layer + unread_attention
        return whole - unwanted


def linear_weights(model: Any) -> int:
    """Weights of a model's linear layers that every position passes.

    The output head, the pooler and adapters are not counted.
    """
    total = 0
    if isinstance(model, Source):
        # Sizes are read from the file's header; vectors (norms, biases) multiply nothing.
        for name, shape in model.shapes.items():
            if len(shape) > 1 and re.search(r"layers?\.[0-9]+\.", name):
                total += math.prod(shape)
        return total
    from transformers.pytorch_utils import Conv1D

    left_out = {id(model.get_output_embeddings())}
    for name, module in model.named_modules():
        if id(module) in left_out or "lora_" in name or "pooler" in name:
            continue
        if isinstance(module, nn.Linear):
            total += module.in_features * module.out_features
        elif isinstance(module, Conv1D):
            total += module.weight.numel()
    return total


def decoder_work(sessions: Sequence[Rows], prompt: Prompt) -> Work:
    """Distinct positions of whole prompts over some sessions.

    Prompts that begin alike share their beginning.

    >>> prompt = Prompt(head=(1, 2), tail=(3,), normal=(4, 5), anomalous=(4, 6), shared=1)
    >>> decoder_work([np.array([7, 8]), np.array([7]), np.array([7, 8])], prompt)
    Work(positions=8, contexts=30, ends=2, end_contexts=11)
    """
    # Rows below 0 stand for the words of the prompt, which are the same in every session.
    begin, length = len(prompt.head), len(prompt.question)
    # Positions count from where the session begins: -2 -1 | 0 1 2 ... | the question.
    head = np.arange(-begin, 0)
    question = np.arange(length) - begin - length
    distinct = {session.tobytes(): session for session in sessions}
    prompts = [np.concatenate([head, session, question]) for session in distinct.values()]
    tree = grow(prompts)
    # A position reads all up to itself; a verdict is read at the end of each path.
    contexts = int((tree.depths + 1).sum())
    end_contexts = sum(map(len, tree.paths))
    return Work(len(tree.rows), contexts, len(tree.paths), end_contexts)


def encoder_work(tokens: MessageTokens) -> Work:
    """Real tokens of a message table, each of which reads its whole message."""
    lengths = tokens.lengths
    contexts = (lengths**2).sum()
    return Work(int(lengths.sum()), int(contexts))


def gemm_peak(
    *,
    size: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    device: torch.device = _PROCESSOR,
    dtype: torch.dtype = torch.float32,
) -> list[float]:
    """Floating-point operations a second of repeated products of square matrices.

    A processor computes them with torch's current number of threads.

    Args:
        size: of the matrices, rows and columns; none: `GEMM_SIZE`, on a GPU four times as many, as
            fewer leave some of it idle.
        clock: gives seconds.
        device: what multiplies.
        dtype: of the matrices' numbers.
    """
    if size is None:
        size = GEMM_SIZE if device.type == "cpu" else 4 * GEMM_SIZE
    left, right = torch.ones((2, size, size), device=device, dtype=dtype)
    product = torch.empty((size, size), device=device, dtype=dtype)
    # A multiplication and an addition for each number of the result and each of its terms.
    operations = 2 * size**3
    rates: list[float] = []
    for _ in range(_REPEATS + 1):
        finish(device)
        started = clock()
        torch.mm(left, right, out=product)
        finish(device)
        rates.append(operations / (clock() - started))
    return rates[1:]  # the first one warms up


def finish(device: torch.device) -> None:
    """Wait until a device has done what it was given: a GPU goes on by itself."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_format(part: Encoder | Decoder | LightPart, *, device: torch.device) -> torch.dtype:
    """The number format of the peak with which a part's work is compared.

    On a GPU it is the format that the part multiplies in. On a processor it is always float32, so
    that shares of parts in other formats stay comparable with one another.
    """
    kind = number_format(part)
    if device.type == "cpu" or kind == "float32":
        return torch.float32
    return torch.float16 if kind == "float16" else torch.bfloat16


def share(flops: int, *, seconds: float, peak: Sequence[float]) -> float:
    """What part of the machine's peak some work reached.

    Operations over (seconds times the peak's median).

    >>> share(500, seconds=10, peak=[90, 100, 400])
    0.5
    """
    return flops / (seconds * statistics.median(peak))


def number_format(part: Encoder | Decoder | LightPart) -> str:
    """The number format in which a part's frozen layers multiply.

    >>> number_format(nn.Linear(2, 2).to(torch.bfloat16))
    'bfloat16'
    """
    names: set[str] = set()
    for name, parameter in part.named_parameters():
        # Adapters are small, and vectors (norms, biases) multiply nothing.
        if "lora_" in name or parameter.dim() < 2:
            continue
        # Whole numbers are packed weights of four bits each.
        if not parameter.dtype.is_floating_point:
            return "4-bit"
        names.add(str(parameter.dtype).removeprefix("torch."))
    return ", ".join(sorted(names))
