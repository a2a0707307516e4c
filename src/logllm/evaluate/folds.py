"""Forward chaining: train on the past, test on the next part.

It is for sets that are too small for a single split in time.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from logllm import __version__
from logllm.config.prepare import SplitSection
from logllm.counting import agreeing, plural
from logllm.datasets.prepared import (
    DATA_VERSION,
    PARTS,
    Manifest,
    Prepared,
    part_figures,
    write_prepared,
)
from logllm.datasets.splits import in_time, last_share, without_overlap
from logllm.errors import DataError
from logllm.sessions.sessionizer import base_name
from logllm.storage import MANIFEST, check_replaceable, new_folder, write_json

FEWEST = 2
"""Parts that a fold needs: one to train on, one to test on."""


class Fold(NamedTuple):
    """One fold's sessions."""

    parts: dict[str, pl.DataFrame]
    """`train`, `validation` and `test`."""
    overlapping: int
    """How many earlier sessions are in none, because they reach into a later part."""


def folds(
    data: Path, *, parts: int, out: Path, validation: float | None = None, force: bool = False
) -> list[Path]:
    """Cut all labelled sessions, in order of time, into parts of equal size.

    Fold i trains on parts 1 to i and tests on the next one.

    Sessions are ordered by their start, then by their first line; where lines carry no time, by the
    first line alone. The pieces of a long session stay together. Windows of train that reach into
    validation, and windows of either that reach into test, are left out and counted
    (`overlapping`). Every fold has the whole message table of the data.

    Args:
        data: A folder that `prepare` wrote of one log; its own division does not matter.
        parts: How many parts; there is one fold fewer.
        out: The folder to make: a folder of prepared data `fold-1`, `fold-2`, ... each, and a
            manifest that counts them.
        validation: The share of train, its last sessions, kept for validation; none: as the data
            were prepared.
        force: Replace folds that are there.

    Returns:
        The folds' folders. The manifest of each has `fold`: its `number`, `of` how many, and the
        data's fingerprint as `source`.

    Raises:
        DataError: the data have no labels, come of two logs, are altered, or are too few; or a fold
            would train on one kind of session only.
    """
    prepared = Prepared.load(data)
    share = prepared.settings.split.validation if validation is None else validation
    if parts < FEWEST or not 0 <= share < 1:
        raise DataError(
            f"{plural(parts, 'part')} and a share of {share:g} for validation make no folds: take"
            " two parts or more and a share below 1"
        )
    check_replaceable(out, force=force, kind="folds")
    _check(prepared)
    sessions = pl.concat([prepared.labelled(name) for name in PARTS])

    # All folds are checked before the first is written: minutes of scoring may follow.
    made: list[Fold] = []
    for past, test in _pasts(sessions, parts):
        made.append(_fold(past, test, prepared=prepared, share=share))
    manifests: list[Manifest] = []
    for number, fold in enumerate(made, start=1):
        _check_kinds(fold, number=number, of=len(made))
        told = _manifest(fold, prepared, number=number, of=len(made), share=share)
        manifests.append(told)

    # The folder's own manifest counts what each fold has.
    about: dict[str, Any] = {
        "kind": "folds",
        "version": DATA_VERSION,
        "logllm": __version__,
        "source": prepared.manifest["fingerprint"],
    }
    figures = ("parts", "overlapping", "warnings")
    about["folds"] = [{name: manifest[name] for name in figures} for manifest in manifests]
    with new_folder(out, force=force, kind="folds") as folder:
        for number, (fold, manifest) in enumerate(zip(made, manifests, strict=True), start=1):
            frames = {**fold.parts, "messages": prepared.messages.to_frame("message")}
            write_prepared(folder / f"fold-{number}", frames, manifest=manifest, force=False)
        write_json(folder / MANIFEST, about)
    return [out / f"fold-{number}" for number in range(1, parts)]


