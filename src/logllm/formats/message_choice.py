"""Which fields of structured lines say what happened.

It is a message, or where there is none, the request and its status.
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
    *("message", "msg", "logmessage", "shortmessage", "text", "log", "textpayload", "body"),
    *("event", "description", "content", "detail", "mt", "m", "raw", "line"),
)
_EVENTS = re.compile(r"(?:event|operation|action|activity)(?:name|type)?")
_LEVELS = re.compile(r"(?:log|error)?(?:level|lvl|severity)(?:name|text)?|levelname")
_LEVEL_WORDS = re.compile(
    r"(?i)(?:trace|debug\d?|fine(?:r|st)?|config|verbose|info(?:rmation(?:al)?)?|log|notice"
    r"|warn(?:ing)?|err(?:or)?|severe|crit(?:ical)?|alert|emerg(?:ency)?|fatal|panic|dpanic)"
)
_HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")
_KUBERNETES_VERBS = ("LIST", "WATCH", "CREATE", "UPDATE")
_METHODS = frozenset((*_HTTP_METHODS, *_KUBERNETES_VERBS))
_REQUEST = re.compile(r"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) \S+")
_PATHS = (
    *("uri", "requesturi", "path", "requestpath", "url", "requesturl"),
    *("uristem", "target", "route", "endpoint"),
)
_NO_PATHS = re.compile(r"(?i)refer|origin")
_STATUS = re.compile(r"[1-5]\d\d")
_STATUSES = re.compile(r"(?i)status|response.*code|http.*code")
_ERRORS = re.compile(
    r"(?:error|err|exception|reason|cause|failure)(?:code|message|msg|type|class|reason)?"
)
_STACKS = re.compile(
    r"(?:exception|error|err)?"
    r"(?:stack(?:trace)?|excinfo|backtrace|traceback|exception|extendedstacktrace)"
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
    """The fields that say what happened in structured lines.

    It is the field that is called a message, with what tells its lines apart; where there is none,
    the request and its status, or a text, or the whole line.

    >>> columns = {"method": ["GET", "PUT"], "url": ["/a", "/b"], "status": ["200", "500"]}
    >>> chosen_message(columns)[:2]
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
    names: list[str] = []
    for name, values in columns.items():
        if _called(name) not in _MESSAGES:
            continue
        is_number = _mostly(_NUMBER.fullmatch, values)
        if _filled(values) >= _HALF and not is_number and not _structured(values):
            names.append(name)
    return min(
        names, key=lambda name: (name.count("."), _MESSAGES.index(_called(name))), default=None
    )


def _called(name: str) -> str:
    """A field's name, without the kind of value that OpenTelemetry writes after it."""
    return bare_name(name.removesuffix(".stringValue"))


def _completed(name: str, columns: Columns, *, severity: str | None) -> Choice:
    """A message, with other fields after it where it is (nearly) one text in all lines."""
    texts = _masked(columns[name])
    # "record" around what a server wrote says nothing: the inner message does.
    inner = _inner(name, columns, texts=texts)
    if inner is not None:
        note = f"{name} is one text in most lines: {inner} is added to it"
        return Choice(name, ((": ", inner),), note=note)
    if not _constant(texts):
        status = _status(columns)
        return Choice(name, tuple(status[:1]))
    # The message is one text: a request and what went wrong tell its lines apart.
    request = [field for field in _request(columns) if field[1] != name]
    errors = [(" ", other) for other, values in columns.items() if _is_error(other, values)]
    tail = tuple((words or " ", other) for words, other in (*request, *errors))
    if tail:
        added = _listed([other for _, other in tail])
        verb = "is" if len(tail) == 1 else "are"
        note = f"{name} is one text in nearly all lines: {added} {verb} added to it"
        return Choice(name, tail, note=note)
    # One text in all lines, and nothing to add to it: its words, a severity, or no other field that
    # differs either make it a message all the same.
    text = _first(texts).replace(PLACEHOLDER, "")
    has_words = " " in text.strip()
    others = [values for other, values in columns.items() if other != name]
    if has_words or severity is not None or not any(map(_differs, others)):
        return Choice(name)
    note = (
        f"{name} is the same in nearly all lines, so the whole line is the message (another:"
        " --message FIELD)"
    )
    return Choice(WHOLE, note=note)


