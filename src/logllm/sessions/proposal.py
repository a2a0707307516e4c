"""Which sessions suit a log that nobody has said anything about: by a key that groups its lines well, else windows."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.counting import plural
from logllm.logs.fields import bare_name, fields_of, json_fields, read_fields

_NAMED = 0.95  # of all lines at least that many name the key
_OWN_NAMED = 0.5  # and where the format itself says which key
_FEWEST = 10  # sessions
_LINES = (2, 300)  # of the median session
_LARGEST = 0.5  # of all lines at most that many are in one session
_NEAR = 0.5  # of all lines at least that many are in sessions that end within half the sample
_SIZES = (100, 50, 20, 10, 5)
_WINDOWS = 20  # that a short log should give at least
_TO_NAME = 200  # lines looked at for the names of their fields
_PAIR = r"(?:^|[ \n])[A-Za-z_@][\w.@/-]*="

_FIELDS = tuple(
    re.compile(name)
    for name in (  # the narrow before the wide; letters and digits of a field's last name, in lower case
        "x?req(uest)?(id)?",
        "(x?b3)?trace(id)?",
        "x?corr(elation)?(id)?",
        "(transaction|txn|tx)(id)?",
        "(session|sess|s)id|session",
        "(block|blk)(id)?",
        "job(id)?",
        "(container|instance)(id)?",
        "task(id)?|taskattempt(id)?",
        "conn(ection)?(id)?",
        "process(id)?|procid|pid|syslogpid",
        "thread(id|name)?|tid",
        "client(ip|addr)?|remote(ip|addr|host)",
    )
)
_PATTERNS = (  # in the message, as key_pattern takes them: the whole match is the key
    r"\breq-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    r"(?i)\b(?:request|trace|correlation|transaction|session)[-_]?id\W{1,3}[0-9a-z-]+",
    r"\bblk_-?\d+",
    r"\b(?:container|attempt|job)_\d+_\w+",
    r"\bconn(?:ection)?[=:#]? ?\d+\b",
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    r"(?i)\b(?:pid|tid|thread)[=:] ?\d+",
    r"\b[\w.-]+\[\d+\]",
)


class Proposal(NamedTuple):
    """Sessions for a log."""

    sessions: SessionSection
    """How its records become sessions."""
    reason: str
    """Why, as a person may read it: `sessions by the field pid: 95 % of 2,000 lines name one, ...`."""


class _Grouped(NamedTuple):
    """What a key makes of some lines."""

    named: float
    """Share of the lines that name one."""
    sessions: int
    """How many there are."""
    median: float
    """Lines of the median session."""
    largest: float
    """Share of the lines in the largest session."""
    near: float
    """Share of the lines in sessions that reach over at most half of the lines."""


def propose(fields: pl.DataFrame, described: FormatSection, *, lines: int | None = None) -> Proposal:
    """Sessions for a log, judged by a sample of it.

    A format's own sessions are taken, unless they are by a key that most lines do not name. Else a key is sought that nearly all lines
    name and that makes many sessions which end, none of them giant: first among the fields, by their names, then in the message.

    Args:
        fields: Successive records as `sample_fields` gives them: `message` and text columns for the other fields; null where a line has none.
        described: Their format.
        lines: How many records the whole log has, where that is known; short logs get shorter windows.
    """
    fields = fields.filter(pl.col("message").is_not_null())
    own = described.sessions
    if not own.by_key and own != SessionSection():
        return Proposal(own, f"{own.in_words}, as the format {described.name} has it")
    seen: list[str] = []
    for sessions, enough in _candidates(fields, own):
        keys = fields[sessions.key_field] if sessions.key_field else fields["message"].str.extract_all(sessions.key_pattern or "")
        grouped = _grouped(keys)
        if grouped.named < enough:
            continue
        what = f"the field {sessions.key_field}" if sessions.key_field else f"the pattern {sessions.key_pattern}"
        unfit = None if sessions is own else _unfit(grouped)
        if unfit is None:
            return Proposal(sessions, f"sessions by {what}: {_told(grouped, fields.height)}")
        seen.append(f"{what} is no key, {unfit}")
    size = window_size(lines)
    found = seen[0] if seen else "no id of a request, a process or the like is in nearly all lines"
    return Proposal(SessionSection(size=size), f"windows of {size} lines: {found}")


def window_size(lines: int | None) -> int:
    """Records a window so that a short log, too, gives some twenty windows.

    >>> window_size(None), window_size(1_999), window_size(300), window_size(7)
    (100, 100, 10, 5)
    """
    return next((size for size in _SIZES if lines is None or lines > size * (_WINDOWS - 1)), _SIZES[-1])


def sample_fields(text: pl.Series, described: FormatSection, *, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Messages of some lines and the fields beside them that may be keys, as columns named as `key_field` names them.

    Args:
        text: Successive lines, or what else `read_fields` reads.
        described: Their format.
        names: The fields there are; none: the groups of a pattern, or the fields of JSON objects.

    >>> lines = pl.Series(['{"message": "up", "http": {"request_id": "a1"}, "n": 1}'])
    >>> sample_fields(lines, FormatSection(name="own", kind="json")).rows(named=True)
    [{'message': 'up', 'http.request_id': 'a1'}]
    """
    columns = {"message": read_fields(text, described).message}
    own = described.sessions.key_field
    for name in _field_names(text, described) if names is None else names:
        if (name == own or _rank(name) is not None) and name not in ("message", described.message, described.time, described.label):
            columns[name] = read_fields(text, described, key_field=name).key  # type: ignore[assignment]
    return pl.DataFrame(columns)


