"""docs/performance.md and its plots from the measurements in docs/performance.

With --check, whether the page is current.

    python benchmarks/performance.py [--check]

The measurements are what `logllm bench --json`, side_by_side.py and savings.py wrote; a file's name
is what the page calls it.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from logllm.cli.bench import share_of_peak, speeds

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "performance"
PAGE = FOLDER.with_suffix(".md")
INTRODUCTION = """# Performance

Made by `python benchmarks/performance.py` from the measurements in `docs/performance`. Times depend
on the machine; every ratio was taken side by side in one process, both sides with the same number
of threads.
"""
COMMANDS = """## Measuring it yourself

    logllm bench RUN LOG --data DATA --json > docs/performance/bench-NAME.json
    python benchmarks/side_by_side.py score RUN LOG --out docs/performance/score-NAME.json
    python benchmarks/side_by_side.py verdicts RUN LOG --out docs/performance/verdicts-NAME.json
    python benchmarks/side_by_side.py train RUN DATA --out docs/performance/train-NAME.json
    python benchmarks/savings.py RUN LOG --out docs/performance/savings-NAME.json
    python benchmarks/kernels.py RUN DATA --out docs/performance/kernels-NAME.json
    python benchmarks/performance.py

`logllm bench` alone needs nothing but a run and a log, and `make bench` makes both where there are
none.
"""
ON_A_GPU = """## On a GPU

One script measures all of it on one NVIDIA card, in at most ten minutes on an H100, and writes a
JSON line for each figure. Nothing is fetched: the small tier's models are there before, those of
the paper are written in their real shapes with random weights.

    python benchmarks/gpu.py --log HDFS.log.gz --labels anomaly_label.csv --out FOLDER

| what | step | figure |
| --- | --- | ---: |
| 8B in 4 bits, last stage: sessions a second beside the published way | `training` | not measured |
| 8B in 4 bits: distinct sessions of the HDFS sample, default settings | `scoring` | not measured |
| 8B in 4 bits: `detect` from file to verdicts, the second time | `scoring` | not measured |
| small tier: whole commands `train small` and `detect` | `small` | not measured |
| small tier in float32: scores and verdicts beside the processor's | `parity` | not measured |
| memory that `train --check` foretells, next to what CUDA gave | `training` | not measured |

By default a GPU is given 16,384 positions a pass where a processor is given 1,024, and sessions
that begin alike share their beginnings there in 4 and in 16 bits, too. For training,
`--set train.micro_batch=auto` takes as large a micro-batch as memory is foretold to hold: the
gradients are those of one pass over the whole batch. Weights in 4 bits are packed once for each
model and setting, kept in the cache's folder `packed`, and read from there onto the card.

The paper's encoder, in 4 bits, is multiplied in bfloat16 (`model.encoder.compute`). One in float32
stays in float32 on a card as on a processor, whichever engine scores: engine `bf16` rounds the
decoder alone, for the vectors it reads have to serve the sessions that are computed again exactly.

Not built, since only a card can show what they gain: taking weights in 4 bits apart once a step.
For 8B that takes 16 GB, and where memory allows a step of one micro-batch, as `auto` makes it, it
spares the backward pass alone from doing so again. And CUDA graphs and compiling, which want passes
of equal shapes: the trees of no two steps have the same.
"""
FORMULA = """## What the share of the peak means

The peak is measured in the same run: the median of products of two 2,048 x 2,048 matrices in
float32, before, after and between nine passes over all messages and three over all sessions, since
the clock of a shared machine wanders, with the threads that everything else has. Each pass is set
beside the peak right before and right after it, and the median share counts. A product of square
matrices of size n counts 2 n³ operations, a multiplication and an addition as two.

    share = operations of the distinct work / (seconds x peak)
    operations = 2 x w x positions + 4 x a x l x contexts - what the last layer is spared

`w` are the weights of the linear layers that every position passes: without embeddings, output
head, pooler and adapters. `a` is the width of attention (heads times their width), `l` the number
of layers.

In the decoder `positions` are those of the tree of all distinct prompts: the head once, each
distinct beginning of a session once, the tail and the answer's beginning once for each distinct
session. `contexts` is the sum over them of how many positions each one reads, itself included. In
the encoder `positions` are the tokens of the distinct messages, special ones included, and
`contexts` is the sum of the squares of the messages' lengths.

A verdict is read at a prompt's last position. All that the others give it in the decoder's last
layer are their keys and values: that layer's queries, output, feed-forward part and attention are
counted at the last positions alone.

