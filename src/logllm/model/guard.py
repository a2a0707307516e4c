"""Engines that round are admitted to a run by measurement: their scores against exact ones."""

from typing import Any

from logllm.errors import ModelError, plural
from logllm.metrics import Scores

LARGEST_DIFFERENCE = 0.01
"""Of a score."""
MOST_FLIPS = 0.001
"""Share of sessions whose verdict changes."""
EXACT = "exact"
"""The engine that needs no admission."""


def compare(exact: Scores, rounded: Scores, *, threshold: float) -> dict[str, Any]:
    """How far an engine's scores are from exact ones, and whether that is near enough.

    >>> import numpy as np
    >>> compare(np.array([0.2, 0.9]), np.array([0.205, 0.9]), threshold=0.5)["admitted"]
    True
    """
    largest = float(abs(exact - rounded).max(initial=0.0))
    flips = int(((exact >= threshold) != (rounded >= threshold)).sum())
    admitted = len(exact) > 0 and largest <= LARGEST_DIFFERENCE and flips <= MOST_FLIPS * len(exact)
    return {"sessions": len(exact), "largest_difference": largest, "flips": flips, "admitted": admitted}


def check_admitted(manifest: dict[str, Any], engine: str) -> None:
    """Whether a run may be scored by an engine.

    Raises:
        ModelError: it was not measured, or its scores were too far from exact ones; the message gives the remedy.
    """
    if engine == EXACT:
        return
    found = manifest.get("engines", {}).get(engine)
    if found is None:
        raise ModelError(
            f"engine {engine!r} was never measured on run {manifest['name']}: admit it with `logllm admit RUN --data DIR --engine {engine}`, "
            f"or take engine {EXACT!r}"
        )
    if not found["admitted"]:
        raise ModelError(
            f"engine {engine!r} is not admitted to run {manifest['name']}: on {plural(found['sessions'], 'session')} scores differed by up to "
            f"{found['largest_difference']:.3g} and {plural(found['flips'], 'verdict')} changed; take engine {EXACT!r}"
        )
