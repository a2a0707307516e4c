"""Labelled sessions to a trained network: assemble, fit the projector, run the stages."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from logllm.config.recipe import Recipe
from logllm.counting import agreeing
from logllm.datasets.prepared import Prepared
from logllm.errors import DataError, RecipeError
from logllm.extras import require
from logllm.metrics import Labels
from logllm.model.base.blueprint import draw
from logllm.model.base.weights import locate
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import LogLLM, assemble
from logllm.progress import Report
from logllm.sessions.message_table import Rows, ever_alerts, occurring, rows_of
from logllm.training.loop import Loop, Watch
from logllm.training.processes import on_processors, process_count
from logllm.training.room import largest_fitting, sizes
from logllm.training.sampler import Alerts, TrainingSet
from logllm.training.start import start_with_alerts, start_with_words
from logllm.training.state import states


class Examples(NamedTuple):
    """Labelled sessions to learn from."""

    sessions: Sequence[Rows]
    """For each session the rows of its messages."""
    labels: Labels
    """True for anomalous."""
    messages: pl.Series
    """The message table."""
    alerts: Sequence[Alerts] | None = None
    """For each session which of its messages are alerts; none: labels are not per line."""

    @classmethod
    def of(cls, prepared: Prepared) -> "Examples":
        """The train part of prepared data.

        Raises:
            DataError: its sessions have no labels.
        """
        part = prepared.labelled("train")
        items = part["item_anomalous"]
        alerts = None
        if not items.null_count():
            alerts = [row.astype(np.bool_) for row in rows_of(items)]
        labels = part["anomalous"].to_numpy().astype(bool)
        return cls(rows_of(part["messages"]), labels, prepared.messages, alerts)


class Trained(NamedTuple):
    """A trained network, and how long it took."""

    model: LogLLM
    tokenizer: Any
    """The encoder's."""
    seconds: float
    """Of all stages, those before an interruption too."""


def check_examples(recipe: Recipe, examples: Examples) -> None:
    """Raise what a training would raise of its data and its machine, before it begins.

    Raises:
        DataError: one class is missing, or a setting needs labels of lines.
        RecipeError: a precision that this machine has not, or the extra `train` is not installed.
    """
    require("train", to="train")
    labels = examples.labels
    if labels.all() or not labels.any():
        kind = "normal" if labels.all() else "anomalous"
        raise DataError(
            f"the train part's {agreeing(len(labels), '{session holds|sessions hold}')} no {kind}"
            " one; LogLLM learns from both: prepare another split or more data"
        )
    per_line = recipe.train.per_line()
    if per_line and examples.alerts is None:
        off = " ".join(f"--set {name}={value}" for name, value in per_line.items())
        raise DataError(
            f"{', '.join(per_line)} need a label for each line, and these data have them for"
            f" sessions: turn them off with {off}"
        )
    if recipe.model.projector.start == "alerts":
        _check_alerts(examples)
    accelerate(recipe)


def _check_alerts(examples: Examples) -> None:
    """Whether a projector can be fitted to the labels of lines."""
    if examples.alerts is None:
        raise DataError(
            "projector.start = alerts needs a label for each line, and these data have them for "
            "sessions: turn it off with --set model.projector.start=random"
        )
    rows = occurring(examples.sessions)
    bad = ever_alerts(rows, examples.sessions, alerts=examples.alerts)
    if bad.all():
        raise DataError(
            "projector.start = alerts tells alerts from other messages, and every message of the "
            "train part is one: turn it off with --set model.projector.start=random"
        )


def fit_network(
    recipe: Recipe,
    examples: Examples,
    *,
    folder: Path,
    watch: Watch | None = None,
    progress: Report | None = None,
) -> Trained:
    """Train a network, or go on with a training that was cut off.

    Args:
        recipe: model and stages.
        examples: what it learns from.
        folder: where checkpoints and `steps.jsonl` are written; with checkpoints in it the training
            goes on from the last one. On one CPU machine with the same thread count the weights end
            the same, byte for byte, as without the interruption.
        watch: told of each step.
        progress: told of fetches and conversions of base models.

    Raises:
        DataError: as `check_examples`, or a stage that needs labels of lines.
        ModelError: weights that are missing, a full disk.
    """
    check_examples(recipe, examples)
    accelerator = accelerate(recipe)
    count = micro_batch_of(recipe, examples, accelerator=accelerator)
    with deterministic(recipe.train.seed):
        # First weights are drawn here, so that the seed decides them, too.
        model, tokenizer = assemble(recipe.model, progress=progress)
        model.to(accelerator.device)
        tokens = MessageTokens(
            examples.messages.to_list(), tokenizer, max_tokens=recipe.model.encoder.max_tokens
        )
        training = TrainingSet(examples.sessions, examples.labels, tokens, examples.alerts)
        loop = Loop(model, training, section=recipe.train, run=folder, accelerator=accelerator)
        loop.count = count
        if recipe.model.projector.start != "random":
            _start(loop, examples.messages, recipe=recipe)
        positions = recipe.detect.tokens_on(accelerator.device.type)
        seconds = loop.train(encode_positions=positions, watch=watch)
    return Trained(model, tokenizer, seconds)


