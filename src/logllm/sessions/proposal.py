"""Which sessions suit a log that nobody has said anything about.

By the key that groups its lines best, else windows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.sessions import SessionSection
from logllm.logs.fields import fields_of, json_fields, read_fields
from logllm.logs.inside.envelopes import opened
from logllm.logs.inside.other_kinds import read_kinds
from logllm.logs.masking import mask
from logllm.logs.records import keys_in
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

    A format's own sessions are taken, unless they are by a key that most lines do not name, or that
    is the same in nearly all. Else each field is tried as a key, and in the messages each word,
    bracket and stem before what varies. The key of the best score is taken of those that nearly all
    lines name and that make many sessions which end, none of them giant; a key without the name of
    an id must give sessions that have a beginning or an end of their own, too.

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
    numbers = MessageTable().push(mask(fields["message"], MaskSection()))
    tried = [_tried(key, fields, numbers=numbers, own=own) for key in _candidates(fields, own)]
    if own.by_key and tried and tried[0].key.sessions is own and tried[0].fault is None:
        return Proposal(own, _chosen(tried[0], None))
    # The best key that suits; the next best is named too, if it makes other sessions than the best.
    suiting = [key for key in tried if key.fault is None]
    suiting.sort(key=lambda key: -key.score)
    if suiting:
        best = suiting[0]
        other = next((key for key in suiting[1:] if key.made != best.made), None)
        return Proposal(best.key.sessions, _chosen(best, other))
    size = window_size(lines)
    return Proposal(SessionSection(size=size), f"windows of {size} lines: {_why_windows(tried)}")


def window_size(lines: int | None) -> int:
    """Records a window so that a short log, too, gives some twenty windows.

    >>> window_size(None), window_size(1_999), window_size(300), window_size(7)
    (100, 100, 10, 5)
    """
    for size in _SIZES:
        if lines is None or lines > size * (_WINDOWS - 1):
            return size
    return _SIZES[-1]


def sample_fields(text: pl.Series, described: FormatSection) -> pl.DataFrame:
    """Messages of some lines and the fields beside them that may be keys, as columns named as `key_field` names them.

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
    if (
        described.kind == "json"
    ):  # each line read once: a column by its path reads it again for each
        rows = list(map(json_fields, text))
        names = dict.fromkeys(name for row in rows[:_GLANCE] for name in row)
        for name in names:
            if name in taken:
                continue
            values = pl.Series([row.get(name) for row in rows], dtype=pl.String)
            if name == own or _may_be_key(name, values):
                columns[name] = values
        return pl.DataFrame(columns)
    # A glance at the first lines says whether a field is worth reading in all of them.
    glance = text.head(_GLANCE)
    for name in _field_names(text, described):
        if name in taken:
            continue
        if name == own or _may_be_key(name, _key(glance, described, name=name)):
            columns[name] = _key(text, described, name=name)
    return pl.DataFrame(columns)


def _below(text: pl.Series, message: pl.Series) -> pl.Series:
    """Messages with the lines that go on with them, where these hold what a first line does not."""
    # A line without a message goes on with the record before it, whose number it shares.
    is_first = message.is_not_null()
    rows = pl.DataFrame({"record": is_first.cum_sum(), "message": message, "text": text})
    own = pl.col("message")
    lines = pl.when(own.is_null()).then("text").otherwise("message")
    whole = lines.str.join("\n").over("record").str.strip_chars()
    return rows.select(pl.when(own.is_not_null()).then(whole)).to_series()


def _sample_of_nested(text: pl.Series, described: FormatSection) -> tuple[pl.DataFrame, pl.Series]:
    """What `sample_fields` gives of the records inside messages, beside it the fields of those around, and the line of each."""
    if described.inside is None:
        return sample_fields(text, described), pl.int_range(len(text), eager=True)
    # One envelope is opened, whose lines may hold another; each inner field has the outer ones
    # beside it, those of the same name apart: the inner one is meant.
    alone = described.model_copy(update={"inside": _LINES})
    outer = sample_fields(text, described.model_copy(update={"inside": None}))
    rows = opened(text.alias("text").to_frame(), alone).rows
    own, places = _sample_of_nested(rows["text"], described.inside)
    source = rows["source"].gather(places)
    around = outer[source].drop("message").select(pl.exclude(own.columns))
    return pl.concat([own, around], how="horizontal"), source


def _key(text: pl.Series, described: FormatSection, *, name: str) -> pl.Series:
    """A field's values."""
    return read_fields(text, described, key_field=name).key  # type: ignore[return-value]


def _field_names(text: pl.Series, described: FormatSection) -> list[str]:
    """Names of the fields that lines of a format have, in their order."""
    if described.kind in ("csv", "w3c"):
        return list(described.columns)
    if described.kind in ("logfmt", "export"):
        pairs = text.head(_GLANCE).str.extract_all(_PAIR).explode().drop_nulls()
        return list(dict.fromkeys(pairs.str.strip_chars("\n =")))
    return fields_of(described)


def _may_be_key(name: str, values: pl.Series) -> bool:
    """Whether it is worth to try a field.

    It has the name of an id, or short values of which there are several.
    """
    if by_field(name).named:
        return True
    # A long value, or one of several words, is a text; one that is always the same groups nothing.
    values = values.drop_nulls()
    short = float(values.str.len_chars().mean() or 0.0) <= _LONGEST  # type: ignore[arg-type]
    return short and values.n_unique() > 1 and not values.str.contains(r"\S\s+\S").any()


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
    """Why the format's own key does not suit."""
    if made.named < _OWN_NAMED:
        return f"only {100 * made.named:.0f} % of the lines name one"
    if made.largest > _ONE and made.lines >= _MANY:
        return "it is the same in nearly all lines"
    return None


def _fault(key: Candidate, made: Grouping) -> str | None:
    """Why a key that was found does not suit."""
    if fault := unfit(made):
        return fault
    if not key.named and made.near < _NAMELESS_NEAR:
        return "many lines are of values that go on through the whole log"
    if not key.named and not made.begins_or_ends:
        return "its values begin and end with no message of their own"
    return f"only {100 * made.named:.0f} % of the lines name one" if made.named < NAMED else None


def _chosen(best: _Tried, other: _Tried | None) -> str:
    """Why a key is taken, and how to have the next best."""
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
    nearest = max(
        likely, key=lambda key: (unfit(key.made) is None, key.made.named >= NAMED, key.key.prior)
    )
    fault = f"{nearest.key.what} is no key, {nearest.fault}"
    if unfit(nearest.made) is not None:
        return fault
    return f"{fault}; it can be had with {nearest.key.option}"
