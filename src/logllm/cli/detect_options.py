"""What `logllm detect` can be told."""

import sys
from pathlib import Path
from typing import Annotated

import typer

# What judges, and what is judged.
Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="[RUN] LOG...",
        help=(
            "A run (a folder that `logllm train` wrote), then log files, globs, or - for "
            "standard input; gz, bz2, xz and zst files are read directly. Without a run, the "
            "one that comes with logllm judges PostgreSQL logs; other logs are ranked, the "
            "strangest session first, or judged --against good ones."
        ),
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LOG",
        help="A log in which nothing went wrong, to compare with; needs no labels. Repeatable.",
    ),
]
NewKinds = Annotated[
    bool,
    typer.Option(
        "--new-kinds", help="List the kinds of message that do not occur in the --against logs."
    ),
]
TopShare = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=(
            "Write the sessions with the highest scores first, and call at most this share of them"
            " anomalous."
        ),
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        help="Format of the log, instead of the run's: a built-in one, a TOML file, or auto."
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option(
        help=(
            "Time zone of times that name none, or only an ambiguous abbreviation: Europe/Berlin,"
            " +05:30."
        )
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=(
            "Call sessions with at least this score anomalous, instead of using the run's"
            " threshold."
        ),
    ),
]

# What is written, and where.
OnlyAnomalous = Annotated[
    bool, typer.Option("--only-anomalous", help="Write only the anomalous sessions.")
]
Out = Annotated[
    Path | None, typer.Option(help="File to write the verdicts to, instead of standard output.")
]
Report = Annotated[
    Path | None,
    typer.Option(
        help=(
            "Write a page for the browser: what was wrong, when, and the sessions with their "
            "lines. If the name does not end in .html, write a folder with the page and the "
            "verdicts."
        )
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the --out file and the report.")]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=(
            "Write at most this many verdicts, the first ones; all sessions are still judged. Of a"
            " log that is only ranked, and with --top-share, these are the highest scores."
        ),
    ),
]
Summary = Annotated[
    bool | None,
    typer.Option(
        "--summary/--no-summary",
        help=(
            "Summarize what was wrong, when and in which sessions. On by default if the verdicts go"
            " to a terminal; if you ask for it there, verdicts are written only with --limit,"
            " --only-anomalous or --out."
        ),
    ),
]
Fail = Annotated[
    bool, typer.Option("--fail-on-anomaly", help="Exit with status 1 if a session is anomalous.")
]
Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help=(
            "Remove addresses, tokens, passwords and other secrets from everything that is written."
        ),
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache", help="Score everything again; neither use nor fill the cache of scores."
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help=(
            "Share the work among the machines of a Ray cluster (HOST:PORT, or local to start one"
            " here)."
        ),
    ),
]

# How records become sessions, which a run knows and novelty does not.
Key = Annotated[
    str | None,
    typer.Option(
        help=(
            "Without a run: group lines by the key that this regular expression matches in the"
            " message."
        )
    ),
]
KeyField = Annotated[str | None, typer.Option(help="Without a run: group lines by this field.")]
SessionBy = Annotated[
    str | None, typer.Option(help="Without a run: one session a file, or one a folder.")
]
Window = Annotated[
    str | None,
    typer.Option(help="Without a run: one session for so many records (100) or so much time (5m)."),
]


def hides_verdicts(summary: bool | None, *, selected: bool, endless: bool) -> bool:
    """Whether verdicts are left out, since they would push the summary out of sight.

    Args:
        summary: whether a summary is asked for; None: nothing is said of it.
        selected: whether it is said which verdicts are wanted, or where.
        endless: whether the log may go on for ever: there is nothing else to see until it ends.
    """
    return bool(summary) and not selected and not endless and sys.stdout.isatty()
