"""Ways to score faster, next to the exact one: how fast, and how far off.

What `detect.engine` offers is chosen by this.

    python benchmarks/engines.py RUN DATA [--sessions 200] --out engines.json

The same distinct sessions of prepared data are scored by transformers' padded passes (plainly,
compiled by torch.compile, with its linear layers in dynamic int8), and by ours: exact, in bfloat16,
and in bfloat16 with doubtful sessions exactly. Each is warmed up once and timed by the median of
three; message vectors are the same for all.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from logllm.datasets.prepared import Prepared
from logllm.model.checkpoint import load_run, surroundings
from logllm.model.encoder import MessageTokens, in_passes
from logllm.model.fast.scorer import Engine
from logllm.model.logllm import LogLLM, collate
from logllm.sessions.message_table import rows_of
from logllm.storage import write_atomic

REPEATS = 3
"""Times each way is timed."""


def ways(run: Path, data: Path, *, sessions: int) -> dict[str, dict[str, Any]]:
    """Sessions a second of each way to score, and how its scores differ from the exact ones.

    That is the largest difference, and how many verdicts flip at .5; or why a way did not run.

    Returns:
        `ways` by name.
    """
    model, tokenizer, recipe, _ = load_run(run, merged=True)
    prepared = Prepared.load(data)
    distinct = list(
        {rows.tobytes(): rows for rows in rows_of(prepared.part("test")["messages"])}.values()
    )
    some = [distinct[row] for row in np.random.default_rng(0).permutation(len(distinct))[:sessions]]
    vectors = Engine(model, section=recipe.detect).encode(
        MessageTokens(
            prepared.messages.to_list(), tokenizer, max_tokens=recipe.model.encoder.max_tokens
        )
    )
    rounding = recipe.detect.model_copy(update={"engine": "bf16"})
    exactly, rounded = (Engine(model, section=section) for section in (recipe.detect, rounding))
    undoubting = Engine(model, section=rounding, doubt=0)
    makers: dict[str, Callable[[], Callable[[], Tensor]]] = {
        "ours, exact": lambda: lambda: exactly.judge(some, vectors),
        "ours, bfloat16, doubtful sessions exactly": lambda: lambda: rounded.judge(some, vectors),
        "ours, bfloat16 alone": lambda: lambda: undoubting.judge(some, vectors),
        "transformers, padded": lambda: (
            lambda: _padded(_changed(model, model.decoder.model), some, vectors=vectors)
        ),
        "transformers, padded, compiled": lambda: _compiled(model, some, vectors=vectors),
        "transformers, padded, dynamic int8": lambda: _in_int8(model, some, vectors=vectors),
    }
    found: dict[str, dict[str, Any]] = {}
    exact: Tensor | None = None
    for name, make in makers.items():
        try:
            scores, seconds = _timed(make())
        except Exception as exc:  # noqa: BLE001 - a way that this machine has not is a finding, too
            found[name] = {
                "failed": f"{type(exc).__name__}: {str(exc).strip().splitlines()[0][:120]}"
            }
            continue
        exact = scores if exact is None else exact
        found[name] = {
            "sessions_per_second": len(some) / seconds,
            "largest_difference": float((scores - exact).abs().max()),
            "flips": int(((scores >= 0.5) != (exact >= 0.5)).sum()),
        }
        print(name, found[name], flush=True)
    return {"ways": found}


def _timed(score: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """Scores, and the median of the seconds they take."""
    score()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        logits = score()
        seconds.append(time.perf_counter() - started)
    return (logits[:, 1] - logits[:, 0]).sigmoid().cpu(), statistics.median(seconds)


@torch.inference_mode()
def _padded(model: LogLLM, some: list[Any], *, vectors: Tensor) -> Tensor:
    """Passes of like length through the one forward of training, no beginning shared."""
    lengths = (
        np.array([len(session) for session in some])
        + len(model.prompt.head)
        + len(model.prompt.question)
    )
    logits = torch.zeros((len(some), 2), dtype=torch.float64)
    for rows in in_passes(lengths, positions=1024):
        logits[torch.from_numpy(rows)] = model(
            collate([some[row] for row in rows], vectors=vectors)
        ).double()
    return logits


def _changed(model: LogLLM, decoder: nn.Module) -> LogLLM:
    """The same model with another decoder inside, and no trees."""
    changed = copy.copy(model)
    changed._modules = dict(model._modules)
    changed.decoder = copy.copy(model.decoder)
    changed.decoder._modules = {"model": decoder}
    changed.decoder.reads_trees = False
    return changed


def _compiled(model: LogLLM, some: list[Any], *, vectors: Tensor) -> Callable[[], Tensor]:
    compiled: Any = torch.compile(copy.deepcopy(model.decoder.model), dynamic=True)
    return lambda: _padded(_changed(model, compiled), some, vectors=vectors)


def _in_int8(model: LogLLM, some: list[Any], *, vectors: Tensor) -> Callable[[], Tensor]:
    from torch.ao.quantization import quantize_dynamic

    decoder = quantize_dynamic(  # type: ignore[no-untyped-call]
        copy.deepcopy(model.decoder.model), {nn.Linear}, dtype=torch.qint8
    )
    return lambda: _padded(_changed(model, decoder), some, vectors=vectors)


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder that `logllm train` wrote")
    parser.add_argument("data", type=Path, help="folder that `logllm prepare` wrote")
    parser.add_argument("--sessions", type=int, default=200, help="distinct test sessions to score")
    parser.add_argument("--out", type=Path, required=True, help="where to write")
    given = parser.parse_args()
    found = {"kind": "engines", "run": given.run.resolve().name, "sessions": given.sessions}
    found |= ways(given.run, given.data, sessions=given.sessions)
    write_atomic(given.out, (json.dumps({**found, **surroundings()}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