def _field_names(text: pl.Series, described: FormatSection) -> list[str]:
    """Names of the fields that lines of a format have, in their order."""
    if described.kind == "pattern":
        return fields_of(described)
    if described.kind == "csv":
        return list(described.columns)
    if described.kind in ("logfmt", "export"):
        return list(dict.fromkeys(text.head(_TO_NAME).str.extract_all(_PAIR).explode().drop_nulls().str.strip_chars("\n =")))
    if described.kind != "json":
        return []
    return list(dict.fromkeys(name for line in text.head(_TO_NAME) for name in json_fields(line)))


def _rank(name: str) -> int | None:
    """A field's place among those that may be keys; none: by its name it is no key."""
    return next((place for place, pattern in enumerate(_FIELDS) if pattern.fullmatch(bare_name(name))), None)


def _candidates(fields: pl.DataFrame, own: SessionSection) -> Iterator[tuple[SessionSection, float]]:
    """Sessions by key that may suit, the likeliest first, each with the share of lines that must name the key."""
    if own.by_key and (own.key_field is None or own.key_field in fields.columns):
        yield own, _OWN_NAMED
    ranked = [(rank, name) for name in fields.columns if (rank := _rank(name)) is not None]
    for _, name in sorted(ranked, key=lambda each: each[0]):
        yield SessionSection(by="key", key_field=name), _NAMED
    for pattern in _PATTERNS:
        yield SessionSection(by="key", key_pattern=pattern), _NAMED


def _grouped(keys: pl.Series) -> _Grouped:
    """What a column of keys, or of lists of keys, makes of its lines."""
    rows = keys.alias("key").to_frame().with_row_index("row")
    if keys.dtype == pl.List:
        rows = rows.explode("key").unique(maintain_order=True)
    rows = rows.filter(pl.col("key").is_not_null() & ~pl.col("key").is_in(["", "-"]))
    if not rows.height:
        return _Grouped(0.0, 0, 0.0, 0.0, 0.0)
    row = pl.col("row")
    sessions = rows.group_by("key", maintain_order=True).agg(lines=pl.len(), reach=row.max() - row.min() + 1)
    lines = sessions["lines"].to_numpy()
    ending = sessions["reach"].to_numpy() <= len(keys) / 2
    near = float(lines[ending].sum() / lines.sum())
    return _Grouped(rows["row"].n_unique() / len(keys), len(lines), float(np.median(lines)), float(lines.max() / len(keys)), near)


def _unfit(grouped: _Grouped) -> str | None:
    """Why a key does not group lines well; none where it does."""
    if grouped.sessions < _FEWEST:
        return f"it has only {plural(grouped.sessions, 'value')}"
    if not _LINES[0] <= grouped.median <= _LINES[1]:
        return (
            f"half of its {grouped.sessions:,} values have {'one line' if grouped.median < _LINES[0] else f'more than {_LINES[1]} lines'}"
        )
    if grouped.largest > _LARGEST:
        return f"one value has {100 * grouped.largest:.0f} % of the lines"
    if grouped.near < _NEAR:
        return "most lines are of values that go on through the whole log"
    return None


def _told(grouped: _Grouped, lines: int) -> str:
    """The figures of a key, for people."""
    return (
        f"{100 * grouped.named:.0f} % of {plural(lines, 'line')} name one, {plural(grouped.sessions, 'session')} of "
        f"{plural(round(grouped.median), 'line')} (median)"
    )
