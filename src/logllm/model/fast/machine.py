"""What this machine gains by rounding: measured once on its processor, and remembered."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from logllm.errors import DataError
from logllm.storage import cache as cache_folder
from logllm.storage import write_json

_PROBE = "machine.json"
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}
_GAIN = 1.3
"""Times as fast as float32 that a processor must be in bfloat16."""


class Processor(NamedTuple):
    """A processor, as Linux describes it."""

    name: str
    instructions: frozenset[str]


@cache
def rounds_faster() -> bool:
    """Whether this machine's processor multiplies matrices of bfloat16 faster than of float32.

    With a GPU in the machine the answer is no: it is the processor that is asked.
    """
    gpu = any(Path("/dev").glob("nvidia[0-9]*"))
    return not gpu and gains(processor(), measure=gain)


def gains(processor: Processor, *, measure: Callable[[], float]) -> bool:
    """Whether a processor has the instructions, and is so much faster with them that rounding pays.

    The gain is measured once for each processor and release of PyTorch, and kept in the cache.
    """
    if not _INSTRUCTIONS & processor.instructions:
        return False
    machine = f"{processor.name}, torch {version('torch')}"
    probes: dict[str, float] = {}
    with suppress(OSError, ValueError):
        probes = json.loads((cache_folder() / _PROBE).read_bytes())
    if not isinstance(probes, dict):
        probes = {}
    if machine not in probes:
        probes[machine] = measure()
        with suppress(DataError, OSError):  # without a place it is measured again next time
            cache_folder().mkdir(parents=True, exist_ok=True)
            write_json(cache_folder() / _PROBE, probes)
    return bool(probes[machine] >= _GAIN)


def gain() -> float:
    """How many times as fast as in float32 this processor multiplies matrices in bfloat16."""
    import torch

    def seconds(dtype: torch.dtype) -> float:
        left = torch.ones((1024, 576), dtype=dtype)
        right = torch.ones((576, 1536), dtype=dtype)
        times = []
        for _ in range(8):
            started = time.perf_counter()
            torch.mm(left, right)
            times.append(time.perf_counter() - started)
        return min(times)

    return seconds(torch.float32) / max(seconds(torch.bfloat16), 1e-9)


def processor() -> Processor:
    """This machine's processor, the first one that Linux lists; elsewhere nothing is known."""
    try:
        listing = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        text = listing.partition("\n\n")[0]
    except OSError:
        text = ""
    facts = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        facts[name.strip()] = value.strip()
    instructions = frozenset(facts.get("flags", "").split())
    return Processor(facts.get("model name", "processor"), instructions)
