"""`logllm prepare`: a raw log becomes train, validation and test sessions."""

import sys
import time as clock
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from logllm.cli.advice import after_prepare
from logllm.cli.console import counts, duration, emit, note, table
from logllm.counting import plural
from logllm.errors import RecipeError

if TYPE_CHECKING:
    from logllm.config.format import FormatSection
    from logllm.config.prepare import PrepareSection, ServiceSection
    from logllm.datasets.fetching import Source
    from logllm.datasets.public import Dataset
    from logllm.logs.archives import Bytes

_MUCH = 10**9  # bytes, from which on fetching needs a yes
_COUNTS = ("lines", "rejected", "sessions", "anomalous", "distinct_messages", "distinct_sessions")


# Which log, and what of it: `prepare hdfs`, `prepare postgresql app.log`, `prepare --raw app.log`.
_Out = Annotated[Path, typer.Option(help="Folder to write.")]
_Named = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FORMAT|DATASET] [LOG]...",
        help=(
            "A built-in format (`logllm show formats`), then logs as for --raw; or a data set alone"
            " (`show datasets`)."
        ),
    ),
]
_Raw = Annotated[
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
_TestRaw = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "Another log to use as the whole test part; for postgres also test, changed or german."
            " Repeatable."
        )
    ),
]
_TestLabels = Annotated[Path | None, typer.Option(help="The labels of --test-raw.")]
_Format = Annotated[
    str | None,
    typer.Option(
        help=(
            "A built-in format, a TOML file that describes one, or auto (the default): the one that"
            " fits."
        )
    ),
]
_Labels = Annotated[
    Path | None,
    typer.Option(
        help=(
            "CSV file of labels: for sessions (session,label), lines (line,label) or times"
            " (from,to,label)."
        )
    ),
]
_Recipe = Annotated[
    str | None,
    typer.Option(help="Use the grouping and split of this recipe, such as the paper's hdfs."),
]
_Like = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Read, mask and group as for this run, such as the one whose verdicts you labelled.",
    ),
]

# How its lines are read.
_Message = Annotated[str | None, typer.Option(help="Field that holds the message.")]
_Time = Annotated[str | None, typer.Option(help="Field that holds the time.")]
_TimeFormat = Annotated[str | None, typer.Option(help="iso, epoch, epoch_ms or strftime codes.")]
_TimeZone = Annotated[
    str | None,
    typer.Option(
        help=(
            "Time zone of times that name none, or only an ambiguous abbreviation: Europe/Berlin,"
            " +05:30."
        )
    ),
]
_Label = Annotated[str | None, typer.Option(help="Field that holds the line's label.")]
_Normal = Annotated[
    list[str] | None,
    typer.Option(help="Label that means normal, in the log or in the files of labels. Repeatable."),
]

# How records become sessions.
_Key = Annotated[
    str | None,
    typer.Option(
        help=(
            "Group lines by the key that this regular expression matches in the message, or by its"
            " group alone, as in 'order ([0-9]+)'."
        )
    ),
]
_KeyField = Annotated[str | None, typer.Option(help="Group lines by this field.")]
_SessionBy = Annotated[
    str | None,
    typer.Option(
        help=(
            "One session a file, or one a folder, such as the logs of one application's containers."
        )
    ),
]
_Window = Annotated[
    str | None,
    typer.Option(help="One session for so many records (100) or so much time (30s, 5m, 1h)."),
]
_Step = Annotated[
    str | None,
    typer.Option(
        help="From the start of one window to the start of the next, written like --window."
    ),
]
_MaxMessages = Annotated[int | None, typer.Option(help="Longest session, in messages.")]
_Long = Annotated[str | None, typer.Option(help="What to do with longer sessions: cut or split.")]

# How sessions are divided.
_Split = Annotated[str | None, typer.Option(help="time or random.")]
_Test = Annotated[float | None, typer.Option(help="Share of sessions for the test part.")]
_Validation = Annotated[
    float | None, typer.Option(help="Share of the train part kept for validation.")
]
_Seed = Annotated[int | None, typer.Option(help="Seed of a random split.")]

