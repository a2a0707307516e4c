"""Faults put into the source on purpose, one at a time, to see that a test notices.

Prints killed or SURVIVED for each.

The list is benchmarks/mutants.toml. Each is applied to a copy of the tree in a temporary folder,
never to the tree itself, and the tests nearest to it are run there. Ends with 1 where one survives
or cannot be applied any more.

python benchmarks/mutants.py [--only WORDS] [--skip-check]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("mutants.toml")
COPIED = (
    "src",
    "tests",
    "benchmarks",
    "demo",
    "datasets",
    "docs",
    "mkdocs.yml",
    "pyproject.toml",
    "hatch_build.py",
    "README.md",
    "CHANGELOG.md",
    "Makefile",
)
"""What the tests read; of links what they lead to."""
SECONDS = 300
"""A test that has not ended after so long counts as one that noticed."""


class Mutant(NamedTuple):
    """A fault to put in."""

    what: str
    """In words, and its name."""
    file: str
    """Where, from the root of the tree."""
    before: str
    """Text that occurs there exactly once."""
    after: str
    """What replaces it."""
    tests: Sequence[str]
    """Files of the nearest tests."""

    def applied(self, text: str) -> str:
        """The file's text with the fault in it.

        Raises:
            ValueError: the code has moved on: `before` is not there, or no longer once.
        """
        if (times := text.count(self.before)) != 1:
            raise ValueError(
                f"{self.file} holds {self.before!r} {times} times, not once: mend this mutant in"
                f" {LIST.name}"
            )
        return text.replace(self.before, self.after)


def mutants() -> list[Mutant]:
    """The list."""
    return [Mutant(**entry) for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]]


def copied(target: Path) -> Path:
    """A copy of the tree."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, target / name)
    return target


def outcome(tree: Path, tests: Iterable[str]) -> str:
    """What some tests say of a tree: `passed`, `failed`, or what went wrong."""
    # Of the tier real too: it tries the parameters that the default tests leave out.
    tiers = ["-m", "not gpu and not alone"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tiers, *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "failed"
    codes = {0: "passed", 1: "failed"}
    return (
        codes.get(done.returncode)
        or f"pytest ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
    )


def judged(mutant: Mutant, tree: Path) -> str:
    """Whether the nearest tests notice a fault; the tree is then what it was."""
    path = tree / mutant.file
    if not path.is_file():
        return f"CANNOT BE APPLIED: {mutant.file} is not there: mend this mutant in {LIST.name}"
    sound = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutant.applied(sound), encoding="utf-8")
    except ValueError as fault:
        return f"CANNOT BE APPLIED: {fault}"
    said = outcome(tree, mutant.tests)
    path.write_text(sound, encoding="utf-8")
    return {"passed": "SURVIVED", "failed": "killed"}.get(said, said)


def main() -> int:
    """Print a line a mutant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="those whose name or file holds this text")
    parser.add_argument(
        "--skip-check",
        action="store_true",
        help="do not see first that the tests pass without a fault",
    )
    given = parser.parse_args()
    chosen = [
        mutant for mutant in mutants() if given.only in mutant.what or given.only in mutant.file
    ]
    with tempfile.TemporaryDirectory() as scratch:
        tree = copied(Path(scratch))
        if (
            not given.skip_check
            and (
                said := outcome(tree, sorted({test for mutant in chosen for test in mutant.tests}))
            )
            != "passed"
        ):
            print(f"without any fault the tests do not pass: {said}")
            return 1
        results = []
        for mutant in chosen:
            results.append(judged(mutant, tree))
            print(f"{results[-1]:9} {mutant.file}: {mutant.what}", flush=True)
    killed = results.count("killed")
    print(f"{killed} of {len(results)} killed")
    return 0 if killed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
