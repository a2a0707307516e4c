"""What novelty found, told on a terminal: unusual sessions, new kinds of message, and drift."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from logllm.cli.console import note
from logllm.cli.incidents import shown_line
from logllm.counting import plural

if TYPE_CHECKING:
    import polars as pl

    from logllm.detect.detector import Detector
    from logllm.detect.reading import Reading

_SESSIONS = 10
_LINES = 3
_KINDS = 40


def tell_unusual(
    verdicts: "Sequence[pl.DataFrame]",
    reading: "Reading",
    detector: "Detector",
    *,
    logs: Sequence[str],
    redact: bool,
) -> None:
    """Show the most unusual sessions with the lines that make them so; alike ones are told once.

    Args:
        verdicts: A ranked log's, with `messages`.
        reading: Gave them, and has been read to its end.
        detector: What ranked.
        logs: The inputs.
        redact: Take what is secret out of the lines that are shown.
    """
    from logllm.detect.page.written import written_titles
    from logllm.detect.unusual import unusual

    if not verdicts:
        return
    # Ranking reads the whole log before it scores, so there is one frame.
    sessions = unusual(
        verdicts[0],
        reading.messages,
        score_lines=detector.score_lines,
        sessions=_SESSIONS,
        lines=_LINES,
    )
    # One pass over the logs for all lines that are shown.
    lines = [line for session in sessions for line in session.lines]
    written = written_titles(lines, logs, reading=reading, redact=redact)
    note("\nthe most unusual sessions:")
    for session in sessions:
        alike = f", and {session.alike:,} alike" if session.alike else ""
        note(f"\n{session.session}: score {session.score:.4f}{alike}")
        if session.lacks:
            note("  no line says why: steps that most sessions hold are missing, or too few")
        for line in session.lines:
            note(shown_line("  ", line, written, only=logs[0], redact=redact))


def tell_new_kinds(
    reading: "Reading",
    detector: "Detector",
    *,
    logs: Sequence[str],
    redact: bool,
) -> None:
    """Name the kinds of message that good logs lack.

    Each comes with its first line, and with how many lines are of it.

    Args:
        reading: Has counted its messages, and been read to its end.
        detector: Has learnt the good logs.
        logs: The inputs.
        redact: Take what is secret out of the lines that are shown.
    """
    from logllm.detect.new_kinds import new_kinds
    from logllm.detect.page.written import written_titles
    from logllm.detect.unlabelled import Against

    judge = detector.run
    if not isinstance(judge, Against):
        return
    kinds = new_kinds(
        reading.occurrences, reading.messages, is_new=judge.new_kinds, files=reading.files
    )
    title = plural(len(kinds), "kind") + " of message never seen in the logs of --against"
    note(f"\n{title}:" if kinds else f"\n{title}")
    # A new release may bring thousands: a page of them is enough to see that.
    foremost = kinds[:_KINDS]
    written = written_titles(foremost, logs, reading=reading, redact=redact)
    for kind in foremost:
        note(shown_line(f"  {kind.lines:>5} x  ", kind, written, only=logs[0], redact=redact))
    if len(kinds) > _KINDS:
        note(f"  and {len(kinds) - _KINDS:,} more")


def tell_drift(
    verdicts: "Sequence[pl.DataFrame]",
    reading: "Reading",
    detector: "Detector",
) -> None:
    """Say so if a log holds far more that is new than good logs bring.

    Args:
        verdicts: Of all its sessions, with `messages`; of a log that does not end none.
        reading: Gave them.
        detector: Has learnt the good logs.
    """
    import polars as pl

    from logllm.detect.new_kinds import drift
    from logllm.detect.unlabelled import Against
    from logllm.sessions.message_table import rows_of

    judge = detector.run
    if not verdicts or not isinstance(judge, Against):
        return
    messages = pl.concat([frame["messages"] for frame in verdicts])
    new = drift(rows_of(messages), reading.messages, novelty=judge.novelty)
    if new is not None:
        share = f"{new.sessions:,} of {plural(new.of, 'session')}"
        note(
            f"drift: {share} hold messages unlike any in the logs of --against, where"
            f" {new.usual:.1%} did when held back: those logs may be too old, too short, or of"
            " another system"
        )
