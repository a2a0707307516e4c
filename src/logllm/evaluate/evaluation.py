"""A run against a labelled part of prepared data: the report."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from logllm.datasets.overlap import leakage, seen
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.errors import DataError
from logllm.evaluate.intervals import intervals
from logllm.evaluate.line_figures import line_figures
from logllm.metrics import Labels, Scores, calibration, measure
from logllm.progress import Progress
from logllm.sessions.message_table import rows_of

_FACTS = ("recipe", "seed", "seconds", "threads", "machine", "versions", "base_models")


def evaluate(
    detector: Detector, data: Path, *, split: str = "test", progress: Progress | None = None
) -> dict[str, Any]:
    """Judge a part of prepared data with the run's own threshold: the report of `scored`."""
    return scored(detector, data, split=split, progress=progress)[0]


def scored(
    detector: Detector, data: Path, *, split: str = "test", progress: Progress | None = None
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Judge a part of prepared data with the run's own threshold.

    Args:
        detector: a loaded run.
        data: a folder that `prepare` wrote.
        split: `test`, `validation` or `train`.
        progress: told of the distinct sessions scored.

    Returns:
        The report: that of `judge`, `lines` (`logllm.evaluate.line_figures`), `model`, how the
        threshold was chosen, whether these are the data of training, and the facts of the run's
        manifest; and the sessions' scores (`score_frame`).

    Raises:
        DataError: data that are not prepared, without labels, or a part without sessions.
    """
    prepared = Prepared.load(data)
    part = prepared.labelled(split)
    of_sessions = rows_of(part["messages"])
    scores = detector.score(of_sessions, prepared.messages, progress=progress)

    # Altered data count as those of training if they were made from them.
    trained_on = detector.manifest["data"]["fingerprint"]
    altered = prepared.manifest.get("perturbed")
    origin = altered["source"] if altered else prepared.manifest["fingerprint"]

    # An imported run does not know its data.
    of_training = None
    if trained_on is not None:
        of_training = trained_on == origin
    facts = {name: detector.manifest.get(name) for name in _FACTS}
    report = {
        **judge(scores, prepared, split=split, threshold=detector.threshold),
        "lines": line_figures(detector, prepared, split=split, scores=scores),
        "model": detector.model,
        "threshold_chosen": detector.manifest["threshold"]["how"],
        "data_of_training": of_training,
        "run": facts | {"engine": detector.recipe.detect.engine},
    }
    return report, score_frame(scores, prepared, split=split)


def judge(scores: Scores, prepared: Prepared, *, split: str, threshold: float) -> dict[str, Any]:
    """What scores are worth, whatever gave them: a run, or a baseline on the same data.

    Args:
        scores: of the part's sessions, in their order; from `threshold` on they mean anomalous.
        prepared: whose part they are of.
        split: `test`, `validation` or `train`.
        threshold: chosen elsewhere than on this part.

    Returns:
        The figures of all sessions at the top. Beneath `intervals` (95 %, bootstrap over sessions),
        `unseen` (the figures of the sessions whose messages occur in no train session, None where
        there is none), `distinct` (each sequence counted once for each label it has), `calibration`
        (`logllm.metrics.calibration`), counts, `leakage`, the data's `fingerprint`; `log`, the name
        of the test part's log where that is another one than the train part's, else empty;
        `altered`, how the test part was altered (`logllm perturb`), else None.

    Raises:
        DataError: the part is without labels or sessions.
    """
    part = prepared.labelled(split)
    if not len(part):
        raise DataError(
            f"{prepared.folder} holds no {split} sessions: name another --split, or prepare with a"
            " share for it"
        )
    train = prepared.part("train")
    labels = part["anomalous"].to_numpy().astype(bool)
    is_seen = seen(part, train)
    in_train = is_seen.to_numpy()

    # Three views of the same sessions: all of them; those that no memory of train can judge; and
    # each sequence once, so that a session that occurs a thousand times weighs as any other.
    unseen = None
    if (~in_train).any():
        unseen = _figures(scores[~in_train], labels[~in_train], threshold=threshold)
    numbered = part.with_row_index("row")
    once = numbered.unique(["messages", "anomalous"], keep="first", maintain_order=True)
    first = once["row"].to_numpy()

    # Only the test part can be altered, or be of another log than train.
    is_test = split == "test"
    altered = prepared.manifest.get("perturbed") if is_test else None
    other_log = ", ".join(file["name"] for file in prepared.manifest.get("test_raw", ()))
    return {
        **_figures(scores, labels, threshold=threshold),
        "unseen": unseen,
        "distinct": _figures(scores[first], labels[first], threshold=threshold),
        "calibration": calibration(scores, labels),
        "sessions": part.height,
        "sessions_seen_in_train": int(in_train.sum()),
        "distinct_sessions": part["messages"].n_unique(),
        "leakage": leakage(part, train, in_train=is_seen),
        "fingerprint": prepared.manifest["fingerprint"],
        "split": split,
        "altered": altered,
        "log": other_log if is_test else "",
    }


def score_frame(scores: Scores, prepared: Prepared, *, split: str) -> pl.DataFrame:
    """A part's sessions in their order with their scores.

    The columns are `session, split, anomalous, score, in_train, lines, start, end`.
    """
    part = prepared.labelled(split)
    columns = (
        "session",
        pl.lit(split).alias("split"),
        "anomalous",
        pl.Series("score", scores, dtype=pl.Float64),
        seen(part, prepared.part("train")),
        "lines",
        "start",
        "end",
    )
    return part.select(columns)


def _figures(scores: Scores, labels: Labels, *, threshold: float) -> dict[str, Any]:
    """Metrics and their intervals."""
    figures = asdict(measure(scores, labels, threshold=threshold))
    return {**figures, "intervals": intervals(scores, labels, threshold=threshold)}
