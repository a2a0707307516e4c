"""What each difference between paper, scripts and ours does to the figures.

One short training a variant.

    python benchmarks/differences.py --recipe small --data data/hdfs --out out/differences/hdfs
    python benchmarks/differences.py --recipe few --data data/bgl --out out/differences/bgl
    python benchmarks/differences.py --data data/hdfs --sessions 960 --variant base
        --variant "both models in 4 bits" --out out/differences/nf4

Every variant changes one setting of the same recipe, shortened to 2,400 sessions (`--sessions`),
all else and the data equal, and is judged on the test part. The base is trained with several seeds:
a difference that is not larger than theirs is not one. Variants that are there already are not
trained again, so that an interrupted sweep goes on where it stopped. `results.json` holds all
figures, the table goes to standard output.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from logllm.config.recipe import Recipe
from logllm.detect.detector import Detector
from logllm.evaluate.evaluation import evaluate
from logllm.methods.train import train
from logllm.storage import write_atomic

VARIANTS = {
    "base": (),
    "base, seed 1": ("train.seed=1",),
    "base, seed 2": ("train.seed=2",),
    "objective answer": ("train.objective=answer",),
    "pooling pooler": ("model.encoder.pooling=pooler",),
    "tail with backslash and n": (r"model.prompt.tail=. Is this sequence normal or anomalous? \n",),
    "base models' dropout": ("train.base_dropout=true",),
    "projector's output in float16": ("model.projector.output=float16",),
    "both models in 4 bits": ("model.encoder.quantize=nf4", "model.decoder.quantize=nf4"),
}
"""Settings of each variant (paper, section 1)."""


def shortened(name: str, *, sessions: int) -> list[str]:
    """Settings that make a recipe `sessions` long, its last stage taking what the others leave."""
    stages = Recipe.load(name).train.stages
    last = len(stages) - 1
    left = sessions - sum(stage.max_sessions or 0 for stage in stages[:last])
    return [f"train.stages.{last}.max_sessions={left}"]


def measured(recipe: Recipe, data: Path, *, out: Path) -> dict[str, Any]:
    """Train one variant, or go on with it, and judge it."""
    manifest = train(recipe, data, out=out, resume=out.is_dir())
    report = evaluate(Detector.load(out), data)
    kept = ("average_precision", "f1", "precision", "recall", "tp", "fp", "tn", "fn", "threshold")
    return {
        **{name: report[name] for name in kept},
        "interval": report["intervals"]["average_precision"],
        "seconds": manifest["seconds"],
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| variant | average precision (95 %) | F1 | precision | recall |",
        "|---|---|---|---|---|",
    ]
    for name, figures in results.items():
        low, high = figures["interval"]
        cells = (
            f"{figures['average_precision']:.3f} ({low:.2f}–{high:.2f})",
            *(f"{figures[key]:.3f}" for key in ("f1", "precision", "recall")),
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the variants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that `logllm prepare` wrote"
    )
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--sessions", type=int, default=2400, help="sessions of a training")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the runs and of results.json"
    )
    parser.add_argument(
        "--variant", action="append", choices=VARIANTS, help="only this one; repeatable"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    for name in given.variant or VARIANTS:
        if name in results:
            continue
        settings = [*shortened(given.recipe, sessions=given.sessions), *VARIANTS[name]]
        folder = given.out / "".join(letter if letter.isalnum() else "-" for letter in name)
        figures = measured(Recipe.load(given.recipe, overrides=settings), given.data, out=folder)
        results[name] = {"settings": settings, **figures}
        write_atomic(path, json.dumps(results, indent=2).encode())
        print(f"{name}: {figures}", flush=True)
    print(table({name: results[name] for name in VARIANTS if name in results}))


if __name__ == "__main__":
    main()