# What becomes of bytes and of messages.
_Encoding = Annotated[str | None, typer.Option(help="utf-8 or latin-1.")]
_Mask = Annotated[str | None, typer.Option(help="paper or off.")]
_MaskRule = Annotated[
    list[str] | None, typer.Option(help="Mask this as well: NAME=REGEX. Repeatable.")
]
_Keep = Annotated[
    str | None,
    typer.Option(
        help="codes (leave statuses of requests, exit codes and error codes unmasked) or nothing."
    ),
]
_KeepRule = Annotated[
    list[str] | None, typer.Option(help="Leave this unmasked as well: NAME=REGEX. Repeatable.")
]
_Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help=(
            "Remove addresses, tokens, passwords and other secrets from everything that is written."
        ),
    ),
]

# What is done besides.
_Yes = Annotated[bool, typer.Option("--yes", help="Download gigabytes without asking.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace prepared data in the folder.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the manifest on standard output.")]


def prepare(
    out: _Out,
    named: _Named = None,
    raw: _Raw = None,
    test_raw: _TestRaw = None,
    test_labels: _TestLabels = None,
    format: _Format = None,
    labels: _Labels = None,
    recipe: _Recipe = None,
    like: _Like = None,
    message: _Message = None,
    time: _Time = None,
    time_format: _TimeFormat = None,
    time_zone: _TimeZone = None,
    label: _Label = None,
    normal: _Normal = None,
    key: _Key = None,
    key_field: _KeyField = None,
    session_by: _SessionBy = None,
    window: _Window = None,
    step: _Step = None,
    max_messages: _MaxMessages = None,
    long: _Long = None,
    split: _Split = None,
    test: _Test = None,
    validation: _Validation = None,
    seed: _Seed = None,
    encoding: _Encoding = None,
    mask: _Mask = None,
    mask_rule: _MaskRule = None,
    keep: _Keep = None,
    keep_rule: _KeepRule = None,
    redact: _Redact = False,
    yes: _Yes = False,
    force: _Force = False,
    as_json: _AsJson = False,
) -> None:
    """Read, mask, group and split a log; its format is recognized unless you name it."""
    from logllm.datasets.prepare import prepare as run
    from logllm.datasets.settings import mask_rules, session_options
    from logllm.datasets.sources import told_apart
    from logllm.logs.redaction import redacted_errors

    # By sections of the settings. None: the recipe, the format or the default says it.
    overrides = {
        "format": {
            "message": message,
            "time": time,
            "time_format": time_format and [time_format],
            "time_zone": time_zone,
            "label": label,
            "normal": normal,
            "encoding": encoding,
        },
        "sessions": {
            **session_options(
                window=window, step=step, key=key, key_field=key_field, by=session_by
            ),
            "max_messages": max_messages,
            "long": long,
        },
        "split": {"by": split, "test": test, "validation": validation, "seed": seed},
        "mask": {
            "rules": mask,
            "own": mask_rules(mask_rule or []),
            "keep": keep,
            "own_keep": mask_rules(keep_rule or []),
        },
        "prepare": {"redact": redact},
    }
    # `prepare postgresql a.log b.log`: the first word is a format, the others are logs.
    dataset, raw = told_apart(named or [], raw or [])
    how = _chosen if like is None else partial(_as_run, like)
    settings, stdin = how(format, dataset, raw, recipe=recipe, overrides=overrides)
    log: dict[str, Any] = (
        {"raw": raw, "labels": labels}
        if raw
        else _by_name(dataset, out, settings, labels=labels, yes=yes, force=force)
    )
    inputs = log | _second_log(
        test_raw or [], dataset, settings=settings, labels=test_labels, normal=normal
    )
    started = clock.perf_counter()
    with redacted_errors() if redact else nullcontext(), counts("preparing") as bar:
        manifest = run(out=out, settings=settings, force=force, progress=bar, stdin=stdin, **inputs)
    _summary(manifest, out, seconds=clock.perf_counter() - started, as_json=as_json)


