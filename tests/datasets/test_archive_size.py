"""A slice from the middle of a 2 GB archive: in bounded memory, and with no more disk than the
slice."""

import hashlib
import json
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
import zstandard

from tests.site import serving

pytestmark = pytest.mark.real

BLOCKS, AT_ONCE = 2_000, 1 << 14  # blocks of 1 MiB, in lines of 64 bytes
START = BLOCKS // 2 * AT_ONCE + 5
STOP = START + 200_000
FILLER = b"%063d\n" % 0 * AT_ONCE

PROGRAM = """
import json, re, resource, sys
from pathlib import Path
from dataclasses import replace
from logllm.datasets.published.public import CATALOG
from logllm.datasets.published.fetching import fetch
changes = json.loads(sys.argv[1])
about = fetch(replace(CATALOG["thunderbird"], **changes)).about
usage, status = resource.getrusage(resource.RUSAGE_SELF), Path("/proc/self/status")
# On Linux a process inherits the peak of the one that started it; its own is in /proc.
if status.is_file():
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1])
else:
    peak = usage.ru_maxrss
print(json.dumps({**about, "peak": peak * 1024, "processor": usage.ru_utime + usage.ru_stime}))
"""


def plain() -> Iterator[bytes]:
    """A tar archive of one log; the lines around the slice are numbered."""
    info = tarfile.TarInfo("Thunderbird.log")
    info.size = BLOCKS << 20
    yield info.tobuf()
    for place in range(BLOCKS):
        numbered = 0 <= place - BLOCKS // 2 < 14
        first = place * AT_ONCE
        yield (
            b"".join(b"%063d\n" % line for line in range(first, first + AT_ONCE))
            if numbered
            else FILLER
        )
    yield b"\0" * 1024


def archive() -> Iterator[bytes]:
    """The same as gzip, stored as it is; made while it is sent, so that it is nowhere on disk."""
    packer = zlib.compressobj(0, wbits=31)
    for block in plain():
        yield packer.compress(block)
    yield packer.flush()


class Archive(BaseHTTPRequestHandler):
    """Sends the archive, the first time not all of it."""

    size = 0

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        start = int(asked[6:-1]) if asked else 0
        self.server.site.asked.append(asked)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(self.size - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{self.size - 1}/{self.size}")
        self.end_headers()
        end = self.size if asked else self.size // 3
        at = 0
        for piece in archive():
            if at < end and at + len(piece) > start:
                self.wfile.write(piece[max(0, start - at) : end - at])
            at += len(piece)

    def log_message(self, *_: object) -> None:
        pass


def test_a_slice_in_the_middle_of_2_gb(cached, monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    digest = hashlib.md5(usedforsecurity=False)
    Archive.size = 0
    for piece in archive():
        digest.update(piece)
        Archive.size += len(piece)
    assert Archive.size > 2 * 10**9
    with serving(Archive) as site:
        changes = {
            "url": f"{site.url}/t.tar.gz",
            "start": START,
            "stop": STOP,
            "bytes": Archive.size,
            "md5": digest.hexdigest(),
        }
        started, most = time.perf_counter(), 0
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(changes)], stdout=subprocess.PIPE
        ) as process:
            while process.poll() is None:
                most = max(
                    most, sum(path.stat().st_size for path in cached.rglob("*") if path.is_file())
                )
                time.sleep(0.05)
            about = json.loads(process.stdout.read())
    seconds = time.perf_counter() - started
    with zstandard.open(cached / "thunderbird" / "thunderbird.log.zst", "rb") as file:
        lines = file.read().splitlines()
    assert [int(lines[0]), int(lines[-1]), len(lines)] == [START, STOP - 1, STOP - START]
    assert about["md5"] == digest.hexdigest()
    assert len(site.asked) == 2
    assert about["peak"] <= 300e6
    assert most <= 64 * (STOP - START)
    figures = {
        "peak_mb": round(about["peak"] / 1e6),
        "disk_mb": round(most / 1e6, 1),
        "seconds": round(seconds, 1),
    }
    figures["processor_seconds"] = round(about["processor"], 1)
    sys.stdout.write(json.dumps(figures) + "\n")  # pytest -s
