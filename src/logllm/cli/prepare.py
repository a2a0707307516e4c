"""`logllm prepare`: a raw log becomes train, validation and test sessions."""

import sys
import time as clock
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from logllm.cli import prepare_options as option
from logllm.cli.advice import after_prepare
from logllm.cli.console import counts, duration, emit, note, table
from logllm.counting import plural
from logllm.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logllm.config.format import FormatSection
    from logllm.config.prepare import PrepareSection, ServiceSection
    from logllm.datasets.published.fetching import Source
    from logllm.datasets.published.public import Dataset
    from logllm.logs.archives import Bytes

_MUCH = 10**9  # bytes, from which on fetching needs a yes
_COUNTS = ("lines", "rejected", "sessions", "anomalous", "distinct_messages", "distinct_sessions")


def prepare(
    out: option.Out,
    named: option.Named = None,
    raw: option.Raw = None,
    test_raw: option.TestRaw = None,
    test_labels: option.TestLabels = None,
    format: option.Format = None,
    labels: option.Labels = None,
    recipe: option.Recipe = None,
    like: option.Like = None,
    message: option.Message = None,
    time: option.Time = None,
    time_format: option.TimeFormat = None,
    time_zone: option.TimeZone = None,
    label: option.Label = None,
    normal: option.Normal = None,
    key: option.Key = None,
    key_field: option.KeyField = None,
    session_by: option.SessionBy = None,
    window: option.Window = None,
    step: option.Step = None,
    max_messages: option.MaxMessages = None,
    long: option.Long = None,
    split: option.Split = None,
    test: option.Test = None,
    validation: option.Validation = None,
    seed: option.Seed = None,
    encoding: option.Encoding = None,
    mask: option.Mask = None,
    mask_rule: option.MaskRule = None,
    keep: option.Keep = None,
    keep_rule: option.KeepRule = None,
    redact: option.Redact = False,
    yes: option.Yes = False,
    force: option.Force = False,
    as_json: option.AsJson = False,
) -> None:
    """Read, mask, group and split a log; its format is recognized unless you name it."""
    from logllm.datasets.options import mask_rules, session_options
    from logllm.datasets.sources import told_apart

    # By sections of the settings. None: the recipe, the format or the default says it.
    fields = {
        "message": message,
        "time": time,
        "time_format": time_format and [time_format],
        "time_zone": time_zone,
        "label": label,
        "normal": normal,
        "encoding": encoding,
    }
    grouping = session_options(
        window=window, step=step, key=key, key_field=key_field, by=session_by
    )
    masking = {
        "rules": mask,
        "own": mask_rules(mask_rule or []),
        "keep": keep,
        "own_keep": mask_rules(keep_rule or []),
    }
    overrides: dict[str, dict[str, Any]] = {
        "format": fields,
        "sessions": {**grouping, "max_messages": max_messages, "long": long},
        "split": {"by": split, "test": test, "validation": validation, "seed": seed},
        "mask": masking,
        "prepare": {"redact": redact},
    }
    # `prepare postgresql a.log b.log`: the first word is a format, the others are logs.
    dataset, raw = told_apart(named or [], raw or [])
    how = _chosen if like is None else partial(_as_run, like)
    settings, stdin = how(format, dataset, raw, recipe=recipe, overrides=overrides)
    log = _log(raw or dataset, out, settings, labels=labels, yes=yes, force=force)
    second = _second_log(
        test_raw or [], dataset, settings=settings, labels=test_labels, normal=normal
    )
    inputs = {"settings": settings, "stdin": stdin, **log, **second}
    _prepare(inputs, out, redact=redact, force=force, as_json=as_json)


