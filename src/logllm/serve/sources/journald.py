"""Entries of systemd's journal, followed with journalctl and a cursor of our own."""

import logging
import os
import select
import subprocess
import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from tempfile import TemporaryFile
from typing import IO

from logllm.errors import ServeError, nearest
from logllm.serve.sources.contract import Arrival, Claim, From, Place, Taken
from logllm.serve.sources.journal_entries import entries_in, last_cursor

_OPTIONS = (
    "boot",
    "directory",
    "facility",
    "file",
    "grep",
    "identifier",
    "machine",
    "namespace",
    "priority",
    "root",
    "unit",
    "user-unit",
)
"""What of journalctl chooses entries."""
_PROGRAM = ("journalctl", "--output=json", "--all", "--no-pager", "--quiet")
_EVERY = 64
"""Entries from one cursor that is remembered to the next."""
_MOST_CURSORS = 1 << 15
_PIECE = 1 << 20
_LONGEST = 16 << 20
"""Bytes of an entry; what is longer is passed over."""
_PATIENCE = 30.0
"""Seconds after which a question to journalctl has no answer."""
_LONGEST_PAUSE = 30.0

_log = logging.getLogger(__name__)


class JournaldSource:
    """Entries of systemd's journal, a line each: JSON as journalctl writes it.

    The cursor of what was given is kept here and in the store, never in journalctl: when that dies,
    or says nothing while the journal has more, another one goes on behind it.
    """

    def __init__(self, arguments: Sequence[str], *, begin: From, silence: float = 60.0) -> None:
        """Nothing is read yet.

        Args:
            arguments: what chooses entries: `unit=nginx`, `priority=warning`, or a field of the
                journal: `_SYSTEMD_UNIT=nginx.service`.
            begin: where it begins, if the store knows nothing of it.
            silence: seconds without an entry after which the journal is asked whether it has more.

        Raises:
            ServeError: an argument is none of those.
        """
        self.name = ":".join(["journald", ",".join(arguments)])
        self._chosen = [_argument(argument) for argument in arguments]
        self._begin = begin
        self._silence = silence
        self._counts: Counter[str] = Counter()
        self._last = 0
        self._cursor = ""
        self._lines = array("Q", [1])
        self._cursors: list[tuple[str, str]] = [("", "")]
        """For some lines, the cursor before them and their own ones; an empty one: none."""
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._rest = bytearray()
        self._passing = False
        self._heard = time.monotonic()
        self._pause, self._not_before = 0.0, 0.0
        self._question: subprocess.Popen[bytes] | None = None
        self._at_end = False
        self._complained = ""

    def begin(self, claim: Claim) -> None:
        """Begin to follow the journal.

        Raises:
            ServeError: journalctl is not there or refuses, or the store has to know where to begin.
        """
        # A question first: what is wrong with the arguments is said at the start, not by a process
        # that ends again and again.
        self._asked("--lines=0")
        resumed = claim(self.name)
        if resumed is not None:
            self._resume(resumed.place)
        elif self._begin == "stored":
            raise ServeError(
                f"the store knows nothing of {self.name}: begin at its start or its end"
            )
        elif self._begin == "end":
            newest = last_cursor(self._asked("--lines=1"))
            self._at_end = newest is not None
            self._go_to(newest or "", 0)
        self._follow()

    def take(self, wait: float) -> Taken:
        """Entries that have come; waits for a first one."""
        now = time.monotonic()
        end = now + wait
        while True:
            # An entry that came starts the pause after a death from its beginning again.
            block = self._read(max(0.0, end - now))
            now = time.monotonic()
            if block:
                self._heard, self._pause = now, 0.0
                arrivals = self._arrived(block)
                if arrivals:
                    return Taken(arrivals)
            else:
                self._look_after(now)
            if now >= end:
                return Taken([])

    def place(self, partition: str, line: int) -> Place:
        """From which entry on a line, and all after it, will be given once more."""
        # The remembered entry at or before the line: what lies between is given once more, and
        # passed over by its number.
        cursors, first = (self._cursor, ""), self._last + 1
        if line <= self._last:
            row = max(0, bisect_right(self._lines, line) - 1)
            cursors, first = self._cursors[row], self._lines[row]
        return {"after": cursors[0], "own": cursors[1], "line": first, "last": self._last}

    def stored(self, lows: Mapping[str, int]) -> None:
        """Lines below these numbers are not asked for any more."""
        row = bisect_right(self._lines, lows.get(self.name, 0)) - 1
        if row > 0:
            del self._lines[:row], self._cursors[:row]

    @property
    def over(self) -> bool:
        """Never."""
        return False

    @property
    def lag(self) -> int | None:
        """Not known: the journal does not say how many entries are left."""
        return None

    @property
    def counts(self) -> Mapping[str, int]:
        """What went on, by name."""
        return {name: count for name, count in self._counts.items() if count}

    @property
    def passed_over(self) -> Mapping[str, int | None]:
        """The journal, where it was begun at its end; nobody counts what it holds."""
        return {self.name: None} if self._at_end else {}

    @property
    def trouble(self) -> None:
        """None: a journal that says nothing is asked anew, and that is counted."""
        return None

    def close(self) -> None:
        """Follow no longer."""
        for process in (self._process, self._question):
            if process is not None:
                _end(process)
        if self._complaints is not None:
            self._complaints.close()
        self._process = self._question = self._complaints = None

    def _resume(self, place: Place) -> None:
        """Go on where the store says, if the journal still has that entry."""
        try:
            cursor, own = str(place["after"]), str(place["own"])
            line, last = int(place["line"]), int(place["last"])
        except (KeyError, TypeError, ValueError) as exc:
            what = f"{self.name}: another source or release wrote its place in the store ({exc!r})"
            raise ServeError(f"{what}; name another store") from exc
        # journalctl begins elsewhere without a word where a cursor is gone: it is asked for that
        # entry.
        entry = own or cursor
        is_gone = False
        if entry:
            answer = self._asked(f"--cursor={entry}", "--lines=1")
            is_gone = last_cursor(answer) != entry
        if is_gone:
            # Lines are not given under the numbers of others that were deleted.
            self._counts["lost_cursors"] += 1
            self._counts["lost_lines"] += last + 1 - line
            _log.warning("%s: entries were deleted before they were read", self.name)
            line = last + 1
        self._go_to(cursor, line - 1)

    def _go_to(self, cursor: str, last: int) -> None:
        """The next entry is the one after a cursor."""
        self._cursor, self._last = cursor, last
        self._lines = array("Q", [last + 1])
        self._cursors = [(cursor, "")]

    def _after(self) -> list[str]:
        """What makes journalctl begin behind what was given."""
        return [f"--after-cursor={self._cursor}"] if self._cursor else []

    def _follow(self) -> None:
        """Start a journalctl that gives what comes after the last entry."""
        # Never two at once: both would give the same entries.
        self.close()
        self._complaints = TemporaryFile()  # noqa: SIM115 - it is open as long as the program runs
        command = [*_PROGRAM, "--follow", "--no-tail", *self._after(), *self._chosen]
        self._process = _started(command, self._complaints)
        self._rest.clear()
        self._passing = False
        self._heard = time.monotonic()

    def _read(self, wait: float) -> bytes:
        """Whole lines that have come, within some seconds; none: nothing did, or it has ended."""
        if self._process is None or self._process.stdout is None:
            until_start = max(0.0, self._not_before - time.monotonic())
            time.sleep(min(wait, until_start))
            return b""
        # Readable and yet nothing: the other end has gone.
        output = self._process.stdout
        ready, _, _ = select.select([output], [], [], min(wait, 1.0))
        piece = os.read(output.fileno(), _PIECE) if ready else b""
        if ready and not piece:
            self._died()
        return self._whole_lines(piece)

    def _whole_lines(self, piece: bytes) -> bytes:
        """What has come up to the last line's end; the rest waits for its own."""
        end = piece.rfind(b"\n") + 1
        if not end:
            self._rest += piece
        else:
            block = bytes(self._rest) + piece[:end]
            self._rest[:] = piece[end:]
            if self._passing:
                block = block[block.index(b"\n") + 1 :]
                self._passing = False
            return block
        # An entry without an end would fill the memory: all of it is passed over, and counted once.
        if len(self._rest) > _LONGEST:
            self._counts["bad_entries"] += not self._passing
            self._rest.clear()
            self._passing = True
        return b""

    def _arrived(self, block: bytes) -> list[Arrival]:
        """Entries as lines, entered in the list of cursors."""
        entries = entries_in(block, after=self._last)
        self._counts["bad_entries"] += entries.bad
        self._counts["cut_lines"] += entries.cut
        frame = entries.lines
        if not frame.height:
            return []
        # Before each entry the cursor of the one before it, so that `cursors[row]` goes before row
        # `row`.
        cursors = [self._cursor, *frame["cursor"]]
        if self._lines[-1] == self._last + 1:
            self._cursors[-1] = cursors[0], cursors[1]

        # Every 64th line's cursor is remembered, counted from the last one that was.
        due = self._lines[-1] + _EVERY
        first_row = max(0, due - self._last - 1)
        for row in range(first_row, frame.height, _EVERY):
            before_and_own = (cursors[row], cursors[row + 1])
            self._lines.append(self._last + 1 + row)
            self._cursors.append(before_and_own)
        # A store that is away for hours stores nothing: the index gets coarser, not longer.
        if len(self._lines) > _MOST_CURSORS:
            del self._lines[1::2], self._cursors[1::2]
        self._last += frame.height
        self._cursor = cursors[-1]
        lines = frame.select("line", "text")
        return [Arrival(self.name, lines, time.time())]

    def _look_after(self, now: float) -> None:
        """Start journalctl again if it has ended, or is silent while there is more."""
        if self._process is None:
            if now >= self._not_before:
                self._counts["restarts"] += 1
                self._follow()
        elif self._question is not None:
            # A journalctl that follows may fall silent while the journal has more: another one was
            # asked for the entry after the last.
            self._answered(self._question, now)
        elif now - self._heard >= self._silence:
            command = [*_PROGRAM, "--lines=1", *self._after(), *self._chosen]
            self._question = _started(command, subprocess.DEVNULL)
            self._heard = now

    def _answered(self, question: subprocess.Popen[bytes], now: float) -> None:
        """See whether the journal has more than was given."""
        # It is not waited for: lines may come meanwhile.
        if question.poll() is None and now - self._heard < _PATIENCE:
            return
        # Of one that did not answer in time nothing is known: it is asked again later.
        answer = b""
        has_ended = question.poll() is not None
        if has_ended and question.stdout is not None:
            answer = question.stdout.read(_PIECE)
        _end(question)
        self._question = None
        if last_cursor(answer) not in (None, self._cursor):
            self._counts["silent_restarts"] += 1
            self._follow()

    def _died(self) -> None:
        """Journalctl has ended: another one is started after a pause."""
        if self._process is not None:
            _end(self._process)
        self._process = None
        self._rest.clear()
        # .05 s, .1 s, .2 s ... 30 s: a journalctl that cannot run must not be started all the time.
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause or 0.05)
        self._not_before = time.monotonic() + self._pause
        words = _last_words(self._complaints)
        if words and words != self._complained:
            self._complained = words
            _log.warning("%s: journalctl ended (%s) and is started again", self.name, words)

    def _asked(self, *options: str) -> bytes:
        """What journalctl answers at once.

        Raises:
            ServeError: it is not there, does not answer or refuses.
        """
        command = [*_PROGRAM, *options, *self._chosen]
        try:
            answer = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except FileNotFoundError as exc:
            what = f"{self.name} takes journalctl, which is not installed"
            raise ServeError(f"{what}: this machine has no systemd") from exc
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise ServeError(f"{self.name}: journalctl does not answer ({exc})") from exc
        if answer.returncode:
            words = answer.stderr.decode(errors="replace").strip() or f"code {answer.returncode}"
            raise ServeError(f"{self.name}: journalctl refuses: {words.splitlines()[-1]}")
        return answer.stdout


def _argument(argument: str) -> str:
    """One choice of entries as journalctl takes it."""
    name, equals, value = argument.partition("=")
    if not equals or not value:
        raise ServeError(f"{argument!r} chooses no entries: write NAME=VALUE, such as unit=nginx")
    if name.isupper():
        return argument
    if name not in _OPTIONS:
        what = f"{name!r} chooses no entries; did you mean {nearest(name, _OPTIONS)}?"
        options = ", ".join(_OPTIONS)
        raise ServeError(f"{what} There are {options}, and fields of the journal in capitals")
    return f"--{name}={value}"


def _started(command: list[str], complaints: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """A program whose output is read here; Ctrl-C is not for it."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, and forget it."""
    # Waited for, or it would stay in the system's table as a dead process for months.
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _last_words(complaints: IO[bytes] | None) -> str:
    """The last line that a program wrote of what is wrong."""
    if complaints is None:
        return ""
    complaints.seek(0)
    lines = complaints.read(_PIECE).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
