"""The right reading of a log, by plain regular expressions and nothing of logllm; and what logllm
reads.

A table (`cases.toml`) says of each log, under the name of its file:

| key | what it says |
|---|---|
| `right` | the right reading, in words |
| `kind` | of a log that was held out: the kind of fault it stands for |
| `source` | where such a log comes from |
| `begins` | Python's regular expression for a line that begins a record; groups below |
| `goes_on` | the same for a line that goes on with the record before it; else every other line |
| `beside` | lines that are no part of a record: headers, blank ones, those that are rejected |
| `clock` | the times' form: `epoch`, `epoch_ms`, `epoch_us`, `epoch_ns` or codes of `strptime` |
| `east` | hours east of UTC of the times; a table gives them by the text of the group `zone` |
| `within` | seconds that a time may be off, .001 unless it is said |
| `records`, `first`, `last`, `sessions` | what those give, so that a slip in an expression shows |
| `format` | regular expression for the whole name of the format |
| `json` | texts are escaped as in JSON |
| `whole` | words that each record's message holds: `all`, those of its `ends` (two lines), `none` |
| `holds` | texts that some message holds; `masked` the same of messages as a model sees them |
| `never` | regular expressions that no message holds |
| `lean` | regular expressions that no message holds as a model sees it |
| `told` | regular expressions for what must be said |
| `named` | false: sessions may be called by something else than the key |
| `options` | what the command is told beside the log |
| `refused` | a regular expression: a refusal that says so will do instead |
| `instead` | `told`: what may be said instead of being right in the aspects `of` |
| `judged` | what `detect LOG` does: `verdicts`, or a regular expression for a refusal |
| `foreign` | the shipped run must not take it for a log that it knows |
| `alarms` | a regular expression: the shipped run alarms on sessions with it, and on no other |
| `open` | aspects that are not right yet; strict: what becomes right must be taken off the list |

Of several clocks the first that fits counts; without `whole` it is `all`; `alarms` is tested in the
tier `real`.

Groups of `begins`: `time` (or `other`: a time that will do as well, in all records), `zone`, `key`
(sessions are by it), `text` (of the message), `text2` where another kind of line has it elsewhere.
"""

import gzip
import io
import json
import re
import sys
import tempfile
import tomllib
from collections import defaultdict
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

FOLDER = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "cases.toml").read_text())
"""What is right, by the name of the log."""
HELD_OUT: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "held_out.toml").read_text())
"""The same of further logs, kept apart while the reader was made."""

ASPECTS = ("read", "records", "times", "sessions", "messages", "told", "judged")
"""What is judged of a log, one test each."""

_UNITS = {"epoch": 0, "epoch_ms": 3, "epoch_us": 6, "epoch_ns": 9}
_A_YEAR_BACK = timedelta(
    days=60
)  # times without a year that go back by more are of the year before
_CARET = re.compile(r"[\s~^]*")


@dataclass
class Right:
    """One record as it should be read."""

    line: int
    times: tuple[datetime | None, datetime | None]
    key: str | None
    texts: list[str]


@dataclass
class Reading:
    """What logllm made of a log."""

    code: int
    err: str
    manifest: dict[str, Any] = field(default_factory=dict)
    records: list[tuple[int, datetime | None, str]] = field(default_factory=list)
    """Line, time and message of each."""
    sessions: list[tuple[str, list[int]]] = field(default_factory=list)
    """Names and lines of those that were proposed."""
    masked: list[str] = field(default_factory=list)
    """Distinct messages as a model sees them."""


def log_of(name: str) -> Path:
    """The log of a case."""
    return FOLDER / ("logs" if name in CASES else "held_out") / f"{name}.log.gz"


def lines_of(log: Path) -> list[str]:
    """The lines of a log, from 1 on."""
    content = gzip.decompress(log.read_bytes()) if log.suffix == ".gz" else log.read_bytes()
    little, big = (
        content[1:2] == b"\0" or content[:2] == b"\xff\xfe",
        content[:1] == b"\0" or content[:2] == b"\xfe\xff",
    )
    text = content.decode(
        "utf-16-le" if little else "utf-16-be" if big else "utf-8", errors="replace"
    )
    return text.removeprefix("\ufeff").removesuffix("\n").split("\n")


