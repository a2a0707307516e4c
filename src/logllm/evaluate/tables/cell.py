"""One cell of a table: one method, trained and judged on one data set with one seed.

Each has a folder of its own.
"""

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from logllm import __version__
from logllm.config.recipe import Recipe
from logllm.errors import ModelError
from logllm.evaluate.tables.cell_data import CellData
from logllm.evaluate.tables.process import Runner
from logllm.storage import MANIFEST, locked, write_atomic, write_json

LOGLLM = "logllm"
"""The method that is no baseline."""
REPORT = "report.json"
_SPENT = "spent.jsonl"


@dataclass(frozen=True)
class Cell:
    """What is to be done; the same for whatever table asks for it."""

    data: CellData
    """The data."""
    method: str
    """`logllm` or a baseline's name."""
    seed: int
    variant: str = ""
    """The row of the table."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the table says of the variant beside its name."""
    recipe: Recipe | None = None
    """What LogLLM is trained by; none: a baseline, or a run that is trained elsewhere."""
    trained: "Cell | Path | None" = None
    """Where the run to judge is trained: another cell, or a run's folder."""
    scores: bool = False
    """Whether the score of each session is kept."""

    @property
    def label(self) -> str:
        """The cell as people say it."""
        names = (self.data.name, self.variant, self.method, f"seed {self.seed}")
        return "/".join(name for name in names if name)

    @property
    def slug(self) -> str:
        """The name of the cell's folder.

        It is the same for the same work, whatever table the cell belongs to and whatever settings
        have been added since.
        """
        # Only settings that differ from the defaults: a new setting leaves old cells theirs.
        elsewhere = (
            self.trained.slug if isinstance(self.trained, Cell) else _fingerprint(self.trained)
        )
        settings = self.recipe and self.recipe.model_dump(
            mode="json", exclude_defaults=True, exclude={"name", "title"}
        )
        work = [self.data.identity, self.method, self.seed, settings, elsewhere]
        if self.scores:
            work.append("scores")
        written = json.dumps(work, sort_keys=True)
        digest = hashlib.sha256(written.encode()).hexdigest()
        return f"{self.data.name}-{self.method}-{self.seed}-{digest[:10]}"

    def run(self, cells: Path) -> Path:
        """Where the run is that this cell judges."""
        if isinstance(self.trained, Cell):
            return self.trained.run(cells)
        return self.trained or cells / self.slug / "run"


def _fingerprint(run: Path | None) -> str:
    """What tells a run made elsewhere from others."""
    if run is None:
        return ""
    if not (run / MANIFEST).is_file():
        raise ModelError(f"{run} is not a run (it has no {MANIFEST})")
    return hashlib.sha256((run / MANIFEST).read_bytes()).hexdigest()


def finished(cell: Cell, cells: Path) -> dict[str, Any] | None:
    """The report of a cell that is done."""
    path = cells / cell.slug / REPORT
    return json.loads(path.read_bytes()) if path.is_file() else None


def work(cell: Cell, cells: Path, *, runner: Runner) -> dict[str, Any] | None:
    """Do a cell, or go on with one that was cut off.

    Args:
        cell: what to do.
        cells: the folder of all cells' folders.
        runner: runs the commands.

    Returns:
        The cell's report: `figures` (`logllm evaluate --json`), `seconds` and `peak_memory` of
        training and scoring, `commands`, `interruptions`, `data`, `versions`. None where another
        process is at it.

    Raises:
        ModelError: a command failed; its last words are in the message.
    """
    home = cells / cell.slug
    # The commands begun meanwhile inherit the hold: should this process be killed, it lasts as long
    # as they do.
    with locked(home / ".lock") as ours:
        if not ours:
            return None
        run = cell.run(cells)
        is_broken = run.is_dir() and not (run / MANIFEST).is_file()  # cut off before it had begun
        if cell.trained is None and is_broken:
            shutil.rmtree(run)
        figures: dict[str, Any] = {}
        commands = _commands(cell, home, run=run)
        for step, command in commands.items():
            log = home / f"{step}.log"
            spent = runner(command, log)
            # Each attempt is written down before it is judged: what an interrupted one took counts.
            attempt = {
                "step": step,
                "seconds": spent.seconds,
                "peak": spent.peak,
                "code": spent.code,
            }
            with (home / _SPENT).open("a", encoding="utf-8") as file:
                file.write(json.dumps(attempt) + "\n")
            if spent.code:
                raise ModelError(
                    f"{cell.label}: logllm {command[0]} ended with {spent.code}: {spent.said} (log:"
                    f" {log})"
                )
            figures = json.loads(spent.out) if spent.out else {}
        # Commands as anyone can repeat them: without this machine's folders.
        folders = {str(home): ".", str(cells): "..", str(cell.data.folder): cell.data.name}
        report = {
            "cell": cell.label,
            "figures": figures,
            **_spent(home),
            "data": cell.data.manifest()["fingerprint"],
            **_surroundings(run),
            "commands": [told(command, folders) for command in commands.values()],
        }
        write_json(home / REPORT, report)
    return report


