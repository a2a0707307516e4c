"""Whether scores may be rounded: what training measured of a run, and what this machine gains."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from logllm.errors import ModelError
from logllm.model.fast.machine import rounds_faster

Engine = Literal["exact", "bf16"]
DOUBT = 1.0
"""A logit that may be wrong by so much and would then matter is computed again, exactly."""


def measured(error: float, *, sessions: int) -> dict[str, Any]:
    """What a manifest says of an engine that rounds.

    With errors below `DOUBT` no verdict can change, whatever the threshold: a session whose verdict
    such an error could turn is computed again.

    Args:
        error: the largest difference that rounding made to a verdict logit.
        sessions: on how many distinct ones.

    >>> measured(0.4, sessions=512)["admitted"], measured(1.2, sessions=512)["admitted"]
    (True, False)
    """
    admitted = sessions > 0 and error < DOUBT
    return {"sessions": sessions, "largest_error": error, "admitted": admitted}


def settled(
    engine: Literal["auto", "exact", "bf16"],
    manifest: Mapping[str, Any],
    *,
    faster: Callable[[], bool] = rounds_faster,
) -> Engine:
    """Which engine serves a run on this machine.

    Args:
        engine: what is asked for; `auto`: bfloat16 where training has shown it to be near enough
            and this machine's processor is faster with it.
        manifest: the run's.
        faster: tells whether the processor is.

    Raises:
        ModelError: `bf16` for a run that it may not serve.
    """
    if engine == "exact":
        return "exact"
    measurement = manifest.get("engines", {}).get("bf16")
    admitted = measurement is not None and measurement["admitted"]
    if engine == "auto":
        return "bf16" if admitted and faster() else "exact"
    if measurement is None:
        raise ModelError(
            f"run {manifest['name']} was trained without measuring whether bfloat16 may serve: take"
            " engine exact, or train it again"
        )
    if not admitted:
        error = measurement.get("largest_error", measurement.get("largest_difference"))
        raise ModelError(
            f"engine bf16 may not serve run {manifest['name']}: rounding moved its logits by up to"
            f" {error:.3g} on {measurement['sessions']:,} sessions; take engine exact"
        )
    return "bf16"
