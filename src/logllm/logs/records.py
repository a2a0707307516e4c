"""Fields to records: times read, keys found, labels judged; what does not parse is kept apart."""

import json
from collections import Counter
from threading import Lock
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.errors import RecipeError
from logllm.logs.fields import Fields, check_format, check_pattern, read_fields
from logllm.logs.inside.envelopes import Opened, opened
from logllm.logs.inside.other_kinds import kinds, time_forms
from logllm.logs.lines import Lines
from logllm.logs.times import UTC_MICROSECONDS, written_times, zone_names

RECORDS: dict[str, pl.DataType | type[pl.DataType]] = {
    "record": pl.UInt64,
    "file": pl.UInt32,
    "line": pl.UInt64,
    "time": UTC_MICROSECONDS,
    "keys": pl.List(pl.String),
    "message": pl.String,
    "anomalous": pl.Boolean,
}
"""Columns of records: the record's number from 1 in the whole input, its file and line, its keys,
its masked message."""

NO_KEY = ("", "-", "N/A", "n/a", "null", "NULL", "None", "none", "nil", "<nil>", "undefined")
"""What programs write into a field of which they know nothing: no key of a session."""

_MOST_LABELS = 5000


_PLACES = ("line", "row", "stream")
"""Columns that say where a record was found, as far as there are any
(`logllm.logs.inside.envelopes`)."""


class Records(NamedTuple):
    """What some lines hold."""

    records: pl.DataFrame
    """`line` (u64), `time` (UTC, null), `keys` (list[str]), `message` (str), `anomalous` (bool,
    null), and as they are parsed `kind` (u8): the place of the record's format in
    `logllm.logs.inside.other_kinds.kinds`."""
    rejects: pl.DataFrame
    """`line` (u64), `text` (str), `anomalous` (bool, null where no label can be read)."""


class Parser:
    """Lines of one format to records."""

    def __init__(self, described: FormatSection, *, sessions: SessionSection) -> None:
        """Check the format and the key.

        Args:
            described: The format.
            sessions: Says where a record's keys are.

        Raises:
            RecipeError: a pattern is no regular expression, a group is missing or one too many, or
                idle sessions are asked for without times.
        """
        self.labels: Counter[str] = Counter()
        """How often lines carried each label so far; of thousands of distinct ones only the
        first."""
        self.of_other_kinds = 0
        """Records so far of lines that are of another kind than the format's."""
        self._counting = Lock()
        self._format = described
        self.zones: set[str] = set()
        """Abbreviations of zones that times have named so far."""
        self._key_field, self._key_pattern = sessions.key
        # Nothing inside it, no lines of other kinds beside it: its own pattern is all that is read.
        self._alone = described.inside is None and len(kinds(described)) == 1
        self._time_forms = described.time_formats if self._alone else time_forms(described)
        check_format(described, key_field=self._key_field)
        if sessions.by_key and sessions.idle is not None and not described.time_formats:
            raise RecipeError(
                f"format {described.name} has no times, so that no session is ever idle: leave out"
                " idle, or say where times are"
            )
        if self._key_pattern is not None:
            _captures(self._key_pattern)

    def parse(self, lines: Lines) -> Records:
        """Records of some lines, in their order; may run beside others.

        Their times are as `logllm.logs.times.written_times` gives them: years come later, from
        their order.
        """
        rows, fields, kind = self._read(lines, key_field=self._key_field)
        nothing = pl.lit(None, dtype=pl.String)
        anomalous: pl.Expr | pl.Series = pl.lit(None, dtype=pl.Boolean)
        if fields.label is not None:
            anomalous = ~fields.label.is_in(list(self._format.normal))
        columns = [name for name in _PLACES if name in rows.columns]
        written_time = nothing if fields.time is None else fields.time
        key = nothing if fields.key is None else fields.key
        frame = rows.select(columns).with_columns(
            message=fields.message, time=written_time, anomalous=anomalous, key=key, kind=kind
        )

        # A line without a message is a reject; it may have a label all the same.
        is_record = frame["message"].is_not_null()
        rejects = rows.with_columns(frame["anomalous"]).filter(~is_record)
        if fields.parts:
            frame = self._with_parts(frame, fields)
        if rejects.height:
            frame = frame.filter(frame["message"].is_not_null())
        time = written_times(frame["time"], self._time_forms, zone=self._format.time_zone)
        self.zones.update(zone_names(frame["time"], self._format.time_formats))
        keys = self._keys(frame).alias("keys")
        records = frame.select(*columns, time, keys, "message", "anomalous", "kind")
        if not self._alone:
            self._count_others(kind)
        if fields.label is not None:
            self._count(fields.label)
        return Records(records, rejects)

    def _count(self, labels: pl.Series) -> None:
        """Count labels of some lines, of which another thread may count others."""
        counted = labels.drop_nulls().alias("label").value_counts()
        # A log with a label of its own for each line would fill the memory.
        with self._counting:
            for label, count in counted.iter_rows():
                if label in self.labels or len(self.labels) < _MOST_LABELS:
                    self.labels[label] += count

    def _count_others(self, kind: pl.Series) -> None:
        """Count records of other kinds, of which another thread may count others."""
        others = int((kind > 0).sum())
        if others:
            with self._counting:
                self.of_other_kinds += others

    def times(self, lines: Lines) -> pl.DataFrame:
        """Times of the records of some lines, alone."""
        # No key, no masks: years are looked for in a whole file before it is read.
        fields = self._read(lines, key_field=None).fields
        if fields.time is None:
            written = pl.Series([], dtype=pl.String)
        else:
            written = fields.time.filter(fields.message.is_not_null())
        times = written_times(written, self._time_forms, zone=self._format.time_zone)
        return times.alias("time").to_frame()

    def _read(self, lines: Lines, *, key_field: str | None) -> Opened:
        """What lines hold, by the format with the columns that a file names itself."""
        described = self._format
        if lines.columns:
            described = described.model_copy(update={"columns": lines.columns})
        if not self._alone:
            return opened(lines.frame, described, key_field=key_field)
        fields = read_fields(lines.frame["text"], described, key_field=key_field)
        first = pl.repeat(0, lines.frame.height, dtype=pl.UInt8, eager=True)
        return Opened(lines.frame, fields, first)

    def _with_parts(self, frame: pl.DataFrame, fields: Fields) -> pl.DataFrame:
        """Each line's message, and after it a message for each further part that the line has."""
        messages = pl.concat_list(frame["message"], *fields.parts).list.drop_nulls()
        is_record = frame["message"].is_not_null()
        of_records = pl.when(is_record).then(messages)
        return frame.with_columns(message=of_records).explode("message")

    def _keys(self, frame: pl.DataFrame) -> pl.Series:
        """Each record's keys, every one once, in the order they are named."""
        if self._key_pattern is not None:
            return keys_in(frame["message"], self._key_pattern)
        one = pl.col("key").str.strip_chars()
        is_none = one.is_null() | one.is_in(NO_KEY)
        no_keys = pl.lit([], dtype=pl.List(pl.String))
        listing = pl.when(is_none).then(no_keys).otherwise(pl.concat_list(one))
        # A JSON field may hold a list of keys, which it then writes as `["a","b"]`.
        in_json = self._key_field is not None and self._format.kind == "json"
        if in_json and frame.select(one.str.starts_with("[").any()).item():
            lists = [_listed(text) for text in frame.select(one).to_series()]
            several = pl.Series(lists, dtype=pl.List(pl.String))
            listing = pl.when(several.is_not_null()).then(several).otherwise(listing)
        return frame.select(listing).to_series()