def _chosen(
    format: str | None,
    dataset: str | None,
    raw: list[str] | None,
    *,
    recipe: str | None,
    overrides: dict[str, dict[str, Any]],
) -> "tuple[PrepareSection, Bytes | None]":
    """How to prepare, said before it is checked, and standard input where some of it had to be read to find the format."""
    from logllm.datasets.public import CATALOG
    from logllm.datasets.settings import choose, with_times_read
    from logllm.datasets.sources import format_of, own_masks

    # A paper's data set is prepared as in the paper, by the recipe of its name.
    recipe = recipe or (dataset if dataset in CATALOG and not raw else None)
    grouped = recipe is not None or any(overrides["sessions"].values())
    redact = overrides["prepare"]["redact"]
    zone = overrides["format"]["time_zone"]
    described, stdin, services = _described(
        format or format_of(dataset), raw, grouped=grouped, redact=redact, zone=zone
    )
    # A recipe says how to mask; else the format's own rules and what the user asked for.
    if recipe is None:
        overrides = {**overrides, "mask": own_masks(described) | _named(overrides["mask"])}
    settings = choose(described, recipe=recipe, overrides=overrides, services=services)
    # A field named by hand may hold no times: better said now than after an hour of reading.
    if raw and (overrides["format"]["time"] or overrides["format"]["time_format"]):
        stdin = with_times_read(settings, raw, stdin=stdin)
    return settings, stdin


def _as_run(
    run: Path,
    format: str | None,
    dataset: str | None,
    raw: list[str] | None,
    *,
    recipe: str | None,
    overrides: dict[str, dict[str, Any]],
) -> "tuple[PrepareSection, Bytes | None]":
    """How a run's data was prepared."""
    from logllm.datasets.settings import as_before
    from logllm.runs.manifest import find_run, read_manifest

    # A run carries all of that: with another format its verdicts would mean nothing.
    if other := format or dataset or recipe:
        raise RecipeError(f"--like {run} says how logs are read: leave out {other}")
    if not raw:
        raise RecipeError(f"--like {run} says how logs are read: name the log with --raw FILE")
    before = read_manifest(find_run(run))["data"]["prepare"]
    return as_before(before, overrides=overrides, source=f"{run}'s manifest"), None


_Described: TypeAlias = "tuple[FormatSection, Bytes | None, tuple[ServiceSection, ...]]"
"""A format, what is left of standard input, and the services where logs are of several kinds."""


def _described(
    name: str | None,
    raw: list[str] | None,
    *,
    grouped: bool,
    redact: bool,
    zone: str | None,
) -> "_Described":
    """The format that is named, or the one that is recognised, which is said, and why sessions are as they are unless they are asked for."""
    from logllm.datasets.settings import suited
    from logllm.formats.description import load_format
    from logllm.formats.recognition import AUTO
    from logllm.logs.lines import passed_over
    from logllm.logs.redaction import redact_text

    # A format that is named is believed, and the log is not looked at.
    if name not in (None, AUTO):
        for sentence in passed_over(raw or []):
            note(redact_text(sentence) if redact else sentence)
        return load_format(name), None, ()
    if raw is None:
        raise RecipeError(
            "name your log with --raw FILE, or a data set: `logllm prepare postgres --out DATA`"
            " (`logllm show datasets`)"
        )
    log = suited(raw, today=datetime.now(UTC).date(), zone=zone)
    # Why sessions are as they are is of interest only where nobody has said how they are to be.
    for sentence in log.notes if grouped else (*log.notes, log.sessions):
        note(redact_text(sentence) if redact else sentence)
    return log.format, log.stdin, log.services


