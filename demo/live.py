"""The live demo: a real PostgreSQL server under load, watched, with what is found on a page.

    python demo/live.py [--minutes 15] [--port 8431]

The server and its load are those of datasets/postgres: people, jobs and a replica, and faults that
are injected one after the other, half of them in variants that the model has never seen. Each is
told here as it is injected, so that one sees how soon it stands on the page. Everything is written
to out/live, which each run makes anew; the server's own folder is cleared away at the end.

Needs Linux, root (the server becomes PostgreSQL's own user, and small file systems are mounted)
and Debian's postgresql-15.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "datasets" / "postgres"
OUT = ROOT / "out" / "live"
BINARIES = Path("/usr/lib/postgresql/15/bin")
LOG = OUT / "postgresql.log"
IDLE = 30
"""Seconds without a line after which a session has ended."""
START_WITHIN = 120.0
"""Seconds until the page must answer."""


def main() -> int:
    """Run the demo until its time is over, or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15.0, help="how long the server runs")
    parser.add_argument("--port", type=int, default=8431, help="of the page")
    parser.add_argument("--seed", type=int, default=11, help="of the load and the faults")
    chosen = parser.parse_args()
    lacking = what_is_lacking()
    if lacking:
        sys.stderr.write(f"the live demo needs {lacking}\n")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)

    sys.path.insert(0, str(SERVER))
    from server import workshop  # type: ignore[import-not-found]

    root, watcher = workshop()
    try:
        LOG.symlink_to(root / "test.log")
        with service(port=chosen.port) as url, load(root, chosen) as server:
            told = (
                "watching a PostgreSQL server under load; faults are injected one after the other"
            )
            sys.stderr.write(f"{told}\n\n    {url}\n\nCtrl-C ends it.\n\n")
            if server.wait() != 0:
                sys.stderr.write("the server's load ended before its time; what came until then:\n")
            # What closed last is judged, too.
            time.sleep(IDLE + 5)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
    finally:
        watcher.stdin.close()
        watcher.wait()
    summary()
    return 0


def what_is_lacking() -> str | None:
    """What this machine lacks, in words; none where all is there."""
    if not BINARIES.is_dir():
        return "PostgreSQL 15: apt-get install postgresql-15"
    if os.geteuid() != 0:
        return "root, because the server runs as PostgreSQL's own user: sudo make live-demo"
    if find_spec("psycopg") is None:
        return "psycopg: make setup"
    return None


@contextmanager
def service(*, port: int) -> Iterator[str]:
    """`logllm serve` on the server's log, which is not there yet, once it answers; its address."""
    log, store = LOG.relative_to(ROOT), (OUT / "app.db").relative_to(ROOT)
    options = f"--store {store} --from start --idle {IDLE} --port {port}"
    words = f"serve postgres {log} {options}"
    sys.stderr.write(f"$ logllm {words}\n")
    with (OUT / "serve.log").open("w") as told:
        command = [sys.executable, "-m", "logllm", *words.split()]
        process = subprocess.Popen(command, cwd=ROOT, stderr=told, stdout=told)
    url = f"http://127.0.0.1:{port}/"
    try:
        until_it_answers(process, f"{url}readyz")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def until_it_answers(process: "subprocess.Popen[bytes]", address: str) -> None:
    """Wait for the service.

    Raises:
        SystemExit: it ended, or takes too long.
    """
    began = time.monotonic()
    while time.monotonic() - began < START_WITHIN and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.3)
    sys.exit(f"logllm serve did not answer; what it said is in {OUT / 'serve.log'}")


@contextmanager
def load(root: Path, chosen: argparse.Namespace) -> "Iterator[subprocess.Popen[bytes]]":
    """The server, its load and its faults: a process of their own."""
    minutes, seed = str(chosen.minutes), str(chosen.seed)
    command = [sys.executable, str(SERVER / "make.py"), "--run", "test", "--root", str(root)]
    options = ["--out", str(OUT / "set"), "--minutes", minutes, "--rounds", "2", "--seed", seed]
    process = subprocess.Popen([*command, *options], cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def summary() -> None:
    """Say what stands in the store."""
    words = f"store show {(OUT / 'app.db').relative_to(ROOT)} --anomalous --limit 10"
    sys.stderr.write(f"$ logllm {words}\n")
    subprocess.run([sys.executable, "-m", "logllm", *words.split()], cwd=ROOT, check=False)


if __name__ == "__main__":
    sys.exit(main())