def _unnamed(columns: Columns) -> Choice:
    """The message of lines without a field that is called one."""
    request = _request(columns)
    if len(request) > 1:
        # A request needs its first field in every line: an access log has one in each.
        before, first = request[0]
        if before == "" and _filled(columns[first]) == 1:
            names = _listed([name for _, name in request])
            note = f"no field holds a message, so the request and its status are taken ({names})"
            return Choice(first, tuple(request[1:]), note=note)
    texts: list[str] = []
    for name, values in columns.items():
        if _is_json(values) and _filled(values) >= _MOST:
            texts.append(name)
    if texts:
        named = (name for name in texts if _called(name) in _MESSAGES)
        message = next(named, texts[0])
        return Choice(message)
    # The field with the most words a line; where all lines are the same any text is as good.
    telling = any(map(_differs, columns.values()))
    blanks: dict[str, float] = {}
    for name, values in columns.items():
        says_nothing = telling and _constant(values)
        if _is_text(name, values) and not says_nothing:
            blanks[name] = _blanks(values)
    best = max(blanks, key=lambda name: blanks[name], default=WHOLE)
    if blanks.get(best, 0) >= _WORDS:
        return Choice(best)

    by_event = _of_events(columns)
    if by_event is not None:
        return by_event
    note = (
        "no field says what happened, so the whole line is the message (another: --message FIELD)"
    )
    return Choice(WHOLE, note=note)


def _of_events(columns: Columns) -> Choice | None:
    """The name of an event, and what went wrong in it; none where no field names events."""
    events: list[str] = []
    for name, values in columns.items():
        if _EVENTS.fullmatch(bare_name(name)) and _is_event(values):
            events.append(name)
    if not events:
        return None
    others = {name: values for name, values in columns.items() if name not in events}
    errors = [name for name, values in others.items() if _is_error(name, values)]
    taken = _listed([events[0], *errors])
    tail = tuple((" ", name) for name in errors)
    return Choice(events[0], tail, note=f"no field holds a message, so this is taken: {taken}")


def _inner(name: str, columns: Columns, *, texts: Sequence[str]) -> str | None:
    """Another message in most of the lines whose own message is one text.

    CloudNativePG writes such lines: `record` is the message, and what the server wrote is inside.
    """
    first = _first(texts)
    rows = [place for place, text in enumerate(texts) if text == first]
    if len(texts) < _ENOUGH or len(rows) < _HALF * len(texts):
        return None
    for other, values in columns.items():
        if other == name or bare_name(other) not in _MESSAGES:
            continue
        beside = [values[place] for place in rows]
        if _structured(beside) or _filled(beside) < _ALIKE:
            continue
        if _share_of_first(_masked(beside)) < _ALIKE:
            return other
    return None


def _request(columns: Columns) -> list[tuple[str, str]]:
    """Method, path and status of a request, as far as there are fields for them.

    Each comes with what stands before it in the message.
    """
    lines: list[str] = []
    methods: list[str] = []
    for name, values in columns.items():
        if _mostly(_REQUEST.match, values):
            lines.append(name)
        if _mostly(lambda value: value.upper() in _METHODS, values):
            methods.append(name)

    # Of several paths that whose name comes first among the usual ones.
    paths: list[str] = []
    for name, values in columns.items():
        if bare_name(name).endswith(_PATHS) and _is_path(name, values):
            paths.append(name)
    paths.sort(key=_rank_of_path)

    # `GET /a HTTP/1.1` says method and path in one.
    fields: list[tuple[str, str]] = []
    if lines:
        fields.append(("", lines[0]))
    else:
        if methods:
            fields.append(("", methods[0]))
        if paths:
            fields.append((" ", paths[0]))
    status = _status(columns)
    return [*fields, *status[:1]]


def _rank_of_path(name: str) -> int:
    """Which of the usual names of paths a field's name ends in."""
    bare = bare_name(name)
    return next(rank for rank, ending in enumerate(_PATHS) if bare.endswith(ending))


def _status(columns: Columns) -> list[tuple[str, str]]:
    """Fields that hold the status of a request."""
    names = [name for name in columns if _STATUSES.search(name) or bare_name(name) == "code"]
    return [(" -> ", name) for name in names if _mostly(_STATUS.fullmatch, columns[name])]


def _severity(columns: Columns) -> str | None:
    """The field that holds the names of levels, more than one of them."""
    names: list[str] = []
    for name, values in columns.items():
        if not _LEVELS.fullmatch(bare_name(name)):
            continue
        levels = {value for value in values if value}
        if len(levels) > 1 and _mostly(_LEVEL_WORDS.fullmatch, values):
            names.append(name)
    return min(names, key=lambda name: name.count("."), default=None)


def _is_error(name: str, values: Sequence[str]) -> bool:
    """Whether a field tells what went wrong, where something did."""
    if not _ERRORS.fullmatch(bare_name(name)) or len(set(values)) <= 1:
        return False
    return not any("\n" in value for value in values)


def _is_stack(name: str, values: Sequence[str]) -> bool:
    """Whether a field holds stack traces."""
    if not _STACKS.fullmatch(bare_name(name)):
        return False
    return any("\n" in value for value in values)


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
    """Share of the values that hold something."""
    filled = sum(1 for value in values if value.strip())
    return filled / max(1, len(values))


def _blanks(values: Sequence[str]) -> float:
    """Blanks in a value, on average."""
    blanks = sum(value.count(" ") for value in values)
    return blanks / max(1, len(values))


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
    ((_, often),) = Counter(texts).most_common(1)
    return often / len(texts)


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
