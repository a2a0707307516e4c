"""The threshold of a finished run: chosen anew on other labelled sessions, or set by a person."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from logllm.config.target import TargetSection
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.errors import DataError, ModelError
from logllm.methods.prepared_part import Part
from logllm.methods.target import goal
from logllm.metrics import Threshold, choose_threshold, chosen_on
from logllm.progress import Progress
from logllm.runs.manifest import SHIPPED, find_run, verified, write_manifest

BEST_F1 = TargetSection()
"""No target: the threshold of best F1 is chosen."""


def choose(
    run: Path,
    data: Path,
    *,
    split: str = "validation",
    target: TargetSection = BEST_F1,
    progress: Progress | None = None,
) -> Threshold:
    """The threshold of best F1 on a part of prepared data, or one that reaches a target there.

    The run stays as it is.

    Args:
        run: a folder that `train` wrote.
        data: a folder that `prepare` wrote, with labels where the choice needs them; not the data
            on which the run is evaluated afterwards.
        split: `validation`, `train` or `test`.
        target: what the threshold is to reach.
        progress: told of the distinct sessions scored.

    Raises:
        DataError: the data are not prepared or have no labels, the part has too few anomalies for a
            choice, or no threshold reaches the target.
        ModelError: not a finished run.
    """
    prepared = Prepared.load(data)
    # Only what is wanted decides whether labels are needed: so many alerts a day needs none.
    wanted = goal(prepared, target, split=split)
    frame = prepared.labelled(split) if wanted is None else prepared.part(split)
    part = Part.of(prepared, split)
    detector = Detector.load(run, engine="exact")
    scores = detector.score(part.sessions, prepared.messages, progress=progress)
    scale = detector.method.scale
    chosen = f"on {chosen_on(split, prepared.manifest['fingerprint'])} ({data.resolve().name})"
    # Where there is a target it decides, else the best F1 does.
    if wanted is not None:
        reached = wanted.threshold(scores, part.labels, scale=scale)
        return replace(reached, how=f"{reached.how} {chosen}")

    labels = frame["anomalous"].to_numpy().astype(np.bool_)
    best = choose_threshold(scores, labels, scale=scale)
    if best.f1 is None:
        raise DataError(
            f"the {split} part of {data} is too small to choose a threshold on:"
            f" {best.how.removeprefix('default: ')}"
        )
    return replace(best, how=f"best F1 {chosen}")


def given(value: float | None, *, because: str) -> Threshold | None:
    """A person's threshold, if there is one."""
    return None if value is None else Threshold(value, because, 0, 0)


def current(run: Path) -> Threshold:
    """A run's threshold.

    Raises:
        ModelError: not a finished run.
    """
    return Threshold(**verified(find_run(run))["threshold"])


def write(run: Path, threshold: Threshold) -> None:
    """Give a run another threshold.

    The figures of the validation part are removed: they held for the threshold before.

    Raises:
        ModelError: not a finished run, or the one that comes with logllm.
    """
    if str(run) == SHIPPED and not run.exists():
        raise ModelError(
            f"the run {run} that comes with logllm cannot be changed: use `logllm detect "
            "--threshold`, or copy its folder and set the copy's"
        )
    # A changed manifest would vouch for files that are not the run's.
    folder = find_run(run)
    manifest = verified(folder)
    metrics = {"validation": None}
    write_manifest(folder, {**manifest, "threshold": asdict(threshold), "metrics": metrics})
