"""Which fields of structured lines say what happened.

A message, or where none says it, the request and its status.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from logllm.config.mask import MaskSection
from logllm.logs.fields import bare_name
from logllm.logs.masking import PLACEHOLDER, mask
from logllm.logs.structured.columns import WHOLE

Columns = Mapping[str, Sequence[str]]
"""Values by field, in the fields' order; empty where a row has none."""

_MESSAGES = (
    *(
        "message",
        "msg",
        "logmessage",
        "shortmessage",
        "text",
        "log",
        "textpayload",
        "body",
        "event",
    ),
    *("description", "content", "detail", "mt", "m", "raw", "line"),
)
_EVENTS = re.compile(r"(?:event|operation|action|activity)(?:name|type)?")
_LEVELS = re.compile(r"(?:log|error)?(?:level|lvl|severity)(?:name|text)?|levelname")
_LEVEL_WORDS = re.compile(
    r"(?i)(?:trace|debug\d?|fine(?:r|st)?|config|verbose|info(?:rmation(?:al)?)?|log|notice|warn(?:ing)?|"
    r"err(?:or)?|severe|crit(?:ical)?|alert|emerg(?:ency)?|fatal|panic|dpanic)"
)
_METHODS = frozenset(
    {
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "CONNECT",
        "TRACE",
        "LIST",
        "WATCH",
        "CREATE",
        "UPDATE",
    }
)
_REQUEST = re.compile(r"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) \S+")
_PATHS = (
    "uri",
    "requesturi",
    "path",
    "requestpath",
    "url",
    "requesturl",
    "uristem",
    "target",
    "route",
    "endpoint",
)
_NO_PATHS = re.compile(r"(?i)refer|origin")
_STATUS = re.compile(r"[1-5]\d\d")
_STATUSES = re.compile(r"(?i)status|response.*code|http.*code")
_ERRORS = re.compile(
    r"(?:error|err|exception|reason|cause|failure)(?:code|message|msg|type|class|reason)?"
)
_STACKS = re.compile(
    r"(?:exception|error|err)?(?:stack(?:trace)?|excinfo|backtrace|traceback|exception|extendedstacktrace)"
)
_BROWSER = re.compile(r"Mozilla/\d|AppleWebKit/|Opera/\d|\(compatible;")
_TIME = re.compile(
    r"(?:[A-Z][a-z]{2},? )?[\dA-Z][\w:.,+/-]*(?: [\w:.,+/-]+){0,2}?[T ]?\d\d:\d\d(?::\d\d)?[\d.,]*"
    r"(?: ?[AP]M)?(?: ?[A-Z]{1,5}| ?[+-]\d\d:?\d\d)?(?: \d{4})?"
)
_NUMBER = re.compile(r"-?\d[\d.]*")
_AGENT = "agent"

_HALF = 0.5  # of the rows have what is a message
_MOST = 0.8  # of a field's values are what the field is
_ALIKE = 0.9  # of a field's values are one text: it tells nothing apart
_ENOUGH = 10  # rows, from which on that is judged
_WORDS = 2  # blanks in a message, on average


class Choice(NamedTuple):
    """The fields that are the message of structured lines."""

    message: str
    """The first of them, or `$`: the whole line."""
    tail: tuple[tuple[str, str], ...] = ()
    """What follows it: words and a field, as `FormatSection.tail` has them."""
    severity: str | None = None
    """The field that holds the severity, where that differs from line to line."""
    note: str = ""
    """Why, where no field by itself is plainly the message."""


def chosen_message(columns: Columns) -> Choice:
    """The field that is called a message, with what tells its lines apart.

    Else the request and its status, a text, or the whole line.

    >>> chosen_message({"method": ["GET", "PUT"], "url": ["/a", "/b"], "status": ["200", "500"]})[:2]
    ('method', ((' ', 'url'), (' -> ', 'status')))
    """
    severity = _severity(columns)
    stacks = tuple(("\n", name) for name in columns if _is_stack(name, columns[name]))
    named = _named(columns)
    choice = _unnamed(columns) if named is None else _completed(named, columns, severity=severity)
    if choice.message == WHOLE:  # the severity and the rest are in it
        return choice
    return choice._replace(severity=severity, tail=(*choice.tail, *stacks))


def _named(columns: Columns) -> str | None:
    """The field that is called a message and is one; the less nested the better."""
    # `host.message` is less likely the message than `message` is.
    names = [name for name in columns if _called(name) in _MESSAGES]
    names = [name for name in names if _filled(columns[name]) >= _HALF]
    names = [name for name in names if not _mostly(_NUMBER.fullmatch, columns[name])]
    names.sort(key=lambda name: (name.count("."), _MESSAGES.index(_called(name))))
    for name in names:
        if not _structured(columns[name]):
            return name
    return None


