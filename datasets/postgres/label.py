"""Labels from the record of the injections.

A line is anomalous if an injection's window holds its time, its session is one that the injection
names (by process id or by user; where both lists are empty it names all), the line is one of the
injection's messages and names what the injection says it must name, and its session holds at least
as many such lines as the injection asks for. DETAIL, HINT, CONTEXT, QUERY and STATEMENT follow the
line they explain, and so do lines that go on. All other lines are normal. A session (a process id)
is anomalous if one of its lines is.
"""

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

PREFIXES = {
    ("debian"): (
        r"(?P<time>[0-9-]{10} [0-9:.]+) UTC \[(?P<pid>\d+)\] (?:(?P<user>[^@ ]+)@"
        r"(?P<database>[^ ]+) )?(?P<text>\w+:  .*)"
    ),
    ("cloud"): (
        r"(?P<time>[0-9-]{10} [0-9:]+) UTC:(?P<host>[^:]*):(?P<user>[^@: ]*)@"
        r"(?P<database>[^:]*):\[(?P<pid>\d+)\]:(?P<text>\w+:  .*)"
    ),
}
"""Debian's log_line_prefix `%m [%p] %q%u@%d `, and `%t:%r:%u@%d:[%p]:`, as a cloud has it."""
FOLLOWING = (
    "DETAIL",
    "HINT",
    "CONTEXT",
    "QUERY",
    "STATEMENT",
    "LOCATION",
    "TIPP",
    "ZUSAMMENHANG",
    "ANFRAGE",
    "ANWEISUNG",
)

STATE = re.compile(r"(?<=:  )[0-9A-Z]{5}: ")
"""The code that stands before a message where log_error_verbosity is verbose; patterns of messages
know nothing of it."""


class Line(NamedTuple):
    """One record of the log."""

    number: int
    time: datetime
    pid: int
    user: str
    text: str
    last: int
    """The number of the last line that goes on with it."""


def read(lines: str) -> list[Line]:
    """The records of a log under either prefix; lines that begin none go on with the one before."""
    found: list[Line] = []
    for number, line in enumerate(lines.removesuffix("\n").split("\n"), 1):
        match = next(
            (match for prefix in PREFIXES.values() if (match := re.fullmatch(prefix, line))), None
        )
        if match:
            time = datetime.fromisoformat(match["time"] + "+00:00")
            text = STATE.sub("", match["text"])
            found.append(Line(number, time, int(match["pid"]), match["user"] or "", text, number))
        elif found:
            found[-1] = found[-1]._replace(last=number, text=found[-1].text + "\n" + line)
    return found


def labels(lines: Sequence[Line], record: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Number of every anomalous line -> kind of its fault."""
    cases = [
        (
            # a prefix may have whole seconds only
            datetime.fromisoformat(case["start"]).replace(microsecond=0),
            datetime.fromisoformat(case["end"]) + timedelta(milliseconds=1),
            case,
            [re.compile(pattern, re.DOTALL) for pattern in case["messages"]],
        )
        for case in record
    ]
    matched: list[tuple[int, int, Line]] = []
    leading: dict[int, Line] = {}
    leads: dict[int, int] = {}
    for line in lines:
        if line.text.startswith(FOLLOWING) and line.pid in leading:
            leads[line.number] = leading[line.pid].number
            continue
        leading[line.pid] = line
        for place, (start, end, case, patterns) in enumerate(cases):
            if (
                start <= line.time <= end
                and concerned(line, case)
                and case["naming"] in line.text
                and any(pattern.search(line.text) for pattern in patterns)
            ):
                matched.append((place, line.pid, line))
                break
    times = Counter((place, pid) for place, pid, _ in matched)
    kinds = {
        line.number: record[place]["kind"]
        for place, pid, line in matched
        if times[place, pid] >= record[place]["at_least"]
    }
    given: dict[int, str] = {}
    for line in lines:
        kind = kinds.get(leads.get(line.number, line.number))
        if kind:
            given.update(dict.fromkeys(range(line.number, line.last + 1), kind))
    return given


def concerned(line: Line, case: dict[str, Any]) -> bool:
    """Whether the injection names the line's session, and the line what it must name."""
    named = (
        not (case["pids"] or case["users"])
        or line.pid in case["pids"]
        or line.user in case["users"]
    )
    return named and case["naming"] in line.text


def sessions(lines: Sequence[Line]) -> dict[int, list[Line]]:
    """The records of each process: a run is too short for its ids to come round."""
    found: defaultdict[int, list[Line]] = defaultdict(list)
    for line in lines:
        found[line.pid].append(line)
    return dict(found)


def write(log: Path, record: Path, target: Path) -> dict[int, str]:
    """Label a log, as `line,label`."""
    entries = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    given = labels(read(log.read_text(encoding="utf-8", errors="replace")), entries)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("line", "label"))
        writer.writerows(given.items())
    return given
