"""Settings from the way people write them on the command line."""

import re
from collections.abc import Sequence
from typing import Any

from logllm.errors import RecipeError

_FILES = ("file", "folder")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def session_options(
    *,
    window: str | None,
    step: str | None,
    key: str | None,
    key_field: str | None,
    by: str | None = None,
) -> dict[str, Any]:
    """Session settings from what people write: `100` records, `5m`, a key, `file` or `folder`.

    >>> session_options(window="5m", step="60s", key=None, key_field=None)
    {'by': 'time', 'size': 300, 'step': 60}

    Raises:
        RecipeError: two ways at once, or a length that is none.
    """
    # One way of grouping at a time: two would contradict each other.
    ways = {"--window": window, "--key": key, "--key-field": key_field, "--session-by": by}
    named = [option for option, value in ways.items() if value]
    if len(named) > 1:
        options = " or ".join(named)
        raise RecipeError(
            f"sessions are by key, by file or folder, or by window: leave out {options}"
        )
    if step is not None and window is None:
        raise RecipeError("--step needs --window")
    if by is not None and by not in _FILES:
        raise RecipeError(
            f"--session-by {by}: write file or folder; by a key say --key or --key-field, by window"
            " --window"
        )
    if not named:
        return {}
    if by:
        return {"by": by}
    if window is None:
        return {"by": "key", "key_pattern": key, "key_field": key_field}
    # A step is of the same kind as the window that it moves.
    size_by, size = _length("--window", window)
    if step is None:
        return {"by": size_by, "size": size, "step": size}  # not the step of the format or recipe
    step_by, step_size = _length("--step", step)
    if step_by != size_by:
        raise RecipeError(
            f"--window {window} and --step {step} are not of one kind: both records, or both time"
        )
    return {"by": size_by, "size": size, "step": step_size}


def mask_rules(rules: Sequence[str]) -> list[dict[str, str]]:
    """Masking rules from `NAME=REGEX`.

    Raises:
        RecipeError: no `=` in a rule.
    """
    named: list[dict[str, str]] = []
    for rule in rules:
        name, sign, pattern = rule.partition("=")
        if not sign:
            raise RecipeError(f"mask rule {name!r}: write NAME=REGEX")
        named.append({"name": name, "pattern": pattern})
    return named


def _length(option: str, text: str) -> tuple[str, int]:
    """`count` and records, or `time` and seconds."""
    match = re.fullmatch(r"([1-9]\d*)([smhd]?)", text)
    if match is None:
        examples = "write a number of records, such as 100, or a time, such as 30s, 5m, 1h"
        raise RecipeError(f"{option} {text}: {examples}")
    number, unit = int(match[1]), match[2]
    if unit:
        return "time", number * _UNITS[unit]
    return "count", number
