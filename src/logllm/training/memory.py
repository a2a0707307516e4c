"""The memory that a training needs, found by running each stage's worst step on shapes alone."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from logllm.config.train import TrainSection
from logllm.model.base.blueprint import Blueprint
from logllm.model.encoder import in_passes
from logllm.model.fast.tree import grow
from logllm.model.logllm import collate
from logllm.sessions.message_table import Rows, occurring
from logllm.training.sampler import MicroBatch, Order, TrainingSet

_STEPS = 2000
"""First steps of a stage, of which the worst is taken; sessions come in random order, so that later
steps are hardly worse."""
_UNUSED = 0.4
"""Bytes that the C library's allocator holds in gaps, for each byte of activations; measured, not
derived: with glibc .25 to .5 (benchmarks/memory.py), and none once MALLOC_MMAP_THRESHOLD_=131072
keeps its blocks apart."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a stage needs at its worst moment."""

    weights: int
    """The base models'."""
    adapters: int
    """All adapters and the projector, trained in this stage or not."""
    optimiser: int
    """Gradients and AdamW's two means, of what the stage trains."""
    activations: int | None
    """What a forward and backward pass keeps and makes on its way, and the message vectors where
    the encoder is frozen; none where shapes depend on what is computed (mixtures of experts)."""

    unused: int = 0
    """What the allocator holds besides and nobody uses."""

    @property
    def total(self) -> int:
        """Sum of what is known."""
        return self.weights + self.adapters + self.optimiser + (self.activations or 0) + self.unused

    def beside(self, plain: "Memory") -> "Memory":
        """The same where memory comes from the C library, whose allocator leaves gaps.

        Args:
            plain: the stage's memory without gradient checkpointing; with it the same blocks come
                and go, and leave the same gaps.
        """
        gaps = _UNUSED * (plain.activations or 0)
        return replace(self, unused=int(gaps))


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are made and still live inside a `with` block.

    It sees what every operation returns, whoever keeps it: results saved for the way back,
    gradients, temporary values. What a single operation needs inside is not seen.
    """

    def __init__(self, *, known: Sequence[torch.Tensor]) -> None:
        """Watch; the tensors in `known` were there before and do not count."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: int = 0
        """Bytes now."""
        self.peak: int = 0
        """Most bytes so far."""
        # By storage, since many tensors are views of one.
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet(
            tensor.untyped_storage() for tensor in known
        )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._seen:
            size = storage.nbytes()
            self._seen.add(storage)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.live -= size


def stage_memory(
    blueprint: Blueprint,
    data: TrainingSet,
    *,
    section: TrainSection,
    planned: tuple[int, Order],
    encode_positions: int,
) -> Memory:
    """Memory of one stage.

    Args:
        blueprint: the model; if the training checkpoints gradients, so must it.
        data: what is trained on.
        section: the training.
        planned: which stage, and the sessions it trains on, in order.
        encode_positions: size of the encoder's passes while it is frozen.
    """
    model = blueprint.model
    chosen = section.stages[planned[0]]
    learning = model.trains(
        chosen.trains, message_dropout=chosen.message_dropout, base_dropout=section.base_dropout
    )
    gradients = sum(parameter.nbytes for parameter in learning)
    added = 0
    for name, parameter in model.named_parameters():
        if "lora_" in name or name.startswith("projector."):
            added += parameter.nbytes

    # What passes need follows from running them, where torch can do so on shapes alone.
    try:
        activations = _activations(
            blueprint, data, section=section, planned=planned, encode_positions=encode_positions
        )
    except RuntimeError:
        activations = None
    return Memory(
        weights=blueprint.weights,
        adapters=added,
        optimiser=3 * gradients,
        activations=activations,
    )


def _activations(
    blueprint: Blueprint,
    data: TrainingSet,
    *,
    section: TrainSection,
    planned: tuple[int, Order],
    encode_positions: int,
) -> int:
    stage, order = planned
    frozen = "encoder" not in section.stages[stage].trains
    peak = 0
    for micro in worst_batches(order, data, section=section, stage=stage):
        needed = _peak(blueprint, data, micro=micro, section=section, frozen=frozen)
        peak = max(peak, needed)
    if not frozen:
        return peak + blueprint.transient

    # A frozen encoder runs before the stage, and leaves its float32 vectors.
    vectors = len(data.tokens) * blueprint.model.encoder.width * 4
    rows = data.seen(order, section.stages[stage])
    encoding = _peak_of_encoding(blueprint, data, rows=rows, positions=encode_positions)
    return vectors + blueprint.transient + max(peak, encoding)


