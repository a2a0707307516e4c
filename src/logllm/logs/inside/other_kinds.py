"""Lines of other kinds among a format's own, such as access lines in an application's log.

They are records of their own, never part of another one.
"""

from functools import cache
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.logs.fields import Fields, may_have, read_fields

_DAY = (
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}"
    r"|[0-9]{1,2}[-/. ](?:[0-9]{1,2}|[A-Z][a-z]{2})[-/. ][0-9]{4}"
    r"|(?:[A-Z][a-z]{2},? )?[A-Z][a-z]{2} [ 0-9]?[0-9],?(?: [0-9]{4},?)?)"
)
_TIME = rf"{_DAY}[ T:]{{1,2}}[0-9]{{1,2}}:[0-9]{{2}}"
_LEVEL = "DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL"
BEGINNING = (
    r"^(?:"
    rf"(?:<[0-9]{{1,3}}>)?[\[(<]?{_TIME}"
    r"|\[?1[0-9]{9}\.[0-9]{3,9}\]? "
    rf"|(?:[^\s:]+:[0-9]+ )?[0-9A-Za-z][^\s\[\]]* [^\s\[\]]+ [^\s\[\]]+ \[{_TIME}"  # an access log
    r"|[IWEF][0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\."  # klog
    rf'|(?:{_LEVEL}): +[0-9a-fA-F.:\[\]]+ - "[A-Z]+ '  # Uvicorn
    r"|(?:INFO: {5}|(?:DEBUG|ERROR): {4})\S"
    rf"|(?:{_LEVEL}):[A-Za-z_][\w.]*:"  # Python's logging
    r"|(?:info|warn|fail|crit|dbug|trce): [^\s\[]\S*\[-?[0-9]+\](?: |$)"  # .NET's
    rf"|\[(?:{_LEVEL}|ALERT|TRACE)\] +\S"  # HAProxy's and CoreDNS's
    rf"|(?:{_LEVEL}|TRACE) +(?:\[[^\]]*\] +)?{_TIME}"
    r"|[0-9]+:[A-Z] [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} "  # Redis's
    # Django's
    r"|(?:Internal Server Error|Bad Request|Forbidden|Not Found|Method Not Allowed \([A-Z]+\)): /"
    r")"
)
"""How a line begins that is the first of a record, whatever program wrote it: with a time, or as
some do that write none."""

