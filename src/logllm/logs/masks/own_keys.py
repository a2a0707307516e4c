"""A record's own key in its message, for masking: the rules miss ids that hold no digit."""

import re
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.config.sessions import SessionSection
from logllm.logs.masking import PLACEHOLDER, mask
from logllm.logs.masks.mask_table import NUMBERS_AND_DAYS

# A record's own id is the same in all lines of its session, and in no other session: what it is
# says nothing, whatever letters it holds. A word that sessions are grouped by, such as `kernel` or
# `sshd`, says much: `kernel panic` is news. One value does not tell which it is: `decade` is six
# hexadecimal digits. The place does that it is found at, and it does so before a line is read, so
# that a log and a stream of it have the same messages. A place holds ids where it asks for
# hexadecimal digits (`[0-9a-f]+`) or for a number of letters (`\w{21}`), or where it is named like
# an id (`rid=`, `request (\w+)`, the field `trace_id`). At any other place only a value that
# can be nothing else is an id: six letters or more that are all from a to f.
ODD = rf"^[A-Za-z.:_-]{{2,}}$|[^A-Za-z0-9.:_-]|^(?:[Tt]rue|[Ff]alse|(?:{NUMBERS_AND_DAYS})[.:-])"
"""Keys that the rules of masking may miss, in part or whole: all others are one run of letters that
holds a digit."""
_HEX_WORD = "^(?:[a-f]{6,}|[A-F]{6,})$"
_UUID = "^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_HEX_HEAD = "^[0-9a-fA-F]{8}(?:[0-9a-fA-F]{2})?[.:-]"  # which a rule takes by itself
_OTHER = "z0"  # masked wherever it stands, and no code that is kept
_LETTER = r"[\p{L}\p{N}]"
_LENGTH = pl.col("keys").str.len_bytes()

_ID_NAME = re.compile(
    "req(uest)?|tr?ace|tr?aceparent|corr(elation)?|txn?|session|sess|span|block|blk"
    "|order|cart|basket|invoice|payment|booking|ticket|shipment|[cjrsx]id|uuid|guid|ulid"
    "|(req(uest)?|rq|tr?ace|corr(elation)?|transact(ion)?|txn?|session|sess|span|block|blk"
    "|order|cart|basket|invoice|payment|booking|ticket|shipment|message|msg|mail|event|job|task"
    "|build|batch|upload|workflow|pipeline|execution|invocation|operation|transfer|run|attempt"
    "|conn(ection)?|call)(id|uuid|guid|no|nr|num|number|ref|key|hash)"
)
_BARE = ("id", "uuid", "guid")
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SYNTAX = re.compile(r"\[(?:\\.|\[:\w+:\]|[^\]\\])*\]|\\.|\{[^}]*\}|\(\?[A-Za-z-]+[):]")
_WORD = re.compile(r"[A-Za-z][\w.-]*")
_STEM = re.compile(r"(?<!\\)[A-Za-z0-9]+$")
_BRACKETS = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|[()]")
_OPENS = re.compile(r"(?<!\\)(?:\\\\)*\((?:\?P?<\w+>|(?!\?))")
_HEX = re.compile(r"\[(?:0-9|\\d|a-f|A-F|\\?-)+\]|\[\[:xdigit:\]\]|\\d")
_ANY = re.compile(r"\\[wWSDpP]|\[|(?<!\\)\.")
_COUNTED = re.compile(r"[\w-]*(?:\\[wS]|\[(?:\\.|[^\]\\])*\])\{(?:[4-9]|[1-9]\d+)\}")


class Place(NamedTuple):
    """Where keys are found."""

    ids: bool
    """Whether what stands there are ids, whatever letters they hold."""
    stem: str = ""
    """Letters that a key follows without a gap, such as `conn` in `conn4f2a1c`."""


def with_keys_masked(
    records: pl.DataFrame, odd: pl.Series, *, settings: PrepareSection
) -> pl.Series:
    """Messages in which a record's own ids have a digit, so that masking takes them.

    An id is then masked as those are that hold a digit anyway, with what the rules take beside it.
    Only whole tokens are changed.

    >>> keys = SessionSection(by="key", key_pattern="request ([0-9a-f]{6})")
    >>> settings = PrepareSection(format=FormatSection(name="own", kind="plain"), sessions=keys)
    >>> of_one = {"message": ["request dffbcc: up", "dffbccs"], "keys": [["dffbcc"]] * 2}
    >>> odd = pl.Series(["dffbcc"])
    >>> with_keys_masked(pl.DataFrame(of_one), odd, settings=settings).to_list()
    ['request 0ffbcc: up', 'dffbccs']

    Args:
        records: `message` (str) and `keys` (list[str]).
        odd: those of the keys, each once, that `ODD` matches.
        settings: format, masks, and where keys are.
    """
    messages, message, key = records["message"], pl.col("message"), pl.col("keys")
    place = _place(settings.sessions, settings.format)
    if not place.ids:
        odd = odd.filter(odd.str.contains(_HEX_WORD))
    stand_ins = _stand_ins(odd.alias("keys"), settings)
    if not stand_ins.height:
        return messages
    rows = records.select("keys").with_row_index("row").explode("keys")
    rows = rows.filter(key.is_in(stand_ins["keys"].implode()))
    rows = rows.with_columns(message=messages.gather(rows["row"]))
    rows = rows.filter(message.str.contains(key, literal=True))
    rows = rows.join(stand_ins, on="keys", maintain_order="left")

    # One key of each message at a time, the longest first: `brave-otter` before `otter`.
    rows = rows.sort(_LENGTH, descending=True, maintain_order=True)
    while rows.height:
        rows = rows.with_columns(next=pl.col("row").is_first_distinct())
        of_one = rows.filter("next")
        places = of_one["row"]
        texts = of_one.with_columns(message=messages.gather(places))
        messages = messages.scatter(places, _replaced(texts, stem=place.stem))
        rows = rows.filter(~pl.col("next"))
    return messages