def worst_batches(
    order: Order, data: TrainingSet, *, section: TrainSection, stage: int
) -> list[MicroBatch]:
    """A stage's micro-batches that are likely to need the most memory.

    They have the most positions in the decoder, padded or as a tree, or in the encoder.
    """

    def padded(micro: MicroBatch) -> tuple[int, int]:
        longest = max(map(len, micro.sessions))
        return len(micro.labels) * longest, sum(map(len, micro.sessions))

    def encoder(micro: MicroBatch) -> int:
        distinct = occurring(micro.sessions)
        return len(distinct) * int(data.tokens.lengths[distinct].max())

    def distinct(micro: MicroBatch) -> tuple[int, int]:
        nodes = len(grow(micro.sessions).rows)
        return nodes + len(micro.beginnings), sum(map(len, micro.sessions))

    costs: list[Callable[[MicroBatch], Any]] = [padded, distinct]
    if "encoder" in section.stages[stage].trains:
        costs.append(encoder)

    # By each of these costs the worst one so far; of equal ones the first.
    worst: list[tuple[Any, MicroBatch]] = []
    starts = range(0, len(order), section.batch)
    for step, start in enumerate(islice(starts, _STEPS)):
        rows = order[start : start + section.batch]
        for micro in data.micro_batches(rows, section, stage=stage, step=step):
            candidates = [(cost(micro), micro) for cost in costs]
            worst = worst or candidates
            pairs = zip(worst, candidates, strict=True)
            worst = [max(pair, key=lambda candidate: candidate[0]) for pair in pairs]
    return [micro for _, micro in worst]


def resident() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not say."""
    return _status("VmRSS")


def most_resident() -> int:
    """Most bytes of memory that this process has held so far; 0 where the system does not say."""
    return _status("VmHWM")


def _status(field: str) -> int:
    """Bytes that Linux gives for a field of this process's status."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith(f"{field}:"):
            kilobytes = line.split()[1]
            return int(kilobytes) * 1024
    return 0


def _peak(
    blueprint: Blueprint,
    data: TrainingSet,
    *,
    micro: MicroBatch,
    section: TrainSection,
    frozen: bool,
) -> int:
    """Bytes that a micro-batch's passes take beyond what was there and the gradients."""
    model = blueprint.model
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    labels = torch.zeros(len(micro.labels), dtype=torch.int64)
    labels[-1] = 1  # where the answers differ in length, one of each
    with blueprint.mode:
        vectors = torch.zeros((len(data.tokens), model.encoder.width)) if frozen else None
        batch = collate(
            micro.sessions,
            tokens=data.tokens,
            vectors=vectors,
            labels=labels,
            beginnings=micro.beginnings,
        )
        # From a step's second micro-batch on the gradients are there before.
        for parameter in learning:
            parameter.grad = torch.zeros_like(parameter) if section.batch > section.unit else None
        known = [*model.parameters(), *model.buffers()]
        if vectors is not None:
            known.append(vectors)
        tensors = LiveTensors(known=known)
        with tensors, _autocast(section.precision):
            loss = model.loss(batch, objective=section.objective)
            loss.backward()  # type: ignore[no-untyped-call]

    # Gradients count elsewhere: where these passes made them they are taken off.
    made = 0
    if section.batch == section.unit:
        made = sum(parameter.nbytes for parameter in learning)
    model.zero_grad(set_to_none=True)
    return max(0, tensors.peak - made)


def _peak_of_encoding(
    blueprint: Blueprint, data: TrainingSet, *, rows: Rows, positions: int
) -> int:
    """Bytes that the largest pass of a frozen encoder over some messages takes."""
    lengths = data.tokens.lengths[rows]
    passes = in_passes(lengths, positions=positions)
    places = max(passes, key=lambda run: len(run) * int(lengths[run].max()))
    model = blueprint.model
    tensors = LiveTensors(known=[*model.parameters(), *model.buffers()])
    with blueprint.mode, torch.no_grad(), tensors:
        model.encoder(*data.tokens.tensors(rows[places]))
    return tensors.peak


def _autocast(precision: str) -> torch.autocast:
    """Mixed precision as Accelerate sets it."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast("cpu", dtype=dtype, enabled=precision != "no")
