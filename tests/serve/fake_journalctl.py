"""A journal in a file, and a program that gives it as journalctl does, with the faults that a test
asks for."""

import json
import stat
import sys
from pathlib import Path

PROGRAM = """#!{python} -SE
import os, sys, time
folder = "{folder}"
def told(name):
    try:
        with open(folder + "/" + name) as file:
            return file.read()
    except OSError:
        return ""
def entries():
    return [line for line in told("journal").split("\\n") if line]
def cursor(entry):
    return entry.split('"__CURSOR":"')[1].split('"')[0]
options = dict(argument.lstrip("-").partition("=")[::2] for argument in sys.argv[1:])
with open(folder + "/calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if told("refuse"):
    sys.stderr.write(told("refuse")); sys.exit(1)
chosen = entries()
cursors = [cursor(entry) for entry in chosen]
first = 0
for name, shift in (("cursor", 0), ("after-cursor", 1)):
    wanted = options.get(name)
    if wanted:
        older = [place for place, one in enumerate(cursors) if int(one) < int(wanted) + shift]
        first = older[-1] + 1 if older else 0
given = chosen[first:]
if "follow" not in options:
    count = int(options["lines"])
    given = given[:count] if "cursor" in options else given[max(0, len(given) - count):]
    print("\\n".join(given))
    sys.exit(0)
once = folder + "/once"
fault = told("once")
if fault:
    os.unlink(once)
    kind, _, value = fault.partition(" ")
    if kind == "die":
        out = "\\n".join(given[:int(value)]) + "\\n"
        torn = given[int(value)][:9] if len(given) > int(value) else ""
        sys.stdout.write(out + torn); sys.stdout.flush()
        sys.stderr.write("Failed to iterate\\n"); sys.exit(1)
    if kind == "silent":
        time.sleep(60)
    if kind == "say":
        sys.stdout.write(value + "\\n")
while True:
    for entry in given:
        sys.stdout.write(entry + "\\n")
    sys.stdout.flush()
    time.sleep(.005)
    given = entries()[len(chosen):]
    chosen += given
"""


class FakeJournal:
    """A journal to which a test adds entries, and which has a journalctl on the path."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        program = folder / "journalctl"
        program.write_text(PROGRAM.format(python=sys.executable, folder=folder))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        self.entries = 0
        (folder / "journal").touch()

    def add(self, *messages: object) -> None:
        """Entries with these messages."""
        with (self.folder / "journal").open("a") as file:
            for message in messages:
                self.entries += 1
                entry = {
                    "__CURSOR": str(self.entries),
                    "__REALTIME_TIMESTAMP": "1700000000000000",
                    "MESSAGE": message,
                }
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")

    def delete(self, entries: int) -> None:
        """Make room: the oldest entries go."""
        path = self.folder / "journal"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[entries:]))

    def once(self, fault: str) -> None:
        """What the next journalctl that follows does: `die N`, `silent`, `say TEXT`."""
        (self.folder / "once").write_text(fault)

    def refuse(self, words: str) -> None:
        (self.folder / "refuse").write_text(words)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()