def _check_kinds(fold: Fold, *, number: int, of: int) -> None:
    """Whether a fold has normal and anomalous sessions to learn from."""
    kinds = fold.parts["train"]["anomalous"].unique().to_list()
    if len(kinds) >= 2:
        return
    which = "no"
    if kinds:
        which = "only anomalous" if kinds[0] else "only normal"
    raise DataError(
        f"fold {number} of {of} would train on {which} sessions: take fewer parts, or a log that"
        " fails earlier"
    )


def _check(prepared: Prepared) -> None:
    """Whether the sessions have one order, and are those of the log."""
    if "test_raw" in prepared.manifest:
        raise DataError(
            f"the test part of {prepared.folder} is another log, later or not: prepare one log"
            " without --test-raw, then fold it"
        )
    if "perturbed" in prepared.manifest:
        raise DataError(
            f"{prepared.folder} is altered: fold the data it was made from, then alter a fold with"
            " logllm perturb"
        )


def _pasts(sessions: pl.DataFrame, parts: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """For each part but the first all sessions before it, and its own."""
    order = in_time(sessions)["name"]
    if len(order) < parts:
        raise DataError(f"{plural(len(order), 'session')} cannot be cut in {plural(parts, 'part')}")
    # Shares of later parts are rounded up, as those of `prepare` are: 10 sessions in 3 parts are
    # 3, 3 and 4.
    borders = np.arange(parts + 1) * len(order) // parts
    numbers = np.repeat(np.arange(parts), np.diff(borders))
    placed = pl.DataFrame({"name": order, "number": numbers}).with_row_index("place")

    # The pieces of a long session go where the whole goes, in their order.
    named = sessions.with_columns(name=base_name())
    in_parts = named.join(placed, on="name", maintain_order="left")
    rows = in_parts.sort("place", "part")
    for number in range(1, parts):
        past = rows.filter(pl.col("number") < number)
        test = rows.filter(pl.col("number") == number)
        yield past.select(sessions.columns), test.select(sessions.columns)


def _fold(past: pl.DataFrame, test: pl.DataFrame, *, prepared: Prepared, share: float) -> Fold:
    """One fold of the sessions before a part, and the part."""
    # Windows may share records; sessions by key share none, however long they run side by side.
    windows = not prepared.settings.sessions.by_key
    before_test = without_overlap(past, test) if windows else past
    train, validation = last_share(before_test, share)
    if windows:
        train = without_overlap(train, validation)
    left_out = past.height - train.height - validation.height
    return Fold({"train": train, "validation": validation, "test": test}, left_out)


def _manifest(fold: Fold, prepared: Prepared, *, number: int, of: int, share: float) -> Manifest:
    """A fold's manifest: that of the data, with the fold's own counts and division."""
    counts = {name: part_figures(part) for name, part in fold.parts.items()}
    warnings: list[str] = []
    for name, part in counts.items():
        if part["sessions"] and part["anomalous"] in (0, part["sessions"]):
            kind = "anomalous" if part["anomalous"] else "normal"
            warnings.append(f"the {name} part holds only {kind} sessions")
    if fold.overlapping:
        left_out = agreeing(
            fold.overlapping,
            "{session reaches|sessions reach} into a later part and {is|are} in no part",
        )
        warnings.append(left_out)
    # A fold's shares are its own, so that its manifest describes it as if prepared alone.
    whole = sum(part["sessions"] for part in counts.values())
    test_share = round(counts["test"]["sessions"] / whole, 6)
    split = SplitSection(by="time", test=test_share, validation=share)
    settings = prepared.settings.model_copy(update={"split": split})
    return {
        **prepared.manifest,
        "logllm": __version__,
        "overlapping": fold.overlapping,
        **part_figures(pl.concat(fold.parts.values())),
        "parts": counts,
        "warnings": warnings,
        "settings": settings.model_dump(mode="json"),
        "fold": {"number": number, "of": of, "source": prepared.manifest["fingerprint"]},
    }