def micro_batch_of(recipe: Recipe, examples: Examples, *, accelerator: Any) -> int:
    """Sessions of a forward pass: the recipe's, or as many as memory is foretold to hold.

    Args:
        recipe: model and stages.
        examples: what is learnt from.
        accelerator: Accelerate's. What is free on its device at the moment counts, so call this
            before the model is loaded. Several processes take the same number, and each has work.
    """
    if recipe.train.micro_batch != "auto":
        return recipe.train.micro_batch
    blueprint = draw(recipe.model)
    if recipe.train.gradient_checkpointing:
        blueprint.model.checkpoint_gradients()
    tokens = MessageTokens(
        examples.messages.to_list(), blueprint.tokenizer, max_tokens=recipe.model.encoder.max_tokens
    )
    training = TrainingSet(examples.sessions, examples.labels, tokens, examples.alerts)
    fitting = largest_fitting(blueprint, training, recipe=recipe, device=accelerator.device)

    # The least that any process has room for, and not so much that one of them has nothing to do.
    every = accelerator.gather(torch.tensor([fitting], device=accelerator.device))
    most = min(int(every.min()), recipe.train.batch // process_count())
    return next(size for size in sizes(recipe.train.batch) if size <= most)


def accelerate(recipe: Recipe) -> Any:
    """Accelerate's device and precision for a recipe.

    Raises:
        RecipeError: a precision that this machine has not, or more processes than there is work
            for.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    train = recipe.train
    processes = process_count()
    smallest = 1 if train.micro_batch == "auto" else train.micro_batch
    if processes > 1 and processes * smallest > train.batch:
        raise RecipeError(
            f"{processes} processes would share a batch of {-(-train.batch // smallest)}"
            " micro-batches, and some have nothing to do: set train.micro_batch to"
            f" {max(1, train.batch // processes)} or less, or train.batch higher"
        )

    # Accelerate keeps one precision for the whole process; each training has its own.
    AcceleratorState._reset_state()
    try:
        return Accelerator(mixed_precision=recipe.train.precision, cpu=on_processors())
    except ValueError as exc:
        raise RecipeError(
            f"train.precision = {recipe.train.precision!r} cannot be had here: {exc}"
        ) from exc


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch and have it choose deterministic algorithms, inside a `with` block.

    Afterwards torch draws on as if nothing had been drawn inside.
    """
    before = torch.are_deterministic_algorithms_enabled()
    draws = torch.get_rng_state()
    filling: Any = torch.utils.deterministic  # its setting has no type
    fills = filling.fill_uninitialized_memory
    # What CUDA asks for to be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory before it is written; to fill it first took a fifth of a GPU's time.
    filling.fill_uninitialized_memory = False
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        filling.fill_uninitialized_memory = fills
        torch.set_rng_state(draws)


def _start(loop: Loop, messages: pl.Series, *, recipe: Recipe) -> None:
    """Fit the projector to words or alerts.

    A training that is resumed has its projector already; only its doubts are computed again.
    """
    by_words = recipe.model.projector.start == "words"
    if by_words and states(loop.run):
        return
    # Only of the messages of the train part; others would give away what is to be judged.
    rows = occurring(loop.data.sessions)
    table = loop.vectors(rows, positions=recipe.detect.tokens_on(loop.model.device.type))
    places = torch.from_numpy(rows).to(table.device)
    vectors = table[places]
    if by_words:
        from transformers import AutoTokenizer

        words = AutoTokenizer.from_pretrained(locate(recipe.model.decoder.weights))
        texts = messages.gather(rows).to_list()
        start_with_words(loop.model, texts, vectors=vectors, tokenizer=words)
        return

    assert loop.data.alerts is not None  # noqa: S101 - `check_examples` has seen to it
    bad = ever_alerts(rows, loop.data.sessions, alerts=loop.data.alerts)
    rng = np.random.default_rng(recipe.train.seed)
    doubts = start_with_alerts(loop.model, vectors=vectors, alerts=bad, rng=rng)
    # The loop knows messages by their rows of the whole table.
    steps = doubts.steps.new_zeros((len(doubts.steps), len(table)))
    steps[:, places] = doubts.steps
    loop.doubts = doubts._replace(steps=steps)