_WRITTEN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?: ?(?:Z|UTC"
    r"|[+-][0-9]{2}:?[0-9]{2}))?"
    r"|[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"|[0-9]{2}[ /-][A-Z][a-z]{2}[ /-][0-9]{4}[ :][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
)
_MUTE = rf"^[\[(<]?(?:{_WRITTEN})[\])>]?\W*$"
"""A line that holds a time and nothing else."""

_FORMS = (
    *("iso", "%Y/%m/%d %H:%M:%S.%f"),
    *("%d-%b-%Y %H:%M:%S.%f", "%d/%b/%Y:%H:%M:%S.%f", "%d %b %Y %H:%M:%S.%f"),
)
_OTHERS = (
    FormatSection(
        name="other",
        pattern=rf"[\[(<]?(?<time>{_WRITTEN})(?:[\])>]?[:,;|]?[ \t]+|[\])>])(?<message>[^ \t].*)",
        time="time",
        time_format=_FORMS,
    ),
    FormatSection(name="other", kind="plain"),
)
"""What a line is read by that begins a record of a kind which nobody foresaw."""


class OfKinds(NamedTuple):
    """What some lines hold, by whichever format reads them."""

    fields: Fields
    """As the first format gives them; messages, times and keys of other kinds' lines beside
    them."""
    kind: pl.Series
    """The place of each record's format in `kinds` (u8); what is no record has the first."""


@cache
def kinds(described: FormatSection) -> tuple[FormatSection, ...]:
    """The formats that lines are read by.

    They are the format, those beside it, and what reads lines that begin a record of a kind which
    nobody foresaw. The latter tell their times where the format or one beside it does.
    """
    if described.continuation is None or _below(described):
        return (described, *described.beside)
    # Whatever their kind, their further lines look like this log's.
    goes_on = {"continuation": described.continuation}
    others = tuple(other.model_copy(update=goes_on) for other in _OTHERS)
    if all(own.time is None for own in (described, *described.beside)):
        others = tuple(other.model_copy(update={"time": None}) for other in others)
    return (described, *described.beside, *others)


def _below(described: FormatSection) -> bool:
    """Whether the text of a record may stand below its first line, and look like anything."""
    return described.text_below or described.message_below


def begins(text: pl.Series, described: FormatSection) -> pl.Series:
    """Which lines begin a record of another kind, where they are none of the format's.

    Such a line never goes on with another record.
    """
    if _below(described):
        return pl.repeat(value=False, n=len(text), dtype=pl.Boolean, eager=True)
    return text.str.contains(BEGINNING)


def joins(described: FormatSection, *, of: str = "text") -> pl.Expr:
    """Whether a line goes on with the record before it, as that record's format says.

    Args:
        described: the format.
        of: the column that holds the line's text; `kind` holds the record's format.
    """
    places: dict[str, list[int]] = {}
    for place, format_ in enumerate(kinds(described)):
        if format_.continuation is not None:
            places.setdefault(format_.continuation, []).append(place)
    # One condition for each pattern, whichever of the formats have it: a log's often share one.
    of_kind: list[pl.Expr] = []
    for pattern, having in places.items():
        is_of_kind = pl.col("kind").is_in(having)
        of_kind.append(is_of_kind & pl.col(of).str.contains(pattern))
    if not of_kind:
        return pl.repeat(value=False, n=pl.len(), dtype=pl.Boolean)
    return pl.any_horizontal(of_kind).fill_null(value=False)


def time_forms(described: FormatSection) -> tuple[str, ...]:
    """How times of a format's records may be written, of whatever kind their lines are."""
    inner = described.innermost
    others = kinds(inner)[len(inner.beside) + 1 :]
    unforeseen = _FORMS if any(other.time is not None for other in others) else ()
    return tuple(dict.fromkeys((*described.time_formats, *unforeseen)))


def read_kinds(
    text: pl.Series,
    described: FormatSection,
    *,
    key_field: str | None = None,
    unforeseen: bool = True,
) -> OfKinds:
    r"""What the fields of a format, and of the formats of other kinds of lines, hold in some lines.

    >>> pattern = "(?<level>[A-Z]+): (?<message>.*)"
    >>> app = FormatSection(name="app", pattern=pattern, continuation=".*")
    >>> access = '10.0.0.7 - - [29/Feb/2024:13:55:36 +0100] "GET / HTTP/1.1" 500 0'
    >>> read_kinds(pl.Series(["INFO: up", "\tat Shop", access]), app).fields.message.to_list()
    ['up', None, '10.0.0.7 - - [29/Feb/2024:13:55:36 +0100] "GET / HTTP/1.1" 500 0']

    Args:
        text: lines.
        described: their format.
        key_field: the field that holds a record's key, of any of the formats.
        unforeseen: Whether lines that begin a record of a kind which the format does not name are
            records.
    """
    formats = kinds(described)
    own = key_field if may_have(described, key_field) or not described.beside else None
    fields = read_fields(text, described, key_field=own)
    kind = pl.Series([0], dtype=pl.UInt8).new_from_index(0, len(text))
    last = len(formats) if unforeseen else len(described.beside) + 1
    # What one format leaves unread the next one is tried on, in the order of `kinds`.
    for place, other in enumerate(formats[1:last], 1):
        if not fields.message.null_count():
            break
        places = fields.message.is_null().arg_true()
        left = text.gather(places)
        if place > len(described.beside):
            # Unforeseen: only what may go on with a record and yet looks like the first of one.
            line = pl.col("text")
            goes_on = line.str.contains(described.continuation or "")
            begins_one = line.str.contains(BEGINNING) & ~line.str.contains(_MUTE)
            is_first = left.alias("text").to_frame().select(goes_on & begins_one).to_series()
            places, left = places.filter(is_first), left.filter(is_first)
        if not len(places):
            continue
        other_key = key_field if may_have(other, key_field) else None
        read = read_fields(left, other, key_field=other_key)
        fields = _filled(fields, read, places=places)
        is_read = read.message.is_not_null()
        kind = kind.scatter(places.filter(is_read), place)
    return OfKinds(fields, kind)


def _filled(fields: Fields, read: Fields, *, places: pl.Series) -> Fields:
    """Fields with what another format reads of some lines."""
    # Only a format with a time or a key brings such a column.
    nothing = fields.message.clear(len(fields.message))

    def put(own: pl.Series | None, other: pl.Series | None) -> pl.Series | None:
        if other is None:
            return own
        column = nothing if own is None else own
        return column.clone().scatter(places, other)

    message = fields.message.clone().scatter(places, read.message)
    time, key = put(fields.time, read.time), put(fields.key, read.key)
    return fields._replace(message=message, time=time, key=key)
