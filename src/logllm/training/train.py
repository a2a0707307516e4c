"""Labelled sessions to a run: assemble, run the stages, choose the threshold, write it all down."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError

from logllm.config.recipe import Recipe
from logllm.data.prepared import Prepared
from logllm.data.sequences import Rows, rows_of
from logllm.errors import DataError, ModelError, RecipeError, require
from logllm.metrics import FEW_ANOMALIES, choose_threshold, measure, sigmoid
from logllm.model.batch import MessageTokens
from logllm.model.checkpoint import base_models, save_model, surroundings, write_manifest, write_recipe
from logllm.model.engine import Engine, rounds_fast
from logllm.model.guard import EXACT, compare
from logllm.model.logllm import LogLLM, assemble
from logllm.model.run import read_manifest, read_recipe
from logllm.model.scorer import Scorer
from logllm.model.weights import Progress, locate
from logllm.training.augment import Alerts, with_beginnings
from logllm.training.loop import Loop, TrainingSet, Watch
from logllm.training.sampler import Labels
from logllm.training.start import ever_alerts, start_with_alerts, start_with_words
from logllm.training.state import find_state, remove_states


def train(  # noqa: PLR0913 - the library's front door: what, on what, where to, and three ways to watch it
    recipe: Recipe, data: Path, *, out: Path, resume: bool = False, watch: Watch | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Train a run.

    Args:
        recipe: model and stages.
        data: a folder that `prepare` wrote.
        out: the run's folder, new or, with `resume`, one whose training was cut off.
        resume: go on from the last checkpoint. On one CPU machine with the same thread count the weights end the same,
            byte for byte, as without the interruption.
        watch: told of each step.
        progress: told of fetches, conversions and the validation part's scoring.

    Returns:
        The run's manifest.

    Raises:
        DataError: data that are not prepared, or hold only one class.
        ModelError: weights that are missing, a run that exists already or is another one, a full disk.
        RecipeError: a run to go on with that has another recipe, or the extra `train` is not installed.
    """
    require("train", to="train")
    prepared = Prepared.load(data)
    sessions, labels, alerts = training_set(prepared)
    begun = _begin(recipe, prepared, out=out, resume=resume, progress=progress)
    if begun["state"] == "done":
        return begun
    torch.set_num_threads(begun["threads"])
    accelerator = accelerate(recipe)
    with deterministic(recipe.train.seed):
        model, tokenizer = assemble(recipe.model, progress=progress)
        model.to(accelerator.device)
        tokens = MessageTokens(prepared.messages.to_list(), tokenizer, max_tokens=recipe.model.encoder.max_tokens)
        loop = Loop(model, TrainingSet(sessions, labels, tokens, alerts), section=recipe.train, run=out, accelerator=accelerator)
        _start(loop, prepared.messages, recipe=recipe)
        loop.train(encode_positions=recipe.detect.batch_tokens, watch=watch)
        seconds = loop.seconds
        judged = _judge(model, tokenizer, prepared=prepared, recipe=recipe, progress=progress)
    manifest = {**begun, "state": "done", "seconds": round(seconds, 1), **judged}
    try:
        manifest["files"] = save_model(out, model, section=recipe.model)
    except (OSError, SafetensorError) as exc:
        raise ModelError(
            f"run {out} cannot be written: {getattr(exc, 'strerror', None) or exc}; make room, then go on with --resume"
        ) from exc
    write_manifest(out, manifest)
    remove_states(out)
    return read_manifest(out)


def training_set(prepared: Prepared) -> tuple[list[Rows], Labels, list[Alerts] | None]:
    """Sessions of the train part, their labels, and their lines' labels where there are any.

    Raises:
        DataError: there are no labels, or one class is missing: LogLLM learns from both.
    """
    part = prepared.labelled("train")
    labels = part["anomalous"].to_numpy().astype(bool)
    if labels.all() or not labels.any():
        kind = "normal" if labels.all() else "anomalous"
        raise DataError(
            f"the train part's {len(labels)} sessions hold no {kind} one; LogLLM learns from both: prepare another split or more data"
        )
    items = part["item_anomalous"]
    alerts = None if items.null_count() else [row.astype(np.bool_) for row in rows_of(items)]
    return rows_of(part["messages"]), labels, alerts