def _prepare(
    inputs: dict[str, Any], out: Path, *, redact: bool, force: bool, as_json: bool
) -> None:
    """Prepare logs, or a data set, as `datasets.prepare` is told to, and say what came of it."""
    from logllm.datasets.prepare import prepare as run
    from logllm.logs.redaction import redacted_errors

    started = clock.perf_counter()
    with redacted_errors() if redact else nullcontext(), counts("preparing") as bar:
        manifest = run(out=out, force=force, progress=bar, **inputs)
    seconds = clock.perf_counter() - started  # without fetching and questions
    _summary(manifest, out, seconds=seconds, as_json=as_json)


def _chosen(
    format: str | None,
    dataset: str | None,
    raw: list[str] | None,
    *,
    recipe: str | None,
    overrides: dict[str, dict[str, Any]],
) -> "tuple[PrepareSection, Bytes | None]":
    """How to prepare, and standard input where some of it had to be read to find the format."""
    from logllm.datasets.published.public import CATALOG
    from logllm.datasets.settings import choose, with_times_read
    from logllm.datasets.sources import format_of, own_masks

    # A paper's data set is prepared as in the paper, by the recipe of its name.
    if recipe is None and dataset in CATALOG and not raw:
        recipe = dataset
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
    """How a run's data was prepared, to read another log in the same way.

    Raises:
        RecipeError: something is named that the run settles, or no log is named.
    """
    from logllm.datasets.settings import as_before
    from logllm.runs.manifest import find_run, read_manifest

    # A run carries all of that: with another format its verdicts would mean nothing.
    if excess := format or dataset or recipe:
        raise RecipeError(f"--like {run} says how logs are read: leave out {excess}")
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
    """The format that is named, or the one that fits the log.

    What was recognised is said; and why sessions are as they are, unless the user has settled that.

    Raises:
        RecipeError: neither a format nor a log is named.
    """
    from logllm.datasets.settings import suited
    from logllm.formats.description import load_format
    from logllm.formats.recognition import AUTO
    from logllm.logs.inputs.folders import passed_over

    # A format that is named is believed, and the log is not looked at.
    if name not in (None, AUTO):
        _say(passed_over(raw or []), redact=redact)
        return load_format(name), None, ()
    if raw is None:
        raise RecipeError(
            "name your log with --raw FILE, or a data set: `logllm prepare postgres --out DATA`"
            " (`logllm show datasets`)"
        )
    log = suited(raw, today=datetime.now(UTC).date(), zone=zone)
    # Why sessions are as they are is of interest only where nobody has said how they are to be.
    sentences = log.notes if grouped else (*log.notes, log.sessions)
    _say(sentences, redact=redact)
    return log.format, log.stdin, log.services


def _say(sentences: "Iterable[str]", *, redact: bool) -> None:
    """Say some sentences about a log, without what is secret in them if that is asked for."""
    from logllm.logs.redaction import redact_text

    for sentence in sentences:
        note(redact_text(sentence) if redact else sentence)


