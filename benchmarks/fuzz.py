"""Damaged logs read by every format.

Nothing crashes, every line is accounted for, and no chunking changes what is read.

A log is made of real lines (the small logs of tests/cases) or of random bytes, and damaged: lines
lost, doubled, joined or cut, bytes put in, other encodings, line ends and logs mixed, archives cut
off. It is read by the format that is recognised, or by any built-in one, once whole and once in
pieces of random sizes. A fault is printed with the seed that makes it again.

python benchmarks/fuzz.py --minutes 10
python benchmarks/fuzz.py --seed 4711
"""

import argparse
import bz2
import gzip
import io
import lzma
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.datasets.prepare import prepare
from logllm.datasets.settings import choose, suited
from logllm.errors import LogLLMError
from logllm.formats.description import known, load_format
from logllm.logs.lines import STDIN
from logllm.logs.reader import Reader
from logllm.logs.tally import WrongFormat

LOGS = Path(__file__).parents[1] / "tests" / "cases" / "logs"
TODAY = date(2026, 3, 1)
AUTO = "auto"
"""The format that is recognised in the damaged log."""
UNDAMAGED = "undamaged"
"""The format that is recognised in the log before it was damaged."""

_PREPARED = 0.2  # of the logs that are read are prepared
_MOST_LINES = 120  # of a log, so that hundreds are read in a minute
_LETTERS = "aZ0 \t\"'\\{}[]:,=|<>%#-_.\x00\x1b\x85\u2028\ufeff\u00e9\u4e2d\U0001f4a5"


class ShortReads(io.RawIOBase):
    """Bytes that come in pieces of random sizes."""

    def __init__(self, content: bytes, chance: random.Random) -> None:
        super().__init__()
        self._content, self._chance, self._at = content, chance, 0

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, at times fewer; none at the end."""
        most = len(self._content) if size < 0 else size
        piece = self._content[
            self._at : self._at + min(most, self._chance.choice((1, 7, 100, 5000, most)))
        ]
        self._at += len(piece)
        return piece


@cache
def real_logs() -> tuple[list[bytes], ...]:
    """The lines of every small log."""
    return tuple(
        gzip.decompress(path.read_bytes()).split(b"\n") for path in sorted(LOGS.glob("*.gz"))
    )


@cache
def recognised(place: int) -> FormatSection:
    """The format of a small log; plain lines where it is refused."""
    with suppress(LogLLMError):
        return suited([STDIN], today=TODAY, stdin=io.BytesIO(b"\n".join(real_logs()[place]))).format
    return load_format("plain")


def damaged_log(place: int, chance: random.Random) -> bytes:
    """A small log with some damage, or at times bytes that never were one."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.choice((1, 30, 400, 4000)))
    lines = list(real_logs()[place])
    start = chance.randrange(len(lines))
    lines = lines[start : start + _MOST_LINES] if chance.random() < 0.5 else lines[:_MOST_LINES]
    for _ in range(chance.choice((0, 1, 2, 5))):
        lines = chance.choice(_OF_LINES)(lines, chance) or [b""]
    content = chance.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r")).join(lines) + chance.choice(
        (b"", b"\n", b"\n\n")
    )
    for _ in range(chance.choice((0, 0, 1, 2))):
        content = chance.choice(_OF_BYTES)(content, chance)
    return content


