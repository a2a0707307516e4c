"""How the first lines of a source would be read, when nothing is to be stored."""

import time
from datetime import UTC, datetime

import polars as pl

from logllm.counting import plural
from logllm.logs.reader import Reader
from logllm.serve.sources.contract import Arrival, Shared
from logllm.serve.surroundings import Watched
from logllm.sessions.message_table import MessageTable
from logllm.sessions.sessionizer import Sessionizer

_SECONDS = 3.0
"""How long lines are waited for."""
_LINES = 5_000
_SHOWN = 3


def tried(watched: Watched) -> list[str]:
    """What a person should know before a source is watched, a sentence each.

    Raises:
        ServeError: it cannot be read.
    """
    arrivals = _first(watched)
    if not arrivals:
        what = f"{watched.name}: no line came within {_SECONDS:g} seconds"
        return [f"{what}; --from start begins with what is there"]
    lines = pl.concat([arrival.lines for arrival in arrivals])
    settings, notes = watched.settings, tuple[str, ...]()
    if watched.recognise is not None:
        settings, notes = watched.recognise(lines["text"])
    assert settings is not None  # noqa: S101 - one of both is there
    reader = Reader(settings, today=datetime.now(UTC).date())
    table, sessionizer = MessageTable(), Sessionizer(settings.sessions)

    # As a watch does it: lines of each partition by themselves, their records together.
    partitions = list(dict.fromkeys(arrival.partition for arrival in arrivals))
    pushed = {name: reader.pushed(name) for name in partitions}
    records = []
    for arrival in arrivals:
        own = arrival.lines.select("line", "text")
        records.append(pushed[arrival.partition].push(own))
    rests = [pushed[name].rest() for name in partitions]
    records += [rest for rest in rests if rest is not None]
    # As in a watch that ends here: what is still open is told as it is.
    closed = [sessionizer.push(table.numbered(frame)) for frame in records if frame.height]
    sessions = pl.concat([*closed, sessionizer.flush()])
    came = f"{plural(lines.height, 'line')} of {plural(len(partitions), 'partition')}"
    read_as = f"{watched.name}: {came}, read as {settings.format.name}"
    rejected = f"{reader.tally.counts['rejected']:,} not in the format"
    grouped = f"{plural(sessions.height, 'session')} ({settings.sessions.in_words})"
    distinct = plural(len(table.messages), "distinct message")
    # Further lines of a message stand below its first one.
    indented = table.messages.head(_SHOWN).str.replace_all("\n", "\n    ", literal=True)
    examples = [f"  {message}" for message in indented]
    read = f"{rejected}; {grouped}, {distinct}, such as"
    return [read_as, *notes, read, *examples]


def _first(watched: Watched) -> list[Arrival]:
    """What comes first."""
    source = watched.source
    arrivals: list[Arrival] = []
    until = time.monotonic() + _SECONDS
    try:
        # A look takes no partition from those who watch.
        if isinstance(source, Shared):
            source.alone()
        source.begin(lambda partition: None)
        while time.monotonic() < until and not source.over:
            came = source.take(0.2).arrivals
            arrivals += [arrival for arrival in came if arrival.lines.height]
            if sum(arrival.lines.height for arrival in arrivals) >= _LINES:
                break
    finally:
        source.close()
    return arrivals
