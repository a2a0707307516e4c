"""Lines of files that grow, through every kind of rotation and through restarts."""

import logging
import resource
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from logllm.errors import ServeError
from logllm.logs.archives import FAULTS
from logllm.serve.sources.contract import Arrival, Claim, From, Place, Resumed, Taken
from logllm.serve.sources.tailing.file_bytes import Descriptors
from logllm.serve.sources.tailing.owners import Owners, Shared
from logllm.serve.sources.tailing.rotated_names import Entry, earlier, entry_of, listing, rotated
from logllm.serve.sources.tailing.tailed_path import TailedPath
from logllm.serve.sources.tailing.watched_names import matches, matching_paths, named_paths

_MOST_LINES = 8000
_MOST_BYTES = 4 << 20
_LEAST_LINES = 200
"""What a log may give at once, however many others have lines too."""
_MOST_OPEN = 1024
_SHORTEST_WAIT = 0.005
_SCAN_SHARE = 10
"""Between two searches for new files so many times as long passes as a search takes."""

_log = logging.getLogger(__name__)


class FilesSource:
    """Lines of files and globs.

    A partition is a path as it is watched; its lines are numbered from the file's own first line,
    and on through all rotations. Files are looked at again and again: events of a file system are
    not there on all of them.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        *,
        begin: From,
        encoding: Literal["utf-8", "latin-1"] = "utf-8",
        poll: float = 0.25,
        quiet: float = 2.0,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            patterns: names of files, there or not yet, and globs (`**` stands for any folders).
            begin: where a log begins that the store knows nothing of; one that appears later
                begins at its first line.
            encoding: how bytes become text.
            poll: seconds from one look at the files to the next.
            quiet: seconds without a new byte after which nobody writes to a file that was rotated
                away; the next file's lines wait for it.
        """
        self.name = ", ".join(patterns)
        self._patterns = patterns
        self._begin = begin
        self._encoding = encoding
        self._poll = poll
        self._quiet = quiet
        self._counts: Counter[str] = Counter()
        # Half of what the process may open is left to the store, to sockets and to other sources.
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._descriptors = Descriptors(min(_MOST_OPEN, max(16, most // 2)))
        self._shared = Shared(self._descriptors, Owners(self._descriptors), self._counts)
        self._logs: dict[str, TailedPath] = {}
        self._claimed: dict[str, Resumed | None] = {}
        self._refused: set[str] = set()
        self._with_earlier: set[str] = set()
        """Paths of which an earlier file matches the patterns, too."""
        self._trouble: dict[str, str] = {}
        self._at_end: list[TailedPath] = []
        """Logs of which what was there before is passed over."""
        self._ready: deque[TailedPath] = deque()
        self._next_look = self._next_scan = float("-inf")
        self._claim: Claim | None = None

    def begin(self, claim: Claim) -> None:
        """Look for the files.

        Raises:
            ServeError: no file is named, or the store knows nothing of one and it has to.
        """
        if not self._patterns:
            raise ServeError("no file to watch: name files or globs")
        self._claim = claim
        self._scan(first=True)

    def take(self, wait: float) -> Taken:
        """Lines that have come, of as many logs as have some; waits for a first line."""
        end = time.monotonic() + wait
        while True:
            # Files are asked about at set times, whoever asks for lines how often; lines that are
            # ready already are given at once.
            now = time.monotonic()
            if now >= self._next_look:
                self._next_look = now + self._poll
                self._look(now)
            arrivals = self._taken(time.monotonic())
            left = end - time.monotonic()
            if arrivals or left <= 0:
                return Taken(arrivals)
            # Never zero: a clock that is coarse would make a busy loop of it.
            until_look = self._next_look - time.monotonic()
            pause = max(_SHORTEST_WAIT, min(left, until_look))
            time.sleep(pause)

    def place(self, partition: str, line: int) -> Place:
        """From where a line of a log, and all after it, can be read again."""
        log = self._logs.get(partition)
        # It is waited for: nothing of it has been read, and all of it will be.
        if log is None:
            log = self._new_log(partition)
        return log.place(line)

    def stored(self, lows: Mapping[str, int]) -> None:
        """Lines below these numbers are not asked for any more."""
        for partition, low in lows.items():
            if partition in self._logs:
                self._logs[partition].stored(low)

    @property
    def over(self) -> bool:
        """Never: a file may grow, and another may come."""
        return False

    @property
    def lag(self) -> int:
        """Bytes that are there and were not given; compressed ones counted compressed."""
        return sum(log.unread for log in self._logs.values())

    @property
    def counts(self) -> Mapping[str, int]:
        """What went on, by name."""
        return {name: count for name, count in self._counts.items() if count}

    @property
    def passed_over(self) -> Mapping[str, int] | None:
        """How many lines were passed over, by log; None: they are being counted."""
        lines = {log.files.path: log.passed_over for log in self._at_end}
        counted = {path: count for path, count in lines.items() if count is not None}
        return counted if len(counted) == len(lines) else None

    @property
    def trouble(self) -> None:
        """None: a file that cannot be read is counted, and keeps no other one from being read."""
        return None

    def close(self) -> None:
        """Look no further."""
        self._descriptors.close_all()

    def _look(self, now: float) -> None:
        """See what became of every log, and whether there are new ones."""
        # Trouble with one log keeps no other from being read.
        for path, log in self._logs.items():
            try:
                log.files.look(now)
            except FAULTS as exc:
                self._troubled(path, exc)
            else:
                self._trouble.pop(path, None)
        if now >= self._next_scan:
            self._scan(first=False)
            # A glob over a million files takes seconds: it is searched again after ten times as
            # long.
            spent = time.monotonic() - now
            self._next_scan = now + (_SCAN_SHARE * spent if self._poll else 0)
        ready = (log for log in self._logs.values() if log.waiting)
        waiting = set(self._ready)
        self._ready.extend(log for log in ready if log not in waiting)

    def _taken(self, now: float) -> list[Arrival]:
        """One piece of each log that has lines, the longest unheard first, until it is enough."""
        arrivals: list[Arrival] = []
        # Each log gets its share, and goes behind the others: one that floods holds up nobody.
        share = max(_LEAST_LINES, _MOST_LINES // max(1, len(self._ready)))
        lines = size = 0
        for _ in range(len(self._ready)):
            log = self._ready.popleft()
            before = log.given_bytes
            try:
                frame = log.take(min(share, _MOST_LINES - lines), now)
            except FAULTS as exc:
                self._troubled(log.files.path, exc)
                continue
            if frame is None:
                continue
            self._ready.append(log)
            arrivals.append(Arrival(log.files.path, frame, time.time()))
            lines += frame.height
            size += log.given_bytes - before
            if lines >= _MOST_LINES or size >= _MOST_BYTES:
                break
        return arrivals

    def _scan(self, *, first: bool) -> None:
        """Meet the logs that are there and were not before."""
        # A path that is named and matched by a glob as well is there once.
        named = named_paths(self._patterns)
        paths = dict.fromkeys([*named, *sorted(matching_paths(self._patterns))])
        forms = {path: rotated(Path(path).name) for path in paths}
        self._with_earlier = set()
        for path, form in forms.items():
            if form is not None:
                log = Path(path).with_name(form.log)
                self._with_earlier.add(str(log))
        if first:
            self._resume_all(paths)
        # A log before its earlier files, which are read as its own.
        for path in sorted(paths, key=lambda path: rotated(Path(path).name) is not None):
            if path not in self._logs and path not in self._refused:
                try:
                    self._meet(path, paths, first=first)
                except FileNotFoundError:
                    continue
                except FAULTS as exc:
                    self._troubled(path, exc)

    def _meet(self, path: str, paths: Mapping[str, None], *, first: bool) -> None:
        """Read a file as a log of its own, unless it is one of another log."""
        # A link, or a name that a rotation just gave: the same file under another name is read
        # once.
        entry = entry_of(path)
        if self._shared.owners.owned(entry) or self._of_another(path, entry):
            return
        # Where the store left it comes before where new logs begin: nothing is read twice.
        log = self._new_log(path)
        resumed = self._resumed(path)
        if resumed is not None:  # of a log that appeared later than the others
            log.resume(resumed.place)
        elif self._begin == "stored":
            self._refuse(path, first=first)
            return
        elif self._begin == "end" and first:
            log.begin_at_end()
            self._at_end.append(log)
        else:
            log.begin(self._earlier_files(path, paths))
        self._logs[path] = log
        self._trouble.pop(path, None)

    def _resume_all(self, paths: Mapping[str, None]) -> None:
        """Go on with the logs that the store knows, before any file is read as a new log.

        The file that a log was left in may have been rotated since, and no file has its name now.
        """
        forms = {path: rotated(Path(path).name) for path in paths}
        logs = {}
        for path, form in forms.items():
            if form is not None:
                logs[path] = str(Path(path).with_name(form.log))
        # `app.log.1` is there and `app.log` is not: the log is between two files.
        absent = [log for log in logs.values() if log not in paths]
        gone = {log for log in absent if matches(log, self._patterns)}
        for path in sorted(gone | paths.keys()):
            form = forms.get(path)
            # It is an earlier file, and its log will find it.
            if form is not None and not form.inside and logs[path] in paths:
                continue
            resumed = self._resumed(path)
            if resumed is not None:
                self._logs[path] = self._new_log(path)
                self._logs[path].resume(resumed.place)

    def _new_log(self, path: str) -> TailedPath:
        return TailedPath(path, self._shared, encoding=self._encoding, quiet=self._quiet)

    def _resumed(self, path: str) -> Resumed | None:
        """Where the store left a log; it is asked once."""
        if path not in self._claimed and self._claim is not None:
            self._claimed[path] = self._claim(path)
        return self._claimed.get(path)

    def _refuse(self, path: str, *, first: bool) -> None:
        """The store knows nothing of a log, and it has to."""
        if first:
            raise ServeError(f"the store knows nothing of {path}: begin at its start or at its end")
        self._refused.add(path)
        self._counts["refused_files"] += 1
        _log.warning("%s is not read: it is new, and only logs that the store knows are", path)

    def _of_another(self, path: str, entry: Entry) -> bool:
        """Whether a file is an earlier one of another log, by its name, or by name and content."""
        folder = Path(path).parent
        form = rotated(Path(path).name)
        log = self._logs.get(str(folder / form.log)) if form else None
        log = log or self._logs.get(path.rpartition(".")[0])
        # No name tells: its content may, as where a log was copied under a name of its own.
        if form is None or log is None:
            return log is not None and log.files.read_before(entry)
        if not form.inside:
            return True
        # `node-1.log` may be an earlier file of `node.log`, or a log of its own: it is an earlier
        # file if it is older than where the store left that log, or holds what was read of it.
        resumed = self._claimed.get(log.files.path) is not None
        is_older = resumed and entry.changed <= log.files.since
        return is_older or log.files.read_before(entry)

    def _earlier_files(self, path: str, paths: Mapping[str, None]) -> list[Entry]:
        """Earlier files of a log that the patterns match as well."""
        if self._begin == "end" or path not in self._with_earlier:
            return []
        name = Path(path).name
        entries = [entry for entry in listing(path) if entry.name in paths]
        return [entry for entry in entries if earlier(Path(entry.name).name, name)]

    def _troubled(self, path: str, exc: Exception) -> None:
        """Count and say once what keeps a log from being read; it is tried again."""
        # Once for each reason, not at each of four looks a second.
        words = getattr(exc, "strerror", None) or str(exc)
        if self._trouble.get(path) != words:
            self._trouble[path] = words
            self._counts["unreadable_files"] += 1
            _log.warning("%s cannot be read for now: %s", path, words)
