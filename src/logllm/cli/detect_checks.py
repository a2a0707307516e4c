"""What `logllm detect` checks: that options go together, and that something was judged."""

from pathlib import Path
from typing import TYPE_CHECKING

from logllm.cli.console import note
from logllm.cli.page import check_page

if TYPE_CHECKING:
    from logllm.detect.reading import Reading
    from logllm.detect.which_run import Task

_FOREIGN = 0.5
"""From which share of new words on a run does not know a log. On other servers of the program that
it has learnt a fifth are new, in a related language a third, in another alphabet two thirds."""


def check_unlabelled(
    task: "Task",
    *,
    new_kinds: bool,
    top_share: float | None,
    threshold: float | None,
    only_anomalous: bool,
) -> None:
    """Check that what is asked for goes with what judges.

    Raises:
        DataError: it does not.
    """
    from logllm.errors import DataError

    # Each of these would be passed over in silence, and the user would wait for nothing.
    if new_kinds and not task.good:
        raise DataError("--new-kinds lists what good logs lack: name them with --against")
    if top_share is not None and task.endless:
        raise DataError(
            "--top-share needs the whole log, and standard input or a pipe may never end: name a"
            " file"
        )
    if only_anomalous and task.ranked:
        raise DataError(
            "sessions of this log are ranked, not judged, so none would be written with"
            " --only-anomalous: take the most unusual ones with --limit N, or give a good log with"
            " --against"
        )
    if threshold is not None and task.ranked:
        raise DataError(
            "sessions of this log are ranked, not judged, so --threshold has no use: give a good"
            " log with --against"
        )


def check_out(out: Path | None, *, report: Path | None, force: bool) -> None:
    """Whether verdicts and a report may be written there, asked before minutes of scoring."""
    from logllm.errors import DataError

    if report is not None:
        check_page(report, force=force)

    if out is not None and out.is_dir():
        raise DataError(f"{out} is a folder: name a file for the verdicts")
    if out is not None and out.exists() and not out.is_file():
        raise DataError(
            f"{out} is not a regular file: drop --out and redirect standard output instead"
        )
    if out is not None and out.exists() and not force:
        raise DataError(f"{out} exists: name another file, or replace it with --force")


def tell_foreign(new_words: float) -> None:
    """Say that a run knows too few of a log's words to judge it, if it is so.

    Args:
        new_words: Which share of a session's words the run has never seen, in the mean.
    """
    if new_words < _FOREIGN:
        return
    share = f"{100 * new_words:.0f} %"
    note(
        f"note: {share} of the words of a session, in the mean, are new to this run: where it has"
        " not learnt the language or the program of this log, its verdicts say little. Compare the"
        " log with a good one (--against), or train on it"
    )


def tell_none_judged(reading: "Reading", task: "Task", *, fail: bool) -> None:
    """Say that nothing was judged, if that is because no line of the log names a session.

    Args:
        reading: The log, read to its end.
        task: What was to judge it.
        fail: Whether that is an error: to a pipeline, it would look like a log without anomalies.

    Raises:
        DataError: it is.
    """
    from logllm.errors import DataError

    if not reading.counts.get("keyless"):
        return
    grouping = reading.settings.sessions.in_words
    remedy = "group otherwise with --key, --key-field, --session-by or --window"
    # A run has its own grouping: what can be named is another run, or none.
    if task.settings is None:
        remedy = "this log is of another kind than the run's: name another run, or no run"
    told = f"nothing was judged: sessions are {grouping}, and no line names one; {remedy}"
    if fail:
        raise DataError(told)
    note(told)
