"""Where a finished run's verdicts begin: chosen anew on other labelled sessions, or said by a person."""

from dataclasses import asdict, replace
from pathlib import Path

from logllm.data.prepared import Prepared
from logllm.data.sequences import rows_of
from logllm.detect.detector import Detector
from logllm.errors import DataError
from logllm.metrics import Progress, Threshold, choose_threshold, chosen_on
from logllm.model.checkpoint import write_manifest
from logllm.model.guard import EXACT
from logllm.model.run import verified
from logllm.model.scorer import Scorer


def choose(run: Path, data: Path, *, split: str = "validation", progress: Progress | None = None) -> Threshold:
    """The threshold of best F1 on a part of prepared data; the run stays as it is.

    Args:
        run: a folder that `train` wrote.
        data: a folder that `prepare` wrote, with labels; not what the run is to be judged on afterwards.
        split: `validation`, `train` or `test`.
        progress: told of the distinct sessions scored.

    Raises:
        DataError: data that are not prepared, without labels, or a part with fewer anomalies than a choice takes.
        ModelError: not a finished run.
    """
    prepared = Prepared.load(data)
    part = prepared.labelled(split)
    detector = Detector.load(run, engine=EXACT)
    scorer = Scorer(detector.engine, detector.tokenizer, max_tokens=detector.recipe.model.encoder.max_tokens)
    logits = scorer.score(rows_of(part["messages"]), prepared.messages, progress=progress)
    found = choose_threshold(logits, part["anomalous"].to_numpy().astype(bool))
    if found.f1 is None:
        raise DataError(f"the {split} part of {data} is too little to choose a threshold on: {found.how.removeprefix('default: ')}")
    return replace(found, how=f"best F1 on {chosen_on(split, prepared.manifest['fingerprint'])} ({data.resolve().name})")


def given(value: float | None, *, because: str) -> Threshold | None:
    """A person's threshold, if there is one."""
    return None if value is None else Threshold(value, because, 0, 0)


def current(run: Path) -> Threshold:
    """A run's threshold.

    Raises:
        ModelError: not a finished run.
    """
    return Threshold(**verified(run)["threshold"])


def write(run: Path, threshold: Threshold) -> list[str]:
    """Give a run another threshold.

    Engines that round were admitted at the one before, and so are admitted no longer; the figures of the validation part held for it, and go.

    Returns:
        The engines that are to be admitted anew.

    Raises:
        ModelError: not a finished run.
    """
    manifest = dict(verified(run))
    engines = manifest.pop("engines", {})
    write_manifest(run, {**manifest, "threshold": asdict(threshold), "metrics": {"validation": None}})
    return [name for name, found in engines.items() if found["admitted"]]
