"""What may be the key of a log's sessions.

It is a field, or what stands in messages behind a word, a bracket or a stem.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from logllm.config.sessions import SessionSection

_NAMES = tuple(
    re.compile(name)
    for name in (  # the narrow before the wide; a name's last parts, in lower case
        "req(uest)?(id)?|rid|rqid",
        "trace(id)?|tr?aceparent",
        "corr(elation)?(id)?|cid",
        "(transaction|transact|txn|tx|xid)(id)?",
        "(session|sess|s)id|session|sid|sess",
        "(block|blk)(id)?",
        "(order|cart|basket|invoice|payment|booking|ticket|shipment)(id)?",
        "(message|msg|mail|queue|event)id",
        (
            "(job|task|build|batch|upload|workflow|pipeline|execution|invocation|operation"
            "|transfer|run)(id)?|jid"
        ),
        "(task)?attempt(id)?",
        "(container|instance|vm|pod|app|application)id|container|instance",
        "(conn(ection)?|call)(id)?",
        "process(id)?|procid|pid|syslogpid",
        "thread(id|name)?|tid",
        "client(ip|addr|address)?|remote(ip|addr|host)",
        "span(id)?",
    )
)
_ID = ("id", "uuid", "guid", "no", "nr", "num", "number", "key", "ref")
_STEP = 0.03  # less for each rank
_NAMELESS = 0.45
_ONLY_AN_ID = 0.55
_SHAPED = 0.75
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_LOOKED_AT = 1000  # messages
_TOLD = 0.3  # of them must have a candidate
_MOST = 16  # candidates of a sort
_LONG = 6  # digits of an id of a fixed length
_LEVELS = (
    "trace debug info information notice warn warning error err fatal critical crit severe emerg "
    "alert panic log"
)
_BETWEEN = r"""[\s:=#\[({<"'|]{1,4}"""
_MORE = r"(?:[.:@/+-]+\w+)*=*"
_TOKEN = rf"[A-Za-z_-]*\d[\w-]*{_MORE}"
_PAIR = (
    rf"\b((?:[A-Za-z][\w-]*[ ._-])?(?i:id|uuid|guid|no|nr|number)\b\.?|[A-Za-z@][\w@.-]*)"
    rf"({_BETWEEN})({_TOKEN})"
)
_STEM = r"\b([A-Za-z]+[-_]+(?:0x)?|[A-Za-z]{3,})(-?\d[\w-]*|[0-9a-fA-F]*\d[\w-]*)"
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SHAPES = (  # as programs write them, with the place in the order of names
    (rf"\breq-{_UUID}\b", 0),  # OpenStack
    (r"\[[^\s,\[\]]*,([0-9a-f]{16,32}),[0-9a-f]{16}\b", 1),  # Spring Cloud Sleuth: [app,trace,span]
    (rf"\b{_UUID}\b", 8),
    (r"\bC-0x[0-9a-f]+", 11),  # PgBouncer's client
    (r"(?:^|\s)\*(\d+)\s", 11),  # nginx: the connection
    (r"\bconn(?:ection)?[=:#]? ?\d+\b", 11),
    (r"\b[\w.-]+\[\d+\]", 12),
)
_PLACES = (  # in the message, whatever stands there
    r"^[\[(<{#]?([\w-]*\d[\w.-]*)[\])>}:|]?\s",
    r"<([\w+/=-]{8,})>",
    r"^[^\[\]]*\[([^\[\]\s]+)\]",
    *(rf"^(?:[^\[\]]*\[[^\[\]]*\]){{{place}}}[^\[\]]*\[([^\[\]\s]+)\]" for place in (1, 2, 3)),
    *(rf"^(?:[^|]*\|){{{place}}}\s*([^|\s]+)\s*(?:\||$)" for place in range(6)),
)


class Candidate(NamedTuple):
    """Sessions by a key that may suit."""

    sessions: SessionSection
    """The key."""
    prior: float
    """How much its name speaks for it, in (0, 1]."""
    named: bool
    """Whether it has the name or the form of an id; else only its sessions can show that it is
    one."""

    @property
    def what(self) -> str:
        """The key in words."""
        if self.sessions.key_field:
            return f"the field {self.sessions.key_field}"
        return f"the pattern {self.sessions.key_pattern}"

    @property
    def option(self) -> str:
        """How the command line names it."""
        if self.sessions.key_field:
            return f"--key-field {self.sessions.key_field}"
        return f"--key '{self.sessions.key_pattern}'"


def by_field(name: str) -> Candidate:
    """Sessions by a field.

    >>> by_field("req.id").prior, by_field("http.X-Request-ID").named, by_field("colour").named
    (1.0, True, False)
    """
    prior, named = _prior(name)
    section = SessionSection(by="key", key_field=name)
    return Candidate(section, prior, named)


def in_messages(messages: pl.Series) -> Iterator[Candidate]:
    r"""Keys that stand in messages, such as `request 81357d`, `rid=`, `[req-X]`.

    >>> messages = pl.Series(["order 12 paid", "order 7 sent"])
    >>> [key.sessions.key_pattern for key in in_messages(messages)]
    ['\\border (\\d+)\\b']
    """
    # A log may have millions of messages: a thousand from all over it show how ids are written.
    nth = max(1, len(messages) // _LOOKED_AT)
    sample = messages.gather_every(nth)
    yield from _shapes(sample)
    # `request 81357d`: a word, what stands between, and a token that varies.
    for name, word, tokens, between in _words(sample):
        prior, named = _prior(name)
        token, end = _class(tokens, loose=not between.isspace())
        pattern = rf"{word}{between}({token}){end}"
        yield _pattern(pattern, prior, named=named)
    # `req-81357d`: the word and what varies are one token.
    for stem, tokens in _stems(sample):
        prior, named = _prior(stem)
        token, end = _class(tokens, loose=False)
        pattern = rf"\b{_literal(stem)}{token}{end}"
        yield _pattern(pattern, prior, named=named)
    # Whatever stands at the same place of most messages; its name says nothing for it.
    for pattern in _told(sample, _PLACES):
        yield _pattern(pattern, _ONLY_AN_ID, named=False)


def _pattern(pattern: str, prior: float, *, named: bool) -> Candidate:
    by_pattern = SessionSection(by="key", key_pattern=pattern)
    return Candidate(by_pattern, prior, named)


def _prior(name: str) -> tuple[float, bool]:
    """How much a name speaks for a key, and whether it is the name of an id."""
    # `http.X-Request-ID` is known as `httpxrequestid`, `requestid`, `httpxrequest` and `request`.
    words = [word.lower() for word in _PARTS.findall(name)]
    last = words[-1] if words else ""
    bare = words[:-1] if last in _ID else words
    endings = (words, words[-2:], bare, bare[-1:])
    spellings = ["".join(ending) for ending in endings]
    for rank, pattern in enumerate(_NAMES):
        if any(map(pattern.fullmatch, spellings)):
            return 1 - _STEP * rank, True
    return (_ONLY_AN_ID if last.endswith(_ID) else _NAMELESS), False


def _shapes(sample: pl.Series) -> Iterator[Candidate]:
    """The forms of ids that messages have."""
    places = dict(_SHAPES)
    for pattern in _told(sample, tuple(places)):
        prior = _SHAPED * (1 - _STEP * places[pattern])
        yield _pattern(pattern, prior, named=True)


def _words(sample: pl.Series) -> Iterator[tuple[str, str, list[str], str]]:
    """Words that stand before what varies.

    Each comes with its name, patterns for the word and for what stands between, and what varies.
    """
    pairs = _pieces(sample, _PAIR).rename({"1": "word", "2": "between", "3": "token"})
    pairs = pairs.with_columns(name=pl.col("word").str.to_lowercase())
    # `error 404`: the severity before a number is no name of it.
    is_level = pl.col("name").is_in(_LEVELS.split())
    pairs = pairs.filter(~is_level)
    for pairs_of_name in _frequent(pairs, "name", of=len(sample)):
        words = pairs_of_name["word"].unique()
        between = pairs_of_name["between"].unique()
        tokens = pairs_of_name["token"].to_list()
        # A word or a gap that is always the same is taken as it is; else whatever spelling.
        if len(words) == 1:
            spelt = rf"\b{_literal(words[0])}"
        else:
            spelt = rf"(?i)\b{_literal(words[0].lower())}"
        gap = _literal(between[0]) if len(between) == 1 else _BETWEEN
        yield words[0], spelt, tokens, gap


def _stems(sample: pl.Series) -> Iterator[tuple[str, list[str]]]:
    """Stems such as `req-` and `conn`, and what stands after them."""
    pieces = _pieces(sample, _STEM).rename({"1": "stem", "2": "token"})
    for of_stem in _frequent(pieces, "stem", of=len(sample)):
        yield of_stem["stem"][0], of_stem["token"].to_list()


def _pieces(sample: pl.Series, pattern: str) -> pl.DataFrame:
    """Every match's groups, `1`, `2` and so on, with the `row` of its message."""
    matches = sample.str.extract_all(pattern).alias("match")
    rows = matches.to_frame().with_row_index("row")
    rows = rows.explode("match").drop_nulls()
    groups = pl.col("match").str.extract_groups(pattern)
    return rows.select("row", groups).unnest("match")


def _frequent(pieces: pl.DataFrame, name: str, *, of: int) -> list[pl.DataFrame]:
    """The pieces of each name that many messages have, the commonest first."""
    messages_with = pl.col("row").n_unique()
    by_name = pieces.group_by(name, maintain_order=True)
    shares = by_name.agg(share=messages_with / of)
    often = shares.filter(pl.col("share") >= _TOLD)
    commonest = often.sort("share", descending=True, maintain_order=True)
    names = commonest[name].head(_MOST)
    return [pieces.filter(pl.col(name) == of_name) for of_name in names]


def _told(sample: pl.Series, patterns: Sequence[str]) -> list[str]:
    """The patterns that enough messages hold a match of."""
    messages = sample.alias("message").to_frame()
    holding = [
        pl.col("message").str.contains(pattern).mean().alias(str(place))
        for place, pattern in enumerate(patterns)
    ]
    shares = messages.select(holding).row(0)
    told: list[str] = []
    for pattern, share in zip(patterns, shares, strict=True):
        if (share or 0.0) >= _TOLD:
            told.append(pattern)
    return told


def _class(tokens: Sequence[str], *, loose: bool) -> tuple[str, str]:
    r"""A pattern for tokens like these, and what must follow it.

    >>> _class(["12", "7"], loose=False), _class(["81357d", "00ab12"], loose=False)
    (('\\d+', '\\b'), ('[0-9a-f]{6}', '\\b'))

    Args:
        tokens: what varies.
        loose: tokens need no digit, since what stands before them cannot be a word of a sentence.
    """
    lengths = {len(token) for token in tokens}
    # From the narrowest class to the widest: the first that all tokens fit is taken.
    for pattern in (_UUID, _UUID.replace("a-f", "A-F")):
        if all(re.fullmatch(pattern, token) for token in tokens):
            return pattern, r"\b"
    for digits in (r"\d+", r"-?\d+"):
        if all(re.fullmatch(digits, token) for token in tokens):
            return digits, r"\b"
    shortest = min(lengths)
    for letters in ("a-f", "A-F"):
        hexadecimal = f"[0-9{letters}]{{{shortest}}}"
        if shortest >= _LONG and all(re.fullmatch(hexadecimal, token) for token in tokens):
            return hexadecimal, r"\b"
    widest = rf"[\w-]+{_MORE}" if loose else _TOKEN
    return widest, ""


def _literal(text: str) -> str:
    """A pattern for this text alone."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)
