"""The command line in process: a subprocess would pay for its imports each time."""

import io
import sys
from dataclasses import dataclass
from typing import TextIO

import pytest

from logllm.cli.app import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def logllm(monkeypatch, capfd, tmp_path):
    """Run the command with arguments; its exit code and what it wrote. What it caches is cached for
    one test alone.

    `stdin` is what standard input holds, as bytes or as an open file; without it there is none to
    read, as where it was closed.
    """
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "cached"))

    def run(*arguments: object, stdin: bytes | TextIO | None = None) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["logllm", *map(str, arguments)])
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)) if isinstance(stdin, bytes) else stdin
        )
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capfd.readouterr())

    return run
