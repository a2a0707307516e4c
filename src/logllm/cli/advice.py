"""What a person can do after a verb has done its work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

WITHOUT_LABELS = "unseen"
"""The recipe that learns without labels, where there is one."""


def after_prepare(manifest: Mapping[str, Any], out: Path) -> str | None:
    """The command that prepared data are ready for, or what they lack; none where a warning of `prepare` says it all.

    >>> train = {"sessions": 9, "anomalous": 2}
    >>> after_prepare({"unlabelled": 0, "sessions": 12, "parts": {"train": train}}, Path("data"))
    'logllm train small --data data --out RUN'
    """
    from logllm.config.recipe import packaged

    train = manifest["parts"]["train"]
    if 0 < train["anomalous"] < train["sessions"]:
        return f"logllm train small --data {out} --out RUN"
    if WITHOUT_LABELS in packaged():
        return f"logllm train {WITHOUT_LABELS} --data {out} --out RUN, which learns without labels"
    if manifest["unlabelled"] == manifest["sessions"]:
        return None
    missing = "anomalous" if train["sessions"] and not train["anomalous"] else "normal"
    return (
        f"training learns from normal and anomalous sessions, and the train part holds no {missing} one: "
        "prepare again with --split random, with a smaller --test, or with more of the log"
    )
