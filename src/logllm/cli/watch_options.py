"""What `logllm watch` can be told."""

from pathlib import Path
from typing import Annotated, Literal

import typer

# What is watched, and where verdicts go.
Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN] SOURCE...",
        help=(
            "A run (a folder that `logllm train` wrote), then files and globs, - for standard "
            "input, journald:, syslog://HOST:PORT, otlp://HOST:PORT, or "
            "kafka://HOST:PORT/TOPIC. Without a run, the one that comes with logllm judges "
            "PostgreSQL logs."
        ),
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file with one or more sources, instead of arguments and other options."
    ),
]
Store = Annotated[
    str,
    typer.Option(
        help="Where verdicts go: a file, sqlite:///PATH, or postgresql://USER@HOST/DATABASE."
    ),
]

# Where a log begins, and when a session of it is over.
Begin = Annotated[
    Literal["start", "end", "stored"],
    typer.Option(
        "--from",
        help=(
            "Where to begin with a log that is new to the store: at its first line, after its last,"
            " or not at all."
        ),
    ),
]
Idle = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=(
            "Seconds without a line after which a session is over. Default: as long as sessions"
            " paused in training."
        ),
    ),
]
MaxOpenAge = Annotated[
    int, typer.Option(min=1, help="Seconds after which a session is closed although it may go on.")
]

# How a source is read; with several of them `--config` says it of each.
Format = Annotated[
    str | None,
    typer.Option(
        help="Format of the log, instead of the run's: a built-in one, a TOML file, or auto."
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option(help="Time zone of times that name none, or only an ambiguous abbreviation."),
]
Stream = Annotated[
    str | None, typer.Option(help="Name of the source in the store. Default: the argument itself.")
]
Token = Annotated[
    str | None,
    typer.Option(envvar="LOGLLM_OTLP_TOKEN", help="Token that senders of OTLP must send."),
]

# What is kept, and what is shown meanwhile.
Redact = Annotated[
    bool,
    typer.Option(
        "--redact", help="Remove addresses, tokens, passwords and other secrets from the store."
    ),
]
Learn = Annotated[
    bool,
    typer.Option(
        "--learn",
        help=(
            "Learn from normal sessions while watching; only for runs of method novelty. The run"
            " itself is not changed."
        ),
    ),
]
RetainDays = Annotated[int, typer.Option(min=1, help="Number of days to keep verdicts.")]
Metrics = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Port on this machine where Prometheus finds metrics."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show how the first lines are read, and store nothing.")
]
Engine = Annotated[
    str | None,
    typer.Option(help="Engine that scores, instead of the recipe's: exact, bf16, or auto."),
]
