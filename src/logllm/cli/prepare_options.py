"""What `logllm prepare` can be told."""

from pathlib import Path
from typing import Annotated

import typer

# Which log, and what of it: `prepare hdfs`, `prepare postgresql app.log`, `prepare --raw app.log`.
Out = Annotated[Path, typer.Option(help="Folder to write.")]
Named = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FORMAT|DATASET] [LOG]...",
        help=(
            "A built-in format (`logllm show formats`), then logs as for --raw; or a data set alone"
            " (`show datasets`)."
        ),
    ),
]
Raw = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "Log file, folder, glob, or - for standard input. Repeatable, even for logs of "
            "different formats; gz, bz2, xz and zst files are read directly. Without it, "
            "hdfs, bgl, thunderbird and liberty are downloaded and prepared as in the paper; "
            "postgres comes with logllm."
        )
    ),
]
TestRaw = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "Another log to use as the whole test part; for postgres also test, changed or german."
            " Repeatable."
        )
    ),
]
TestLabels = Annotated[Path | None, typer.Option(help="The labels of --test-raw.")]
Format = Annotated[
    str | None,
    typer.Option(
        help=(
            "A built-in format, a TOML file that describes one, or auto (the default): the one that"
            " fits."
        )
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help=(
            "CSV file of labels: for sessions (session,label), lines (line,label) or times"
            " (from,to,label)."
        )
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(help="Use the grouping and split of this recipe, such as the paper's hdfs."),
]
Like = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Read, mask and group as for this run, such as the one whose verdicts you labelled.",
    ),
]

# How its lines are read.
Message = Annotated[str | None, typer.Option(help="Field that holds the message.")]
Time = Annotated[str | None, typer.Option(help="Field that holds the time.")]
TimeFormat = Annotated[str | None, typer.Option(help="iso, epoch, epoch_ms or strftime codes.")]
TimeZone = Annotated[
    str | None,
    typer.Option(
        help=(
            "Time zone of times that name none, or only an ambiguous abbreviation: Europe/Berlin,"
            " +05:30."
        )
    ),
]
Label = Annotated[str | None, typer.Option(help="Field that holds the line's label.")]
Normal = Annotated[
    list[str] | None,
    typer.Option(help="Label that means normal, in the log or in the files of labels. Repeatable."),
]

# How records become sessions.
Key = Annotated[
    str | None,
    typer.Option(
        help=(
            "Group lines by the key that this regular expression matches in the message, or by its"
            " group alone, as in 'order ([0-9]+)'."
        )
    ),
]
KeyField = Annotated[str | None, typer.Option(help="Group lines by this field.")]
SessionBy = Annotated[
    str | None,
    typer.Option(
        help=(
            "One session a file, or one a folder, such as the logs of one application's containers."
        )
    ),
]
Window = Annotated[
    str | None,
    typer.Option(help="One session for so many records (100) or so much time (30s, 5m, 1h)."),
]
Step = Annotated[
    str | None,
    typer.Option(
        help="From the start of one window to the start of the next, written like --window."
    ),
]
MaxMessages = Annotated[int | None, typer.Option(help="Longest session, in messages.")]
Long = Annotated[str | None, typer.Option(help="What to do with longer sessions: cut or split.")]

# How sessions are divided.
Split = Annotated[str | None, typer.Option(help="time or random.")]
Test = Annotated[float | None, typer.Option(help="Share of sessions for the test part.")]
Validation = Annotated[
    float | None, typer.Option(help="Share of the train part kept for validation.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of a random split.")]

# What becomes of bytes and of messages.
Encoding = Annotated[str | None, typer.Option(help="utf-8 or latin-1.")]
Mask = Annotated[str | None, typer.Option(help="paper or off.")]
MaskRule = Annotated[
    list[str] | None, typer.Option(help="Mask this as well: NAME=REGEX. Repeatable.")
]
Keep = Annotated[
    str | None,
    typer.Option(
        help="codes (leave statuses of requests, exit codes and error codes unmasked) or nothing."
    ),
]
KeepRule = Annotated[
    list[str] | None, typer.Option(help="Leave this unmasked as well: NAME=REGEX. Repeatable.")
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

# What is done besides.
Yes = Annotated[bool, typer.Option("--yes", help="Download gigabytes without asking.")]
Force = Annotated[bool, typer.Option("--force", help="Replace prepared data in the folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the manifest on standard output.")]
