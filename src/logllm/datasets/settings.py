"""Which settings prepare a log: a format's own, a recipe's over them, the user's over both."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from logllm.config.format import FormatSection, LabelFileSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection, ServiceSection, SplitSection
from logllm.config.recipe import Recipe
from logllm.config.sessions import SessionSection
from logllm.datasets.services import Kind, in_words, kinds, together
from logllm.errors import RecipeError
from logllm.formats.description import load_format
from logllm.formats.postgres_prefix import POSTGRES
from logllm.formats.recognition import recognise
from logllm.formats.time_notes import check_times
from logllm.logs.archives import Bytes
from logllm.logs.calendar.zones import check_zone
from logllm.logs.fields import may_have
from logllm.logs.first_lines import first_lines, read_again
from logllm.logs.inputs.folders import passed_over
from logllm.logs.joining import whole_rows
from logllm.logs.lines import STDIN, named_files
from logllm.sessions.proposal import Proposal, propose, sample_fields

_OF_ONE_FORMAT = ("message", "time", "time_format", "label")
_NO_PROCESS = Proposal(
    SessionSection(size=10),  # such windows of the shipped set are told apart best
    "windows of 10 lines: the server's lines do not name the process",
)
_PREFIX = (
    "the server's lines do not name the process: windows of 10 lines are judged, several "
    "connections in one, and verdicts are weaker; with log_line_prefix = '%m [%p] ' in "
    "postgresql.conf a session is a connection"
)
Options = Mapping[str, Any]
"""Settings by name; None where the user said nothing."""


def choose(
    name: str | FormatSection | None,
    *,
    recipe: str | None = None,
    overrides: Mapping[str, Options],
    services: tuple[ServiceSection, ...] = (),
) -> PrepareSection:
    """Settings for one log.

    Args:
        name: a built-in format, a TOML file that describes one, or a format that was recognised
            (`logllm.formats.recognition`).
        recipe: a recipe whose data settings to use.
        overrides: the user's own, in sections `format`, `sessions`, `split`, `mask`; `prepare`
            holds those of none, such as `redact`.
        services: where logs are of several kinds, which files are read by which format.

    Raises:
        RecipeError: no format named, or settings that do not fit.
    """
    if name is None:
        raise RecipeError(
            "name a format: `logllm prepare hdfs ...`, or --format with a built-in one or a TOML"
            " file (`logllm show formats`)"
        )
    described = name if isinstance(name, FormatSection) else load_format(name)
    recipe_data = Recipe.load(recipe).data if recipe is not None else None
    of_format = _said(overrides["format"])
    described = _opened(described, of_format)
    # What follows the message goes with no other, and neither does a day that stands apart with
    # another time.
    if of_format.get("message", described.message) != described.message:
        of_format = {"tail": (), **of_format}
    if "time" in of_format:
        of_format = {"day": None, **of_format}
    changed = {**described.model_dump(), **of_format}
    described = FormatSection.read(changed, source=f"format {described.name}")
    described = meaning_normal(described, of_format.get("normal"), field="label" in of_format)
    # The recipe's grouping and split come before the format's own, the user's before both.
    sessions, split = described.sessions, SplitSection(by=described.split)
    if recipe_data is not None:
        sessions = recipe_data.sessions or sessions
        split = recipe_data.split or split
    of_sessions = _said(overrides["sessions"])
    grouping = _sessions(sessions, of_sessions)
    if services:
        # Where some files have no times, no order of time goes through all of them.
        timed = all(service.format.time is not None for service in services)
        if not grouping.by_key and not timed:
            split = SplitSection(by="random")
        services, grouping = _for_services(
            services, grouping, format_options=of_format, session_options=of_sessions
        )
    chosen_split = {**split.model_dump(), **_said(overrides["split"])}
    masks = _masks(described, _said(overrides["mask"]))
    others = _said(overrides.get("prepare", {}))
    return PrepareSection(
        format=described,
        services=services,
        mask=masks,
        sessions=grouping,
        split=SplitSection.read(chosen_split, source="split settings"),
        **others,
    )


def as_before(
    before: Mapping[str, Any], *, overrides: Mapping[str, Options], source: str
) -> PrepareSection:
    """Settings of data that were prepared before, for a log of the same kind or for later labels.

    Args:
        before: those settings.
        overrides: as of `choose`; only the split and redaction may be others.
        source: where the settings stand, for errors.

    Raises:
        RecipeError: something else would be another, or the settings cannot be read.
    """
    # Other options would give sessions that the run has never seen.
    fixed: list[str] = []
    for section in ("format", "sessions", "mask"):
        fixed += [option for option, value in overrides[section].items() if value]
    if fixed:
        raise RecipeError(
            f"{source} says how lines are read, masked and grouped: leave out what sets"
            f" {', '.join(fixed)}"
        )
    split = {**before["split"], **_said(overrides["split"])}
    redact = before["redact"] or overrides["prepare"]["redact"]
    return PrepareSection.read({**before, "split": split, "redact": redact}, source=source)


class Suited(NamedTuple):
    """A format that was recognised, and the sessions that suit the log."""

    format: FormatSection
    """The format, its sessions those that suit."""
    notes: tuple[str, ...]
    """What a person should know of the format, a sentence each."""
    sessions: str
    """Why the sessions are what they are."""
    stdin: Bytes | None
    """What `-` reads from now on; none: nothing of it has been read."""
    services: tuple[ServiceSection, ...] = ()
    """Where the log is of several kinds, which files are read by which format; `format` is the
    first's."""


