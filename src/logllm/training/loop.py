"""One loop, run once a stage."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from logllm.config.train import StageSection, TrainSection
from logllm.data.sequences import Rows
from logllm.errors import DataError, ModelError
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import Batch, LogLLM, collate
from logllm.training.augment import NOTHING, Alerts, Normal, augmented, beginnings, normal_part
from logllm.training.sampler import Labels, Order, drawn, stage_order
from logllm.training.schedule import learning_rate
from logllm.training.start import Doubts
from logllm.training.state import Position, find_state, position_of, restore_model, restore_optimizer, save_state

_BETA1 = 0.9
"""AdamW's decay of the mean gradient: PyTorch's default."""


class MicroBatch(NamedTuple):
    """Sessions of one forward pass as the stage sees them this time."""

    sessions: list[Rows]
    beginnings: tuple[tuple[int, int], ...]
    """Which sessions are judged after how many messages too."""
    labels: npt.NDArray[np.int64]
    """1 for anomalous: of the sessions, then of the beginnings."""

    def batch(self, tokens: MessageTokens, *, vectors: torch.Tensor | None) -> Batch:
        """As tensors; messages' vectors where they are known, else their tokens."""
        found = collate(self.sessions, tokens=tokens, vectors=vectors, labels=torch.from_numpy(self.labels))
        return replace(found, beginnings=self.beginnings)


@dataclass(frozen=True)
class TrainingSet:
    """Labelled sessions over a tokenised message table."""

    sessions: Sequence[Rows]
    labels: Labels
    tokens: MessageTokens
    alerts: Sequence[Alerts] | None = None
    """For each session which of its messages are alerts; none: labels are not per line."""

    def orders(self, section: TrainSection) -> list[Order]:
        """For each stage the rows of the sessions it trains on, in order.

        Raises:
            DataError: a stage crops, replaces, transplants or judges beginnings, and labels are not per line.
        """
        check_line_labels(section, self.alerts)
        rows = drawn(self.sessions, self.labels, how=section.draw)
        return [rows[stage_order(self.labels[rows], section, stage=stage)] for stage in range(len(section.stages))]

    def micro_batches(self, rows: Order, section: TrainSection, *, stage: int, step: int) -> Iterator[MicroBatch]:
        """A step's micro-batches, sessions of like length together."""
        rng = np.random.default_rng([section.seed, stage, step, 1])
        rows = rows[np.argsort([len(self.sessions[row]) for row in rows], kind="stable")]
        chosen = section.stages[stage]
        normal = self._normal if _draws(chosen) else NOTHING
        for start in range(0, len(rows), section.micro_batch):
            some = rows[start : start + section.micro_batch]
            alerts = [None if self.alerts is None else self.alerts[row] for row in some]
            paired = zip((self.sessions[row] for row in some), alerts, strict=True)
            seen = [augmented(session, bad, section=chosen, normal=normal, rng=rng) for session, bad in paired]
            parts = [
                ((at, length), anomalous)
                for at, (_, bad) in enumerate(seen)
                if bad is not None and chosen.beginnings
                for length, anomalous in beginnings(bad, count=chosen.beginnings, rng=rng)
            ]
            labels = np.concatenate([self.labels[some], [anomalous for _, anomalous in parts]]).astype(np.int64)
            yield MicroBatch([session for session, _ in seen], tuple(part for part, _ in parts), labels)

    def seen(self, order: Order, section: StageSection) -> Rows:
        """Messages that a stage over some sessions can come to see, ascending."""
        sessions = self.sessions if _draws(section) else [self.sessions[row] for row in np.unique(order)]
        return np.unique(np.concatenate(sessions))

    @cached_property
    def _normal(self) -> Normal:
        return normal_part(self.sessions, self.alerts)


def check_line_labels(section: TrainSection, alerts: Sequence[Alerts] | None) -> None:
    """Whether the labels of lines are there, where a stage takes them.

    Raises:
        DataError: they are not.
    """
    if alerts is None and (per_line := section.per_line()):
        off = " ".join(f"--set {name}={value}" for name, value in per_line.items())
        raise DataError(
            f"{', '.join(per_line)} need a label for each line, and these data have them for sessions: leave them off with {off}"
        )


def _draws(stage: StageSection) -> bool:
    """Whether a stage's sessions can hold messages of others."""
    return bool(stage.insert or stage.per_line())


@dataclass(frozen=True)
class Step:
    """One optimiser step as the watcher sees it."""

    stage: int
    step: int
    steps: int
    loss: float
    lr: float
    sessions: int
    """Sessions trained on so far, all stages."""
    total: int
    """Sessions of the whole training."""


Watch = Callable[[Step], None]


