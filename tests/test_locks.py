"""A file that one process at a time holds, and that is free again however a process ends."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from logllm.errors import DataError
from logllm.storage import locked

HOLDER = """
import sys, subprocess, time
from pathlib import Path
from logllm.storage import locked
with locked(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    if len(sys.argv) > 2:  # a command that goes on after its parent
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(command, close_fds=False)
        print(child.pid, flush=True)
    time.sleep(60)
"""


def free(lock) -> bool:
    with locked(lock) as ours:
        return ours


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_another_process_waits_its_turn_and_a_killed_one_holds_nothing(tmp_path, end) -> None:
    lock = tmp_path / "new" / ".lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "True\n"
    assert not free(lock)
    process.send_signal(end)
    process.wait(20)
    process.stdout.close()
    assert free(lock)


def test_a_command_that_was_begun_goes_on_holding(tmp_path) -> None:
    lock = tmp_path / ".lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock, "child"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "True\n"
    child = int(process.stdout.readline())
    process.kill()
    process.wait(20)
    process.stdout.close()
    assert not free(lock)
    os.kill(child, signal.SIGKILL)
    until = time.monotonic() + 20
    while not free(lock) and time.monotonic() < until:
        time.sleep(0.01)
    assert free(lock)


def test_one_waits_for_the_other_and_says_so(tmp_path) -> None:
    waiting, order = [], []

    def second() -> None:
        with locked(tmp_path / ".lock", before_waiting=lambda: waiting.append(True)) as ours:
            order.append(("second", ours))

    with locked(tmp_path / ".lock", before_waiting=lambda: waiting.append(True)) as ours:
        other = threading.Thread(target=second)
        other.start()
        while not waiting:
            time.sleep(0.01)
        order.append(("first", ours))
    other.join()
    assert order == [("first", True), ("second", True)]
    assert waiting == [True]


def test_a_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="cannot be written"), locked(tmp_path / "file" / ".lock"):
        pass