def suited(
    sources: Sequence[str | Path],
    *,
    today: date,
    stdin: Bytes | None = None,
    zone: str | None = None,
) -> Suited:
    """The format of a log and the sessions that suit it, told from its first lines alone.

    Args:
        sources: files, globs or `-`.
        today: gives times without a year theirs.
        stdin: what `-` reads; none: the process's standard input.
        zone: of times that name none, or one of several meanings; none: UTC.

    Raises:
        DataError: the log cannot be read.
        RecipeError: there is no such zone.
    """
    if zone is not None:
        check_zone(zone, what="--time-zone")
    names = named_files(sources)
    left_out = tuple(passed_over(sources))
    # Files of several kinds are told apart only where each can be looked at by itself.
    if len(names) > 1 and all(map(read_again, names)):
        several = kinds(names, today=today, zone=zone)
        formats = {kind.service.format for kind in several}
        if len(formats) > 1:
            return _several(several, notes=left_out, today=today)
    text, stdin, lines = first_lines(sources, stdin=stdin)
    recognition = recognise(text, today=today, zone=zone)
    rows, described = whole_rows(text, recognition.format)
    fields = sample_fields(rows, described)
    # A log that was looked at whole has as many records as begin in it, whatever its lines.
    records = None if lines is None else fields["message"].count()
    proposal = propose(fields, described, lines=records)
    notes = (*left_out, *recognition.notes)
    of_a_server = described.innermost.name.startswith(POSTGRES)
    if of_a_server and proposal.sessions.key_field is None:
        # What is said in some connection's messages groups no connections.
        proposal, notes = _NO_PROCESS, (*notes, _PREFIX)
    sessions = f"{proposal.reason}; another grouping: --key, --key-field, --session-by or --window"
    suiting = recognition.format.model_copy(update={"sessions": proposal.sessions})
    return Suited(suiting, notes, sessions, stdin)


def _several(several: Sequence[Kind], *, notes: tuple[str, ...], today: date) -> Suited:
    """Formats of logs of several kinds, and sessions for all."""
    suiting = together(several, today=today)
    described = suiting.services[0].format.model_copy(update={"sessions": suiting.sessions})
    reason = f"{suiting.reason}; another grouping: --key, --key-field, --session-by or --window"
    return Suited(described, (*notes, *in_words(several)), reason, None, suiting.services)


def meaning_normal(
    described: FormatSection, normal: Sequence[str] | None, *, field: bool = False
) -> FormatSection:
    """A format in which some labels mean normal, those of lines as well as those of a file.

    >>> meaning_normal(FormatSection(name="own", kind="json"), ["ok"]).label_file.normal
    ('ok',)

    Args:
        described: the format.
        normal: the labels; none: the format's own.
        field: the user named the field of the lines' labels: where the format says no more than
            `-`, the usual spellings mean normal.
    """
    # What the user says holds for labels in lines as well as for those in a file.
    if normal is not None:
        label_file = described.label_file.model_copy(update={"normal": tuple(normal)})
        return described.model_copy(update={"normal": tuple(normal), "label_file": label_file})
    if field and described.normal == FormatSection.model_fields["normal"].default:
        return described.model_copy(update={"normal": LabelFileSection().normal})
    return described


def for_format(settings: PrepareSection, described: FormatSection) -> PrepareSection:
    r"""Settings for a log of another format.

    Masks and grouping stay; the key is where the other format has it. Where the other log's lines
    have no such field, as those of a PostgreSQL server that does not name its processes, they are
    grouped as the other format says.

    >>> run = choose("hdfs", overrides={"format": {}, "sessions": {}, "split": {}, "mask": {}})
    >>> by_block = SessionSection(by="key", key_field="block")
    >>> of_json = for_format(run, FormatSection(name="own", kind="json", sessions=by_block))
    >>> of_plain = for_format(run, load_format("plain"))
    >>> of_json.sessions.key_field, of_json.sessions.long, of_plain.sessions.key_pattern
    ('block', 'cut', 'blk_-?\\d+')
    """
    # The other format may call the key by another name, or have none.
    sessions, theirs = settings.sessions, described.sessions
    key_field = sessions.key_field
    if sessions.by == theirs.by == "key":
        own_key = {"key_pattern": theirs.key_pattern, "key_field": theirs.key_field}
        sessions = sessions.model_copy(update=own_key)
    elif key_field is not None and not any(
        may_have(layer, key_field) for layer in described.layers
    ):
        limits = {"max_messages": sessions.max_messages, "long": sessions.long}
        sessions = theirs.model_copy(update=limits)
    return settings.model_copy(update={"format": described, "sessions": sessions, "services": ()})