class Loop:
    """Runs the stages of one training, from a checkpoint where there is one."""

    def __init__(self, model: LogLLM, data: TrainingSet, *, section: TrainSection, run: Path, accelerator: Any) -> None:
        """Prepare to train; `accelerator` is Accelerate's, for device, precision, backward pass and clipping."""
        self.model = model
        self.data = data
        self.section = section
        self.run = run
        self.accelerator = accelerator
        self.doubts: Doubts | None = None
        if section.gradient_checkpointing:
            model.checkpoint_gradients()
        self.orders = data.orders(section)
        self._log = run / "steps.jsonl"
        self._vectors: torch.Tensor | None = None
        self._encoded: Rows = np.zeros(0, dtype=np.int64)
        self._began = time.monotonic()

    def train(self, *, encode_positions: int, watch: Watch | None = None) -> None:
        """Run all stages, or those that a checkpoint leaves.

        Args:
            encode_positions: size of the encoder's passes while it is frozen.
            watch: told of each step.

        Raises:
            ModelError: the loss is not finite.
            DataError: a checkpoint cannot be written.
        """
        checkpoint = find_state(self.run)
        start = Position(stage=0, step=0, log=0)
        if checkpoint is not None:
            start = position_of(checkpoint)
            restore_model(checkpoint, self.model)
        self._began -= start.seconds
        # What was logged after the checkpoint is about to happen again.
        with self._log.open("ab") as log:
            log.truncate(start.log)
        for stage in range(start.stage, len(self.section.stages)):
            resumed = checkpoint if stage == start.stage else None
            self._run_stage(stage, resumed, encode_positions=encode_positions, watch=watch)

    @property
    def seconds(self) -> float:
        """How long training has taken, the time until the checkpoint it goes on from included."""
        return time.monotonic() - self._began

    def vectors(self, rows: Rows, *, positions: int) -> torch.Tensor:
        """Vectors of some messages, zeros for the others, (len(tokens), d_enc), kept for as long as the encoder learns nothing.

        They are computed in one go, so that they are the same to the last bit whether or not a stage before has needed some of them.
        """
        if self._vectors is None or not np.array_equal(self._encoded, rows):
            self._vectors = self.model.encoder.table(self.data.tokens, positions=positions, rows=rows)
            self._encoded = rows
        return self._vectors

    def _run_stage(self, stage: int, resumed: Path | None, *, encode_positions: int, watch: Watch | None) -> None:
        section = self.section.stages[stage]
        parameters = self.model.trains(section.trains, message_dropout=section.message_dropout, base_dropout=self.section.base_dropout)
        optimizer = torch.optim.AdamW(parameters, lr=section.lr, betas=(_BETA1, section.beta2), weight_decay=section.weight_decay)
        optimizer = self.accelerator.prepare(optimizer)
        first = 0
        if resumed is not None:
            first = position_of(resumed).step
            restore_optimizer(resumed, optimizer)
        order = self.orders[stage]
        steps = -(-len(order) // self.section.batch)
        if first == steps:
            return
        if "encoder" in section.trains:
            self._vectors = vectors = None
        else:
            vectors = self.vectors(self.data.seen(order, section), positions=encode_positions)
        doubts = None if {"encoder", "projector"} & set(section.trains) else self.doubts
        before = sum(len(done) for done in self.orders[:stage])
        for step in range(first, steps):
            rows = order[step * self.section.batch : (step + 1) * self.section.batch]
            some = list(self.data.micro_batches(rows, self.section, stage=stage, step=step))
            seen = vectors if doubts is None or vectors is None else doubts.moved(vectors, time=step)
            loss, lr = self._step(some, seen, optimizer=optimizer, stage=stage, step=step)
            done = before + step * self.section.batch + len(rows)
            entry = Step(stage, step + 1, steps, loss, lr, done, sum(map(len, self.orders)))
            self._record(entry, len(rows))
            if watch is not None:
                watch(entry)
            if (step + 1) % self.section.checkpoint_steps == 0 and step + 1 < steps:
                self._checkpoint(optimizer, stage=stage, step=step + 1)
        # A stage's end is the next stage's beginning with a new optimiser; the last one's end keeps its own.
        self._checkpoint(optimizer, stage=stage, step=steps)

    def _step(
        self, some: Sequence[MicroBatch], vectors: torch.Tensor | None, *, optimizer: Any, stage: int, step: int
    ) -> tuple[float, float]:
        """One optimiser step, in which every verdict weighs the same; its loss and learning rate."""
        section = self.section.stages[stage]
        micro = self.section.micro_batch
        lr = learning_rate(section, done=step * (self.section.batch // micro), total=-(-len(self.orders[stage]) // micro))
        for group in optimizer.param_groups:
            group["lr"] = lr
        total, verdicts = 0.0, sum(len(each.labels) for each in some)
        for each in some:
            batch = each.batch(self.data.tokens, vectors=vectors).to(self.model.device)
            with self.accelerator.autocast():
                loss = self.model.loss(batch, objective=self.section.objective) * (len(each.labels) / verdicts)
            self.accelerator.backward(loss)
            total += loss.item()
        if not np.isfinite(total):
            raise ModelError(f"the loss is {total} at step {step + 1} of stage {stage + 1}: lower train.stages.{stage}.lr or set its clip")
        if section.clip is not None:
            self.accelerator.clip_grad_norm_([value for group in optimizer.param_groups for value in group["params"]], section.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total, lr

    def _record(self, entry: Step, sessions: int) -> None:
        line = {"stage": entry.stage + 1, "step": entry.step, "loss": entry.loss, "lr": entry.lr, "sessions": sessions, "at": time.time()}
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _checkpoint(self, optimizer: Any, *, stage: int, step: int) -> None:
        save_state(self.run, self.model, optimizer=optimizer, position=Position(stage, step, self._log.stat().st_size, self.seconds))
