"""One loop, run once a stage: what happens in a training, in its order.

1. `Loop.train` takes up the last checkpoint, if there is one (`logllm.training.state`).
2. A stage says which parts learn; they get an optimiser of their own. While the encoder is frozen
   the vectors of all messages are computed once.
3. A step takes the next sessions of the stage's order, cut into micro-batches
   (`logllm.training.sampler`); each is passed forward and backward.
4. Gradients are summed over all processes (`logllm.training.processes`) and clipped, and the
   weights move.
5. The step is logged, whoever watches is told, and now and then all is saved.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logllm.config.train import StageSection, TrainSection
from logllm.errors import ModelError
from logllm.model.logllm import LogLLM, collate
from logllm.sessions.message_table import Rows
from logllm.training.processes import own, summed, writes
from logllm.training.sampler import MicroBatch, TrainingSet
from logllm.training.start import Doubts
from logllm.training.state import (
    Position,
    position_of,
    restore_model,
    restore_optimizer,
    save_state,
    states,
)

_BETA1 = 0.9
"""AdamW's decay of the mean gradient: PyTorch's default."""
_WARM_UP = 0.3
"""Share of a stage in which `one-cycle` rises."""
_START = 25.0
"""What `one-cycle` divides the peak rate by at its beginning."""
_END = 1e4
"""What it divides that by at its end."""


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

    def __init__(
        self,
        model: LogLLM,
        data: TrainingSet,
        *,
        section: TrainSection,
        run: Path,
        accelerator: Any,
    ) -> None:
        """Prepare to train.

        Accelerate's `accelerator` sees to device, precision, backward pass and clipping.
        """
        self.model = model
        self.data = data
        self.section = section
        self.run = run
        self.accelerator = accelerator
        self.doubts: Doubts | None = None
        self.count = section.unit
        """Sessions of a forward pass: the recipe's, or what memory has room for."""
        if section.gradient_checkpointing:
            model.checkpoint_gradients()
        self.orders = data.orders(section)
        self._log = run / "steps.jsonl"
        self._vectors: torch.Tensor | None = None
        self._encoded: Rows = np.zeros(0, dtype=np.int64)
        self._began = time.monotonic()

    def train(self, *, encode_positions: int, watch: Watch | None = None) -> float:
        """Run all stages, or those that a checkpoint leaves.

        Args:
            encode_positions: size of the encoder's passes while it is frozen.
            watch: told of each step.

        Returns:
            Seconds that it took, those before an interruption included.

        Raises:
            ModelError: the loss is not finite.
            DataError: a checkpoint cannot be written.
        """
        checkpoint: Path | None = None
        start = Position(stage=0, step=0, log=0)
        if checkpoints := states(self.run):
            checkpoint = checkpoints[-1]
            start = position_of(checkpoint)
            restore_model(checkpoint, self.model)
        self._began -= start.seconds
        # What was logged after the checkpoint is about to happen again.
        if writes():
            with self._log.open("ab") as log:
                log.truncate(start.log)
        for stage in range(start.stage, len(self.section.stages)):
            resumed = checkpoint if stage == start.stage else None
            self._run_stage(stage, resumed, encode_positions=encode_positions, watch=watch)
        return time.monotonic() - self._began

    def vectors(self, rows: Rows, *, positions: int) -> torch.Tensor:
        """Vectors of some messages, zeros for the others, (len(tokens), d_enc).

        They are kept for as long as the encoder learns nothing. All are computed in one go, so that
        they are the same to the last bit whether or not an earlier stage needed some of them.
        """
        if self._vectors is None or not np.array_equal(self._encoded, rows):
            encoder = self.model.encoder
            self._vectors = encoder.table(self.data.tokens, positions=positions, rows=rows)
            self._encoded = rows
        return self._vectors

    def _run_stage(
        self, stage: int, resumed: Path | None, *, encode_positions: int, watch: Watch | None
    ) -> None:
        """Run one stage, from a checkpoint within it where there is one."""
        train, order = self.section, self.orders[stage]
        section = train.stages[stage]
        steps = -(-len(order) // train.batch)

        # Each stage has an optimiser of its own.
        parameters = self.model.trains(
            section.trains, message_dropout=section.message_dropout, base_dropout=train.base_dropout
        )
        optimizer = torch.optim.AdamW(
            parameters,
            lr=section.lr,
            betas=(_BETA1, section.beta2),
            weight_decay=section.weight_decay,
        )
        optimizer = self.accelerator.prepare(optimizer)
        first = 0
        if resumed is not None:
            first = position_of(resumed).step
            restore_optimizer(resumed, optimizer)
        if first == steps:
            return

        # While the encoder is frozen its vectors are computed once.
        vectors = None
        if "encoder" in section.trains:
            self._vectors = None
        else:
            vectors = self.vectors(self.data.seen(order, section), positions=encode_positions)
        projector_stays = not {"encoder", "projector"} & set(section.trains)
        doubts = self.doubts if projector_stays else None

        sessions = sum(len(done) for done in self.orders[:stage])
        total = sum(map(len, self.orders))
        for step in range(first, steps):
            # The weights move.
            rows = order[step * train.batch : (step + 1) * train.batch]
            batches = list(
                self.data.micro_batches(rows, train, stage=stage, step=step, count=self.count)
            )
            seen = vectors
            if doubts is not None and vectors is not None:
                seen = doubts.moved(vectors, time=step)
            loss, lr = self._step(batches, seen, optimizer=optimizer, stage=stage, step=step)

            # Whoever watches is told.
            done = step + 1
            if not writes():
                continue
            line = {
                "stage": stage + 1,
                "step": done,
                "loss": loss,
                "lr": lr,
                "sessions": len(rows),
                "at": time.time(),
            }
            with self._log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            if watch is not None:
                learnt = sessions + step * train.batch + len(rows)
                watch(Step(stage, done, steps, loss, lr, learnt, total))

            # A stage's end is the next one's beginning with a new optimiser; the last end keeps its
            # own.
            if done % train.checkpoint_steps == 0 or done == steps:
                seconds = time.monotonic() - self._began
                position = Position(stage, done, self._log.stat().st_size, seconds)
                save_state(self.run, self.model, optimizer=optimizer, position=position)

    def _step(
        self,
        batches: Sequence[MicroBatch],
        vectors: torch.Tensor | None,
        *,
        optimizer: Any,
        stage: int,
        step: int,
    ) -> tuple[float, float]:
        """One optimiser step; its loss and learning rate."""
        section = self.section.stages[stage]
        unit = self.section.unit
        done = step * (self.section.batch // unit)
        total_units = -(-len(self.orders[stage]) // unit)
        lr = learning_rate(section, done=done, total=total_units)
        # The schedule is ours, a function of what is done: a resumed training needs no other state.
        for group in optimizer.param_groups:
            group["lr"] = lr

        # A step's loss is the mean over all of its verdicts, however it is cut into passes.
        weights = [self._weight(micro_batch) for micro_batch in batches]
        total = 0.0
        whole = sum(weights)
        for number, (micro_batch, weight) in own(zip(batches, weights, strict=True)):
            # What is drawn does not depend on which process draws it.
            torch.manual_seed(_draws(self.section.seed, stage, step, number))
            batch = collate(
                micro_batch.sessions,
                tokens=self.data.tokens,
                vectors=vectors,
                labels=torch.from_numpy(micro_batch.labels),
                beginnings=micro_batch.beginnings,
            ).to(self.model.device)
            share = weight / whole
            with self.accelerator.autocast():
                loss = self.model.loss(batch, objective=self.section.objective) * share
            self.accelerator.backward(loss)
            total += loss.item()

        # Over all processes: each has seen to some of the micro-batches.
        learning = [value for group in optimizer.param_groups for value in group["params"]]
        total = summed(learning, total, accelerator=self.accelerator)
        if not np.isfinite(total):
            raise ModelError(
                f"the loss is {total} at step {step + 1} of stage {stage + 1}: lower"
                f" train.stages.{stage}.lr or set its clip"
            )

        # Clipped after the sum, so that the limit is that of the whole step.
        if section.clip is not None:
            self.accelerator.clip_grad_norm_(learning, section.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total, lr

    def _weight(self, batch: MicroBatch) -> int:
        """What a micro-batch counts in its step: the number of its verdicts.

        Where the machine chooses how a step is cut, it is the number of the answers' tokens
        instead, as within one pass: the step then equals one pass over all of its sessions.
        """
        if self.section.micro_batch != "auto" or self.section.objective != "answer":
            return len(batch.labels)
        answers = self.model.prompt.answers  # of normal, of anomalous
        return sum(len(answers[label]) for label in batch.labels.tolist())


def _draws(*place: int) -> int:
    """A seed for what is drawn in a micro-batch, in 63 bits."""
    (word,) = np.random.SeedSequence(place).generate_state(1, np.uint64)
    return int(word >> np.uint64(1))


def learning_rate(section: StageSection, *, done: int, total: int) -> float:
    """The rate after `done` of a stage's `total` micro-batches.

    `tenths` multiplies by 0.7 at every tenth of the stage, as the paper's scripts do. `one-cycle`
    rises as a cosine from lr / 25 to lr over the first 30 %, and falls as a cosine to almost zero
    after that (Smith and Topin, arXiv:1708.07120).

    >>> stage = StageSection(trains=("projector",), lr=1.0, epochs=1)
    >>> [round(learning_rate(stage, done=done, total=20), 3) for done in (0, 1, 2, 4)]
    [1.0, 1.0, 0.7, 0.49]
    """
    share = done / total
    if section.schedule == "tenths":
        return float(section.lr * 0.7 ** math.floor(10 * done / total))
    if section.schedule == "constant":
        return section.lr
    if share < _WARM_UP:
        return _cosine(section.lr / _START, section.lr, share=share / _WARM_UP)
    falling = (share - _WARM_UP) / (1 - _WARM_UP)
    return _cosine(section.lr, section.lr / _START / _END, share=falling)


def _cosine(first: float, last: float, *, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
