"""What several minds are worth beside each of them: average precision, with paired intervals.

    python benchmarks/several_minds.py RUN [RUN ...] [--set FOLDER] [--out minds.json]

Runs of method `both` on the PostgreSQL set, of one seed each. On every log: average precision and
F1 at each run's frozen threshold, the average precision of each mind by itself, and how much
higher that of all of them is (mean over the runs; 95 % intervals of a paired bootstrap over
sessions: they hold for these runs, and do not tell how others would differ).
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from postgres_figures import LOGS, prepare

from logllm.datasets.prepared import Prepared
from logllm.datasets.published.packaged import PACKAGED
from logllm.detect.detector import Detector
from logllm.evaluate.paired import paired_difference
from logllm.methods.both import Both
from logllm.methods.prepared_part import Part
from logllm.metrics import Labels, Scores, measure, sigmoid

ALL = "both"


def said(detector: Detector, part: Part) -> dict[str, Scores]:
    """What a run says of sessions, and what each of its minds does."""
    method = detector.method
    if not isinstance(method, Both):
        raise SystemExit("a run of method both is needed")
    minds = method.minds(part.sessions, part.messages)
    alone = {name: sigmoid(logits) for name, logits in minds.items()}
    return {ALL: method.score(part.sessions, part.messages), **alone}


def compared(detectors: Sequence[Detector], part: Part) -> dict[str, Any]:
    """Figures of one log, each a list with a number a run, and the differences."""
    labels: Labels = np.asarray(part.labels, dtype=np.bool_)
    scores = [said(detector, part) for detector in detectors]
    measured = [
        measure(one[ALL], labels, threshold=detector.threshold)
        for one, detector in zip(scores, detectors, strict=True)
    ]
    figures: dict[str, Any] = {
        "f1": [round(one.f1, 4) for one in measured],
        "average_precision": {},
        "higher_than": {},
    }
    for mind in scores[0]:
        own = [measure(one[mind], labels, threshold=0.5).average_precision for one in scores]
        figures["average_precision"][mind] = [round(value or 0.0, 4) for value in own]
        if mind != ALL:
            every = [[one[name] for one in scores] for name in (ALL, mind)]
            difference = paired_difference(*every, labels=labels)
            ends = (difference.estimate, difference.lower, difference.upper)
            figures["higher_than"][mind] = [round(value, 4) for value in ends]
    return figures


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--set", type=Path, default=PACKAGED["postgres"].folder)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    detectors = [Detector.load(run) for run in given.runs]
    report: dict[str, Any] = {"thresholds": [round(one.threshold, 4) for one in detectors]}
    with tempfile.TemporaryDirectory() as scratch:
        for name in LOGS:
            data = prepare(given.set, name, out=Path(scratch) / name)
            report[name] = compared(detectors, Part.of(Prepared.load(data), "test"))
            print(name, json.dumps(report[name]), flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
