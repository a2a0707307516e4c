"""An installation of logllm that another run comes with, or none."""

import os
import subprocess
import sys
from pathlib import Path

import logllm
from logllm.runs.manifest import SHIPPED


class Installation:
    """All of ours but the run that comes with it, as links in a folder."""

    def __init__(self, folder: Path, *, run: Path | None) -> None:
        """Make it, with a run in the place of the one that comes with logllm; none: without any."""
        ours, theirs = Path(logllm.__file__).parent, folder / "logllm"
        (theirs / "runs").mkdir(parents=True)
        for path in ours.iterdir():
            if path.name != "runs":
                (theirs / path.name).symlink_to(path)
        for path in (ours / "runs").iterdir():
            if path.name != SHIPPED:
                (theirs / "runs" / path.name).symlink_to(path)
        if run is not None:
            (theirs / "runs" / SHIPPED).symlink_to(run)
        self._environment = {**os.environ, "PYTHONPATH": str(folder)}

    def logllm(self, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Its command, in a process of its own."""
        command = [sys.executable, "-m", "logllm", *map(str, arguments)]
        return subprocess.run(
            command, env=self._environment, input=stdin, capture_output=True, check=False
        )