def _commands(cell: Cell, home: Path, *, run: Path) -> dict[str, list[str]]:
    """The cell's commands by step."""
    data = str(cell.data.folder)
    begun = run.is_dir()
    keep = ["--report", str(home / "scores"), "--force"] if cell.scores else []
    score = {"score": ["evaluate", str(run), "--data", data, "--json", *keep]}
    where = ["--data", data, "--out", str(run)]
    # A baseline takes seconds and is fitted again from the start; a training goes on where it was.
    if cell.method != LOGLLM and cell.trained is None:
        seed = ["--set", f"train.seed={cell.seed}"]
        again = ["--force"] if begun else []
        return {"train": ["train", cell.method, *seed, *where, *again], **score}
    if cell.recipe is None:
        return score
    recipe = home / "recipe.toml"
    write_atomic(recipe, cell.recipe.toml().encode())
    resume = ["--resume"] if begun else []
    return {"train": ["train", str(recipe), *where, *resume], **score}


def _spent(home: Path) -> dict[str, Any]:
    """Time, all attempts added, and the largest memory of training and scoring."""
    # A line an attempt: one that was interrupted spent its time, too.
    written = (home / _SPENT).read_text(encoding="utf-8").splitlines()
    attempts = [json.loads(line) for line in written]
    steps: dict[str, list[dict[str, Any]]] = {}
    for attempt in attempts:
        steps.setdefault(attempt["step"], []).append(attempt)
    seconds: dict[str, float] = {}
    peaks: dict[str, int | None] = {}
    for step, of_step in steps.items():
        seconds[step] = round(sum(attempt["seconds"] for attempt in of_step), 1)
        measured = [attempt["peak"] for attempt in of_step if attempt["peak"]]
        peaks[step] = max(measured, default=None)
    interruptions = sum(attempt["code"] != 0 for attempt in attempts)
    return {"seconds": seconds, "peak_memory": peaks, "interruptions": interruptions}


def _surroundings(run: Path) -> dict[str, Any]:
    """What the run says of the libraries and the machine it was made with."""
    manifest = json.loads((run / MANIFEST).read_bytes())
    names = ("versions", "threads", "machine", "base_models", "recipe")
    facts = {name: manifest[name] for name in names if name in manifest}
    return {"logllm": manifest.get("logllm", __version__), **facts}


_PARTING = ("--only", "--jobs")
"""Options that say which cells are worked on, and not what the table is."""


def told(arguments: Sequence[str], folders: Mapping[str, str] | None = None) -> str:
    """A command without this machine's folders.

    Args:
        arguments: of `logllm`.
        folders: what some folders are called instead; of any other absolute path the last name is
            left.

    >>> told(["evaluate", "/data/cells/a/run", "--data", "hdfs=/data/hdfs"], {"/data/cells/a": "."})
    'logllm evaluate ./run --data hdfs=hdfs'
    """
    for folder, name in (folders or {}).items():
        arguments = [argument.replace(folder, name) for argument in arguments]
    # Of any other absolute path, alone or behind `=`, all but the last name goes.
    shown = [re.sub(r"(?:(?<==)|^)/(?:[^/]+/)*", "", argument) for argument in arguments]
    return shlex.join(["logllm", *shown])


def whole(arguments: Sequence[str]) -> list[str]:
    """A command's arguments for the whole table: without `--only` and `--jobs`.

    However the work was divided, the whole table is what the command writes.

    >>> whole(["reproduce", "beta", "--only", "hdfs/*", "--jobs=2", "--seeds", "3"])
    ['reproduce', 'beta', '--seeds', '3']
    """
    kept: list[str] = []
    # `--only X` and `--only=X` are both left out; `""` stands before the first argument.
    for before, argument in pairwise(["", *arguments]):
        is_option = argument.partition("=")[0] in _PARTING
        is_its_value = before in _PARTING
        if not is_option and not is_its_value:
            kept.append(argument)
    return kept
