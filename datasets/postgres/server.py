"""A PostgreSQL server of our own.

Made in a temporary folder, on loopback, and gone without a trace.
"""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

BINARIES = Path("/usr/lib/postgresql/15/bin")
"""Debian's package postgresql-15."""
OWNER = "postgres"
"""PostgreSQL refuses to run as root."""
SECRET = "not-a-secret-outside-of-this-folder"
WATCHER = """
cat >/dev/null
sleep 1
for file in "$1"/*/postmaster.pid; do
  [ -f "$file" ] && pid=$(head -1 "$file") && grep -q "$1" "/proc/$pid/cmdline" && kill -9 "$pid"
done
for mount in "$1"/full-*; do mountpoint -q "$mount" && umount -l "$mount"; done
rm -rf "$1"
"""
"""Ends what the script started when the script itself is gone, killed or not: it waits for the end
of its input."""


class Mounts:
    """Small file systems in memory that can really be full.

    Refused outside of a privileged machine.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refused = False

    def make(self, name: str, *, options: str) -> Path:
        """A new folder of limited size.

        An ordinary one where mounting is refused, which `refused` then says.
        """
        folder = self.root / f"full-{name}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
            check=False,
            capture_output=True,
        )
        self.refused |= done.returncode != 0
        shutil.chown(folder, OWNER, OWNER)
        folder.chmod(0o700)
        return folder


class Server:
    """One server: files, settings, start and stop, connections."""

    def __init__(
        self, root: Path, name: str, *, port: int, log: Path, settings: Mapping[str, str]
    ) -> None:
        self.folder = root / name
        self.root = root
        self.port = port
        self.log = log
        self.settings = {
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(root),
            "logging_collector": "off",
            "shared_buffers": "48MB",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def initialise(self, arguments: Sequence[str], *, environment: Mapping[str, str]) -> None:
        """Make the files of a new server, with checksums of its pages."""
        self.environment = {**os.environ, **environment}
        run(
            [
                BINARIES / "initdb",
                "-D",
                self.folder,
                "-k",
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                *arguments,
            ],
            self.environment,
        )
        self.configure()

    def configure(self, extra: str = "") -> None:
        """Write the settings, and lines of one's own behind them."""
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        self.write("postgresql.conf", "\n".join([*lines, extra, ""]))

    def admit(self, *rules: str) -> None:
        """Write who may connect from where."""
        self.write("pg_hba.conf", "\n".join([*rules, ""]))

    def write(self, name: str, text: str) -> None:
        """Write one of the server's own files."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        shutil.chown(path, OWNER, OWNER)

    def start(self, log: Path | None = None) -> None:
        """Start, and wait until it answers."""
        with (log or self.log).open("ab") as stream:
            self.process = subprocess.Popen(
                [BINARIES / "postgres", "-D", self.folder],
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                user=OWNER,
                group=OWNER,
                extra_groups=[],
                env=self.environment,
                cwd=self.root,
                start_new_session=True,
            )
        self.wait()

    def wait(self, seconds: float = 30) -> None:
        """Wait until connections of the superuser are served."""
        last = time.monotonic() + seconds
        while True:
            try:
                self.connect(
                    "postgres", "postgres", local=True, application_name="pg_isready"
                ).close()
            except psycopg.Error:
                if time.monotonic() > last:
                    raise
                time.sleep(0.5)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop; SIGINT breaks open sessions off, as a planned restart does."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def reload(self) -> None:
        """Let the server read its settings again."""
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def connect(
        self, user: str, database: str, *, local: bool = False, **options: Any
    ) -> psycopg.Connection[Any]:
        """A session, over loopback with a password or over the local socket without one."""
        host = str(self.root) if local else "127.0.0.1"
        chosen = {
            "password": SECRET,
            "connect_timeout": 10,
            "autocommit": True,
            "sslmode": "disable",
            "gssencmode": "disable",
            **options,
        }
        return psycopg.connect(
            host=host, port=self.port, user=user, dbname=database, prepare_threshold=None, **chosen
        )

    def rule(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Statements of the superuser, who is an administrator at the server itself.

        What the last one gave.
        """
        # what a fault sets for all must not keep it from being undone
        options = "-c statement_timeout=0 -c default_transaction_read_only=off"
        with self.connect(
            "postgres", database, local=True, application_name="psql", options=options
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def run(command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
    """One of PostgreSQL's programs, as PostgreSQL's user."""
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        user=OWNER,
        group=OWNER,
        extra_groups=[],
        env=environment,
        cwd="/",
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr}")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


APART = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
]
"""Runs a command with process ids and mounts of its own: ids are not used twice, and all ends with
it."""


def apart(command: Sequence[str]) -> int:
    """Run a command in a world of its own where the machine allows that, else as it is.

    Its exit code.
    """
    allowed = subprocess.run([*APART, "true"], check=False, capture_output=True).returncode == 0
    # a killed backend would write its memory to disk, and the server wait for it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with subprocess.Popen([*APART, *command] if allowed else command) as process:
        try:
            return process.wait()
        finally:
            process.kill()


def in_workshop() -> int:
    """Run this very command again as a program apart, with `--root` a temporary folder.

    Its exit code.
    """
    root, watcher = workshop()
    try:
        return apart([sys.executable, *sys.argv, "--root", str(root)])
    finally:
        if watcher.stdin:
            watcher.stdin.close()
        watcher.wait()


def workshop() -> tuple[Path, "subprocess.Popen[bytes]"]:
    """A temporary folder for PostgreSQL's user, and the process that clears it away.

    It does so when this process ends, however it ends.
    """
    root = Path(tempfile.mkdtemp(prefix="logllm-postgres-"))
    root.chmod(0o755)
    shutil.chown(root, OWNER, OWNER)
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", WATCHER, "watcher", str(root)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return root, watcher