def accelerate(recipe: Recipe) -> Any:
    """Accelerate's device and precision for a recipe.

    Raises:
        RecipeError: several processes, or a precision that this machine has not.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # Accelerate keeps one precision for the whole process; each training has its own.
    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(mixed_precision=recipe.train.precision)
    except ValueError as exc:
        raise RecipeError(f"train.precision = {recipe.train.precision!r} cannot be had here: {exc}") from exc
    if accelerator.num_processes > 1:
        raise RecipeError("training runs in one process: start it without a launcher")
    return accelerator


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch and have it choose deterministic algorithms, inside a `with` block."""
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA asks for to be deterministic
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _start(loop: Loop, messages: pl.Series, *, recipe: Recipe) -> None:
    """Fit the projector as the recipe says; a training that goes on has its own, but its doubts are found again."""
    how = recipe.model.projector.start
    if how == "random" or (how == "words" and find_state(loop.run) is not None):
        return
    rows = np.unique(np.concatenate(loop.data.sessions))
    table = loop.vectors(rows, positions=recipe.detect.batch_tokens)
    some = table[torch.from_numpy(rows).to(table.device)]
    if how == "words":
        from transformers import AutoTokenizer

        words = AutoTokenizer.from_pretrained(locate(recipe.model.decoder.weights))
        start_with_words(loop.model, messages.gather(rows).to_list(), vectors=some, tokenizer=words)
        return
    if loop.data.alerts is None:
        raise DataError("projector.start = alerts needs a label for each line, and these data have them for sessions: leave it off")
    bad = ever_alerts(rows, loop.data.sessions, alerts=loop.data.alerts)
    if bad.all():
        raise DataError(
            "projector.start = alerts tells alerts from other messages, and every message of the train part is one: leave it off"
        )
    doubts = start_with_alerts(loop.model, vectors=some, alerts=bad, rng=np.random.default_rng(recipe.train.seed))
    steps = doubts.steps.new_zeros((len(doubts.steps), len(table)))
    steps[:, torch.from_numpy(rows).to(table.device)] = doubts.steps
    loop.doubts = doubts._replace(steps=steps)


def _begin(recipe: Recipe, prepared: Prepared, *, out: Path, resume: bool, progress: Progress | None) -> dict[str, Any]:
    """The manifest of a run that begins, or of one to go on with."""
    fresh = {
        "name": out.resolve().name,
        "state": "training",
        "recipe": recipe.name,
        "seed": recipe.train.seed,
        **surroundings(),
        "data": {"fingerprint": prepared.manifest["fingerprint"], "prepare": prepared.manifest["settings"]},
        "counts": prepared.manifest["parts"],
        "base_models": base_models(recipe.model, progress=progress),
    }
    if not (out / "manifest.json").exists():
        if out.is_dir() and any(out.iterdir()):
            raise ModelError(f"{out} exists and is no run: name a new folder with --out")
        out.mkdir(parents=True, exist_ok=True)
        write_recipe(out, recipe)
        write_manifest(out, fresh)
        return read_manifest(out)
    if not resume:
        raise ModelError(f"{out} holds a run already: name a new folder, go on with --resume, or start over with --force")
    begun = read_manifest(out)
    if read_recipe(out) != recipe:
        raise RecipeError(f"{out} was begun with another recipe (see {out / 'recipe.toml'}): resume with the same one and the same --set")
    for field in ("data", "base_models"):
        if begun[field] != fresh[field]:
            raise ModelError(
                f"{out}: manifest field {field} disagrees: it was begun with other {field.replace('_', ' ')}; train into a new folder"
            )
    return begun


def start_over(out: Path) -> None:
    """Remove a run's folder; refuses to remove anything else.

    Raises:
        ModelError: the folder is no run.
    """
    if out.exists():
        if any(out.iterdir()) and "bundle" in read_manifest(out):
            raise ModelError(f"{out} holds an exported run, which no training replaces: choose another place")
        shutil.rmtree(out.resolve())


def _judge(model: LogLLM, tokenizer: Any, *, prepared: Prepared, recipe: Recipe, progress: Progress | None) -> dict[str, Any]:
    """Threshold and metrics on the validation part, and whether an engine that rounds is near enough there."""
    part = prepared.part("validation")
    report = None if progress is None else lambda done, total: progress("scoring the validation part", done / total)
    sessions, labels = rows_of(part["messages"]), part["anomalous"].to_numpy().astype(bool)
    own = len(sessions)
    if any(stage.beginnings for stage in recipe.train.stages) and labels.sum() >= FEW_ANOMALIES:
        sessions, labels = with_beginnings(sessions, labels, alerts=[row.astype(np.bool_) for row in rows_of(part["item_anomalous"])])

    def scored(engine: str, threshold: float) -> Any:
        section = recipe.detect.model_copy(update={"engine": engine})
        scorer = Scorer(Engine(model, section=section, threshold=threshold), tokenizer, max_tokens=recipe.model.encoder.max_tokens)
        return scorer.score(sessions, prepared.messages, progress=report)

    logits = scored(EXACT, 0.5)
    threshold = choose_threshold(logits, labels)
    if len(sessions) > own:
        threshold = replace(threshold, how=f"{threshold.how}, each session's beginnings included")
    judged: dict[str, Any] = {"threshold": asdict(threshold), "metrics": {"validation": None}}
    if own:
        judged["metrics"]["validation"] = measure(sigmoid(logits[:own]), labels[:own], threshold=threshold.value).to_dict()
        if rounds_fast(model):
            rounded = sigmoid(scored("bf16", threshold.value))
            judged["engines"] = {"bf16": compare(sigmoid(logits), rounded, threshold=threshold.value)}
    return judged
