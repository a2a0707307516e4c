"""Which sessions suit a log about which nothing is known.

They are by the key that groups its lines best, else windows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.sessions import SessionSection
from logllm.logs.fields import fields_of, read_fields
from logllm.logs.inside.envelopes import opened
from logllm.logs.inside.other_kinds import read_kinds
from logllm.logs.masking import mask
from logllm.logs.records import keys_in
from logllm.logs.structured.json_lines import json_fields
from logllm.sessions.key_candidates import Candidate, by_field, in_messages
from logllm.sessions.key_measures import NAMED, Grouping, grouping, unfit
from logllm.sessions.message_table import MessageTable

_LINES = FormatSection(name="plain", kind="plain")
_OWN_NAMED = 0.5  # of the lines must name the key that the format itself says
_ONE = 0.9  # of the lines name one key: then it groups nothing
_NAMELESS_NEAR = 0.8  # of the lines in sessions that end, where the key has not the name of an id
_MANY = 50  # lines, of which that can be said
_WORTH_SAYING = 0.3  # of the lines name a key that is not taken
_SIZES = (100, 50, 20, 10, 5)
_WINDOWS = 20  # that a short log should give at least
_GLANCE = 200  # lines looked at for their fields
_LONGEST = 80  # characters of the mean key
_PAIR = r"(?:^|[ \n])[A-Za-z_@][\w.@/-]*="


class Proposal(NamedTuple):
    """Sessions for a log."""

    sessions: SessionSection
    """How its records become sessions."""
    reason: str
    """Why, as a person may read it: `sessions by the field pid: 95 % of 2,000 lines name one,
    ...`."""


class _Tried(NamedTuple):
    """A key, and what it makes of the lines."""

    key: Candidate
    made: Grouping
    fault: str | None
    """Why it does not suit; none where it does."""

    @property
    def score(self) -> float:
        return self.key.prior * self.made.score


def propose(
    fields: pl.DataFrame, described: FormatSection, *, lines: int | None = None
) -> Proposal:
    """Sessions for a log, judged by a sample of it.

    The format's own sessions are taken, unless their key is missing from most lines or the same in
    nearly all. Else each field is tried as a key, and in the messages each word, bracket and stem
    before what varies. A key suits if nearly all lines name it and if it makes many sessions which
    end, none of them giant. Without the name of an id, it must also make sessions that have a
    beginning or an end of their own. Of the keys that suit, the one of the best score is taken.

    Args:
        fields: Successive records as `sample_fields` gives them: `message` and text columns for the
            other fields; null where a line has none.
        described: Their format.
        lines: How many records the whole log has, where that is known; short logs get shorter
            windows.
    """
    fields = fields.filter(pl.col("message").is_not_null())
    # Whoever wrote the format knows how its sessions are told apart, if they are no keys.
    own = described.sessions
    if not own.by_key and own != SessionSection():
        return Proposal(own, f"{own.in_words}, as the format {described.name} has it")
    masked = mask(fields["message"], MaskSection())
    numbers = MessageTable().push(masked)
    tried = [_tried(key, fields, numbers=numbers, own=own) for key in _candidates(fields, own)]
    first = tried[0] if tried else None
    own_suits = first is not None and first.key.sessions is own and first.fault is None
    if first is not None and own.by_key and own_suits:
        return Proposal(own, _chosen(first, None))
    # The best key that suits; the next best is named too, if it makes other sessions than the best.
    suiting = [key for key in tried if key.fault is None]
    suiting.sort(key=lambda key: -key.score)
    if suiting:
        best = suiting[0]
        other = next((key for key in suiting[1:] if key.made != best.made), None)
        return Proposal(best.key.sessions, _chosen(best, other))
    size = window_size(lines)
    windows = SessionSection(size=size)
    return Proposal(windows, f"windows of {size} lines: {_why_windows(tried)}")


def window_size(lines: int | None) -> int:
    """How many records a window has, so that a short log, too, gives some twenty windows.

    >>> window_size(None), window_size(1_999), window_size(300), window_size(7)
    (100, 100, 10, 5)
    """
    for size in _SIZES:
        if lines is None or lines > size * (_WINDOWS - 1):
            return size
    return _SIZES[-1]


def sample_fields(text: pl.Series, described: FormatSection) -> pl.DataFrame:
    """Messages of some lines, and the fields beside them that may be keys.

    Each field is a column, named as `key_field` names it.

    Args:
        text: Successive lines, or what else `read_fields` reads.
        described: Their format.

    >>> lines = pl.Series(['{"message": "up", "http": {"request_id": "a1"}, "host": "h"}'] * 2)
    >>> sample_fields(lines, FormatSection(name="own", kind="json")).rows(named=True)[0]
    {'message': 'up', 'http.request_id': 'a1'}
    """
    if described.inside is not None:
        return _sample_of_nested(text, described)[0]
    message = read_kinds(text, described).fields.message
    columns = {"message": _below(text, message) if described.message_below else message}
    taken = {*columns, described.message, described.time, described.day, described.label}
    own = described.sessions.key_field
    # Each line of JSON is read once; by its path each column would read all lines again.
    if described.kind == "json":
        rows = list(map(json_fields, text))
        names: dict[str, None] = {}
        for row in rows[:_GLANCE]:
            names |= dict.fromkeys(row)
        for name in names:
            if name in taken:
                continue
            of_rows = [row.get(name) for row in rows]
            values = pl.Series(of_rows, dtype=pl.String)
            if name == own or _may_be_key(name, values):
                columns[name] = values
        return pl.DataFrame(columns)
    # A glance at the first lines says whether a field is worth reading in all of them.
    glance = text.head(_GLANCE)
    for name in _field_names(text, described):
        if name in taken:
            continue
        first_values = _key(glance, described, name=name)
        if name == own or _may_be_key(name, first_values):
            columns[name] = _key(text, described, name=name)
    return pl.DataFrame(columns)


def _below(text: pl.Series, message: pl.Series) -> pl.Series:
    """Messages together with the lines that continue them."""
    # A line without a message goes on with the record before it, whose number it shares.
    is_first = message.is_not_null()
    record = is_first.cum_sum()
    rows = pl.DataFrame({"record": record, "message": message, "text": text})
    own = pl.col("message")
    lines = pl.when(own.is_null()).then("text").otherwise("message")
    of_record = lines.str.join("\n").over("record")
    whole = pl.when(own.is_not_null()).then(of_record.str.strip_chars())
    return rows.select(whole).to_series()


def _sample_of_nested(text: pl.Series, described: FormatSection) -> tuple[pl.DataFrame, pl.Series]:
    """What `sample_fields` gives of the records inside messages, and the line of each record.

    The fields of the records around them are further columns.
    """
    if described.inside is None:
        return sample_fields(text, described), pl.int_range(len(text), eager=True)
    # One envelope is opened, whose lines may hold another; each inner field has the outer ones
    # beside it, those of the same name apart: the inner one is meant.
    lines_inside = described.model_copy(update={"inside": _LINES})
    nothing_inside = described.model_copy(update={"inside": None})
    outer = sample_fields(text, nothing_inside)
    envelopes = text.alias("text").to_frame()
    rows = opened(envelopes, lines_inside).rows
    own, places = _sample_of_nested(rows["text"], described.inside)
    source = rows["source"].gather(places)
    around = outer[source].drop("message")
    other_fields = around.select(pl.exclude(own.columns))
    return pl.concat([own, other_fields], how="horizontal"), source


def _key(text: pl.Series, described: FormatSection, *, name: str) -> pl.Series:
    """A field's values."""
    return read_fields(text, described, key_field=name).key  # type: ignore[return-value]