def _called(name: str) -> str:
    """A field's name, without the kind of value that OpenTelemetry writes after it."""
    return bare_name(name.removesuffix(".stringValue"))


def _completed(name: str, columns: Columns, *, severity: str | None) -> Choice:
    """A message, with other fields after it where it is (nearly) one text in all lines."""
    texts = _masked(columns[name])
    # "record" around what a server wrote says nothing: the inner message does.
    inner = _inner(name, columns, texts=texts)
    if inner is not None:
        return Choice(
            name, ((": ", inner),), note=f"{name} is one text in most lines: {inner} is added to it"
        )
    if not _constant(texts):
        return Choice(name, tuple(_status(columns)[:1]))
    request = [field for field in _request(columns) if field[1] != name]
    errors = [(" ", other) for other in columns if _is_error(other, columns[other])]
    tail = tuple((words or " ", other) for words, other in (*request, *errors))
    if tail:
        added = _listed([other for _, other in tail])
        return Choice(
            name,
            tail,
            note=(
                f"{name} is one text in nearly all lines: {added}"
                f" {'is' if len(tail) == 1 else 'are'} added to it"
            ),
        )
    # One text in all lines, and nothing to add to it: its words, a severity, or no other field that
    # differs either make it a message all the same.
    words = " " in _first(texts).replace(PLACEHOLDER, "").strip()
    others = [values for other, values in columns.items() if other != name]
    if words or severity is not None or not any(map(_differs, others)):
        return Choice(name)
    return Choice(
        WHOLE,
        note=(
            f"{name} is the same in nearly all lines, so the whole line is the message (another:"
            " --message FIELD)"
        ),
    )


def _unnamed(columns: Columns) -> Choice:
    """The message of lines without a field that is called one."""
    request = _request(columns)
    # A request needs its first field in every line: an access log has one in each.
    whole = len(request) > 1 and request[0][0] == "" and _filled(columns[request[0][1]]) == 1
    if whole:
        names = [name for _, name in request]
        return Choice(
            names[0],
            tuple(request[1:]),
            note=(
                "no field holds a message, so the request and its status are taken"
                f" ({_listed(names)})"
            ),
        )
    texts = [
        name for name in columns if _is_json(columns[name]) and _filled(columns[name]) >= _MOST
    ]
    if texts:
        named = (name for name in texts if _called(name) in _MESSAGES)
        return Choice(next(named, texts[0]))
    # The field with the most words a line; where all lines are the same any text is as good.
    telling = any(map(_differs, columns.values()))
    blanks: dict[str, float] = {}
    for name, values in columns.items():
        if _is_text(name, values) and not (telling and _constant(values)):
            blanks[name] = _blanks(values)
    best = max(blanks, key=lambda name: blanks[name], default=WHOLE)
    if blanks.get(best, 0) >= _WORDS:
        return Choice(best)
    events = [
        name
        for name, values in columns.items()
        if _EVENTS.fullmatch(bare_name(name)) and _is_event(values)
    ]
    if events:
        errors = [
            (" ", name) for name in columns if name not in events and _is_error(name, columns[name])
        ]
        return Choice(
            events[0],
            tuple(errors),
            note=(
                "no field holds a message, so this is taken:"
                f" {_listed([events[0], *(name for _, name in errors)])}"
            ),
        )
    return Choice(
        WHOLE,
        note=(
            "no field says what happened, so the whole line is the message (another: --message"
            " FIELD)"
        ),
    )


def _inner(name: str, columns: Columns, *, texts: Sequence[str]) -> str | None:
    """Another message that most of the lines have whose message is one text, such as `record` around what a server wrote."""
    first = _first(texts)
    rows = [place for place, text in enumerate(texts) if text == first]
    if len(texts) < _ENOUGH or len(rows) < _HALF * len(texts):
        return None
    for other, values in columns.items():
        beside = [values[place] for place in rows]
        if bare_name(other) not in _MESSAGES or other == name or _structured(beside):
            continue
        if _filled(beside) >= _ALIKE and _share_of_first(_masked(beside)) < _ALIKE:
            return other
    return None