def right_records(case: dict[str, Any], lines: list[str]) -> list[Right]:
    """The records of a log as its case describes them."""
    begins, goes_on = re.compile(case["begins"]), re.compile(case.get("goes_on", "(?P<text>.*)"))
    beside = re.compile(case["beside"]) if "beside" in case else None
    records: list[Right] = []
    for number, line in enumerate((line.rstrip("\r") for line in lines), 1):
        head = begins.match(line)
        if head is not None:
            groups = head.groupdict()
            times = tuple(
                _time(case, groups.get(name), groups.get("zone")) for name in ("time", "other")
            )
            text = groups.get("text") or groups.get("text2")
            records.append(Right(number, times, groups.get("key"), [_text(case, text)]))
        elif beside is None or not beside.fullmatch(line):
            further = goes_on.match(line)
            assert further is not None, f"line {number} is in no group of the case: {line[:200]}"
            records[-1].texts.append(_text(case, further["text"]))
    return _with_years(records) if _yearless(case) else records


def _yearless(case: dict[str, Any]) -> bool:
    return any("%" in code and not re.search("%[YyDsc]", code) for code in _clocks(case))


def _clocks(case: dict[str, Any]) -> list[str]:
    clock = case.get("clock", "%Y-%m-%d %H:%M:%S.%f")
    return [clock] if isinstance(clock, str) else clock


def _text(case: dict[str, Any], text: str | None) -> str:
    """The text of a line as its message holds it."""
    return " ".join((json.loads(f'"{text}"') if case.get("json") and text else text or "").split())


def _time(case: dict[str, Any], text: str | None, zone: str | None) -> datetime | None:
    """A time in UTC; where no year is written, of the leap year 2000."""
    if text is None:
        return None
    east = case.get("east", 0)
    hours = east[zone] if isinstance(east, dict) else east
    for clock in _clocks(case):
        with suppress(ValueError):
            if clock in _UNITS:
                seconds, _, fraction = text.partition(".")
                digits = (
                    seconds + fraction.ljust(9, "0")
                    if clock == "epoch"
                    else seconds.ljust(len(seconds) + 9 - _UNITS[clock], "0")
                )
                whole = int(digits) if clock != "epoch" or fraction else int(seconds) * 10**9
                return datetime.fromtimestamp(whole // 10**9, UTC) + timedelta(
                    microseconds=whole % 10**9 // 1000
                )
            yearless = not re.search("%[YyDsc]", clock)
            read = (
                datetime.strptime(f"2000 {text}", f"%Y {clock}")
                if yearless
                else datetime.strptime(text, clock)
            )
            shift = timedelta(0) if read.tzinfo else timedelta(hours=hours)
            return (read - shift).replace(tzinfo=read.tzinfo or UTC).astimezone(UTC)
    raise AssertionError(f"no clock of the case reads {text!r}")


