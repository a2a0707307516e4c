"""GGUF files: what they say and their tensors, in the kinds of the small tier's decoder.

The format is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, the kinds of
numbers those of ggml's quantize_row_*.
"""

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logllm.errors import ModelError

Floats = npt.NDArray[np.float32]

_MAGIC = b"GGUF"
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING = 8
_ARRAY = 9
_BLOCK = 32
"""Numbers that share a scale."""


@dataclass(frozen=True)
class Kind:
    """How numbers are packed.

    Attributes:
        numbers: in a block.
        bytes: of a block.
        floats: blocks of bytes, (n, bytes), to numbers, (n, numbers).
    """

    numbers: int
    bytes: int
    floats: Callable[[npt.NDArray[np.uint8]], Floats]


def _plain(blocks: npt.NDArray[np.uint8]) -> Floats:
    """Numbers as they are."""
    return blocks.view(np.float32)


def _q4_1(blocks: npt.NDArray[np.uint8]) -> Floats:
    """A scale and a lowest number in 16 bits each, then 4 bits a number."""
    scale = _half(blocks[:, 0:2])
    lowest = _half(blocks[:, 2:4])

    # 16 bytes hold 32 numbers: those 0 to 15 in the low halves, those 16 to 31 in the high ones.
    packed = blocks[:, 4:]
    steps = np.concatenate([packed & 15, packed >> 4], axis=1)
    return scale * steps.astype(np.float32) + lowest


def _q8_0(blocks: npt.NDArray[np.uint8]) -> Floats:
    """A scale in 16 bits, then 8 bits a number."""
    steps = blocks[:, 2:].view(np.int8).astype(np.float32)
    return steps * _half(blocks[:, :2])


def _half(pairs: npt.NDArray[np.uint8]) -> Floats:
    """Pairs of bytes as numbers of 16 bits, (n, 1)."""
    return pairs.view(np.float16).astype(np.float32)


KINDS = {0: Kind(1, 4, _plain), 3: Kind(_BLOCK, 20, _q4_1), 8: Kind(_BLOCK, 34, _q8_0)}
"""Kinds that are read, by their number in the format: F32, Q4_1, Q8_0."""


@dataclass(frozen=True)
class Packed:
    """A tensor in the file: its shape, its kind, and where its bytes begin."""

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass
class Gguf:
    """An open file.

    Attributes:
        facts: what it says of the model, by name.
        tensors: what it holds, by name.
    """

    path: Path
    facts: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Packed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read all but the tensors.

        Raises:
            ModelError: it is no such file.
        """
        with self.path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = len(_MAGIC)
        try:
            self._read_head()
        except (struct.error, UnicodeDecodeError, KeyError) as exc:
            what = f"{self.path} is no GGUF file, or a damaged one"
            raise ModelError(f"{what}: delete it and fetch it again") from exc

    def tensor(self, name: str) -> Floats:
        """A tensor's numbers.

        Raises:
            ModelError: they are of a kind that is not read here.
        """
        packed = self.tensors[name]
        kind = KINDS.get(packed.kind)
        if kind is None:
            what = f"{name} is in GGUF's kind {packed.kind}, which is not read here"
            raise ModelError(f"{self.path}: {what}")

        # The file is mapped: only the pages of this tensor are read.
        blocks = int(np.prod(packed.shape)) // kind.numbers
        count = blocks * kind.bytes
        stored = np.frombuffer(self._bytes, dtype=np.uint8, count=count, offset=packed.start)
        numbers = kind.floats(stored.reshape(blocks, kind.bytes))
        return numbers.reshape(packed.shape)

    def _read_head(self) -> None:
        """Facts, then names, shapes and places of tensors."""
        if self._bytes[: len(_MAGIC)] != _MAGIC:
            raise KeyError(_MAGIC)
        self._value(4)  # the format's version
        tensors = self._value(10)
        facts = self._value(10)
        for _ in range(facts):
            name = self._value(_STRING)
            self.facts[name] = self._value(self._value(4))

        # A tensor's place counts from the end of this head, which is known only behind it.
        places = {}
        for _ in range(tensors):
            name = self._value(_STRING)
            reversed_shape = [self._value(10) for _ in range(self._value(4))]
            shape = tuple(reversed_shape[::-1])
            kind = self._value(4)
            offset = self._value(10)
            places[name] = (shape, kind, offset)

        # The numbers begin at the next multiple of the alignment; -(-a // b) rounds up.
        alignment = self.facts.get("general.alignment", _BLOCK)
        start = -(-self._at // alignment) * alignment
        for name, (shape, kind, offset) in places.items():
            self.tensors[name] = Packed(shape, kind, start + offset)

    def _value(self, kind: int) -> Any:
        """The next value, of a kind of the format's."""
        if kind == _STRING:
            return self._take(self._value(10)).decode()
        if kind == _ARRAY:
            # Plain numbers in one go: a vocabulary has 49,152 of them.
            inner = self._value(4)
            count = self._value(10)
            if inner in _SCALARS:
                layout = f"<{count}{_SCALARS[inner]}"
                return list(struct.unpack(layout, self._take(struct.calcsize(layout))))
            return [self._value(inner) for _ in range(count)]
        layout = f"<{_SCALARS[kind]}"
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _take(self, count: int) -> bytes:
        """The next bytes."""
        self._at += count
        return self._bytes[self._at - count : self._at]
