"""A test is called the same in every process: workers that collect other tests run none."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import EVERY_ID, ODD

ROOT = Path(__file__).parent.parent


def test_ids_can_be_typed(pytestconfig) -> None:
    assert [name for name in pytestconfig.stash[EVERY_ID] if ODD.search(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        r"a.py::test[\x1f\x8b-1]",
        r"a.py::test[\u0430]",
        "a.py::test[<object at 0x7f3b2c]",
        "a.py::test[caf\xe9]",
    ],
)
def test_an_id_that_cannot_be_typed_is_found(name) -> None:
    assert ODD.search(name)


@pytest.mark.parametrize("content", [b"\x1f\x8b\x00", str(time.time_ns()).encode()])
def test_bytes_are_called_by_their_argument(content, request) -> None:
    assert request.node.callspec.id in ("content0", "content1")


@pytest.mark.real
def test_two_processes_collect_the_same() -> None:
    """With other seeds of hashing, seconds apart."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-o",
        "addopts=--doctest-modules",
        "-p",
        "no:cacheprovider",
    ]
    names = []
    for seed in ("1", "2"):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        names.append([line for line in done.stdout.splitlines() if "::" in line])
    assert len(names[0]) > 1000
    assert names[0] == names[1]
