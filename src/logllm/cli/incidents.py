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

    from logllm.detect.page.written import written_titles
    from logllm.detect.summary import summarise

    together = pl.concat(verdicts, how="diagonal_relaxed")
    incidents = summarise(
        together, reading.messages, scores=reading.message_scores, threshold=reading.threshold
    )
    foremost = incidents[:_INCIDENTS]
    # One pass over the logs for all lines that are shown, however many incidents there are.
    tellings = [telling for incident in foremost for telling in incident.messages]
    written = written_titles(tellings, logs, reading=reading, redact=redact)
    title = plural(len(incidents), "incident")
    if len(foremost) < len(incidents):
        title += f", of which these {len(foremost)} come first"
    note(f"\n{title}:")
    for incident in foremost:
        _tell(incident, written, only=logs[0], redact=redact)


def _tell(incident: "Incident", written: "Mapping[Place, str]", *, only: str, redact: bool) -> None:
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
    written: "Mapping[Place, str]",
    *,
    only: str,
    redact: bool,
) -> str:
    """A line for the terminal: some words, where a message is, and what is written there.

    Args:
        begin: The words.
        place: The message.
        written: What is written at places, where that could be read again.
        only: The input, where there is one.
        redact: Take out what is secret.
    """
    from logllm.logs.inside.traces import title
    from logllm.logs.redaction import redact_text

    file = Path(place.file or only).name
    # What could not be read again is shown as the method read it.
    text = written.get((place.file, place.line)) or title(place.message)
    shown = redact_text(text) if redact else text
    return _cut(f"{begin}{file}:{place.line}: {shown}")


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


def _when(start: datetime | None, end: datetime | None) -> str:
    """From when to when, in UTC."""
    if start is None or end is None:
        return "without times"
    # The day is said once where both lie in it.
    same_day = start.date() == end.date()
    ended = f"{end:%H:%M:%S}" if same_day else f"{end:%Y-%m-%d %H:%M:%S}"
    return f"{start:%Y-%m-%d %H:%M:%S} to {ended} UTC"
