"""`logllm detect --report`: verdicts as a page to open in a browser."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.cli.console import note

if TYPE_CHECKING:
    import polars as pl

    from logllm.detect.detector import Detector
    from logllm.detect.page.written import PutAside
    from logllm.detect.reading import Reading
    from logllm.detect.which_run import Task


def check_page(path: Path, *, force: bool) -> None:
    """Check that a report may be written there, before minutes of scoring."""
    from logllm.detect.page.report import check_report

    check_report(path, force=force)


def put_aside(task: "Task") -> "PutAside | None":
    """Standard input, where it is read: the page shows lines of it, which cannot be read again."""
    from logllm.detect.page.written import PutAside
    from logllm.logs.arriving import standard_input
    from logllm.logs.lines import STDIN

    # Files can be opened again when lines of them are shown.
    if STDIN not in task.logs:
        return None
    return PutAside(task.stdin or standard_input())


def write_page(
    path: Path,
    frames: "Sequence[pl.DataFrame]",
    reading: "Reading",
    detector: "Detector",
    *,
    task: "Task",
    aside: "PutAside | None",
    redact: bool,
    force: bool,
) -> None:
    """Write the page, or a folder with it, and say where it is.

    Args:
        path: Of the page, or of the folder.
        frames: All verdicts, with `messages`, as they came.
        reading: Gave them, and has been read to its end.
        detector: What judged.
        task: What was to be done.
        aside: Standard input, where it was put aside.
        redact: Show nothing secret.
        force: Replace what is there.
    """
    from datetime import UTC, datetime

    import polars as pl

    from logllm.detect.page.gathered import gathered
    from logllm.detect.page.judged import Judged, Wish
    from logllm.detect.page.report import write_report
    from logllm.detect.verdict import none_judged

    # What the page says of itself: of which logs it is, and how they were read.
    wish = Wish(
        task.logs,
        datetime.now(UTC),
        how_read=task.said,
        good=task.good,
        redact=redact,
        aside=aside,
    )
    # A log may hold no session at all; its page says so.
    verdicts = pl.concat(frames, how="diagonal_relaxed") if frames else none_judged()
    contents = gathered(Judged(verdicts, reading, detector), wish)
    written = write_report(path, contents, verdicts=verdicts, force=force)
    note(f"the report is {written}: open it in a browser")
