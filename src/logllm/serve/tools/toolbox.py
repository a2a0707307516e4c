"""What the tools do, whoever calls them: read a store, judge lines, compare logs, take a label."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol

from logllm.detect.detector import Detector
from logllm.detect.new_kinds import new_kinds
from logllm.detect.reading import Reading
from logllm.detect.unlabelled import Against
from logllm.detect.verdict import FIELDS, OPTIONAL, SCHEMA, Verdict
from logllm.detect.which_run import task
from logllm.errors import DataError
from logllm.logs.lines import STDIN
from logllm.serve.feedback.answers_given import Said, find_session, give
from logllm.serve.incidents.incident_rows import Wished, incidents
from logllm.serve.store.frames import VerdictKey
from logllm.serve.store.verdict_store import Store
from logllm.serve.tools.told_to_models import told
from logllm.serve.web.queries import objects, one
from logllm.serve.web.verdict_ids import decode, encode

MOST_LINES = 5_000
"""Lines that are judged at once."""
MOST_BYTES = 64 * 2**20
"""The most bytes of a log that is compared with another."""
_LONGEST_LINE = 20_000


@dataclass(frozen=True)
class Lines:
    """A log: some of its files, or its lines."""

    files: Sequence[str] = ()
    lines: Sequence[str] = ()


class GivesRun(Protocol):
    """Gives the run that judges, such as `logllm.serve.feedback.following.Following`."""

    def first(self) -> Detector:
        """The run that judges now."""

    def newer(self) -> Detector | None:
        """The run that was promoted since the last call; none: there is no other."""


class Toolbox:
    """The tools of one store; several may be at work at once."""

    def __init__(
        self,
        store: Store,
        *,
        following: GivesRun | None,
        folders: Sequence[Path] = (),
        redact: bool = False,
        by: str = "agent",
    ) -> None:
        """Nothing loaded yet.

        Args:
            store: where verdicts are.
            following: gives the run that judges lines; none: no lines are judged.
            folders: in which files of logs may be read; none: no file is.
            redact: nothing secret in what is answered.
            by: whose answers labels are said to be.
        """
        self.judges = following is not None
        self._store = store
        self._following = following
        self._folders = [folder.resolve() for folder in folders]
        self._redact = redact
        self._by = by
        self._loading = Lock()
        self._detector: Detector | None = None

    def recent_incidents(
        self,
        *,
        stream: str | None,
        state: Literal["open", "closed"] | None,
        hours: float,
        limit: int,
    ) -> dict[str, Any]:
        """Incidents, those that changed last first.

        Their sessions with the highest scores have ids.
        """
        now = datetime.now(UTC)
        since = now - timedelta(hours=hours)
        wished = Wished(stream=stream, state=state, since=since, limit=limit)
        # What one transaction changed is not divided, so that there may be more than were asked
        # for.
        changed = incidents(self._store, wished, now=now)[:limit]
        return told("incidents", [_with_ids(incident) for incident in changed])

    def session(self, key: VerdictKey) -> dict[str, Any]:
        """A verdict with its evidence, and with the lines that are kept.

        Raises:
            DataError: there is none.
        """
        with self._store.transaction(reading=True) as connection:
            row = one(connection, key)
            if row is None:
                raise DataError(f"there is no verdict on {key.session} in {key.stream} any more")
            (verdict,) = objects(connection, [row])
        return told("verdicts", [verdict])

    def key(self, session: str, *, stream: str | None) -> VerdictKey:
        """The session that is meant by a verdict's id, or by its name.

        Raises:
            DataError: none is, or several streams have one of that name.
        """
        # An id never looks like a name: it is tried first, and a name is looked up in the store.
        return decode(session) or find_session(self._store, session, stream=stream)

    def judge(self, lines: Sequence[str]) -> dict[str, Any]:
        """Verdicts on the sessions of some lines, the most anomalous first.

        Raises:
            DataError: there is no run, too many lines, or they are not in the run's format.
        """
        detector = self._loaded()
        _check(lines)
        given = _bytes(lines)
        with closing(detector.read([STDIN], stdin=given, redact=self._redact)) as reading:
            verdicts = _objects(reading)
        counts = _counts(reading)
        # The run's name says by what was judged: it may have been promoted a minute ago.
        more = {"sessions": len(verdicts), "counts": counts, "model": detector.model}
        return told("verdicts", verdicts, **more)

    def new_against(self, good: Lines, log: Lines) -> dict[str, Any]:
        """What a log holds that a good one does not: kinds of message, and sessions.

        Raises:
            DataError: a log is not there, may not be read, or is too large.
        """
        with self._inputs(good, log) as (good_files, files):
            # As `logllm detect LOG --against GOOD` does: the format is found, and both are read by
            # it.
            comparison = task(files, good=good_files)
            assert comparison.settings is not None  # noqa: S101 - there are good logs
            detector = Detector.against(comparison.good, settings=comparison.settings)
            options: dict[str, Any] = {"redact": self._redact, "occurrences": True}
            with closing(detector.read(comparison.logs, **options)) as reading:
                verdicts = _objects(reading)
            kinds = _kinds(reading, detector)

        # A model that asks has little room: what is as always is counted, and left out.
        anomalous = [verdict for verdict in verdicts if verdict["anomalous"]]
        counts = {"sessions": len(verdicts), "counts": _counts(reading)}
        return told("verdicts", anomalous, **counts, new_kinds=kinds, read_as=comparison.said)

    def label(
        self,
        key: VerdictKey,
        *,
        answer: Literal["anomalous", "normal"],
        lines: Sequence[int],
        note: str,
    ) -> dict[str, Any]:
        """Say what a session is.

        Raises:
            DataError: there is no such session, or no such line in it.
        """
        said = Said(answer, self._by, tuple(lines) or None, note)
        stored = give(self._store, key, said=said)
        return told("labels", [stored])

    def _loaded(self) -> Detector:
        """What judges: the run that stands where it is named, now."""
        if self._following is None:
            raise DataError("there is no run to judge lines by: start with --run RUN")
        with self._loading:
            # Loading takes seconds: of several tools that ask at once one loads, and the others
            # wait for it.
            newer = self._following.newer() if self._detector else self._following.first()
            self._detector = newer or self._detector
            assert self._detector is not None  # noqa: S101 - the first one raises, or is there
            return self._detector

    @contextmanager
    def _inputs(self, *logs: Lines) -> Iterator[list[list[str]]]:
        """Files of each log; lines become one, for as long as it is read."""
        with tempfile.TemporaryDirectory(prefix="logllm-") as folder:
            files_of_logs = []
            for number, log in enumerate(logs):
                if bool(log.files) == bool(log.lines):
                    raise DataError("give each log either as files or as lines")
                if log.files:
                    files_of_logs.append([self._allowed(name) for name in log.files])
                    continue
                # A format is found in a file, which is read twice; lines that are given become one.
                _check(log.lines)
                path = Path(folder) / ("good.log", "log.log")[number]
                path.write_bytes(_bytes(log.lines).getvalue())
                files_of_logs.append([str(path)])
            yield files_of_logs

    def _allowed(self, name: str) -> str:
        """A file that may be read.

        Raises:
            DataError: it may not, or is not there.
        """
        # Resolved first: `..` and links lead out of a folder that may be read. One sentence for
        # what may not be read and for what is not there, which tells nobody what files there are.
        path = Path(name).resolve()
        inside = any(path.is_relative_to(folder) for folder in self._folders)
        if not inside or not path.is_file():
            where = ", ".join(map(str, self._folders)) or "none: give lines instead"
            what = f"{name} is no file that may be read"
            raise DataError(f"{what}; files may lie in {where} (--logs)")
        size = path.stat().st_size
        if size > MOST_BYTES:
            mebibytes = size / 2**20
            most = MOST_BYTES // 2**20
            what = f"{name} has {mebibytes:,.0f} MiB, at most {most} are compared"
            raise DataError(f"{what}: use `logllm detect`")
        return str(path)


def _check(lines: Sequence[str]) -> None:
    """Whether lines can be judged at once.

    Raises:
        DataError: there are none, too many, or too long ones.
    """
    if not lines or len(lines) > MOST_LINES:
        raise DataError(f"{len(lines):,} lines: give 1 to {MOST_LINES:,} at once")
    if max(map(len, lines)) > _LONGEST_LINE:
        raise DataError(f"a line has more than {_LONGEST_LINE:,} characters")


def _bytes(lines: Sequence[str]) -> BytesIO:
    """Lines as a file holds them."""
    # A line that holds half of a character, as JSON allows, is no text that a file can hold.
    text = "".join(line.rstrip("\r\n") + "\n" for line in lines)
    return BytesIO(text.encode(errors="replace"))


def _objects(reading: Reading) -> list[dict[str, Any]]:
    """Verdicts as JSON has them, the most anomalous first."""
    verdicts = sorted(reading, key=lambda verdict: (-verdict.anomalous, -verdict.score))
    return [_object(verdict) for verdict in verdicts]


def _object(verdict: Verdict) -> dict[str, Any]:
    """A verdict with the keys of its schema, optional ones only where they say something."""
    values = {name: getattr(verdict, name) for name in (*FIELDS, *OPTIONAL)}
    for name in ("start", "end"):
        time = values[name]
        values[name] = time and time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    # The schema promises its fields, null or not.
    speaking = {}
    for name, value in values.items():
        if name in FIELDS or value is not None:
            speaking[name] = value
    return {**speaking, "schema": SCHEMA}


def _counts(reading: Reading) -> dict[str, int]:
    """What was read, and what was not."""
    return {name: count for name, count in reading.counts.items() if count}


def _kinds(reading: Reading, detector: Detector) -> list[dict[str, Any]]:
    """Kinds of message that good logs do not hold, those that speak of trouble first."""
    assert isinstance(detector.run, Against)  # noqa: S101 - so it was made
    is_new = detector.run.new_kinds
    kinds = new_kinds(reading.occurrences, reading.messages, is_new=is_new, files=reading.files)
    objects = []
    for kind in kinds:
        where = {"lines": kind.lines, "first_line": kind.line}
        is_trouble = kind.grade > 0
        objects.append({"message": kind.message, **where, "trouble": is_trouble})
    return objects


def _with_ids(incident: dict[str, Any]) -> dict[str, Any]:
    """An incident whose sessions can be asked for."""
    # An incident holds the keys of its own stream's verdicts: only together with it are they whole.
    top = []
    for session in incident["top"]:
        rest = [session[name] for name in VerdictKey._fields[1:]]
        key = VerdictKey(incident["stream"], *rest)
        top.append({**session, "id": encode(key)})
    return incident | {"top": top}
