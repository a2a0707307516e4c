"""Incidents in words, for people."""

from collections.abc import Iterator

from logllm.counting import plural
from logllm.serve.alerts.notes import Incident, Note, Summary

MOST_LISTED = 10
"""Incidents that a summary names."""
_MOST_KINDS = 3
_LONGEST_LINE = 300


def headline(note: Note) -> str:
    """What happened, in one sentence that quotes nothing of the log but its stream's name."""
    incident = note.incident
    # What opened and ended between two messages is told in one.
    told_before = "opened" not in note.events
    sessions = plural(incident["sessions"], "anomalous session")
    where = shortened(incident["stream"], 80)
    if note.event != "closed":
        word = "Incident goes on" if told_before else "Incident"
        return f"{word} in {where}: {sessions}"
    if not incident["sessions"]:
        return f"Incident in {where} is over: its sessions turned out normal, or are muted"
    word = "is over" if told_before else "came and is over"
    return f"Incident in {where} {word}: {sessions}"


def when(incident: Incident) -> str:
    """From when to when it lasted, by the log's times, or by the watch's where the log has none.

    >>> opened, updated = "2026-11-27T12:00:00.000000Z", "2026-11-27T12:03:00.000000Z"
    >>> when({"start": None, "end": None, "opened": opened, "updated": updated})
    '2026-11-27 12:00:00 to 12:03:00 UTC'
    """
    start = incident["start"] or incident["opened"]
    end = incident["end"] or incident["updated"]
    # Of "2026-11-27T12:00:00" the date is ten characters, the time begins at the twelfth.
    same_day = start[:10] == end[:10]
    return f"{_plain(start)} to {_plain(end)[11 if same_day else 0 :]} UTC"


def lines(incident: Incident) -> Iterator[str]:
    """A line of the log for each of the foremost kinds."""
    for kind in incident["kinds"][:_MOST_KINDS]:
        yield shortened(kind["text"], _LONGEST_LINE)


def more_kinds(incident: Incident) -> str:
    """The incident's other kinds in words; empty where there are none."""
    more = len(incident["kinds"]) - _MOST_KINDS
    return f"and {plural(more, 'more kind')} of line" if more > 0 else ""


def summary_headline(summary: Summary) -> str:
    """How much was held back."""
    return (
        f"{plural(len(summary.notes), 'incident')} more: their messages were held back, since the"
        " hourly limit was reached"
    )


def shortened(text: str, most: int) -> str:
    """A text on one line, cut where it is too long.

    >>> shortened("a line that goes on", 8)
    'a line …'
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def _plain(time: str) -> str:
    """A stored time for people."""
    return time[:19].replace("T", " ")