def _with_years(records: list[Right]) -> list[Right]:
    """Records with times of the latest years that are not ahead: the last record's first, a step
    back one year more."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    years, back, later = [], 0, None
    for record in reversed(records):
        time = record.times[0]
        assert time is not None
        back += later is not None and time - later > _A_YEAR_BACK
        later = time
        years.append(back)
    years.reverse()
    for last in range(tomorrow.year, 1970, -1):
        with suppress(ValueError):  # no Feb 29 in that year
            times = [
                record.times[0].replace(year=last - back)
                for record, back in zip(records, years, strict=True)
            ]  # type: ignore[union-attr]
            if times[-1] <= tomorrow:
                return [
                    Right(record.line, (time, None), record.key, record.texts)
                    for record, time in zip(records, times, strict=True)
                ]
    raise AssertionError("no year fits the times")


def read(log: Path, folder: Path, *options: str) -> Reading:
    """What `logllm prepare --raw LOG` makes of a log of which nothing else is said, unless
    `options` say more."""
    from logllm.config.prepare import PrepareSection
    from logllm.logs.reader import Reader

    code, out, err = command("prepare", "--raw", log, "--out", folder, "--json", *options)
    # Names of logs say what they are.
    err = err.replace(str(folder), "OUT").replace(log.name, "LOG")
    if code:
        return Reading(code, err)
    manifest = json.loads(out)
    parts = [
        pl.read_parquet(folder / f"{name}.parquet", columns=["session", "lines"])
        for name in manifest["parts"]
    ]
    table = pl.read_parquet(folder / "messages.parquet").to_series(0).to_list()
    settings = PrepareSection.read(
        {**manifest["settings"], "mask": {"rules": "off"}}, source="what was prepared"
    )
    frames = list(Reader(settings, today=datetime.now(UTC).date()).read([log]))
    records = pl.concat(frames).select("line", "time", "message").rows()
    return Reading(code, err, manifest, records, pl.concat(parts).rows(), table)


def command(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command, run in this process."""
    from logllm.cli.app import main

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["logllm", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        return int(stop.code or 0), out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    return 0, out.getvalue(), err.getvalue()


def wrong(case: dict[str, Any], log: Path, reading: Reading, aspect: str) -> str | None:
    """What is wrong with the reading of a log in one aspect; nothing: all is right."""
    if "Traceback" in reading.err:
        return f"a traceback: {reading.err[-300:]}"
    if aspect == "judged":
        return _wrong_judged(case, log)
    said = " ".join(reading.err.split())
    if reading.code:
        refused = case.get("refused")
        if aspect == "read" and not (refused and re.search(refused, said)):
            return f"exit {reading.code}: {said[:300]}"
        return None if refused and re.search(refused, said) else "it is refused"
    fault = _ASPECTS[aspect](case, right_records(case, lines_of(log)), reading)
    instead = case.get("instead", {})
    if fault and aspect in instead.get("of", ()) and re.search(instead["told"], said):
        return None
    return fault


def _wrong_read(case: dict[str, Any], right: list[Right], reading: Reading) -> str | None:
    name = reading.manifest["settings"]["format"]["name"]
    return None if re.fullmatch(case.get("format", ".*"), name) else f"the format is {name}"


def _wrong_records(case: dict[str, Any], right: list[Right], reading: Reading) -> str | None:
    lines, expected = (
        sorted(line for line, _, _ in reading.records),
        [record.line for record in right],
    )
    if lines == expected:
        return None
    beyond, lost = sorted(set(lines) - set(expected)), sorted(set(expected) - set(lines))
    return (
        f"{len(lines)} records, not {len(expected)}; lines {beyond[:3]} begin none, lines"
        f" {lost[:3]} do"
    )


def _wrong_times(case: dict[str, Any], right: list[Right], reading: Reading) -> str | None:
    times = {line: time for line, time, _ in reading.records}
    faults = []
    if not any(record.times[0] for record in right):
        return None  # nothing but the day may be lacking
    for place in (0, 1):
        expected = {record.line: record.times[place] or record.times[0] for record in right}
        if place and not any(record.times[1] for record in right):
            break
        off = [
            f"line {line}: {times.get(line)}, not {time}"
            for line, time in expected.items()
            if not _near(times.get(line), time, within=case.get("within", 0.001))
        ]
        if not off:
            return None
        faults.append(f"{len(off)} of {len(expected)} times are wrong: {off[0]}")
    return faults[0]


def _near(time: datetime | None, expected: datetime | None, *, within: float) -> bool:
    if time is None or expected is None:
        return time is expected
    return abs((time - expected).total_seconds()) <= within


def _wrong_sessions(case: dict[str, Any], right: list[Right], reading: Reading) -> str | None:
    by_key: dict[str, list[int]] = defaultdict(list)
    for record in right:
        if record.key is not None:
            by_key[record.key].append(record.line)
    expected = {frozenset(lines): key for key, lines in by_key.items()}
    is_by = reading.manifest["settings"]["sessions"]["by"]
    if not by_key:
        return (
            "sessions are by key, and no key groups this"
            if case.get("sessions") == "windows" and is_by == "key"
            else None
        )
    whole: dict[str, set[int]] = defaultdict(set)
    for name, lines in reading.sessions:
        whole[re.sub(r"#\d+$", "", name)].update(lines)
    if set(map(frozenset, whole.values())) != set(expected):
        return f"{len(whole)} sessions (by {is_by}), not {len(expected)}, or of other lines"
    if not case.get("named", True):
        return None
    unnamed = [name for name, lines in whole.items() if expected[frozenset(lines)] not in name]
    return (
        f"the session of {expected[frozenset(whole[unnamed[0]])]} is called {unnamed[0]}"
        if unnamed
        else None
    )


def _wrong_messages(case: dict[str, Any], right: list[Right], reading: Reading) -> str | None:
    messages = {line: " ".join(text.split()) for line, _, text in reading.records}
    for record in right:
        message = messages.get(record.line)
        lost = [text for text in _words(case, record) if message is None or text not in message]
        if lost:
            return (
                f"the message of line {record.line} lacks {lost[0][:150]!r}:"
                f" {(message or '')[:300]!r}"
            )
    every, masked = [*messages.values(), *reading.masked], reading.masked
    never = [(pattern, every) for pattern in case.get("never", ())] + [
        (pattern, masked) for pattern in case.get("lean", ())
    ]
    for pattern, texts in never:
        if bad := [text for text in texts if re.search(pattern, text)]:
            return f"a message holds {pattern}: {bad[0][:300]!r}"
    some = [(text, every) for text in case.get("holds", ())] + [
        (text, masked) for text in case.get("masked", ())
    ]
    lacking = [text for text, texts in some if not any(text in message for message in texts)]
    return (
        f"no message holds {lacking[0]!r}, masked ones are such as {masked[:3]}"
        if lacking
        else None
    )


def _words(case: dict[str, Any], record: Right) -> list[str]:
    """Texts that the record's message holds, but for carets below a traceback's line."""
    texts = [text for text in record.texts if not _CARET.fullmatch(text)]
    which = case.get("whole", "all")
    return {"all": texts, "ends": [*texts[:1], *texts[-1:]], "none": []}[which]


def _wrong_told(case: dict[str, Any], right: list[Right], reading: Reading) -> str | None:
    said = " ".join(reading.err.split())
    silent = [pattern for pattern in case.get("told", ()) if not re.search(pattern, said)]
    return f"nothing says {silent[0]!r}: {said[:600]}" if silent else None


def _wrong_judged(case: dict[str, Any], log: Path) -> str | None:
    """What is wrong with the way that detection takes to a log: by the shipped run, or refused."""
    from logllm.detect.which_run import task
    from logllm.errors import LogLLMError
    from logllm.runs.manifest import shipped_run

    if not {"judged", "foreign"} & case.keys():
        return None
    try:
        asked = task([str(log)])
    except LogLLMError as exc:
        refusal = " ".join(str(exc).replace(log.name, "LOG").split())
        wanted = case.get("judged", ".*")
        return (
            None
            if wanted != "verdicts" and re.search(wanted, refusal)
            else f"detect refuses it: {refusal}"
        )
    return (
        "the shipped run takes it for a log that it knows"
        if "foreign" in case and asked.run == shipped_run()
        else None
    )


_ASPECTS = {
    "read": _wrong_read,
    "records": _wrong_records,
    "times": _wrong_times,
    "sessions": _wrong_sessions,
    "messages": _wrong_messages,
    "told": _wrong_told,
}


def slips(case: dict[str, Any], right: list[Right]) -> list[str]:
    """Where a case's expressions do not give the figures that it names."""
    times = [record.times[0] for record in right if record.times[0]]
    keys = {record.key for record in right} - {None}
    figures = {
        "records": len(right),
        "first": times and min(times),
        "last": times and max(times),
        "sessions": len(keys),
    }
    return [
        f"{name}: {figures[name]}, not {wanted}"
        for name in figures
        if name in case
        and case[name] != "windows"
        and (wanted := _figure(case[name])) != figures[name]
    ]


def _figure(value: Any) -> Any:
    return value.replace(tzinfo=value.tzinfo or UTC) if isinstance(value, datetime) else value


def main() -> None:
    """Print what is wrong with the logs that are named, or with all; `--close` takes what is right
    off the lists."""
    names = [name for name in sys.argv[1:] if name != "--close"] or list(CASES)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            reading = read(
                log_of(name),
                Path(folder, "data"),
                *(CASES.get(name) or HELD_OUT[name]).get("options", ()),
            )
        case = CASES.get(name) or HELD_OUT[name]
        faults = {aspect: wrong(case, log_of(name), reading, aspect) for aspect in ASPECTS}
        listed = case.get("open", [])
        for aspect, fault in faults.items():
            if fault:
                print(f"{name} {aspect}{' (open)' if aspect in listed else ''}: {fault}")  # noqa: T201
        still = [aspect for aspect in listed if faults.get(aspect, "judged by another test")]
        if "--close" in sys.argv and still != listed:
            _close(name, still)


def _close(name: str, still: list[str]) -> None:
    """Write a case's list anew in the table."""
    table = FOLDER / "cases.toml"
    before, head, after = table.read_text().partition(f"[{name}]\n")
    of_case, blank, rest = after.partition("\n\n")
    lines = [line for line in of_case.split("\n") if not line.startswith("open = ")]
    lines += [f"open = {still}"] if still else []
    table.write_text(before + head + "\n".join(lines) + blank + rest)


if __name__ == "__main__":
    main()