def _captures(pattern: str) -> bool:
    r"""Whether a key's pattern has a group, which then is the key.

    >>> _captures(r"order (\d+)"), _captures(r"(?:order|cart) \d+")
    (True, False)

    Raises:
        RecipeError: it is no regular expression, or has several groups.
    """
    check_pattern(pattern, what="key pattern")
    captured = pl.Series([""]).str.extract_groups(pattern)
    groups = len(captured.struct.fields)
    if groups > 1:
        raise RecipeError(
            f"key pattern: {pattern!r} has {groups} groups, and the key is what one group matches:"
            " write the others as (?:...)"
        )
    return groups == 1


def keys_in(messages: pl.Series, pattern: str) -> pl.Series:
    r"""What a pattern, or the group in it, matches in each message: every key once.

    >>> keys_in(pl.Series(["order 7, order 8", "order 7", "up"]), r"order (\d+)").to_list()
    [['7', '8'], ['7'], []]

    Raises:
        RecipeError: it is no regular expression, or has several groups.
    """
    if _captures(pattern):
        return _captured(messages, pattern)
    keys = messages.str.extract_all(pattern)
    most = int(keys.list.len().max() or 0)  # type: ignore[arg-type]
    return keys.list.unique(maintain_order=True) if most > 1 else keys


def _captured(messages: pl.Series, pattern: str) -> pl.Series:
    """What the pattern's one group matches in each message."""
    nothing = pl.lit([], dtype=pl.List(pl.String))
    one = messages.str.extract(pattern, 1).fill_null("")
    is_none = one.is_in(NO_KEY)
    single = pl.when(is_none).then(nothing).otherwise(pl.concat_list(one))
    keys = pl.select(single).to_series()
    several = messages.str.count_matches(pattern) > 1
    if not several.any():
        return keys
    # Messages with several matches: each match becomes NUL, what the group matches, NUL, so that
    # every second piece is a key. NUL is in no message: it is no text, and was replaced before.
    marked = messages.set(~several, None).str.replace_all(f"(?s:.*?)(?:{pattern})", "\0${1}\0")
    captured = marked.str.split("\0").list.gather_every(2, 1)
    is_key = ~pl.element().is_in(NO_KEY)
    captured = captured.list.eval(pl.element().filter(is_key))
    all_of_it = captured.list.unique(maintain_order=True)
    one_or_several = pl.when(several).then(all_of_it).otherwise(keys)
    return pl.select(one_or_several).to_series()


def _listed(text: str | None) -> list[str] | None:
    """What a JSON list names, every one once; nothing where the text is none, such as `[main]`.

    >>> _listed('["a", 7, "a", null]'), _listed("[main]")
    (['a', '7'], None)
    """
    if text is None or not text.startswith("["):
        return None
    try:
        values = json.loads(text)
        given = [value for value in values if value is not None]
        keys = [value if isinstance(value, str) else json.dumps(value) for value in given]
        return list(dict.fromkeys(keys))
    except (ValueError, RecursionError):  # the latter: nested deeper than Python follows
        return None
