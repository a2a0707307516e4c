"""`logllm label`: a person says which of the sessions that a run has judged are anomalous."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logllm.cli.console import counts, note
from logllm.counting import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.detect.labelling.answers import Answers
    from logllm.detect.labelling.beginning import Labelling
    from logllm.detect.labelling.judged_log import JudgedLog
    from logllm.detect.labelling.questions import Question


# What is asked about.
_Run = Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")]
_Verdicts = Annotated[
    Path,
    typer.Argument(
        help="The run's verdicts, as `logllm detect RUN LOG --out verdicts.jsonl` wrote them."
    ),
]
_Logs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LOG]...",
        help="The log that was judged. Not needed if the verdicts name their files.",
    ),
]

# Where answers go, when they are not given at the terminal.
_Labels = Annotated[
    Path | None,
    typer.Option(
        help="File for the labels, which `prepare --labels` reads. Default: beside the verdicts."
    ),
]
_Export = Annotated[
    Path | None,
    typer.Option(
        help=(
            "Write the questions into this CSV file instead, so that somebody else can fill in its"
            " column `label`."
        )
    ),
]
_Import = Annotated[
    Path | None,
    typer.Option(
        "--import", help="Read answers from a CSV file with the columns session and label."
    ),
]
_Most = Annotated[int, typer.Option(min=1, help="Ask about at most this many sessions.")]
_Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help="Remove addresses, tokens, passwords and other secrets from the lines shown.",
    ),
]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite the --export file.")]


def label(
    run: _Run,
    verdicts: _Verdicts,
    logs: _Logs = None,
    labels: _Labels = None,
    export: _Export = None,
    import_: _Import = None,
    most: _Most = 40,
    redact: _Redact = False,
    force: _Force = False,
) -> None:
    """Ask you to label the sessions that training would gain most from.

    It continues where it stopped.
    """
    from logllm.detect.labelling.answers import Answers
    from logllm.detect.labelling.beginning import open_labelling

    _check(export, asking=export is None and import_ is None, force=force)
    with counts("reading") as bar:
        task = open_labelling(run, verdicts, logs=logs or [], redacted=redact, progress=bar)
    # Beside the verdicts, so that the same command goes on where it stopped.
    place = labels or verdicts.with_suffix(".labels.csv")
    answers = Answers(place, task.written_as)
    if import_ is not None:
        _take(import_, answers, task)
    left = [question for question in task.questions if question not in answers][:most]
    if export is not None:
        _hand_out(left, task.log, export)
    elif import_ is None:
        _ask(left, task.log, answers)
    _tell(answers, place, run=run, logs=task.files)


def _check(export: Path | None, *, asking: bool, force: bool) -> None:
    """Whether it can be asked, or the questions can be written.

    Raises:
        DataError: it cannot.
    """
    from logllm.errors import DataError

    # In a pipe nobody answers.
    if asking and not (sys.stdin and sys.stdin.isatty()):
        raise DataError(
            "there is no terminal to ask on: write the questions with --export FILE.csv, fill in "
            "its column label (anomalous or normal), and read the answers with --import FILE.csv"
        )
    if export is not None and export.exists() and not force:
        raise DataError(f"{export} exists: name another file, or replace it with --force")


def _take(path: Path, answers: "Answers", task: "Labelling") -> None:
    """Take answers from a file."""
    from logllm.detect.labelling.answers import returned

    for question, answer in returned(path, task.questions):
        answers.give(question, answer)


def _hand_out(asked: "Sequence[Question]", log: "JudgedLog", path: Path) -> None:
    """Write the questions into a file, to be answered in a spreadsheet."""
    from logllm.detect.labelling.asking import handed_out
    from logllm.storage import write_atomic

    write_atomic(path, handed_out(asked, log).write_csv().encode())
    questions = plural(len(asked), "question")
    note(
        f"{questions} written: fill in the column label of {path} (anomalous or normal), then"
        f" --import {path}"
    )


def _ask(questions: "Sequence[Question]", log: "JudgedLog", answers: "Answers") -> None:
    """Ask in the terminal."""
    from logllm.detect.labelling.asking import ask

    if not questions:
        note("all sessions are labelled")
    ask(questions, log, answers=answers, key=_key, say=note)


def _key() -> str:
    """A key that is pressed; Ctrl-C and Ctrl-D end."""
    import click

    # One key, without Enter: hundreds of sessions may be to label.
    try:
        pressed = click.getchar()
    except (EOFError, KeyboardInterrupt):
        return "q"
    return "q" if pressed in ("\x03", "\x04") else pressed


def _tell(answers: "Answers", place: Path, *, run: Path, logs: "Sequence[str]") -> None:
    """Say what has been labelled, and what to do with it."""
    anomalous, normal = answers.tally
    if not anomalous and not normal:
        return
    labelled = plural(anomalous + normal, "session")
    note(f"{place}: {labelled} labelled, {anomalous:,} anomalous, {normal:,} normal")
    if not anomalous or not normal:
        missing = "normal" if anomalous else "anomalous"
        note(f"training needs both kinds: no session is labelled {missing} yet")
        return
    # Both commands can be copied as they are, whatever the files are called.
    command = ["logllm", "prepare", "--like", str(run)]
    for log in logs:
        command += ["--raw", log]
    command += ["--labels", str(place), "--split", "random", "--out", "DATA"]
    note(f"next: {shlex.join(command)}")
    note(
        "then: logllm train words --data DATA --out RUN, which learns in seconds, or small or both,"
        " with a network"
    )
