"""What a person can do after a verb has done its work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

WITHOUT_LABELS = "novelty"
"""A method that learns without labels."""


def after_prepare(manifest: Mapping[str, Any], out: Path) -> str:
    """The command that prepared data are ready for.

    >>> train = {"sessions": 9, "anomalous": 2}
    >>> after_prepare({"unlabelled": 0, "sessions": 12, "parts": {"train": train}}, Path("data"))
    'logllm train words --data data --out RUN (in seconds; small trains the language model)'
    """
    # Supervised training needs both labels; what cannot be trained so can still learn unlabelled.
    train = manifest["parts"]["train"]
    if 0 < train["anomalous"] < train["sessions"]:
        command = f"logllm train words --data {out} --out RUN"
        return f"{command} (in seconds; small trains the language model)"
    without = f"logllm train {WITHOUT_LABELS} --data {out} --out RUN, which needs no labels"
    if manifest["unlabelled"] == manifest["sessions"]:
        return without
    missing = "anomalous" if train["sessions"] and not train["anomalous"] else "normal"
    return (
        "LogLLM learns from both normal and anomalous sessions, but the train part has no "
        f"{missing} one: prepare again with --split random, a smaller --test, or more of the log; "
        f"or {without}"
    )
