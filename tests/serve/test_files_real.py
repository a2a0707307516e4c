"""200 rotations of all kinds while lines are written, and a reader that is killed three times."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.serve.test_files_sequences import Host

ROTATIONS = 200
KILLS = (50, 100, 150)


class Reader:
    """The program that watches."""

    def __init__(self, pattern: Path, folder: Path) -> None:
        self.command = [sys.executable, "-m", "tests.serve.files_reader", str(pattern), str(folder)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE)

    def kill(self) -> None:
        assert self.process.poll() is None, self.process.communicate()
        self.process.kill()
        self.process.communicate()


def first_lines(host: Host, out: Path) -> None:
    """Wait until the reader reads."""
    host.append(1)
    end = time.monotonic() + 60
    while not lines_of(out / "lines") and time.monotonic() < end:
        time.sleep(0.05)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.real
@pytest.mark.skipif(shutil.which("gzip") is None, reason="needs gzip")
@pytest.mark.parametrize("pattern", ["app.log", "app.log*"], ids=["path", "glob"])
def test_rotations_and_kills_lose_and_double_nothing(tmp_path, pattern):
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    out.mkdir()
    host = Host(logs / "app.log", banner="=" * 1500)
    reader = Reader(logs / pattern, out)
    first_lines(host, out)
    chance = random.Random(0)
    for rotation in range(ROTATIONS):
        for _ in range(chance.randrange(1, 5)):
            host.append(chance.randrange(1, 80))
            time.sleep(chance.random() * 0.01)
        kind = chance.choice(["rename", "create", "copytruncate", "copytruncate"])
        if kind == "copytruncate":
            host.copytruncate()
        else:
            host.rotate(create=kind == "create")
        if chance.random() < 0.3:
            host.compress()
        if rotation in KILLS:
            reader.kill()
        if rotation - 4 in KILLS:  # a few more rotations while nobody reads
            reader.start()
    host.append(1)
    end = time.monotonic() + 30
    while len(lines_of(out / "lines")) < len(host.written) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.3)
    reader.kill()
    assert lines_of(out / "lines") == [
        f"{number} {line}" for number, line in enumerate(host.written, 1)
    ]


@pytest.mark.real
@pytest.mark.skipif(not Path("/usr/sbin/logrotate").exists(), reason="needs logrotate")
@pytest.mark.parametrize("kind", ["create", "copytruncate"])
def test_logrotate(tmp_path, kind):
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir(mode=0o755)
    out.mkdir()
    settings = tmp_path / "logrotate.conf"
    settings.write_text(
        f"{logs}/app.log {{\n su root root\n rotate 50\n {kind}\n compress\n delaycompress\n"
        " missingok\n}\n"
    )
    if os.geteuid():
        settings.write_text(settings.read_text().replace(" su root root\n", ""))
    settings.chmod(0o644)
    host = Host(logs / "app.log", banner="=" * 1500)
    reader = Reader(logs / "app.log", out)
    first_lines(host, out)
    for rotation in range(12):
        host.append(200)
        rotate = [
            "/usr/sbin/logrotate",
            "--force",
            "--state",
            str(tmp_path / "state"),
            str(settings),
        ]
        subprocess.run(rotate, check=True)
        if rotation == 5:
            reader.kill()
        if rotation == 8:
            reader.start()
    host.append(1)
    end = time.monotonic() + 30
    while len(lines_of(out / "lines")) < len(host.written) and time.monotonic() < end:
        time.sleep(0.1)
    reader.kill()
    assert lines_of(out / "lines") == [
        f"{number} {line}" for number, line in enumerate(host.written, 1)
    ]
