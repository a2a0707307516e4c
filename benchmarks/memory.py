"""The memory that `train --check` says a stage needs, next to what the stage takes.

    python benchmarks/memory.py --data DIR [--recipe small] [--set KEY=VALUE] [--sessions 48]
        [--json]

For each stage of the recipe, cut to a few sessions, a fresh process trains that stage alone with
`logllm train`'s loop and reports the most memory it ever held (the kernel's high-water mark);
another one plans the same stage. Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STAGE = """
import json, resource, sys, tempfile
from pathlib import Path
import torch
from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import assemble
from logllm.training.loop import Loop
from logllm.training.sampler import TrainingSet
from logllm.training.fit import Examples, accelerate, deterministic

torch.set_num_threads(1)
recipe, prepared = Recipe.load(sys.argv[1]), Prepared.load(Path(sys.argv[2]))
sessions, labels, _, alerts = Examples.of(prepared)
with deterministic(recipe.train.seed), tempfile.TemporaryDirectory() as scratch:
    model, tokenizer = assemble(recipe.model)
    longest = recipe.model.encoder.max_tokens
    tokens = MessageTokens(prepared.messages.to_list(), tokenizer, max_tokens=longest)
    learnt = TrainingSet(sessions, labels, tokens, alerts)
    accelerator = accelerate(recipe)
    loop = Loop(
        model, learnt, section=recipe.train, run=Path(scratch), accelerator=accelerator
    )
    loop.train(encode_positions=recipe.detect.tokens_on(model.device.type))
# Of Linux's two counters the one that a child does not inherit from the process that started it.
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""
"""Trains and prints the bytes of the high-water mark."""

PLAN = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import torch
from logllm.config.recipe import Recipe
from logllm.training.plan import plan

torch.set_num_threads(1)
found = plan(Recipe.load(sys.argv[1]), Path(sys.argv[2]))
stage = asdict(found.stages[0].memory)
print(json.dumps({**stage, "program": found.program, "predicted": found.peak}))
"""
"""Plans and prints the figures."""


def compare(
    data: Path, *, recipe: str, settings: list[str], sessions: int, last: bool = False
) -> list[dict[str, Any]]:
    """Bytes predicted and measured for each stage of a recipe, or for the last one."""
    from logllm.config.recipe import Recipe

    whole = Recipe.load(recipe, overrides=settings)
    found = []
    for stage in whole.train.stages[-1 if last else 0 :]:
        short = stage.model_copy(update={"max_sessions": sessions, "epochs": None})
        alone = whole.model_copy(
            update={"train": whole.train.model_copy(update={"stages": (short,)})}
        )
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "recipe.toml"
            file.write_text(alone.toml(), encoding="utf-8")
            predicted, measured = (
                _last_line(program, arguments=(str(file), str(data))) for program in (PLAN, STAGE)
            )
        ratio = round(predicted["predicted"] / measured, 3)
        found.append(
            {"trains": " + ".join(stage.trains), **predicted, "measured": measured, "ratio": ratio}
        )
    return found


def _last_line(program: str, *, arguments: tuple[str, ...]) -> Any:
    """What a program prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that `logllm prepare` wrote"
    )
    parser.add_argument("--recipe", default="small")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="override a setting; repeatable",
    )
    parser.add_argument("--sessions", type=int, default=48, help="sessions a stage trains on here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = compare(
        options.data, recipe=options.recipe, settings=options.settings, sessions=options.sessions
    )
    if options.json:
        print(json.dumps(found))
    else:
        for stage in found:
            predicted, measured = stage["predicted"] / 1e6, stage["measured"] / 1e6
            print(
                f"{stage['trains']}: predicted {predicted:.0f} MB, measured {measured:.0f} MB,"
                f" ratio {stage['ratio']}"
            )


if __name__ == "__main__":
    main()
