"""Any sequence of appending, rotating, compressing and restarting: every line once, in order, as it
was numbered."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.test_files import Watch, write


class Host:
    """A program that writes a log, and those that rotate and compress it."""

    def __init__(self, log: Path, *, banner: str):
        self.log = log
        self.banner = banner
        self.written: list[str] = []

    def append(self, lines: int) -> None:
        if not self.log.exists() or not self.log.stat().st_size:
            self._write(self.banner)
        for _ in range(lines):
            self._write(f"line {len(self.written)}")

    def _write(self, line: str) -> None:
        write(self.log, line)
        self.written.append(line)

    def _make_room(self) -> None:
        """logrotate: what was .2 becomes .3."""
        numbers = [
            int(path.name.removeprefix("app.log.").removesuffix(".gz"))
            for path in self.log.parent.glob("app.log.*")
        ]
        for number in sorted(numbers, reverse=True):
            for suffix in ("", ".gz"):
                old = self.log.with_name(f"{self.log.name}.{number}{suffix}")
                if old.exists():
                    old.rename(self.log.with_name(f"{self.log.name}.{number + 1}{suffix}"))

    def rotate(self, *, create: bool) -> None:
        if self.log.exists():
            self._make_room()
            self.log.rename(self.log.with_name(f"{self.log.name}.1"))
        if create:
            self.log.touch()

    def copytruncate(self) -> None:
        if self.log.exists() and self.log.stat().st_size:
            self._make_room()
            shutil.copy(self.log, self.log.with_name(f"{self.log.name}.1"))
            os.truncate(self.log, 0)

    def compress(self) -> None:
        for path in self.log.parent.glob(f"{self.log.name}.*"):
            if path.suffix != ".gz":
                subprocess.run(["gzip", str(path)], check=True)

    def pack_anew(self) -> None:
        """As programs do that pack for themselves: the packed file is as old as its packing."""
        for path in sorted(self.log.parent.glob(f"{self.log.name}.*")):
            if path.suffix != ".gz":
                packed = path.with_name(f"{path.name}.gz")
                packed.write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()

    def rotate_and_pack(self) -> None:
        """logrotate with `delaycompress`, by a program that packs for itself."""
        self.pack_anew()
        self.rotate(create=True)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 150)),
        st.tuples(st.just("take"), st.integers(1, 3)),
        st.tuples(st.just("store"), st.floats(0, 1)),
        st.sampled_from(
            [
                "rotate",
                "create",
                "copytruncate",
                "compress",
                "pack_anew",
                "rotate_and_pack",
                "restart",
            ]
        ).map(lambda name: (name, None)),
    ),
    max_size=25,
)


def run(operations, *, banner: str, pattern: str) -> tuple[Host, Watch, Path]:
    with TemporaryDirectory() as folder:
        log = Path(folder, "app.log")
        log.touch()
        host = Host(log, banner=banner)
        watch = Watch(Path(folder, pattern))
        watch.take(1)
        watch.lines.setdefault(str(log), {})
        watch.store(1)
        for name, value in operations:
            if name == "append":
                host.append(value)
            elif name == "take":
                watch.take(value)
            elif name == "store":
                most = max(watch.lines[str(log)], default=0)
                watch.store(max(watch.stored[str(log)].low, 1 + round(value * most)))
            elif name == "rotate":
                host.rotate(create=False)
            elif name == "create":
                host.rotate(create=True)
            elif name == "restart":
                watch.restart()
            else:
                getattr(host, name)()
        host.append(1)
        watch.take()
        watch.source.close()
        return host, watch, log


@settings(max_examples=60)
@given(
    OPERATIONS,
    st.sampled_from(["app.log", "app.log*", "*"]),
    st.sampled_from(["banner", "b" * 2000]),
)
def test_every_line_once(operations, pattern, banner):
    host, watch, log = run(operations, banner=banner, pattern=pattern)
    assert watch.texts(log) == host.written
    assert watch.numbers(log) == list(range(1, len(host.written) + 1))
    assert set(watch.lines) == {str(log)}
    assert not {"lost_files", "lost_lines", "truncated_bytes"} & watch.source.counts.keys()