def _named(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that the user named."""
    return {setting: value for setting, value in options.items() if value is not None}


def _log(
    wanted: list[str] | str | None,
    out: Path,
    settings: "PrepareSection",
    *,
    labels: Path | None,
    yes: bool,
    force: bool,
) -> dict[str, Any]:
    """What to prepare: the logs that are named, or else a data set by its name.

    A data set comes with logllm, or is a public one, which is fetched unless it is here.

    Raises:
        RecipeError: there is no data set of that name.
    """
    from logllm.datasets.published.packaged import PACKAGED
    from logllm.datasets.published.public import CATALOG
    from logllm.datasets.sources import packaged_inputs, public_inputs
    from logllm.storage import check_replaceable

    if isinstance(wanted, list):
        return {"raw": wanted, "labels": labels}
    if wanted in PACKAGED:
        note(f"terms: {PACKAGED[wanted].terms}\ncite: {PACKAGED[wanted].cite}")
        return packaged_inputs(PACKAGED[wanted], labels=labels)
    if wanted not in CATALOG:
        raise RecipeError(
            f"name the log with --raw; without it {', '.join(CATALOG)} are downloaded, and "
            "postgres comes with logllm (`logllm show datasets`)"
        )
    # A folder that is taken is said before gigabytes are fetched.
    check_replaceable(out, force=force)
    public = CATALOG[wanted]
    source = _fetched(public, yes=yes)
    return public_inputs(public, source, labels=labels, settings=settings)


def _fetched(public: "Dataset", *, yes: bool) -> "Source":
    """A public data set, fetched unless it is here."""
    from logllm.datasets.published import fetching

    source = fetching.here(public)
    note(f"terms: {public.terms}\ncite: {public.cite}")
    # Terms are shown before anything is fetched.
    if source is None:
        _ask(public, yes=yes)
        with counts(f"fetching {public.name}") as bar:
            source = fetching.fetch(public, progress=bar)
    lines, date = plural(source.about["lines"], "line"), source.about["date"]
    note(f"{public.name}: {lines}, fetched {date}, in {source.log}")
    return source


def _second_log(
    logs: list[str],
    dataset: str | None,
    *,
    settings: "PrepareSection",
    labels: Path | None,
    normal: list[str] | None,
) -> dict[str, Any]:
    """The log that is the whole test part, if one is named, and its format."""
    from logllm.datasets.sources import second_log

    inputs = second_log(logs, dataset, labels=labels)
    # What --normal says is of the logs that the user names, not of a data set's.
    normal_of_test = normal if logs else None
    return inputs | _test_format(inputs.get("test_raw"), settings, normal=normal_of_test)


def _test_format(
    raw: "list[str | Path] | None", settings: "PrepareSection", *, normal: list[str] | None
) -> dict[str, Any]:
    """The format of a test log; if it is not that of the train log, this is said."""
    from logllm.datasets.sources import second_format

    if raw is None:
        return {}
    described = second_format(raw, settings, normal=normal, today=datetime.now(UTC).date())
    if described is not None and described != settings.format:
        form = f"{described.name}, with its message in {described.message}"
        note(f"--test-raw has another format than --raw: {form}")
    return {"test_format": described}


def _ask(public: "Dataset", *, yes: bool) -> None:
    """Say what would be fetched, and ask for consent if it is much.

    Raises:
        RecipeError: it is much, and nobody is there to answer.
    """
    from logllm.datasets.published.fetching import address, announced

    # Servers do not always say how large a file is.
    size = announced(public)
    amount = "of unknown size" if size is None else f"{size / 1e6:,.0f} MB"
    remainder = ""
    if public.stop is not None:
        remainder = f"; only its lines {public.start:,} to {public.stop:,} are kept"
        # A checksum is of the whole archive.
        remainder += " and the rest is read to check it" if public.md5 else ""
    note(f"to fetch: {address(public)}, {amount}{remainder}")
    if yes or (size is not None and size < _MUCH):
        return
    # In a script nobody answers, and a default of yes would fill a disk.
    if not sys.stdin.isatty():
        raise RecipeError(f"{public.name} is {amount} to fetch: say --yes")
    typer.confirm("Fetch it?", abort=True, err=True)


def _summary(manifest: dict[str, Any], out: Path, *, seconds: float, as_json: bool) -> None:
    """Say what was prepared: counts of the whole and of each part, warnings, and the next step."""
    if as_json:
        emit(manifest)
    rows = [_row(name, manifest) for name in _COUNTS]
    table(str(out), ("", "all", *manifest["parts"]), rows)
    speed = manifest["lines"] / seconds
    note(f"read in {duration(seconds)}: {speed:,.0f} lines/s")
    # What to make of these counts, and which lines are not among them.
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
    same: list[str] = []
    for field, count in counts.items():
        if count["here"] == count["paper"]:
            same.append(field.replace(".", " "))
    if same:
        note(f"the same counts as in the paper: {', '.join(same)}")


def _count(part: dict[str, Any], name: str) -> str:
    return f"{part[name]:,}" if name in part else ""
