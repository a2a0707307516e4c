"""One command of ours in a process of its own: how long it took, how much memory, what it said."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class Spent(NamedTuple):
    """A command that has ended."""

    seconds: float
    peak: int | None
    """Bytes resident at its worst moment; at least what the starting process held, since that is
    where a process begins (Linux)."""
    code: int
    """0 where all went well."""
    out: str
    """Its standard output."""
    said: str
    """The last line of its standard error."""


Runner = Callable[[Sequence[str], Path], Spent]
"""Runs `logllm` with arguments; what it says goes to the file named."""


class Processes:
    """Runs commands, several at a time if asked from several threads, and can stop them all."""

    def __init__(self, *, jobs: int) -> None:
        """Share the machine's cores between `jobs` commands at a time."""
        # Two cells at a time with all cores each would take longer than one after the other.
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
        self._environment = {**os.environ, "OMP_NUM_THREADS": threads}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, arguments: Sequence[str], log: Path) -> Spent:
        """Run `logllm` with arguments; see `Runner`."""
        started = time.monotonic()
        result = log.with_suffix(".out")
        with log.open("wb") as errors, result.open("wb") as output:
            with self._lock:
                process = subprocess.Popen(
                    [sys.executable, "-m", "logllm", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=self._environment,
                    close_fds=False,  # the holds on cells' folders go along
                )
                self._running.add(process)
                if self._stopped:
                    process.terminate()
            # Not `wait()`: this gives what the process itself took, children of others apart.
            _, status, usage = os.wait4(process.pid, 0)
        with self._lock:
            process.returncode = os.waitstatus_to_exitcode(status)
            self._running.discard(process)
        # `ru_maxrss` is in bytes on macOS, in KiB elsewhere.
        unit = 1 if sys.platform == "darwin" else 1024
        out = result.read_text(encoding="utf-8", errors="replace")
        result.unlink()
        written = log.read_text(encoding="utf-8", errors="replace")
        lines = written.strip().splitlines()
        last_line = lines[-1] if lines else ""
        seconds = time.monotonic() - started
        return Spent(seconds, usage.ru_maxrss * unit, process.returncode, out, last_line)

    def stop(self) -> None:
        """End what is running, and let nothing begin."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()