def _request(columns: Columns) -> list[tuple[str, str]]:
    """Method, path and status of a request, as far as there are fields for them, each with what stands before it."""
    lines: list[str] = []
    methods: list[str] = []
    for name, values in columns.items():
        if _mostly(_REQUEST.match, values):
            lines.append(name)
        if _mostly(lambda value: value.upper() in _METHODS, values):
            methods.append(name)

    # Of several paths that whose name comes first among the usual ones.
    paths = [
        name
        for name in columns
        if bare_name(name).endswith(_PATHS) and _is_path(name, columns[name])
    ]
    paths.sort(key=_rank_of_path)

    # `GET /a HTTP/1.1` says method and path in one.
    if lines:
        fields = [("", lines[0])]
    else:
        fields = [("", methods[0])] if methods else []
        fields += [(" ", paths[0])] if paths else []
    return fields + _status(columns)[:1]


def _rank_of_path(name: str) -> int:
    """Which of the usual names of paths a field's name ends in."""
    return next(rank for rank, ending in enumerate(_PATHS) if bare_name(name).endswith(ending))


def _status(columns: Columns) -> list[tuple[str, str]]:
    """Fields that hold the status of a request."""
    names = [name for name in columns if _STATUSES.search(name) or bare_name(name) == "code"]
    return [(" -> ", name) for name in names if _mostly(_STATUS.fullmatch, columns[name])]


def _severity(columns: Columns) -> str | None:
    """The field that holds the names of levels, more than one of them."""
    names = [name for name in columns if _LEVELS.fullmatch(bare_name(name))]
    names = [name for name in names if _mostly(_LEVEL_WORDS.fullmatch, columns[name])]
    names = [name for name in names if len({value for value in columns[name] if value}) > 1]
    return min(names, key=lambda name: name.count("."), default=None)


def _is_error(name: str, values: Sequence[str]) -> bool:
    """Whether a field tells what went wrong, where something did."""
    if not _ERRORS.fullmatch(bare_name(name)) or len(set(values)) <= 1:
        return False
    return not any("\n" in value for value in values)


def _is_stack(name: str, values: Sequence[str]) -> bool:
    """Whether a field holds stack traces."""
    return bool(_STACKS.fullmatch(bare_name(name))) and any("\n" in value for value in values)


def _is_path(name: str, values: Sequence[str]) -> bool:
    """Whether a field holds what was requested."""
    if _NO_PATHS.search(name):
        return False
    return _mostly(lambda value: value.startswith(("/", "http://", "https://")), values)


def _is_text(name: str, values: Sequence[str]) -> bool:
    """Whether a field may hold a message though it is not called so: no browser, no time."""
    if _filled(values) < _HALF or _AGENT in name.lower() or _structured(values):
        return False
    return not (_mostly(_BROWSER.search, values) or _mostly(_TIME.fullmatch, values))


def _is_event(values: Sequence[str]) -> bool:
    """Whether a field names what happened in a word."""
    if _filled(values) < 1 or _structured(values):
        return False
    # Few kinds of event, and more than one: many would be names or numbers.
    return 1 < len(set(values)) <= _HALF * len(values)


def _is_json(values: Sequence[str]) -> bool:
    """Whether a field holds the text of JSON objects, which another program wrote."""
    return _mostly(lambda value: value.startswith("{"), values) and _structured(values)


def _constant(values: Sequence[str]) -> bool:
    """Whether nearly all of enough values are one text."""
    return len(values) >= _ENOUGH and _share_of_first(values) >= _ALIKE


def _differs(values: Sequence[str]) -> bool:
    """Whether a field tells lines apart by more than numbers and names."""
    return len(set(_masked(values))) > 1


def _structured(values: Sequence[str]) -> bool:
    """Whether all values are JSON objects or lists."""
    return all(value[0] + value[-1] in ("{}", "[]") for value in values if value)


def _filled(values: Sequence[str]) -> float:
    return sum(1 for value in values if value.strip()) / max(1, len(values))


def _blanks(values: Sequence[str]) -> float:
    return sum(value.count(" ") for value in values) / max(1, len(values))


def _mostly(test: Callable[[str], Any], values: Sequence[str]) -> bool:
    """Whether most rows have a value, and most values pass a test."""
    written = [value for value in values if value]
    passing = sum(1 for value in written if test(value))
    enough = len(written) >= _HALF * len(values)
    return enough and passing >= _MOST * len(written) > 0


def _masked(values: Sequence[str]) -> list[str]:
    """Texts without what is different in each."""
    texts = pl.Series(values, dtype=pl.String)
    return mask(texts, MaskSection()).to_list()


def _first(texts: Sequence[str]) -> str:
    """The most frequent text."""
    return Counter(texts).most_common(1)[0][0]


def _share_of_first(texts: Sequence[str]) -> float:
    """Share of the most frequent text."""
    return Counter(texts).most_common(1)[0][1] / len(texts)


def _listed(names: Sequence[str]) -> str:
    """Names as they are said.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
