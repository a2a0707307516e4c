"""The command line in process: a subprocess would pay for its imports each time."""

import sys
from dataclasses import dataclass

import pytest

from logllm.cli.app import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def logllm(monkeypatch, capfd, tmp_path):
    """Run the command with arguments; its exit code and what it wrote. Scores are cached for one test alone."""
    monkeypatch.setattr("logllm.detect.cache.cache", lambda: tmp_path / "cached")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["logllm", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capfd.readouterr())

    return run
