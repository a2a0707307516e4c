"""Incidents told on a terminal.

Of each: when it was, how many sessions it has, and the lines that decided, as the log has them.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.cli.console import note
from logllm.counting import plural

if TYPE_CHECKING:
    import polars as pl

    from logllm.detect.page.written import Place, Placed
    from logllm.detect.reading import Reading
    from logllm.detect.summary import Incident

_INCIDENTS = 12
_WIDTH = 120
"""Of what is no terminal."""
_NARROWEST = 60


def tell_incidents(
    verdicts: "Sequence[pl.DataFrame]",
    reading: "Reading",
    *,
    logs: Sequence[str],
    redact: bool,
) -> None:
    """Say what was wrong, the foremost incidents first.

    Args:
        verdicts: All of a log's, with `messages`, as they came.
        reading: Gave them, and has been read to its end.
        logs: The inputs.
        redact: Take what is secret out of the lines that are shown.
    """
    import polars as pl

    from logllm.detect.summary import summarise

    together = pl.concat(verdicts, how="diagonal_relaxed")
    incidents = summarise(
        together, reading.messages, scores=reading.message_scores, threshold=reading.threshold
    )
    foremost = incidents[:_INCIDENTS]
    # One pass over the logs for all lines that are shown, however many incidents there are.
    places: list[Place] = []
    for incident in foremost:
        places += [(telling.file, telling.line) for telling in incident.messages]
    written = written_forms(places, logs, reading, redact=redact)
    title = plural(len(incidents), "incident")
    if len(foremost) < len(incidents):
        title += f", the foremost {len(foremost)}"
    note(f"\n{title}:")
    for incident in foremost:
        _tell(incident, written, only=logs[0], redact=redact)


def _tell(
    incident: "Incident", written: "Mapping[Place, Sequence[str]]", *, only: str, redact: bool
) -> None:
    """Tell of one incident."""
    from logllm.logs.redaction import redact_text

    sessions = plural(incident.sessions, "session")
    when = _when(incident.start, incident.end)
    note(f"\n{when}: {sessions}, score {incident.score:.4f}")
    for telling in incident.messages:
        begin = f"  {telling.sessions:>5} x  "
        note(shown_line(begin, telling, written, only=only, redact=redact))
    for message in incident.expected:
        shown = redact_text(message) if redact else message
        note(_cut(f"  did not come: {shown}"))
    such = ", ".join(f"{session} ({score:.4f})" for session, score in incident.top)
    note(_cut(f"  such as {such}"))


def shown_line(
    begin: str,
    place: "Placed",
    written: "Mapping[Place, Sequence[str]]",
    *,
    only: str,
    redact: bool,
) -> str:
    """A line for the terminal: some words, where a message is, and what is written there.

    Args:
        begin: The words.
        place: The message.
        written: What is written in lines, where that could be read again.
        only: The input, where there is one.
        redact: Take out what is secret.
    """
    from logllm.logs.redaction import redact_text

    file = Path(place.file or only).name
    begin = f"{begin}{file}:{place.line}: "
    forms = written.get((place.file, place.line)) or [place.message]
    if redact:
        forms = [redact_text(form) for form in forms]
    # Forms run from the longest to the shortest: the first that fits tells most.
    room = _width() - len(begin)
    fitting = (form for form in forms if len(form) <= room)
    return _cut(begin + next(fitting, forms[-1]))


def _width() -> int:
    """Characters of a line that is written."""
    if not sys.stderr.isatty():
        return _WIDTH
    columns = shutil.get_terminal_size().columns
    return max(_NARROWEST, columns)


def _cut(text: str) -> str:
    """A text cut to the length of a line, and without characters that a terminal obeys."""
    from logllm.logs.tally import printable

    width = _width()
    if len(text) > width:
        text = f"{text[: width - 1]}…"
    return printable(text)


def written_forms(
    places: "Sequence[Place]",
    logs: Sequence[str],
    reading: "Reading",
    *,
    redact: bool,
) -> "dict[Place, list[str]]":
    """What is written in the lines at some places, the longest form first.

    A line has two forms: all of it, if people read such lines, and its message alone. Inputs that
    can be read only once have none. Nor have lines that do not tell which of their words are
    secret, if secrets are to be taken out.
    """
    from logllm.detect.evidence.written_lines import tells
    from logllm.detect.page.written import said_in, written_lines

    described = reading.settings.format
    if not tells(described, key_field=reading.settings.sessions.key_field, redacted=redact):
        return {}
    lines = written_lines(places, logs, reading=reading)
    messages = said_in(lines, described)
    forms: dict[Place, list[str]] = {}
    for place, text in lines.items():
        # A whole JSON line is mostly braces and fields that nobody asked about.
        whole = None if described.kind == "json" else text.strip()
        both = (whole, messages.get(place))
        forms[place] = [form for form in both if form] or [text.strip()]
    return forms


def _when(start: datetime | None, end: datetime | None) -> str:
    """From when to when, in UTC."""
    if start is None or end is None:
        return "without times"
    # The day is said once where both lie in it.
    same_day = start.date() == end.date()
    ended = f"{end:%H:%M:%S}" if same_day else f"{end:%Y-%m-%d %H:%M:%S}"
    return f"{start:%Y-%m-%d %H:%M:%S} to {ended} UTC"
