"""A table's cells, worked off one after the other or several at a time.

After each cell the table is written as far as it is done.
"""

import fnmatch
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logllm.errors import LogLLMError, ModelError
from logllm.evaluate.tables.cell import Cell, finished, work
from logllm.evaluate.tables.charts import plot
from logllm.evaluate.tables.grid import Asked, grid
from logllm.evaluate.tables.markdown import markdown
from logllm.evaluate.tables.pooled import pooled
from logllm.evaluate.tables.process import Processes, Runner
from logllm.evaluate.tables.results import results
from logllm.storage import locked, write_atomic, write_json

_PATIENCE = 0.5
"""Seconds."""
Watch = Callable[[str], None]
"""Told in words what begins and what has ended."""


@dataclass
class Table:
    """A table in a folder: its cells, which of them are done, and what is written of them."""

    name: str
    grid: list[Cell]
    out: Path
    about: Mapping[str, Any]
    """What is said of the whole: command, budget."""
    finish: Callable[[dict[str, Any], "Table"], dict[str, Any]] | None = None
    """Adds to the results what needs more than the cells' reports."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why cells are not done, by slug."""

    @property
    def cells(self) -> Path:
        """The folder of the cells' folders.

        Tables in one folder share it, and with it the cells that they have in common.
        """
        return self.out / "cells"

    def reports(self) -> dict[str, dict[str, Any]]:
        """Reports of the finished cells."""
        by_slug = {cell.slug: finished(cell, self.cells) for cell in self.grid}
        return {slug: report for slug, report in by_slug.items() if report is not None}

    def states(self) -> Iterator[tuple[Cell, str]]:
        """Every cell, and whether it is done, begun or open."""
        done = self.reports()
        for cell in self.grid:
            if cell.slug in done:
                yield cell, "done"
            elif (self.cells / cell.slug).is_dir():
                yield cell, "begun"
            else:
                yield cell, "open"

    def write(self, *, final: bool = True) -> dict[str, Any]:
        """Write the table as JSON, Markdown and PNG, as far as it is done.

        Whatever takes long is written only when no other cell is about to follow.
        """
        written = results(
            self.name, self.grid, reports=self.reports(), failed=self.failed, about=self.about
        )
        if final and self.finish is not None:
            written = self.finish(written, self)
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / f"{self.name}.json", written)
        write_atomic(self.out / f"{self.name}.md", (markdown(written) + "\n").encode())
        plot(written, self.out / f"{self.name}.png")
        return written


def opened(asked: Asked, out: Path, *, command: str) -> Table:
    """The table that was asked for, in a folder.

    Raises:
        RecipeError, DataError: see `logllm.evaluate.tables.grid.grid`.
    """
    finish = None if asked.folds is None else _with_pooled
    cells = grid(asked, out / "data")
    about = {"command": command, "budget": asked.budget}
    return Table(asked.table, cells, out, about, finish)


def _with_pooled(table_results: dict[str, Any], table: Table) -> dict[str, Any]:
    """Results with the figures over all folds."""
    of_folds = pooled(table.grid, table.cells, reports=table.reports())
    return {**table_results, "pooled": of_folds}


def wanted(cells: Sequence[Cell], only: str | None) -> list[Cell]:
    """Each piece of work once; with `only`, those whose label holds it (`*` for anything)."""
    # Of cells that are the same work the first one stays: later entries of a dict replace earlier
    # ones, so that it is made from the end.
    distinct: dict[str, Cell] = {}
    for cell in reversed(cells):
        if only is None or fnmatch.fnmatch(cell.label, f"*{only}*"):
            distinct[cell.slug] = cell
    return list(reversed(distinct.values()))


def run(
    table: Table,
    *,
    jobs: int = 1,
    only: str | None = None,
    watch: Watch,
    runner: Runner | None = None,
) -> dict[str, Any]:
    """Do the cells that are not done.

    Args:
        table: which ones.
        jobs: how many at a time, each with its share of the cores.
        only: of these cells alone (`wanted`).
        watch: told what goes on.
        runner: runs commands; by default in processes of their own.

    Returns:
        The table (`logllm.evaluate.tables.results.results`).

    Raises:
        ModelError: cells failed; all others are done, and the table is written.
        KeyboardInterrupt: as it came, the processes ended and the table written.
    """
    processes = Processes(jobs=jobs)
    do = runner or processes.run
    cells = wanted(table.grid, only)

    def busy() -> None:
        watch("another process is preparing data here: waiting for it")

    # Commands begun meanwhile go on holding it, should this process be killed.
    with locked(table.out / ".data.lock", before_waiting=busy):
        for cell in cells:
            cell.data.provide(do, watch=watch)
    todo = [cell for cell in cells if finished(cell, table.cells) is None]
    watch(
        f"{table.name}: {len(cells) - len(todo)} of {len(cells)} cells are done; the others'"
        f" folders are in {table.cells}"
    )
    counting = _counting(watch, len(todo))
    # What judges the run of another cell comes after all that train.
    training = [cell for cell in todo if not isinstance(cell.trained, Cell)]
    judging = [cell for cell in todo if isinstance(cell.trained, Cell)]
    for phase in (training, judging):
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            pending = {pool.submit(work, cell, table.cells, runner=do): cell for cell in phase}
            try:
                _collect(table, pending, watch=counting)
            except BaseException:
                processes.stop()
                for future in pending:
                    future.cancel()
                table.write(final=False)
                raise
    written = table.write()
    if table.failed:
        first = next(iter(table.failed.values()))
        raise ModelError(
            f"{len(table.failed)} cells failed, the first: {first}; the same command tries them"
            " again"
        )
    return written


def _collect(
    table: Table, pending: Mapping["Future[dict[str, Any] | None]", Cell], *, watch: Watch
) -> None:
    """Take what is done as it comes."""
    left = set(pending)
    while left:
        # Without a timeout Ctrl-C would not be heard here: Polars has the wait restarted after an
        # interrupt.
        done, left = wait(left, timeout=_PATIENCE, return_when=FIRST_COMPLETED)
        for future in done:
            cell = pending[future]
            try:
                report = future.result()
            except LogLLMError as exc:
                table.failed[cell.slug] = str(exc)
                watch(f"failed: {exc}")
            else:
                watch(f"{cell.label}: {_in_short(report)}")
        if done:
            table.write(final=False)


def _in_short(report: Mapping[str, Any] | None) -> str:
    """A cell's figures in short, where it was ours to do."""
    if report is None:
        return "left to another process that is working on it"
    figures = report["figures"]
    mean = figures["average_precision"]
    return f"F1 {figures['f1']:.4f}, AP {'-' if mean is None else f'{mean:.4f}'}"


def _counting(watch: Watch, count: int) -> Watch:
    """Say with each cell that ends how many are done, and how long the others may take.

    Each is expected to take as long as the average so far.
    """
    began = time.monotonic()
    done = 0

    def told(text: str) -> None:
        nonlocal done
        done += 1
        seconds_a_cell = (time.monotonic() - began) / done
        minutes = seconds_a_cell * (count - done) / 60
        left = f"; about {minutes:,.0f} min left" if done < count else ""
        watch(f"[{done}/{count}] {text}{left}")

    return told
