"""A second server that follows the first."""

import os
import shutil
import signal
from pathlib import Path

from server import BINARIES, SECRET, Server, run


class Replica(Server):
    """A hot standby over streaming replication, with a slot of its own."""

    @classmethod
    def of(cls, primary: Server, *, port: int) -> "Replica":
        """A replica beside its primary; it writes a log of its own, which nobody keeps."""
        settings = {
            "hot_standby": "on",
            "wal_retrieve_retry_interval": "500ms",
            "primary_conninfo": (
                f"host=127.0.0.1 port={primary.port} user=replicator password={SECRET}"
                " application_name=replica sslmode=disable"
            ),
            "primary_slot_name": "replica",
            "max_connections": "60",
            "shared_buffers": "8MB",
        }
        replica = cls(
            primary.root, "replica", port=port, log=primary.root / "replica.log", settings=settings
        )
        replica.environment = primary.environment
        return replica

    def copy(self, primary: Server) -> None:
        """Make the replica anew from its primary, and start it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for spare in primary.root.glob("copy-*"):
            shutil.rmtree(spare)
        moved = [
            f"--tablespace-mapping={folder}={primary.root}/copy-{folder.name}"
            for folder in sorted(primary.root.glob("full-*"))
        ]
        environment = {**primary.environment, "PGPASSWORD": SECRET}
        where = [
            "-h",
            "127.0.0.1",
            "-p",
            str(primary.port),
            "-U",
            "replicator",
            "-D",
            str(self.folder),
        ]
        run(
            [
                BINARIES / "pg_basebackup",
                "-c",
                "fast",
                "-X",
                "stream",
                "--no-verify-checksums",
                *where,
                *moved,
            ],
            environment,
        )
        self.write("standby.signal", "")
        self.write("postgresql.auto.conf", "")
        self.configure()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """A signal for all of the replica's processes at once."""
        if self.process is None:
            return
        leader = self.process.pid
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(entry.read_text(encoding="latin-1").rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == leader or entry.parent.name == str(leader):
                try:
                    os.kill(int(entry.parent.name), number)
                except ProcessLookupError:
                    continue