def for_services(settings: PrepareSection, services: tuple[ServiceSection, ...]) -> PrepareSection:
    """Settings for logs of several kinds.

    Masks and grouping stay; the key is that of each kind.
    """
    first = for_format(settings, services[0].format)
    return first.model_copy(update={"services": services})


def in_zone(settings: PrepareSection, zone: str) -> PrepareSection:
    """Settings by which times that name no zone, or one of several meanings, are in a zone.

    Raises:
        RecipeError: there is no such zone.
    """
    check_zone(zone, what="--time-zone")
    update = {"time_zone": zone}
    services: list[ServiceSection] = []
    for service in settings.services:
        in_that_zone = service.format.model_copy(update=update)
        services.append(service.model_copy(update={"format": in_that_zone}))
    described = settings.format.model_copy(update=update)
    return settings.model_copy(update={"format": described, "services": tuple(services)})


def with_times_read(
    settings: PrepareSection, raw: Sequence[str | Path], *, stdin: Bytes | None
) -> Bytes | None:
    """Whether the times of a log are read, where the user named their field or way of writing.

    Returns:
        What `-` reads from now on: looking at it takes its first lines.

    Raises:
        DataError: they are not read; see `logllm.formats.time_notes.check_times`.
    """
    # Only what can be looked at without losing lines of it.
    # A pipe is looked at by putting back what was read; other logs by opening them twice.
    names = named_files(raw)
    if settings.services or not (names[0] == STDIN or read_again(names[0])):
        return stdin
    text, stdin, _ = first_lines(raw, stdin=stdin)
    check_times(text, settings.format)
    return stdin


def _for_services(
    services: tuple[ServiceSection, ...],
    sessions: SessionSection,
    *,
    format_options: dict[str, Any],
    session_options: dict[str, Any],
) -> tuple[tuple[ServiceSection, ...], SessionSection]:
    """Services and the grouping of their records, with what the user said of them."""
    of_one = sorted(set(format_options).intersection(_OF_ONE_FORMAT))
    if of_one:
        option = of_one[0].replace("_", "-")
        formats = ", ".join(f"{service.name} ({service.format.name})" for service in services)
        raise RecipeError(
            f"--{option} is about one format, but the logs have several, {formats}: prepare"
            " them separately"
        )
    timed = all(service.format.time is not None for service in services)
    if "by" in session_options and sessions.by == "key":
        # The user's key is sought in the lines of every service, and joins what they say of it.
        of_all: list[ServiceSection] = []
        for service in services:
            described = service.format.model_copy(update={"sessions": sessions})
            of_all.append(ServiceSection(name=service.name, format=described, apart=False))
        return tuple(of_all), sessions.model_copy(update={"merged": timed})
    if sessions.by == "time" and not timed:
        without = next(service.name for service in services if service.format.time is None)
        raise RecipeError(
            f"windows of time need times, and no time was found in the files of {without}: windows"
            " of lines, such as --window 100"
        )
    if sessions.by_key:
        return services, sessions
    return services, sessions.model_copy(update={"merged": timed})


def _opened(described: FormatSection, said: Options) -> FormatSection:
    """A format with another inside, as it is when the user names its message or its time.

    In a message that the user names nothing else is sought, and a time that the user names is not
    the inner format's.
    """
    named = {"message", "time", "time_format"} & said.keys()
    if described.inside is None or not named:
        return described
    inside = None
    if "message" not in named:
        inside = described.inside.model_copy(update={"time": None})
    return described.model_copy(update={"inside": inside})


def _masks(described: FormatSection, said: dict[str, Any]) -> MaskSection:
    """Mask settings: the user's, and the format's rules behind them unless masks are off."""
    masks = MaskSection.read(said, source="mask settings")
    if masks.rules == "off":
        return masks
    return masks.model_copy(update={"own": (*masks.own, *described.masks)})


def _sessions(section: SessionSection, said: dict[str, Any]) -> SessionSection:
    """Session settings with the user's over them.

    Where the user groups in another way, the defaults of that way hold.
    """
    # Limits stay; a window's size would mean nothing to sessions by key.
    # A window of 100 records says nothing about one of seconds.
    under = section.model_dump()
    if said.get("by", section.by) != section.by:
        under = {"max_messages": section.max_messages, "long": section.long}
    if "key_pattern" in said or "key_field" in said:
        under = {**under, "key_pattern": None, "key_field": None}
    return SessionSection.read({**under, **said}, source="session settings")


def _said(options: Options) -> dict[str, Any]:
    """The options that the user gave."""
    return {key: value for key, value in options.items() if value is not None}