def _named(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that the user named."""
    return {setting: value for setting, value in options.items() if value is not None}


def _by_name(
    name: str | None,
    out: Path,
    settings: "PrepareSection",
    *,
    labels: Path | None,
    yes: bool,
    force: bool,
) -> dict[str, Any]:
    """What to prepare where no log is named.

    A data set that comes with logllm, or a public one, fetched unless it is here.
    """
    from logllm.datasets.packaged import PACKAGED
    from logllm.datasets.public import CATALOG
    from logllm.datasets.sources import packaged_inputs, public_inputs
    from logllm.storage import check_replaceable

    if name in PACKAGED:
        note(f"terms: {PACKAGED[name].terms}\ncite: {PACKAGED[name].cite}")
        return packaged_inputs(PACKAGED[name], labels=labels)
    if name not in CATALOG:
        raise RecipeError(
            f"name the log with --raw; without it {', '.join(CATALOG)} are downloaded, and "
            "postgres comes with logllm (`logllm show datasets`)"
        )
    # Before gigabytes are fetched.
    check_replaceable(out, force=force)
    return public_inputs(
        CATALOG[name], _fetched(CATALOG[name], yes=yes), labels=labels, settings=settings
    )


def _fetched(public: "Dataset", *, yes: bool) -> "Source":
    """A public data set, fetched unless it is here."""
    from logllm.datasets import fetching

    source = fetching.here(public)
    note(f"terms: {public.terms}\ncite: {public.cite}")
    # Terms are shown before anything is fetched.
    if source is None:
        _ask(public, yes=yes)
        with counts(f"fetching {public.name}") as bar:
            source = fetching.fetch(public, progress=bar)
    note(
        f"{public.name}: {plural(source.about['lines'], 'line')}, fetched {source.about['date']},"
        f" in {source.log}"
    )
    return source


def _second_log(
    logs: list[str],
    dataset: str | None,
    *,
    settings: "PrepareSection",
    labels: Path | None,
    normal: list[str] | None,
) -> dict[str, Any]:
    """The log that is the test part, where there is one, and its format."""
    from logllm.datasets.sources import second_log

    inputs = second_log(logs, dataset, labels=labels)
    return inputs | _test_format(inputs.get("test_raw"), settings, normal=normal if logs else None)


def _test_format(
    raw: "list[str | Path] | None", settings: "PrepareSection", *, normal: list[str] | None
) -> dict[str, Any]:
    """The format of a test log, said where it is another than the train log's."""
    from logllm.datasets.sources import second_format

    if raw is None:
        return {}
    described = second_format(raw, settings, normal=normal, today=datetime.now(UTC).date())
    if described is not None and described != settings.format:
        note(
            f"--test-raw has another format than --raw: {described.name}, with its message in"
            f" {described.message}"
        )
    return {"test_format": described}


def _ask(public: "Dataset", *, yes: bool) -> None:
    """Say what would be fetched, and ask where it is much."""
    from logllm.datasets.fetching import address, announced

    size = announced(public)
    said = "of unknown size" if size is None else f"{size / 1e6:,.0f} MB"
    kept = ""
    if public.stop is not None:
        kept = f"; only its lines {public.start:,} to {public.stop:,} are kept"
        # A checksum is of the whole archive.
        kept += " and the rest is read to check it" if public.md5 else ""
    note(f"to fetch: {address(public)}, {said}{kept}")
    if yes or (size is not None and size < _MUCH):
        return
    # In a script nobody answers, and a default of yes would fill a disk.
    if not sys.stdin.isatty():
        raise RecipeError(f"{public.name} is {said} to fetch: say --yes")
    typer.confirm("Fetch it?", abort=True, err=True)


def _summary(manifest: dict[str, Any], out: Path, *, seconds: float, as_json: bool) -> None:
    """Counts of the whole and of each part."""
    if as_json:
        emit(manifest)
    parts = manifest["parts"]
    table(str(out), ("", "all", *parts), [_row(name, manifest) for name in _COUNTS])
    note(f"read in {duration(seconds)}: {manifest['lines'] / seconds:,.0f} lines/s")
    _tell_same(manifest.get("paper", {}))
    for warning in manifest["warnings"]:
        note(f"note: {warning}")
    for reject in manifest["first_rejects"]:
        note(f"  rejected: {reject['file']}:{reject['line']}: {reject['text']}")
    note(f"next: {after_prepare(manifest, out)}")


def _row(name: str, manifest: dict[str, Any]) -> tuple[str, ...]:
    """A count of the whole, and of each part."""
    of_parts = [_count(part, name) for part in manifest["parts"].values()]
    return name.replace("_", " "), f"{manifest[name]:,}", *of_parts


def _tell_same(counts: dict[str, Any]) -> None:
    """Name the counts that are the paper's; those that differ are among the warnings."""
    same = [
        field.replace(".", " ")
        for field, count in counts.items()
        if count["here"] == count["paper"]
    ]
    if same:
        note(f"the same counts as in the paper: {', '.join(same)}")


def _count(part: dict[str, Any], name: str) -> str:
    return f"{part[name]:,}" if name in part else ""
