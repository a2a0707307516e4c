"""The five tables as data: which cells each of them has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from logllm.config.recipe import Recipe
from logllm.errors import RecipeError
from logllm.evaluate.tables.budget import changed, scaled, stage_of
from logllm.evaluate.tables.cell import LOGLLM, Cell
from logllm.evaluate.tables.cell_data import Alteration, CellData, altered, folded, prepared_anew

SHORT = 2_400
"""Sessions that a cell of a short table trains on."""
BETAS = (0.0, 0.1, 0.3, 0.5, 0.7)
"""Shares up to which the minority class is repeated."""
KINDS = ("insert", "remove", "duplicate", "shuffle", "reword")
"""Ways to alter a log (`logllm perturb`)."""
RATIOS = (0.05, 0.1, 0.2, 0.3)
"""Shares of altered sessions, beside none."""
BASELINES = {
    "main": (
        *("deeplog", "logrobust", "cnn", "neurallog", "rapid"),
        *("tree-counts", "logistic-words", "logistic-vectors", "unseen", "words", "grep"),
    ),
    "unstable": (
        *("deeplog", "cnn", "tree-counts"),
        *("logistic-counts", "logistic-words", "words", "grep"),
    ),
}
"""Baselines of a table where none are named; the other tables have none."""
UNALTERED = "unaltered"
"""The row of `unstable` that all others are compared with."""
STAGES: dict[str, frozenset[int]] = {
    "all": frozenset({1, 2, 3}),
    "without 1": frozenset({2, 3}),
    "without 2": frozenset({1, 3}),
    "only 3": frozenset({3}),
    "without 3": frozenset({1, 2}),
}
"""Rows of the table of stages: the paper's stages that are left."""


@dataclass(frozen=True)
class Asked:
    """What a person asked for."""

    table: str
    """`main`, `preprocessing`, `stages`, `beta` or `unstable`."""
    sets: tuple[CellData, ...]
    """The data."""
    recipe: Recipe
    """What LogLLM is trained by."""
    seeds: int = 1
    """How many, from 0."""
    sessions: int | None = None
    """Sessions a cell trains on, all its stages together; none: the recipe's own number in `main`,
    elsewhere `SHORT`."""
    baselines: tuple[str, ...] | None = None
    """Names; none: the table's own."""
    betas: tuple[float, ...] = BETAS
    """Of `beta`."""
    kinds: tuple[str, ...] = KINDS
    """Of `unstable`."""
    ratios: tuple[float, ...] = RATIOS
    """Of `unstable`."""
    strength: float = 0.05
    """Of `unstable`."""
    run: Path | None = None
    """Of `unstable`: a run that is there already."""
    raw: tuple[str, ...] = ()
    """Of `preprocessing`: the log that the data were prepared from."""
    labels: Path | None = None
    """Of `preprocessing`: its labels."""
    folds: int | None = None
    """Of `main`: parts in the order of time, each but the first tested after training on all before
    it."""
    from_fold: int = 1
    """The first fold that counts."""

    @property
    def budget(self) -> str:
        """How long LogLLM is trained, in words."""
        if self.run is not None:
            return f"none, the run {self.run.name} is judged"
        if self.table == "main" and self.sessions is None:
            return f"recipe {self.recipe.name}, in full"
        return (
            f"recipe {self.recipe.name}, {self.sessions or SHORT:,} sessions a cell, its stages in"
            " the recipe's proportions"
        )

    @property
    def named(self) -> tuple[str, ...]:
        """The baselines."""
        if self.baselines is None:
            return BASELINES.get(self.table, ())
        return self.baselines


def grid(asked: Asked, under: Path) -> list[Cell]:
    """The cells of a table.

    Args:
        asked: which table, on what.
        under: the folder of the data that are made.

    Raises:
        RecipeError: options that the table has not, or a recipe without the stages it compares.
        DataError: data that cannot be prepared anew.
    """
    # What an option cannot mean for this table is said before anything is made or trained.
    if asked.folds is not None and (asked.table != "main" or asked.folds < 2):
        raise RecipeError(f"--folds {asked.folds} is for the table main, and at least 2")
    if asked.folds is not None and not 1 <= asked.from_fold < asked.folds:
        raise RecipeError(
            f"--from-fold {asked.from_fold}: {asked.folds} parts make folds 1 to {asked.folds - 1}"
        )
    if asked.table not in _TABLES:
        raise RecipeError(f"there is no table {asked.table!r}: {', '.join(_TABLES)}")
    # Cells are named for their data: two of one name would share rows.
    names = [data.name for data in asked.sets]
    if len(set(names)) < len(names):
        raise RecipeError(
            f"two of {', '.join(names)} have one name: give each its own, --data NAME=DIR"
        )
    if asked.table in ("stages", "beta") and asked.baselines:
        raise RecipeError(
            f"the table {asked.table} is about LogLLM's training alone: leave --baselines out"
        )
    if asked.run is not None and asked.table != "unstable":
        raise RecipeError("--run is for the table unstable; the others train")
    return _TABLES[asked.table](asked, under)


class Row(NamedTuple):
    """One row of a table, for one data set."""

    data: CellData
    name: str = ""
    """What the row is about."""
    facts: Mapping[str, Any] = {}
    """The same in numbers."""


