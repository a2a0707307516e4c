"""A `logllm watch` that a measurement starts, kills and looks into."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from logllm.serve.store.verdict_store import Store

_LOOK = 0.2  # seconds between two looks


class Load(NamedTuple):
    """What a measurement works on."""

    run: Path
    """What judges."""
    log: Path
    """A log that it can judge."""
    folder: Path
    """An empty folder."""
    share: float
    """How much of the load."""


class Watching:
    """The command as people start it, in a process of its own."""

    def __init__(
        self, run: Path | str, sources: Sequence[str], *, store: str, options: Sequence[str] = ()
    ) -> None:
        """Not started yet; `options` are further ones of the command line."""
        self._port = free_port()
        metrics = ["--metrics", str(self._port)]
        self._command = [
            sys.executable,
            "-m",
            "logllm",
            "watch",
            str(run),
            *sources,
            "--store",
            store,
            *metrics,
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.errors = Path(f"{store}.log")
        """What it says."""

    def start(self) -> "Watching":
        """Start it."""
        with self.errors.open("ab") as said:
            self._process = subprocess.Popen(self._command, stderr=said, stdout=said)
        return self

    def kill(self) -> None:
        """End it as a loss of power would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Have it stop by itself; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process = self._running()
        process.send_signal(how)
        return process.wait(120)

    def _running(self) -> subprocess.Popen[bytes]:
        """The process."""
        if self._process is None:
            raise RuntimeError("the watch has not been started")
        return self._process

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def lines(self) -> int:
        """Lines that it has read; -1: it has not begun."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}/metrics", timeout=5
            ) as answer:
                text = answer.read().decode()
        except OSError:
            return -1
        counts = re.findall(r"^logllm_lines_total\{.*\} (\S+)$", text, re.MULTILINE)
        return int(sum(map(float, counts))) if counts else -1

    @property
    def rss(self) -> float:
        """Its memory, in MB."""
        status = Path(f"/proc/{self._running().pid}/statm").read_text()
        return int(status.split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def stored(where: str, *, state: str | None = None) -> pl.DataFrame:
    """Verdicts that are stored, all of them."""
    store = Store.open(where)
    try:
        return store.verdicts(state=state, limit=10_000_000)
    finally:
        store.close()


def until(true: Callable[[], bool], *, seconds: float) -> bool:
    """Whether something became true within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(_LOOK)
    return bool(true())


def detected(run: Path | str, logs: Sequence[str]) -> dict[str, Any]:
    """Of each session of `logllm detect` on the same lines its lines, and its verdict.

    None where the log's end may cut it.
    """
    command = [sys.executable, "-m", "logllm", "detect", str(run), *logs]
    said = subprocess.run(command, capture_output=True, check=True, text=True)
    verdicts = map(json.loads, said.stdout.splitlines())
    return {
        verdict["session"]: (verdict["lines"], None if "cut" in verdict else verdict["anomalous"])
        for verdict in verdicts
    }