def _field_names(text: pl.Series, described: FormatSection) -> list[str]:
    """Names of the fields that lines of a format have, in their order."""
    if described.kind in ("csv", "w3c"):
        return list(described.columns)
    if described.kind in ("logfmt", "export"):
        matches = text.head(_GLANCE).str.extract_all(_PAIR)
        pairs = matches.explode().drop_nulls()
        names = pairs.str.strip_chars("\n =")
        return list(dict.fromkeys(names))
    return fields_of(described)


def _may_be_key(name: str, values: pl.Series) -> bool:
    """Whether a field is worth trying.

    It is if it has the name of an id, or several short values.
    """
    if by_field(name).named:
        return True
    # A long value, or one of several words, is a text; one that is always the same groups nothing.
    values = values.drop_nulls()
    length: float = values.str.len_chars().mean() or 0.0  # type: ignore[assignment]
    if length > _LONGEST or values.n_unique() <= 1:
        return False
    of_several_words = values.str.contains(r"\S\s+\S")
    return not of_several_words.any()


def _candidates(fields: pl.DataFrame, own: SessionSection) -> Iterator[Candidate]:
    """Keys that may suit, the format's own first."""
    if own.by_key and (own.key_field is None or own.key_field in fields.columns):
        yield Candidate(own, 1.0, named=True)
    yield from (by_field(name) for name in fields.columns if name != "message")
    yield from in_messages(fields["message"])