Padding, repetition, norms, activations, softmax, projector and output head are not counted: what a
stage spends on them lowers its share. A share can pass 1 where the products are of a better shape
than the square ones, or the machine's clock changes.
"""


def page(found: dict[str, dict[str, Any]]) -> str:
    """The whole page from measurements by file name."""
    kinds: dict[str, dict[str, dict[str, Any]]] = {}
    for name, figures in found.items():
        kinds.setdefault(_kind(figures), {})[name.partition("-")[2] or name] = figures
    makers = {
        "score": _scores,
        "verdicts": _verdicts,
        "evaluate": _tiers,
        "train": _trainings,
        "savings": _savings,
        "engines": _engines,
        "bench": _benches,
        "kernels": _kernels,
    }
    parts = ["\n".join(makers[kind](kinds[kind])) for kind in makers if kind in kinds]
    return (
        "\n".join(
            [INTRODUCTION, *(f"{part}\n" for part in parts), FORMULA, ON_A_GPU, COMMANDS]
        ).rstrip()
        + "\n"
    )


def _kind(figures: dict[str, Any]) -> str:
    """What made some figures; `logllm evaluate` and `logllm bench` do not say."""
    kind: str = figures.get("kind", "evaluate" if "average_precision" in figures else "bench")
    return kind


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table, all but its first column to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _range(spread: dict[str, float]) -> str:
    """Median and range of ratios."""
    return f"{spread['median']:.1f}x ({spread['lowest']:.1f}–{spread['highest']:.1f})"


def _scores(found: dict[str, dict[str, Any]]) -> list[str]:
    """Files to verdicts next to the published way."""
    rows = []
    for name, figures in found.items():
        slices = figures["slices"]
        plain, own = (
            statistics.median(part[side] for part in slices) for side in ("plain", "ours")
        )
        # Measurements from before verdicts named their lines have no such time.
        with_evidence = [
            part["ours_with_evidence"] for part in slices if "ours_with_evidence" in part
        ]
        named = f"{statistics.median(with_evidence):,.1f} s" if with_evidence else "not measured"
        distinct = f"{figures['sessions']:,} ({figures['distinct_sessions']:,})"
        timed = f"{len(slices)} of {figures['slice']}, {figures['micro_batch']} a pass"
        rows.append(
            (
                name,
                f"{figures['recipe']}, {figures['engine']}",
                distinct,
                f"{plain:,.0f} s",
                f"{own:,.1f} s",
                _range(figures["ratio"]),
                named,
                timed,
                figures["threads"],
            )
        )
    columns = (
        "workload",
        "recipe, engine",
        "sessions (distinct)",
        "published way",
        "ours",
        "ratio (range)",
        "ours, lines named",
        "slices of the published way",
        "threads",
    )
    return [
        "## From file to verdicts",
        "",
        "The published way encodes every message of every session, generates six tokens and masks",
        "with Python's `re` (`benchmarks/plain_path.py`). It is timed on seeded slices, each after",
        "a whole log of ours, and scaled by count.",
        "",
        *_table(columns, rows),
        "",
        "![ratios to the published way](performance/ratios.svg)",
        "",
        "The published way says which sessions are anomalous and no more, and the ratio is that of",
        "ours when it says no more either. *Lines named*: ours with the evidence of each anomalous",
        "verdict, as `logllm detect` gives it. Where no line tells by itself, that is the message",
        "at which a session turned, which is searched for by halves. Each session's messages pass",
        "the decoder once for that, in groups whose keys and values take 256 MB at most; each",
        "round adds the words between messages and verdict (12 positions in the small tier).",
    ]


def _verdicts(found: dict[str, dict[str, Any]]) -> list[str]:
    """Equality with the published way."""
    rows = [
        (
            name,
            f"{each['sessions']:,}",
            f"{each['verdicts_equal']:.3%}",
            f"{each['largest_score_difference']:.1e}",
            f"{each['words_equal']:.3%}",
        )
        for name, figures in found.items()
        for name, each in (
            (f"{name}, distinct sessions", figures["distinct"]),
            (f"{name}, all sessions", figures["all"]),
        )
    ]
    columns = (
        "workload",
        "sessions",
        "verdicts equal",
        "largest difference of a score",
        "equal to the words generated",
    )
    return [
        "## The same verdicts",
        "",
        "Verdicts of the published way, from the two verdict logits of its first generated step",
        "and the run's threshold, next to ours. The last column reads the generated words with a",
        "regular expression instead; it says little of a run that was trained to score, not to",
        "write.",
        "",
        *_table(columns, rows),
    ]


def _trainings(found: dict[str, dict[str, Any]]) -> list[str]:
    """Training next to the published way."""
    rows = [
        (
            name,
            f"{' + '.join(each['trains'])}{', bfloat16' if each['precision'] == 'bf16' else ''}",
            f"{each['plain_sessions_per_second']:.2f}",
            f"{each['ours_sessions_per_second']:.2f}",
            _range(each["ratio"]),
        )
        for name, each in found.items()
    ]
    return [
        "## Training",
        "",
        "Sessions a second over the same sessions, step by step in turn.",
        "",
        *_table(("workload", "trains", "published way", "ours", "ratio (range)"), rows),
    ]


def _tiers(found: dict[str, dict[str, Any]]) -> list[str]:
    """How good each tier is."""
    rows = []
    for name, figures in found.items():
        interval = figures["intervals"]["average_precision"]
        ends = "–".join(f"{end:.3f}" for end in interval)
        rows.append(
            (
                name,
                figures["model"].partition("@")[0],
                f"{figures['average_precision']:.3f} ({ends})",
                f"{figures['f1']:.3f}",
                f"{figures['unseen']['f1']:.3f}",
            )
        )
    columns = (
        "workload and recipe",
        "run",
        "average precision (95 % interval)",
        "F1",
        "F1 on sessions not in train",
    )
    return [
        "## How good the tiers are",
        "",
        "`logllm evaluate RUN --data DATA --json` on the test part, at the run's own threshold.",
        "",
        *_table(columns, rows),
    ]


def _engines(found: dict[str, dict[str, Any]]) -> list[str]:
    """Ways to score, the ones left out, too."""
    lines = [
        "## Engines, and what was left out",
        "",
        "Distinct test sessions scored in several ways (`benchmarks/engines.py`); differences and",
        "flips are to the exact scores.",
    ]
    for name, figures in found.items():
        rows = [
            (
                (way, "failed: " + each["failed"], "", "")
                if "failed" in each
                else (
                    way,
                    f"{each['sessions_per_second']:.1f}",
                    f"{each['largest_difference']:.1e}",
                    each["flips"],
                )
            )
            for way, each in figures["ways"].items()
        ]
        lines += [
            "",
            f"{name}, {figures['sessions']} sessions:",
            "",
            *_table(("way", "sessions/s", "largest difference", "flips"), rows),
        ]
    return lines


def _savings(found: dict[str, dict[str, Any]]) -> list[str]:
    """What each step from the published way to ours gains."""
    lines = ["## What each saving gains", ""]
    for name, figures in found.items():
        seconds = list(figures["seconds"].items())
        rows = [
            (step, f"{taken:,.1f} s", f"{before / taken:.2f}x", f"{seconds[0][1] / taken:.1f}x")
            for (step, taken), (_, before) in zip(seconds, [seconds[0], *seconds[:-1]], strict=True)
        ]
        lines += [
            f"{name}: {figures['sessions']:,} sessions, {figures['distinct_sessions']:,} distinct;"
            " each step keeps the ones before it.",
            "",
            *_table(("step", "whole log", "gain", "in all"), rows),
            "",
            f"![what each saving gains: {name}](performance/savings-{name}.svg)",
            "",
        ]
    return lines[:-1]


def _benches(found: dict[str, dict[str, Any]]) -> list[str]:
    """Stages of each workload."""
    lines = ["## Stage by stage"]
    for name, figures in found.items():
        rows = [
            (stage, f"{each['seconds']:.2f} s", speeds(each), share_of_peak(each))
            for stage, each in figures["stages"].items()
        ]
        rows += [
            (f"train {' + '.join(each['trains'])}", "", speeds(each), "")
            for each in figures.get("training", ())
        ]
        lines += [
            "",
            f"### {name}",
            "",
            _about(figures),
            "",
            *_table(("stage", "time", "speed", "share of the peak"), rows),
        ]
    return lines


def _kernels(found: dict[str, dict[str, Any]]) -> list[str]:
    """What keeps the shares of the peak below one."""
    lines = ["## Where the encoder's and the decoder's time goes", ""]
    for name, figures in found.items():
        parts = [part for part in ("encoder", "decoder") if part in figures]
        kinds = figures[parts[0]]["kernels"]
        rows = [
            (kind, *(f"{figures[part]['kernels'][kind]:.1%}" for part in parts)) for kind in kinds
        ]
        alone = ", ".join(f"{figures[part]['products']:.2f} ({part})" for part in parts)
        most = " and ".join(f"the {part} reach {_most(figures[part]):.2f}" for part in parts)
        lines += [
            f"{name}, {figures['messages']:,} messages and {figures['sessions']} sessions, on one"
            " thread:",
            "",
            *_table(("kernels", *parts), rows),
            "",
            f"The linear layers alone, in the same chunks and lanes, reach {alone} of the peak.",
            "Were all but linear layers, attention, activation and norms free, their share of the"
            f" time would let {most}; attention's own products, which count too, add about a"
            " hundredth.",
        ]
    return lines


def _most(figures: dict[str, Any]) -> float:
    """The share of the peak within reach, were all free that such a model can do without.

    Linear layers, attention, activation and norms are what no model of this kind can do without.
    """
    kinds = figures["kernels"]
    needed = sum(kinds[kind] for kind in ("linear layers", "attention", "activation", "norms"))
    return float(figures["products"] * kinds["linear layers"] / needed)


def _about(figures: dict[str, Any]) -> str:
    """A workload in a few sentences."""
    work, whole, memory = figures["work"], figures["end_to_end"], figures["memory"]
    peaks = ", ".join(f"{when} {rate / 1e9:.0f}" for when, rate in figures["gemm"].items())
    start = figures["start_seconds"]
    loading = f"{figures['load_seconds']:.1f} s"
    peak, loaded = (f"{memory[when] / 1e9:.2f} GB" for when in ("peak", "loaded"))
    fresh = (
        ""
        if start is None
        else f"; {start:.1f} s from the start of a process to its verdicts on ten lines"
    )
    distinct = ", ".join(
        f"{work[f'distinct_{what}']:,} of {work[what]:,} {what}"
        for what in ("sessions", "messages", "positions")
    )
    return (
        f"{whole['lines']:,} lines from file to verdicts in {whole['seconds']:.1f} s (the model"
        f" loaded before, in {loading}{fresh}). Distinct: {distinct}. Memory {peak} at the peak,"
        f" {loaded} with the model loaded. The machine's peak: {peaks} GFLOP/s on"
        f" {figures['threads']} threads; encoder in {figures['formats']['encoder']}, decoder in"
        f" {figures['formats']['decoder']}."
    )


def plot(found: dict[str, dict[str, Any]]) -> None:
    """Write the plots: ratios with their range, and what each saving leaves of the time."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "logllm"  # the same figures make the same file
    names = {"score": "scoring", "train": "training"}
    ratios = {
        f"{name.partition('-')[2]}\n{names[figures['kind']]}": figures["ratio"]
        for name, figures in found.items()
        if figures.get("kind") in names
    }
    if ratios:
        middle = [spread["median"] for spread in ratios.values()]
        below = [spread["median"] - spread["lowest"] for spread in ratios.values()]
        above = [spread["highest"] - spread["median"] for spread in ratios.values()]
        _bars(
            FOLDER / "ratios.svg",
            dict(zip(ratios, middle, strict=True)),
            around=[below, above],
            axis="times as fast as the published way",
        )
    for name, figures in found.items():
        if figures.get("kind") == "savings":
            seconds = figures["seconds"]
            _bars(
                FOLDER / f"{name}.svg",
                seconds,
                around=None,
                axis=f"seconds for {figures['sessions']:,} sessions",
            )


def _bars(path: Path, bars_of: dict[str, float], *, around: Any, axis: str) -> None:
    """Bars with their figures on a logarithmic scale, the first on top."""
    from matplotlib.figure import Figure

    labels, values = list(bars_of), list(bars_of.values())
    figure = Figure(figsize=(8, 0.6 + 0.5 * len(labels)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        range(len(labels)), values, xerr=around, color="#3b6ea5", height=0.6, capsize=3
    )
    axes.bar_label(bars, labels=[f"{value:,.1f}" for value in values], padding=12 if around else 3)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(1.0, *values), max(values) * 3)
    axes.set_xlabel(axis)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    """Write the page and its plots, or compare the page."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.json"))
    }
    if not found:
        print("docs/performance holds no measurements yet", file=sys.stderr)
        return 0
    if "--check" in sys.argv[1:]:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page(found)
        if not current:
            print(
                "docs/performance.md is not current: run python benchmarks/performance.py",
                file=sys.stderr,
            )
        return 0 if current else 1
    PAGE.write_text(page(found), encoding="utf-8")
    plot(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