def _stand_ins(keys: pl.Series, settings: PrepareSection) -> pl.DataFrame:
    """What is to stand for keys (`keys`, `stand_in`), without those that the rules mask."""
    key = pl.col("keys")
    alone = pl.DataFrame({"keys": keys, "masked": mask(keys, settings.mask)})
    # Masked alone, but not as others are: of `req-deadbeef` the stem stays, and `ab/c+"` goes on.
    takes_other = key.str.contains(r"^[a-fA-F]+$|[/\\+=]")
    left = alone.filter(takes_other | (pl.col("masked") != PLACEHOLDER))
    # As much as may be stays, for rules of one's own: length, dashes, hexadecimal digits.
    only_digits = key.str.replace_all("[a-fA-F]", "0")
    one_digit = key.str.replace("[A-Za-z]", "0")
    is_uuid = key.str.contains(_UUID)
    is_one_run = key.str.contains("^[A-Za-z0-9.:_-]+$") & ~key.str.contains(_HEX_HEAD)
    other = pl.when(is_one_run).then(one_digit).otherwise(pl.lit(_OTHER))
    return left.select("keys", stand_in=pl.when(is_uuid).then(only_digits).otherwise(other))


def _replaced(rows: pl.DataFrame, *, stem: str) -> pl.Series:
    """Messages with `stand_in` for each whole token that is the key."""
    pieces = rows["message"].to_frame().select(pl.col("message").str.split(rows["keys"]))
    count = int(pieces["message"].list.len().max() or 0)  # type: ignore[arg-type]
    names = [str(place) for place in range(count)]
    split = pieces["message"].list.to_struct(fields=names).struct.unnest()
    text = pl.col("0")
    for name, following in pairwise(names):
        before, after = pl.col(name), pl.col(following)
        glued = before.str.tail(1).str.contains(_LETTER)
        if stem:
            glued &= ~before.str.ends_with(stem)
        glued |= after.str.head(1).str.contains(_LETTER)
        between = pl.when(glued).then(rows["keys"]).otherwise(rows["stand_in"])
        # Messages that name the key less often have no further piece.
        text += (between + after).fill_null("")
    return split.select(text).to_series()


@cache
def _place(sessions: SessionSection, described: FormatSection) -> Place:
    """What the place says that keys are found at."""
    field, pattern = sessions.key
    if pattern is not None:
        group = _OPENS.search(pattern)
        if group is None:
            return Place(_holds_ids(pattern) or _names_ids(pattern))
        start = group.end()
        before = pattern[: group.start()]
        stem = _STEM.search(before)
        ids = _holds_ids(_inside(pattern, start)) or _names_ids(before)
        return Place(ids, stem[0] if stem else "")
    if field is None:
        return Place(ids=False)
    ids = _names_ids(field)
    for layer in described.layers:
        of_field = re.search(rf"\(\?P?<{re.escape(field)}>", layer.pattern or "")
        if of_field is not None:
            ids |= _holds_ids(_inside(layer.pattern or "", of_field.end()))
    return Place(ids)


def _inside(pattern: str, start: int) -> str:
    r"""What is in a group, from behind its opening to its end.

    >>> _inside(r"(?<key>[^)]+(?:\)x)?) y", 7)
    '[^)]+(?:\\)x)?'
    """
    depth = 1
    for token in _BRACKETS.finditer(pattern, start):
        depth += (token[0] == "(") - (token[0] == ")")
        if not depth:
            return pattern[start : token.start()]
    return pattern[start:]


def _holds_ids(pattern: str) -> bool:
    r"""Whether a pattern asks for hexadecimal digits alone, or for a number of letters.

    >>> [_holds_ids(key) for key in ("[0-9a-f]+", r"\w{21}", r"\w+", "[a-z0-9-]+")]
    [True, True, False, False]
    """
    other = _HEX.sub("", pattern)
    is_hex = other != pattern and _ANY.search(other) is None
    return is_hex or _COUNTED.fullmatch(pattern) is not None


def _names_ids(before: str) -> bool:
    r"""Whether the last word of a name, or of a pattern for what stands before a key, is an id's.

    >>> places = (r"\brid=", r'"trace_id":\s*"', "X-Request-ID", "service=", "user_id", "job")
    >>> [_names_ids(place) for place in places]
    [True, True, True, False, False, False]
    """
    words = _WORD.findall(_SYNTAX.sub(" ", before))
    parts = [part.lower() for part in _NAME_PARTS.findall(words[-1])] if words else []
    if not parts:
        return False
    if parts[-1] in _BARE:
        return len(parts) == 1 or _ID_NAME.fullmatch("".join(parts[-2:])) is not None
    endings = ("".join(parts[-2:]), parts[-1])
    return any(map(_ID_NAME.fullmatch, endings))
