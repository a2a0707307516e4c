"""Whether scores may be rounded: what training measured of a run, and what this machine gains."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from logllm.errors import DataError, ModelError
from logllm.storage import cache, write_json

Engine = Literal["exact", "bf16"]
DOUBT = 1.0
"""A logit that may be wrong by so much and would then matter is computed again, exactly."""

_PROBE = "machine.json"
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}
_GAIN = 1.3
"""Times as fast as float32 that a processor must be in bfloat16."""


def measured(error: float, *, sessions: int) -> dict[str, Any]:
    """What a manifest says of an engine that rounds.

    With errors below `DOUBT` no verdict can be another one, at whatever threshold: a session that
    such an error could turn is computed again.

    Args:
        error: the largest difference that rounding made to a verdict logit.
        sessions: on how many distinct ones.

    >>> measured(0.4, sessions=512)["admitted"], measured(1.2, sessions=512)["admitted"]
    (True, False)
    """
    admitted = sessions > 0 and error < DOUBT
    return {"sessions": sessions, "largest_error": error, "admitted": admitted}


def settled(engine: Literal["auto", "exact", "bf16"], manifest: Mapping[str, Any]) -> Engine:
    """Which engine serves a run on this machine.

    Args:
        engine: what is asked for; `auto`: bfloat16 where training has found it near enough and this
            machine's processor is faster with it.
        manifest: the run's.

    Raises:
        ModelError: `bf16` for a run that it may not serve.
    """
    if engine == "exact":
        return "exact"
    found = manifest.get("engines", {}).get("bf16")
    if engine == "auto":
        return "bf16" if found is not None and found["admitted"] and rounds_faster() else "exact"
    if found is None:
        raise ModelError(
            f"run {manifest['name']} was trained without measuring whether bfloat16 may serve: take engine exact, or train it again"
        )
    if not found["admitted"]:
        raise ModelError(
            f"engine bf16 may not serve run {manifest['name']}: rounding moved its logits by up to "
            f"{found.get('largest_error', found.get('largest_difference')):.3g} on "
            f"{found['sessions']:,} sessions; take engine exact"
        )
    return "bf16"


def rounds_faster() -> bool:
    """Whether this machine's processor multiplies matrices of bfloat16 faster than of float32.

    Measured once for a processor and a release of PyTorch, and kept in the cache. With a GPU in the
    machine the answer is no: it is the processor that is asked.
    """
    if not _INSTRUCTIONS & _instructions() or any(Path("/dev").glob("nvidia[0-9]*")):
        return False
    machine = f"{_processor()}, torch {version('torch')}"
    probes: dict[str, float] = {}
    with suppress(OSError, ValueError):
        probes = json.loads((cache() / _PROBE).read_bytes())
    if not isinstance(probes, dict) or machine not in probes:
        probes = {**(probes if isinstance(probes, dict) else {}), machine: _gain()}
        with suppress(DataError, OSError):  # without a place it is measured again next time
            cache().mkdir(parents=True, exist_ok=True)
            write_json(cache() / _PROBE, probes)
    return bool(probes[machine] >= _GAIN)


def _gain() -> float:
    """Times as fast as in float32 that this processor multiplies matrices of bfloat16."""
    import torch

    def seconds(dtype: torch.dtype) -> float:
        left, right = torch.ones((1024, 576), dtype=dtype), torch.ones((576, 1536), dtype=dtype)
        times = []
        for _ in range(8):
            started = time.perf_counter()
            torch.mm(left, right)
            times.append(time.perf_counter() - started)
        return min(times)

    return seconds(torch.float32) / max(seconds(torch.bfloat16), 1e-9)


def _instructions() -> set[str]:
    """Instructions of the processor, as Linux names them."""
    return set(_cpuinfo().get("flags", "").split())


def _processor() -> str:
    """The processor, as Linux names it."""
    return _cpuinfo().get("model name", "processor")


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
