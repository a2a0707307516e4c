"""Which run stands in a run's place: one file promotes a newer run, and undoes it."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from logllm.errors import ModelError
from logllm.storage import MANIFEST, write_json

_POINTER = ".current.json"
"""How the file is called that lies beside a run, behind the run's own name."""
_VERSION = 1
_MOST_GATES = 50
"""Gates that are remembered, the newest ones."""


@dataclass(frozen=True)
class Promotion:
    """What lies beside a run: which folder stands in its place, and how that came about.

    Folders are named by their last name; they lie where the run does.
    """

    current: str
    """The folder that is meant where the run is named."""
    earlier: tuple[str, ...] = ()
    """Those that stood there before, the last one first; to roll back is to go to the first of
    them."""
    gates: tuple[dict[str, Any], ...] = ()
    """What was measured before each promotion and each refusal, the newest first."""
    data: str | None = None
    """Folder of the labelled data that the run itself was trained on."""
    changed: str = ""
    """When another folder last took the run's place, UTC."""

    @property
    def former(self) -> str | None:
        """The folder to which a roll-back goes; none: there is none."""
        return self.earlier[0] if self.earlier else None

    @property
    def lineage(self) -> tuple[str, ...]:
        """The current folder and those before it: all whose answers the current one has learnt."""
        return (self.current, *self.earlier)

    def to(self, folder: str, *, now: datetime) -> Self:
        """The same with another folder in the run's place."""
        return replace(self, current=folder, earlier=self.lineage, changed=_written(now))

    def noted(self, gate: dict[str, Any]) -> Self:
        """The same, what was measured remembered."""
        return replace(self, gates=(gate, *self.gates)[:_MOST_GATES])

    def back(self, *, run: Path, now: datetime) -> Self:
        """The same with the former folder in the run's place.

        Raises:
            ModelError: there is none.
        """
        if self.former is None:
            raise ModelError(
                f"{run} has no former run to go back to: none was promoted in its place"
            )
        # The run that is left is none of the earlier ones: to go back twice goes two runs back.
        first, *others = self.earlier
        return replace(self, current=first, earlier=tuple(others), changed=_written(now))


def pointer_of(run: Path) -> Path:
    """The file beside a run that says which run stands in its place.

    >>> pointer_of(Path("/runs/app")).name
    'app.current.json'
    """
    place = run.absolute()
    return place.with_name(f"{place.name}{_POINTER}")


def read_promotion(run: Path) -> Promotion | None:
    """What lies beside a run; none: nothing was ever promoted or refused.

    Raises:
        ModelError: the file is damaged.
    """
    # The root of the file system has no name, and nothing lies beside it.
    if not run.absolute().name:
        return None
    path = pointer_of(run)
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as exc:
        raise _damaged(path) from exc
    # A later layout may mean something else by the same names.
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        raise _damaged(path)
    promotion = _checked(content)
    if promotion is None:
        raise _damaged(path)
    return promotion


def write_promotion(run: Path, promotion: Promotion) -> None:
    """Write what lies beside a run: one file, replaced at once.

    Raises:
        DataError: it cannot be written.
    """
    write_json(pointer_of(run), {"kind": "current", "version": _VERSION, **asdict(promotion)})


def check_own(folder: Path) -> None:
    """Check that what is trained into a folder will judge where the folder is named.

    Raises:
        ModelError: another run stands in its place, or once did, and what was measured of it would
            be lost.
    """
    promotion = read_promotion(folder)
    if promotion is not None:
        remedy = f"train into a new folder, or delete {pointer_of(folder)} first"
        raise ModelError(f"{promotion.current} stands in the place of {folder}: {remedy}")


def current_run(run: Path) -> Path:
    """The folder that stands in a run's place: most often its own.

    Raises:
        ModelError: what lies beside it is damaged, or names a folder that is not there.
    """
    promotion = read_promotion(run)
    if promotion is None:
        return run
    # The pointer is one file and the run a folder: whoever deletes the folder leaves the pointer.
    folder = folder_of(run, promotion.current)
    if not (folder / MANIFEST).is_file():
        remedy = (
            f"put it back, or go back to the former run with `logllm retrain {run} --roll-back`"
        )
        raise ModelError(f"{pointer_of(run)} names {folder}, which is no run: {remedy}")
    return folder


def folder_of(run: Path, name: str) -> Path:
    """A folder that lies where the run does, written as the run is.

    >>> run = Path("runs/app")
    >>> folder_of(run, "app.2").as_posix(), folder_of(run, "app").as_posix()
    ('runs/app.2', 'runs/app')
    """
    return run if name == run.absolute().name else run.with_name(name)


def home_of(run: Path) -> Path | None:
    """The run in whose place a folder stands or stood; none: the folder is a run of its own."""
    place = run.absolute()
    # Folders that a retraining made have no pointer of their own: they are found by that of their
    # run.
    for pointer in sorted(place.parent.glob(f"*{_POINTER}")):
        named = pointer.with_name(pointer.name.removesuffix(_POINTER))
        if named == place:
            continue
        promotion = read_promotion(named)
        if promotion is not None and place.name in promotion.lineage:
            return run.with_name(named.name)
    return None


def _checked(content: dict[str, Any]) -> Promotion | None:
    """What a file says; none where that makes no sense."""
    earlier, gates = content.get("earlier"), content.get("gates")
    if not isinstance(earlier, list) or not isinstance(gates, list):
        return None
    # A name with a slash would have a run loaded from anywhere.
    current = content.get("current")
    if not all(map(_plain, [current, *earlier])):
        return None
    # A gate that makes no sense is only left out: it is a record of the past.
    sound_gates = tuple(gate for gate in gates if isinstance(gate, dict))
    data = content.get("data")
    trained_on = data if isinstance(data, str) else None
    return Promotion(
        current=str(current),
        earlier=tuple(earlier),
        gates=sound_gates,
        data=trained_on,
        changed=str(content.get("changed")),
    )


def _plain(name: object) -> bool:
    """Whether it is the plain name of a folder, and not a path to somewhere else."""
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    return Path(name).name == name


def _damaged(path: Path) -> ModelError:
    """The error of a file that says nothing of use."""
    remedy = "delete it to let the run itself judge again, or restore it"
    return ModelError(f"{path} does not say which run is the current one: {remedy}")


def _written(now: datetime) -> str:
    """A time as it is kept."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