def _tried(
    key: Candidate, fields: pl.DataFrame, *, numbers: pl.Series, own: SessionSection
) -> _Tried:
    """A key with what it makes of the lines."""
    sought = key.sessions
    if sought.key_field:
        keys = fields[sought.key_field]
    else:
        keys = keys_in(fields["message"], sought.key_pattern or "")
    made = grouping(keys, numbers)
    fault = _own_fault(made) if sought is own else _fault(key, made)
    return _Tried(key, made, fault)


def _own_fault(made: Grouping) -> str | None:
    """Why the format's own key does not suit; None where it does."""
    if made.named < _OWN_NAMED:
        return f"only {100 * made.named:.0f} % of the lines name one"
    if made.largest > _ONE and made.lines >= _MANY:
        return "it is the same in nearly all lines"
    return None


def _fault(key: Candidate, made: Grouping) -> str | None:
    """Why a key that was found does not suit; None where it does."""
    if fault := unfit(made):
        return fault
    if not key.named and made.near < _NAMELESS_NEAR:
        return "many lines are of values that go on through the whole log"
    if not key.named and not made.begins_or_ends:
        return "its values begin and end with no message of their own"
    if made.named < NAMED:
        return f"only {100 * made.named:.0f} % of the lines name one"
    return None


def _chosen(best: _Tried, other: _Tried | None) -> str:
    """Why a key is taken, and how to ask for the next best one."""
    rest = ", the others are in no session" if best.made.named < 1 else ""
    reason = f"sessions by {best.key.what}: {best.made.in_words}{rest}"
    if other is None:
        return reason
    return f"{reason}; next best: {other.key.option} ({other.made.in_words})"


def _why_windows(tried: list[_Tried]) -> str:
    """Why there is no key: the fault of the likeliest one."""
    likely = [key for key in tried if key.key.named and key.made.named >= _WORTH_SAYING]
    if not likely:
        return "no id of a request, a process or the like is in nearly all lines"
    # The nearest one has sessions that fit, is in most lines, and has the more telling name.
    ranks: list[tuple[bool, bool, float]] = []
    for tried_key in likely:
        made = tried_key.made
        ranks.append((unfit(made) is None, made.named >= NAMED, tried_key.key.prior))
    nearest = likely[ranks.index(max(ranks))]
    fault = f"{nearest.key.what} is no key, {nearest.fault}"
    if unfit(nearest.made) is not None:
        return fault
    return f"{fault}; it can be had with {nearest.key.option}"
