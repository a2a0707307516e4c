"""One kind of alteration drawn several times.

What F1 a run and baselines lose, and over which sessions.

A draw of 20 % alters some hundreds of sessions, and one false alarm decides which method lost less:
several draws tell luck from habit. For each session that only its alteration brought to another
verdict: what came in, and how many normal and anomalous sessions of train have it.

python benchmarks/altered.py RUN DATA --kind insert --draws 5
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.console import Console
from rich.table import Table

from logllm.config.perturb import PerturbSection
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.evaluate.altered import Statements, altered
from logllm.evaluate.tables.grid import KINDS
from logllm.methods.contract import Workplace
from logllm.methods.prepared_part import Part
from logllm.methods.registry import make, recipe_for
from logllm.methods.train import fitted, learnt_from
from logllm.metrics import Labels, measure
from logllm.sessions.message_table import Rows, rows_of

Scores = npt.NDArray[np.float64]


class Method(NamedTuple):
    """Something that scores sessions, and from where on it calls them anomalous."""

    name: str
    score: Callable[[list[Rows], pl.Series], Scores]
    threshold: float


def methods(run: Path, prepared: Prepared, *, names: list[str]) -> Iterator[Method]:
    """The run, and baselines fitted to the same train part."""
    detector = Detector.load(run)
    yield Method("logllm", detector.score, detector.threshold)
    for name in names:
        weights = json.dumps(detector.recipe.model.encoder.weights)
        recipe = recipe_for(name, overrides=[f"model.encoder.weights={weights}"])
        baseline = make(name, recipe, workplace=Workplace())
        part = learnt_from(prepared, baseline)
        done = fitted(baseline, prepared, part=part, recipe=recipe, workplace=Workplace())
        yield Method(name, baseline.score, done.threshold.value)


def labels_of(prepared: Prepared, part: str) -> Labels:
    """The labels of a part's sessions."""
    return prepared.labelled(part)["anomalous"].to_numpy().astype(bool)


def draws(
    method: Method, prepared: Prepared, *, kind: str, ratio: float, count: int
) -> dict[str, Any]:
    """F1 on the unaltered test part, and what each draw of alterations loses of it.

    The sessions that changed sides for the worse are named, too.
    """
    part, test, train = prepared.part("test"), Part.of(prepared, "test"), Part.of(prepared, "train")
    labels, labels_of_train = labels_of(prepared, "test"), labels_of(prepared, "train")
    before = method.score(test.sessions, test.messages)
    f1 = measure(before, labels, threshold=method.threshold).f1
    statements = Statements(
        prepared.messages, prepared.part("train")["messages"].explode(), prepared.settings.mask
    )
    lost, turned = [], []
    for seed in range(count):
        found = altered(
            part, statements, settings=PerturbSection(kind=kind, ratio=ratio, seed=seed)
        )
        sessions = rows_of(found.sessions["messages"])
        after = method.score(sessions, found.messages)
        lost.append(f1 - measure(after, labels, threshold=method.threshold).f1)
        worse = ((after >= method.threshold) != labels) & ((before >= method.threshold) == labels)
        for row in np.flatnonzero(worse).tolist():
            more = Counter(sessions[row].tolist()) - Counter(test.sessions[row].tolist())
            turned.append(
                {
                    "draw": seed,
                    "session": part["session"][row],
                    "anomalous": bool(labels[row]),
                    "score": float(after[row]),
                    "more": [
                        {
                            "message": found.messages[message],
                            **_seen(message, train.sessions, labels=labels_of_train),
                        }
                        for message in more
                    ],
                }
            )
    return {"method": method.name, "f1": f1, "lost": lost, "turned": turned}


def _seen(message: int, sessions: list[Rows], *, labels: Labels) -> dict[str, int]:
    """How many sessions of either kind hold a message."""
    holds = np.array([message in session for session in sessions])
    return {"normal": int((holds & ~labels).sum()), "anomalous": int((holds & labels).sum())}


def main() -> None:
    """Print two tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="insert")
    parser.add_argument("--ratio", type=float, default=0.2, help="share of the sessions altered")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--baselines", default="cnn,logistic-words", help="names with commas")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    prepared = Prepared.load(arguments.data)
    rows = [
        draws(method, prepared, kind=arguments.kind, ratio=arguments.ratio, count=arguments.draws)
        for method in methods(arguments.run, prepared, names=arguments.baselines.split(","))
    ]
    if arguments.json:
        print(json.dumps(rows))
        return
    table = Table(
        "method",
        "F1",
        *(f"draw {seed}" for seed in range(arguments.draws)),
        "mean",
        title=f"F1 lost: {arguments.kind}",
    )
    for row in rows:
        table.add_row(
            row["method"],
            f"{row['f1']:.3f}",
            *(f"{loss:.4f}" for loss in row["lost"]),
            f"{np.mean(row['lost']):.4f}",
        )
    sessions = Table(
        "draw",
        "method",
        "session",
        "anomalous",
        "score",
        "what came in, and normal / anomalous sessions of train that have it",
    )
    found = [{**turn, "method": row["method"]} for row in rows for turn in row["turned"]]
    for turn in sorted(found, key=lambda turn: turn["draw"]):
        said = "; ".join(
            f"{each['message']} ({each['normal']} / {each['anomalous']})" for each in turn["more"]
        )
        sessions.add_row(
            str(turn["draw"]),
            turn["method"],
            turn["session"],
            str(turn["anomalous"]),
            f"{turn['score']:.2f}",
            said,
        )
    for each in (table, sessions):
        Console(width=160).print(each)


if __name__ == "__main__":
    main()