def _main(asked: Asked, under: Path) -> list[Cell]:
    """LogLLM with its full budget, and baselines."""
    if asked.folds is None:
        return [cell for data in asked.sets for cell in _methods(asked, Row(data))]
    cells: list[Cell] = []
    for data in asked.sets:
        for number, part in enumerate(folded(data, under, parts=asked.folds), start=1):
            if number < asked.from_fold:
                continue
            row = Row(part, f"fold {number}", {"fold": number})
            # The figures of all folds together need each session's score.
            cells += [replace(cell, scores=True) for cell in _methods(asked, row)]
    return cells


def _preprocessing(asked: Asked, under: Path) -> list[Cell]:
    """The same log with its messages made in four ways."""
    if len(asked.sets) != 1 or not asked.raw:
        raise RecipeError(
            "the table preprocessing takes one --data and the log it was prepared from, --raw (with"
            " --labels, if those are a file)"
        )
    given = asked.sets[0]
    variants = prepared_anew(given, under, raw=list(asked.raw), labels=asked.labels)
    cells: list[Cell] = []
    for name, data in variants.items():
        cells += _methods(asked, Row(data, name))
    return cells


def _stages(asked: Asked, _: Path) -> list[Cell]:
    """LogLLM without some of its stages, always for as long."""
    trained_stages = asked.recipe.train.stages
    present = {stage_of(stage) for stage in trained_stages}
    if missing := {1, 2, 3} - present:
        raise RecipeError(
            f"recipe {asked.recipe.name} has no stage {min(missing)} of the paper's three, and the"
            " table leaves out one after the other: take --recipe small, or the paper's"
        )
    cells: list[Cell] = []
    for data in asked.sets:
        for name, numbers in STAGES.items():
            # One of the paper's stages may be several of the recipe's.
            left: list[dict[str, Any]] = []
            for stage in trained_stages:
                if stage_of(stage) in numbers:
                    left.append(stage.model_dump(mode="json"))
            recipe = changed(asked.recipe, stages=left)
            cells += _seeds(asked, Row(data, name), recipe=recipe)
    return cells


def _beta(asked: Asked, _: Path) -> list[Cell]:
    """LogLLM with more or less of the minority class."""
    # Rows in the order of beta, each with all its seeds, so that a half-done table is read well.
    cells: list[Cell] = []
    for data in asked.sets:
        for beta in asked.betas:
            row = Row(data, f"{beta:g}", {"beta": beta})
            cells += _seeds(asked, row, recipe=changed(asked.recipe, oversample=beta))
    return cells


def _unstable(asked: Asked, under: Path) -> list[Cell]:
    """LogLLM trained once, then judged on the test part as it is and altered.

    A baseline is fitted again for each alteration, to the same train part.
    """
    cells: list[Cell] = []
    alterations: list[Alteration] = []
    for kind in asked.kinds:
        alterations += [Alteration(kind, ratio, asked.strength) for ratio in asked.ratios]
    for data in asked.sets:
        whole = _methods(asked, Row(data, UNALTERED, {"ratio": 0.0}))
        cells += whole
        for by in alterations:
            # Each seed has an altered part of its own: else chance in the alteration would be one
            # draw, however many seeds there are.
            name = f"{by.kind} {by.ratio:g}"
            others = [altered(data, under, by=by, seed=seed) for seed in range(asked.seeds)]
            for cell in whole:
                # A run that was given takes the place of LogLLM's own training.
                trained: Cell | Path = cell
                if cell.method == LOGLLM and asked.run is not None:
                    trained = asked.run
                other = others[cell.seed]
                facts = by._asdict()
                cells.append(Cell(other, cell.method, cell.seed, name, facts, trained=trained))
    return cells


_TABLES: dict[str, Callable[[Asked, Path], list[Cell]]] = {
    "main": _main,
    "preprocessing": _preprocessing,
    "stages": _stages,
    "beta": _beta,
    "unstable": _unstable,
}


def _methods(asked: Asked, row: Row) -> list[Cell]:
    """LogLLM and the baselines with each seed."""
    own = _seeds(asked, row, recipe=asked.recipe)
    if asked.run is not None:
        own = [replace(cell, recipe=None, trained=asked.run) for cell in own]
    baselines: list[Cell] = []
    for name in asked.named:
        for seed in range(asked.seeds):
            baselines.append(Cell(row.data, name, seed, row.name, row.facts))
    return own + baselines


def _seeds(asked: Asked, row: Row, *, recipe: Recipe) -> list[Cell]:
    """Cells that train LogLLM, for as long as was asked, with each seed."""
    # Folds are other data than were named, but in the table `main` they train in full.
    sessions = asked.sessions or (None if asked.table == "main" else SHORT)
    if sessions is not None:
        given = next(data for data in asked.sets if data.name == row.data.name)
        available = given.manifest()["parts"]["train"]["sessions"]
        recipe = scaled(recipe, sessions, available=available)
    # Said in the table's notes, so that two tables of other lengths are not compared.
    lengths = [stage.max_sessions or f"{stage.epochs} x all" for stage in recipe.train.stages]
    facts = {**row.facts, "stages": lengths}
    cells: list[Cell] = []
    for seed in range(asked.seeds):
        cells.append(Cell(row.data, LOGLLM, seed, row.name, facts, changed(recipe, seed=seed)))
    return cells
