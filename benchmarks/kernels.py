"""What keeps the encoder's and the decoder's share of the machine's peak below one.

Every kind of kernel's part of the time.

    python benchmarks/kernels.py RUN DATA [--sessions 200] [--messages 1500] --out kernels.json

Messages are encoded and distinct sessions decoded by the exact engine with one thread, under
torch's profiler. Besides, the products of their linear layers alone are timed, by the engine's own
lanes and in its own chunks, between products of square matrices: a share of the peak can be no
larger than theirs, and is smaller by all that is no product.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logllm.bench.stages import Watch
from logllm.bench.work import gemm_peak
from logllm.datasets.prepared import Prepared
from logllm.model.checkpoint import load_run, surroundings
from logllm.model.encoder import MessageTokens
from logllm.model.fast.packing import Room, in_lanes
from logllm.model.fast.scorer import Engine
from logllm.sessions.message_table import rows_of
from logllm.storage import write_atomic

REPEATS = 7
KINDS = {
    "linear layers": ("mm", "addmm", "addmm_"),
    "attention": (
        "bmm",
        "_softmax",
        "exp_",
        "aminmax",
        "div",
        "_scaled_dot_product_flash_attention_for_cpu",
    ),
    "activation": ("silu_", "gelu_"),
    "norms": ("native_layer_norm", "linalg_vector_norm", "rsqrt_", "square_"),
    "gathering and putting back": ("index_select", "index_copy_", "copy_"),
}
"""Torch's operations by what they are for; what is not named is the rest: sums, products element by
element, turning by positions."""


def measure(run: Path, data: Path, *, sessions: int, messages: int) -> dict[str, Any]:
    """Each kind of kernel's share of the time, for encoder and decoder.

    Beside it the share of the peak that the linear layers reach alone.
    """
    model, tokenizer, recipe, _ = load_run(run, merged=True)
    prepared = Prepared.load(data)
    engine = Engine(model, section=recipe.detect)
    exact = engine._decoder(torch.float32)
    if engine._encoder is None or exact is None:
        raise SystemExit(
            "this run's models do not go through passes of our own: nothing to measure"
        )
    tokens = MessageTokens(
        prepared.messages.to_list(), tokenizer, max_tokens=recipe.model.encoder.max_tokens
    )
    some_tokens = MessageTokens(
        prepared.messages.to_list()[:messages],
        tokenizer,
        max_tokens=recipe.model.encoder.max_tokens,
    )
    vectors = engine.encode(tokens)
    distinct = list(
        {rows.tobytes(): rows for rows in rows_of(prepared.part("test")["messages"])}.values()
    )
    some = [distinct[row] for row in np.random.default_rng(0).permutation(len(distinct))[:sessions]]
    chunk = recipe.detect.positions_on("cpu")
    decoder = [
        each[0]
        for layer in exact._layers
        for each in (layer.attention, layer.output, layer.gate, layer.up, layer.down)
    ]
    encoder = [matrix for layer in engine._encoder.layers for matrix in layer.matrices]
    return {
        "encoder": {
            "kernels": kernels(lambda: engine.encode(some_tokens)),
            "products": products(encoder, rows=chunk),
        },
        "decoder": {
            "kernels": kernels(lambda: engine.judge(some, vectors)),
            "products": products(decoder, rows=chunk),
        },
    }


def kernels(work: Callable[[], Any]) -> dict[str, float]:
    """Each kind's share of the time of some work on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    torch.set_num_threads(threads)
    spent = {
        event.key.removeprefix("aten::"): event.self_cpu_time_total
        for event in profile.key_averages()
    }
    whole = sum(spent.values())
    shares = {
        kind: sum(spent.get(name, 0) for name in names) / whole for kind, names in KINDS.items()
    }
    return {**shares, "the rest": 1 - sum(shares.values())}


def products(matrices: Sequence[torch.Tensor], *, rows: int) -> float:
    """The share of the peak that linear layers reach alone, side by side in lanes.

    It is the median of several passes.
    """
    inputs = {width: torch.randn(rows, width) for width in {weight.shape[0] for weight in matrices}}

    room = Room(torch.device("cpu"))

    def through(_: int) -> None:
        for weight in matrices:
            width, columns = weight.shape
            out = room.take("made", rows=rows, columns=columns, dtype=torch.float32)
            torch.mm(inputs[width], weight, out=out)

    chunks = 2 * torch.get_num_threads()
    operations = 2 * rows * chunks * sum(weight.numel() for weight in matrices)

    def side_by_side() -> None:
        in_lanes(through, range(chunks), device=room.device, chunks=chunks)

    found = []
    for _ in range(REPEATS + 1):
        before, watch = gemm_peak(), Watch()
        watch.timed(side_by_side)
        found.append(operations / watch.seconds / statistics.median([*before, *gemm_peak()]))
    return statistics.median(found[1:])  # the first one warms up


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder that `logllm train` wrote")
    parser.add_argument("data", type=Path, help="folder that `logllm prepare` wrote")
    parser.add_argument(
        "--sessions", type=int, default=200, help="distinct test sessions to decode"
    )
    parser.add_argument("--messages", type=int, default=1500, help="distinct messages to encode")
    parser.add_argument("--out", type=Path, required=True, help="where to write")
    given = parser.parse_args()
    started = time.perf_counter()
    found = {
        "kind": "kernels",
        "run": given.run.resolve().name,
        "sessions": given.sessions,
        "messages": given.messages,
    }
    found |= measure(given.run, given.data, sessions=given.sessions, messages=given.messages)
    write_atomic(given.out, (json.dumps({**found, **surroundings()}, indent=2) + "\n").encode())
    print(f"measured in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
