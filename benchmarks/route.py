"""The route of a raw line to its verdict, and of sessions to weights.

How much code somebody reads who follows it.

    python benchmarks/route.py lines           from `Detector.load` and a log's lines to verdicts
    python benchmarks/route.py weights         from prepared data to a run, as `train` makes it
    python benchmarks/route.py lines --show    every function, in the order of its first call

Functions are counted at their first call, as the interpreter reports it; tiny models, a warm cache,
one thread of torch: with more of them the lanes of `model/fast/packing` add a function of theirs.
A change of file is where the next function that is called for the first time lies in another file
than the last. Properties, methods and inner functions count, lambdas and comprehensions do not.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, NamedTuple

import logllm

if TYPE_CHECKING:
    from logllm.config.recipe import Recipe

SOURCE = Path(logllm.__file__).parent
_FUNCTION = 0x2
"""The flag of code that has local variables of its own: a function's, not a class body's
(`inspect.CO_NEWLOCALS`)."""


class Step(NamedTuple):
    """A function at its first call."""

    file: str
    """Where it is, from the package's folder on."""
    name: str
    """Its name within the file."""


class Route(NamedTuple):
    """Functions in the order of their first calls."""

    steps: tuple[Step, ...]

    def figures(self) -> dict[str, int]:
        """Counts of functions, of the modules they lie in, and of changes to another file."""
        files = [step.file for step in self.steps]
        changes = sum(file != other for file, other in pairwise(files))
        return {
            "functions": len(self.steps),
            "modules": len(set(files)),
            "changes_of_file": changes,
        }

    def shown(self) -> str:
        """A line a file, each time it is entered."""
        stays = groupby(self.steps, key=lambda step: step.file)
        return "\n".join(
            f"{file}: {', '.join(step.name for step in steps)}" for file, steps in stays
        )


def route_of(work: Callable[[], object]) -> Route:
    """The functions of logllm that some work calls, in whatever thread."""
    seen: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, *_: object) -> None:
        if event == "call" and _counts(frame.f_code):
            seen.setdefault(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    steps = (
        Step(str(Path(code.co_filename).relative_to(SOURCE)), code.co_qualname) for code in seen
    )
    return Route(tuple(dict.fromkeys(steps)))


def _counts(code: CodeType) -> bool:
    """Whether code is a named function of ours."""
    ours = code.co_filename.startswith(str(SOURCE))
    return (
        ours
        and bool(code.co_flags & _FUNCTION)
        and "<" not in code.co_qualname.replace("<locals>", "")
    )


def line_to_verdict(folder: Path) -> Route:
    """The route of a log's lines through a run of tiny models."""
    recipe, data = _prepared(folder)
    from logllm.detect.detector import Detector
    from logllm.methods.train import train

    train(recipe, data, out=folder / "run")
    lines = (folder / "app.jsonl").read_text().splitlines()
    return _warm(lambda: list(Detector.load(folder / "run").detect(lines)))


def sessions_to_weights(folder: Path) -> Route:
    """The route of prepared sessions into a run of tiny models."""
    recipe, data = _prepared(folder)
    from logllm.methods.train import train

    runs = iter(range(2))
    return _warm(lambda: train(recipe, data, out=folder / f"run-{next(runs)}"))


def _prepared(folder: Path) -> tuple["Recipe", Path]:
    """The recipe `tiny` on tiny models, and prepared data.

    Both are imported when the cache is set.
    """
    import torch
    from tests.tiny import make_data, make_models

    from logllm.config.recipe import Recipe

    torch.set_num_threads(1)
    recipe = Recipe.load("tiny").model_copy(update={"model": make_models(folder)})
    return recipe, make_data(folder)


def _warm(work: Callable[[], object]) -> Route:
    """The route the second time.

    What is measured once a machine, and remembered, is no part of it.
    """
    work()
    return route_of(work)


ROUTES = {"lines": line_to_verdict, "weights": sessions_to_weights}


def main() -> None:
    """Print a route's figures as JSON, or the route itself."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("route", choices=ROUTES)
    parser.add_argument("--show", action="store_true", help="print the route itself")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        os.environ["LOGLLM_CACHE"] = f"{folder}/cache"
        route = ROUTES[arguments.route](Path(folder))
    print(route.shown() if arguments.show else json.dumps(route.figures()))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