def _lost(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [line for line in lines if chance.random() < 0.8]


def _doubled(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [line for line in lines for _ in range(chance.choice((1, 1, 1, 2)))]


def _shuffled(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return chance.sample(lines, len(lines))


def _backwards(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return lines[::-1]


def _cut(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [
        line[: chance.randrange(len(line) + 1)] if chance.random() < 0.2 else line for line in lines
    ]


def _mixed(lines: list[bytes], chance: random.Random) -> list[bytes]:
    other = chance.choice(real_logs())[:_MOST_LINES]
    return [chance.choice((line, more)) for line, more in zip(lines, other, strict=False)]


def _blank(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [
        chance.choice((b"", b"  ", b"\t")) if chance.random() < 0.15 else line for line in lines
    ]


def _typed(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Letters put in where they may hurt."""
    damaged = []
    for line in lines:
        at = chance.randrange(len(line) + 1)
        letter = chance.choice(_LETTERS).encode()
        damaged.append(
            line[:at] + letter + line[at + chance.choice((0, 1)) :]
            if chance.random() < 0.3
            else line
        )
    return damaged


def _long(lines: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(lines))
    return [*lines[:at], lines[at] + chance.choice((b"x", b"{", b"\t", b'"')) * 5000, *lines[at:]]


def _prefixed(lines: list[bytes], chance: random.Random) -> list[bytes]:
    before = chance.choice(
        (
            b"db-1  | ",
            b"\xef\xbb\xbf",
            b"  ",
            b"> ",
            b"2024-07-03T09:00:00.000000001Z ",
            b'{"log": "',
            b"\x1b[31m",
        )
    )
    return [before + line if chance.random() < 0.9 else line for line in lines]


def _bytes_put_in(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.randbytes(chance.randrange(1, 40)) + content[at:]


def _ends_early(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(1, len(content) + 1)] if content else content


def _encoded(content: bytes, chance: random.Random) -> bytes:
    text = content.decode("utf-8", errors="replace")
    return text.encode(
        chance.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32", "cp1252")),
        errors="replace",
    )


def _packed(content: bytes, chance: random.Random) -> bytes:
    packed = chance.choice((gzip.compress, bz2.compress, lzma.compress))(content)
    return packed if chance.random() < 0.3 else _ends_early(packed, chance)


Lines = Callable[[list[bytes], random.Random], list[bytes]]
Bytes = Callable[[bytes, random.Random], bytes]
_OF_LINES: tuple[Lines, ...] = (
    _lost,
    _doubled,
    _shuffled,
    _backwards,
    _cut,
    _mixed,
    _blank,
    _typed,
    _typed,
    _long,
    _prefixed,
)
_OF_BYTES: tuple[Bytes, ...] = (_bytes_put_in, _ends_early, _encoded, _packed)


class Outcome:
    """What a reading gave."""

    def __init__(
        self,
        content: bytes,
        described: FormatSection,
        *,
        batch_lines: int,
        chance: random.Random | None,
    ) -> None:
        """Read a log, whole or in pieces of random sizes."""
        stream = io.BytesIO(content) if chance is None else ShortReads(content, chance)
        reader = Reader(
            PrepareSection(format=described), today=TODAY, batch_lines=batch_lines, stdin=stream
        )
        frames: list[pl.DataFrame] = []
        self.error, self.read_whole = "", True
        self._described = described
        try:
            frames.extend(reader.read([STDIN]))
        except LogLLMError as exc:
            self.error, self.read_whole = str(exc), isinstance(exc, WrongFormat)
        self.records = pl.concat(frames) if frames else None
        self.counts = dict(reader.tally.counts)
        self.rejects = reader.tally.first_rejects

    @property
    def unaccounted(self) -> int:
        """Lines that are neither a record's nor counted as anything else."""
        begun = (
            0
            if self.records is None
            else self.records.select(pl.struct("file", "line").n_unique()).item()
        )
        return (
            self.counts["lines"]
            - self.counts["headers"]
            - begun
            - self.counts["continued"]
            - self.counts["rejected"]
        )


class Trial:
    """A damaged log, and the format that it is read by: all of it follows from the seed."""

    def __init__(self, seed: int) -> None:
        """Damage a log."""
        chance = random.Random(seed)  # noqa: S311 - damage is no secret
        place = chance.randrange(len(real_logs()))
        self.seed = seed
        self.content = damaged_log(place, chance)
        self.name = chance.choice((AUTO, AUTO, AUTO, UNDAMAGED, UNDAMAGED, chance.choice(known())))
        self._place = place

    def format(self) -> FormatSection | None:
        """How it is read; nothing where an error says that it cannot be."""
        if self.name == UNDAMAGED:
            return recognised(self._place)
        if self.name != AUTO:
            return load_format(self.name)
        with suppress(LogLLMError):
            return suited([STDIN], today=TODAY, stdin=io.BytesIO(self.content)).format
        return None

    def fault(self) -> str | None:
        """What is wrong with what is read; nothing: all is well.

        Whatever is no error of ours is raised.
        """
        described = self.format()
        if described is None:
            return None
        whole = Outcome(self.content, described, batch_lines=100_000, chance=None)
        if whole.read_whole and whole.unaccounted:
            return f"{whole.unaccounted} lines are lost: {whole.counts}"
        chance = random.Random(self.seed)  # noqa: S311 - damage is no secret
        pieces = Outcome(
            self.content, described, batch_lines=chance.choice((1, 2, 3, 7, 20)), chance=chance
        )
        if (
            not whole.read_whole
        ):  # how much of a damaged archive is read before the fault depends on the pieces
            return None if pieces.error else f"in pieces nothing is wrong: {whole.error}"
        if (whole.counts, whole.rejects, whole.error) != (
            pieces.counts,
            pieces.rejects,
            pieces.error,
        ):
            return (
                f"in pieces it counts otherwise: {whole.counts} {whole.error}, in pieces"
                f" {pieces.counts} {pieces.error}"
            )
        if not whole.error and not _same(whole.records, pieces.records):
            return "in pieces it gives other records"
        if not whole.error and chance.random() < _PREPARED:
            self.prepare(described)
        return None

    def prepare(self, described: FormatSection) -> None:
        """Sessions and parts of it, or an error of ours."""
        settings = choose(
            described, overrides={"format": {}, "sessions": {}, "split": {}, "mask": {}}
        )
        with tempfile.TemporaryDirectory() as folder, suppress(LogLLMError):
            prepare(
                [STDIN], Path(folder, "data"), settings=settings, stdin=io.BytesIO(self.content)
            )


def _same(one: pl.DataFrame | None, other: pl.DataFrame | None) -> bool:
    return one is other if one is None or other is None else one.equals(other)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read damaged logs until the time is over, and print the faults."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone")
    told = parser.parse_args(arguments)
    end, seed, faults = (
        time.monotonic() + 60 * told.minutes,
        told.first if told.seed is None else told.seed,
        0,
    )
    while True:
        trial = Trial(seed)
        try:
            wrong = trial.fault()
        except Exception as exc:  # noqa: BLE001 - that is what is sought
            wrong = f"{type(exc).__name__}: {str(exc)[:300]}"
        if wrong:
            faults += 1
            print(f"seed {seed}, format {trial.name}: {wrong}", flush=True)
        seed += 1
        if told.seed is not None or time.monotonic() > end:
            break
    print(
        f"{seed - told.first} logs read, {faults} faults"
        if told.seed is None
        else f"{faults} faults"
    )
    return int(faults > 0)


if __name__ == "__main__":
    raise SystemExit(main())
