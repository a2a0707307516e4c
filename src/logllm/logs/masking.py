"""A message's variable parts become `<*>`.

The paper's rules as one table, rules of one's own, and codes that are kept.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import combinations
from typing import NamedTuple

import polars as pl

from logllm.config.mask import MaskSection
from logllm.errors import RecipeError, first_line

PLACEHOLDER = "<*>"
"""What stands for a variable part."""
_BEGINS, _ENDS = (
    "\ufdd0",
    "\ufdd1",
)  # around a code while the rest is masked: characters that no text has (noncharacters)
_GROUP = re.compile(r"(?<!\\)((?:\\\\)*)\((?:\?P?<[A-Za-z_]\w*>|(?!\?))")


class Rule(NamedTuple):
    """One row of the table."""

    name: str
    """What the rule is called."""
    pattern: str
    """Regular expression (Rust syntax)."""
    about: str
    """What it matches."""


class Code(NamedTuple):
    """A code that is kept, and what must stand around it."""

    name: str
    """What it is called."""
    before: str
    """Regular expression (Rust syntax) of what stands before it."""
    code: str
    """Of the code itself."""
    after: str
    """Of what follows it."""
    about: str
    """An example."""


_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen "
    "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion"
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mon Tue Wed Thu Fri Sat Sun"
_MONTHS = (
    "January February March April May June July August September October November December Jan "
    "Feb Mar Apr Jun Jul Aug Sep Oct Nov Dec"
)


def _words(words: str) -> str:
    r"""One of several words, whole.

    >>> _words("Mon Tue")
    '\\b(?:Mon|Tue)\\b'
    """
    return rf"\b(?:{'|'.join(words.split())})\b"


DOTS = Rule("dots", r"\.{3,}", "three or more dots, which become `.. ` before anything else")
"""Comes first and writes no placeholder."""
PAPER_RULES: tuple[Rule, ...] = (
    Rule("boolean", r"(?:True|true|False|false)", "truth values, inside words too"),
    Rule("number-word", _words(_NUMBERS), "numbers written out in lower case"),
    Rule("weekday", _words(_DAYS), "names of week days, short and long"),
    Rule(
        "date",
        rf"\b(?:{'|'.join(_MONTHS.split())})\s+\d{{1,2}}\s+\b",
        "a month's name, short or long, a day, and the white space before the next word",
    ),
    Rule(
        "ipv4",
        r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?",
        "an IPv4 address, with or without a port",
    ),
    Rule(
        "hex-12",
        r"(?:[0-9A-Fa-f]{2}:){11}[0-9A-Fa-f]{2}",
        "twelve pairs of hexadecimal digits between colons",
    ),
    Rule(
        "hex-6",
        r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}",
        "six pairs of hexadecimal digits between colons (a MAC address)",
    ),
    Rule("path", r"[a-zA-Z0-9]*[:.]*(?:[/\\]+[^/\\\s\[\]]+)+[/\\]*", "a path, URL or the like"),
    Rule("hex-word-8", r"\b[0-9a-fA-F]{8}\b", "a word of eight hexadecimal digits"),
    Rule("hex-word-10", r"\b[0-9a-fA-F]{10}\b", "a word of ten hexadecimal digits"),
    Rule("at-dash", r"\w+[\w.]*@\w+[\w.]*-\w+[\w.]*", "`user@host-part`"),
    Rule("at", r"\w+[\w.]*@\w+[\w.]*", "`user@host`"),
    Rule(
        "with-digit",
        r"[a-zA-Z.:\-_]*\d[a-zA-Z0-9.:\-_]*",
        "a run of letters, digits and `. : - _` that holds a digit",
    ),
)
"""Tried in this order at each position (paper.md, section 1; the authors' scripts)."""
_HTTP = (
    r"(?:10[0-3]|20[0-8]|226|30[0-8]|4(?:[01][0-9]|2[0-9]|31|4[049]|51|60|64|9[4-9])|5(?:0[0-9]"
    r"|1[01]|2[0-9]|30|61|9[89]))"
)
_VERB = "(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)"
_REASON = (
    "(?:OK|Created|Accepted|No Content|Moved|Found|Not Modified|Bad "
    "Request|Unauthorized|Forbidden|Not Found|Method Not|"
    "Request Time|Conflict|Gone|Too Many|Internal Server|Not Implemented|Bad Gateway|Service "
    "Unavailable|Gateway Time)"
)
_IS = r"""["'\])]*\s*(?:[=:]\s*|\s(?:is |was |of )?)["'(\[]*"""  # from a name to its value
_PAIRED = r"""["']?\s*[=:]\s*["']?"""  # in key=value and in JSON
_ERROR = (
    r"err(?:or)?(?:[ _-]?(?:code|no|number))?|"
    r"(?:fault|failure|reason|result|response|abort|native|vendor|status|sense)[ _-]?code|hresult"
)
_EXIT = (
    r"\bexit(?:ed|ing|s)?(?: with)?(?:[ _-]?(?:code|status|value))?|\breturn(?:ed)?[ _-]?(?:code"
    r"|value)|\brc|\bret"
)
_FAILED = r"\bfail(?:ed|ure|s)?(?: with)?(?: (?:error|err|code|status|rc|ret))?"
_TOOK = r"(?: in | |[,;:] ?)\(?[0-9]+(?:\.[0-9]+)? ?(?:[mnuµ]?s|sec|seconds)\b"
_TRUTHS = (
    "success(?:ful)?|succeeded|ok|healthy|ready|alive|passed|valid|available|reachable|connected|authenticated|"
    "authorized|allowed|error|failed|failure|timed?_?out|aborted|killed|oom_?killed|crashed|degraded"
)
CODES: tuple[Code, ...] = (
    Code("unit", r"\bstatus=", "[0-9]{1,3}/[A-Z]+", r"\b", "status=203/EXEC"),
    Code(
        "status",
        f"(?i:status(?:[ _-]?code)?|(?:http|response|sc)[ _-](?:code|status)){_IS}",
        _HTTP,
        r"\b",
        "status=500",
    ),
    Code(
        "http",
        r"\bHTTP(?:/[0-9.]+)?(?i:[ _-](?:error|status|code|response))*[\"']?[ =:]+",
        _HTTP,
        r"\b",
        'HTTP/1.1" 500',
    ),
    Code(
        "request",
        rf"\b{_VERB} [^\s\"]+(?: HTTP/[0-9.]+)?[\"']?(?:\s+(?:-+>?|=>|→|:))?[\s:]+",
        _HTTP,
        r"\b",
        "GET /a 500",
    ),
    Code(
        "answer",
        r"(?i:\b(?:completed|responded|replied|answered|returned)(?: with)?:? )",
        _HTTP,
        r"(?:$|[,;.)]|\s[A-Z(f-i])",
        "returned 503",
    ),
    Code("reason", r"\b", _HTTP, rf"\s{_REASON}", "503 Service Unavailable"),
    Code("arrow", r"(?:->|=>|→) ?", _HTTP, r"(?:$|[\s,;)\]])", "-> 500"),
    Code("bars", r"\|\s*", _HTTP, r"\s*\|", "| 500 |"),
    Code("timed", r"[\s\"]", _HTTP, _TOOK, "500 in 12ms"),
    Code(
        "haproxy",
        r"(?:-?[0-9]+/){4}\+?[0-9]+ ",
        f"(?:{_HTTP}|-1)",
        r" \+?[0-9]+ ",
        "0/0/1/7/8 503 212",
    ),
    Code("squid", r"\b", "(?:TCP|UDP|NONE|TAG|ICP)_[A-Z_]+/[0-9]{3}", r"\b", "TCP_MISS/503"),
    Code("iis", " ", _HTTP, " [0-9]{1,2} [0-9]{1,5} [0-9]{1,7}$", "- 500 0 64 187"),
    Code("exit", rf"(?i:{_EXIT}){_IS}", "-?[0-9]{1,3}", r"\b", "exit code 137"),
    Code("signal", r"(?i:\bsig(?:nal)?)[ =:#(]+", "[0-9]{1,2}", r"\b", "signal 9"),
    Code("errno", r"(?i:errno|winerror)[ =:\])(]*", "-?[0-9]{1,5}", r"\b", "[Errno 28]"),
    Code("sqlstate", r"(?i:sql ?state)[ =:\[(\"']*", "[0-9A-Z]{5}", r"\b", "SQLSTATE 40001"),
    Code(
        "vendor",
        r"\b",
        "(?:ORA|TNS|PLS|RMAN|CRS|BEA|MY|SQL|AMQ|CWWK[A-Z]|WFLY[A-Z]{2,8}|HHH)-?[0-9]{4,6}[A-Z]?",
        r"\b",
        "ORA-01555",
    ),
    Code(
        "error",
        rf"(?i:{_ERROR}){_IS}",
        "-?(?:0x[0-9a-fA-F]{1,8}|[0-9]{1,5}|[A-Z]{1,4}-?[0-9]{2,6})",
        r"\b",
        "error code: -110",
    ),
    Code("failed", rf"(?i:{_FAILED})[ =:(]+", "-[0-9]{1,5}", r"\b", "failed with -22"),
    Code("code", rf"(?i:\bcode){_IS}", "-?(?:[0-9]{1,3}|[A-Z]{1,4}[0-9]{2,5})", r"\b", "code=14"),
    Code(
        "mail",
        r"(?i:\bdsn=|\bsaid: |\breply: )",
        r"[245](?:[0-9]{2}|\.[0-9]\.[0-9]{1,3})",
        r"\b",
        "dsn=5.1.1",
    ),
    Code(
        "severity",
        rf"(?i:\b(?:severity|priority)|level){_PAIRED}",
        "[0-9]{1,2}",
        r"\b",
        '"level": 50',
    ),
    Code("truth", rf"(?i:\b(?:{_TRUTHS})){_PAIRED}", "(?i:true|false)", r"\b", "success=false"),
)
"""What `keep = "codes"` does not mask, tried in this order at each position."""


@cache
def rules(settings: MaskSection) -> tuple[Rule, ...]:
    """The rules that settings ask for, in the order they are tried.

    Raises:
        RecipeError: a rule of one's own is no regular expression, or would match an empty text; or
            some cannot be used together.
    """
    own = tuple(Rule(rule.name, rule.pattern, "own rule") for rule in settings.own)
    for rule in own:
        if reason := _fault([rule]):
            raise RecipeError(
                f"mask rule {rule.name}: {rule.pattern!r} is no regular expression: {reason}"
            )
        if pl.Series([""]).str.contains(_joined([rule])).item():
            raise RecipeError(
                f"mask rule {rule.name}: {rule.pattern!r} matches an empty text and so would "
                f"stand between all letters"
            )
    table = own + (PAPER_RULES if settings.rules == "paper" else ())
    if own and (reason := _fault(table)):
        # The first pair that does not go together is named, or all where only several do not.
        faulty = next(filter(_fault, combinations(own, 2)), own)
        names = " and ".join(rule.name for rule in faulty)
        remedy = (
            "all rules are one expression: give groups different names, or none with (?:...), "
            "and keep it short"
        )
        raise RecipeError(f"mask rules {names} cannot be used together: {reason}; {remedy}")
    return table


def mask(messages: pl.Series, settings: MaskSection) -> pl.Series:
    """Messages with their variable parts as `<*>`; one pass, all rules in one alternation.

    >>> mask(pl.Series(["took 12ms... see /var/log/x on Monday"]), MaskSection()).item()
    'took <*>  see <*> on <*>'
    >>> mask(pl.Series(["job 7: exit code 137"]), MaskSection(keep="codes")).item()
    'job <*> exit code 137'

    Raises:
        RecipeError: see `rules` and `codes`.
    """
    pattern, keeps = _pattern(settings), bool(codes(settings))
    # Codes are marked before numbers are masked, and put back afterwards.
    if pattern and keeps:
        messages = _marked(messages, settings)
    if settings.rules == "paper" and messages.str.contains("...", literal=True).any():
        messages = messages.str.replace_all(DOTS.pattern, ".. ")
    if not pattern:
        return messages
    masked = messages.str.replace_all(pattern, PLACEHOLDER)
    if not keeps:
        return masked
    # Few messages hold a code: only those are gone through once more.
    coded = messages.str.contains(_BEGINS, literal=True)
    if not coded.any():
        return masked
    filled = _with_codes(messages.filter(coded), masked.filter(coded), pattern=pattern)
    return masked.scatter(coded.arg_true(), filled)


def _with_codes(marked: pl.Series, masked: pl.Series, *, pattern: str) -> pl.Series:
    """Masked messages with their codes between the marks again, and the marks gone.

    The rules mask what is inside a pair of marks, which is then put back. Where a rule takes a
    mark, too, as that of paths may, the message is masked with its codes set apart, which is right
    everywhere and eight times as slow.
    """
    pair = f"{_BEGINS}[^{_BEGINS}{_ENDS}]*{_ENDS}"
    # What was masked between the marks is thrown away: only how many pairs are left counts.
    codes_of = marked.str.extract_all(pair)
    places = masked.str.replace_all(pair, _BEGINS)
    pieces = places.str.split(_BEGINS)
    count = codes_of.list.len()
    all_pairs = masked.str.count_matches(pair) == count
    no_mark_left = ~places.str.contains(_ENDS, literal=True)
    whole = all_pairs & (pieces.list.len() == count + 1) & no_mark_left

    # piece 0, code 0, piece 1, code 1, piece 2, ...
    filled = pieces.list.get(0)
    for place in range(int(count.max() or 0)):  # type: ignore[arg-type]
        code = codes_of.list.get(place, null_on_oob=True)
        after = pieces.list.get(place + 1, null_on_oob=True)
        filled = filled + (code + after).fill_null("")
    filled = filled.str.replace_many([_BEGINS, _ENDS], ["", ""])
    return filled if whole.all() else filled.zip_with(whole, _around_codes(marked, pattern))


@cache
def _pattern(settings: MaskSection) -> str:
    """All rules as one alternation; empty where there is none."""
    return _joined(rules(settings))


def _joined(table: Iterable[Rule]) -> str:
    """Rules as one alternation."""
    return "|".join(f"(?:{rule.pattern})" for rule in table)


def _fault(table: Iterable[Rule]) -> str | None:
    """What is wrong with rules as one expression; nothing where nothing is."""
    try:
        pl.Series([""]).str.contains(_joined(table))
    except pl.exceptions.ComputeError as exc:
        told = re.search(r"^(?:regex )?error: (.*[^:\n])$", str(exc), re.MULTILINE)
        return told[1].rstrip(".") if told else first_line(exc)
    return None


_CARETS = r"^[~^ ]+$"  # beneath a line of Python's
_CALL = r"""(?x)  # a line of a stack trace: Java, JavaScript and .NET; Python; Ruby; Go; PHP; Rust
    ^at \x20 (?: .*[(].*[)].* | .*:\d+(?::\d+)? | [\w.$<>`/]+ ) $
    | ^File \x20 ".*", \x20 line \x20 \d+
    | ^(?:from \x20)? \S+ [.] (?:rb|erb|rake) : \d+ (?::in \x20 .*)? $
    | ^goroutine \x20 \d+ \x20 \[ | ^created \x20 by \x20 | ^\S+ [.]go:\d+ (?:\x20[+]0x[0-9a-f]+)? $
    | ^[\w./*()-]+ [(] (?:[{]?0x[0-9a-f]+ .* | [.]{3})? [)] $
    | ^\#\d+ \x20 | ^thrown \x20 in \x20
    | ^\d+: \x20+ \S+:: \S+ $
    | ^[.]{3} \x20 \d+ \x20 (?:more|common) | ^--- \x20 End \x20 of \x20
"""
_PYTHON = '^File "'
_NO_SOURCE = (  # what may follow a Python call and is no line of its source
    r'^(?:File "|\[Previous line repeated|During handling of|The above exception|'
    r"[\w.]*(?:Error|Exception|Warning|Exit|Interrupt|Timeout|Failure|Fault)(?::|$))"
)
_LIBRARY = (
    r"site-packages|dist-packages|/usr/(?:local/)?lib/|<frozen|node_modules|node:|internal/"
    r"|/gems/|/vendor/|/go/pkg/|/usr/local/go/|"
    r"^at (?:java|javax|jakarta|jdk|sun|com\.sun|kotlin|scala|reactor|org\.(?:springframework"
    r"|apache|hibernate|eclipse|jboss)|"
    r"io\.(?:netty|undertow)|com\.zaxxer|System|Microsoft)\.|^runtime\.|^std::|^core::|^goroutine"
    r"|^\.\.\.|^---"
)


def with_short_traces(messages: pl.Series) -> pl.Series:
    r"""Messages whose stack traces hold their exceptions and, of each run of calls, the innermost that is not a library's.

    >>> trace = 'failed\nTraceback:\nFile "a.py", line 1, in f\ng()\n~^^\nFile "/usr/lib/b.py", line 9, in g\nraise\nKeyError: 7'
    >>> with_short_traces(pl.Series([trace])).item()
    'failed\nTraceback:\nFile "a.py", line 1, in f\ng()\nKeyError: 7'
    """
    several = messages.str.contains("\n", literal=True).fill_null(False)
    if not several.any():
        return messages
    # Messages are rows of lines, without what only points at a place in the line above.
    rows = messages.filter(several).alias("line").to_frame().with_row_index("message")
    lines = rows.with_columns(pl.col("line").str.split("\n")).explode("line")
    lines = lines.filter(~pl.col("line").str.contains(_CARETS))
    by_message = _essential(lines).group_by("message", maintain_order=True)
    short = by_message.agg(pl.col("line").str.join("\n"))
    places = several.arg_true().gather(short["message"])
    return messages.clone().scatter(places, short["line"])


def _essential(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines of messages, of each run of calls the one that tells most.

    Python's last, the others' first.
    """
    line, python, call, source, own = (
        pl.col(name) for name in ("line", "python", "call", "source", "own")
    )
    follows = pl.col("message") == pl.col("message").shift(1)
    follows = follows.fill_null(value=False)
    is_call = line.str.contains(_CALL) & follows
    lines = lines.with_columns(python=line.str.contains(_PYTHON), call=is_call)
    # A line of source belongs to the call before it.
    under = python.shift(1, fill_value=False) & follows
    lines = lines.with_columns(source=under & ~line.str.contains(_NO_SOURCE))
    in_trace = call | source
    lines = lines.with_columns(call=call & ~source, run=(~in_trace).cum_sum())
    lines = lines.with_columns(own=call & ~line.str.contains(_LIBRARY))
    # Where all calls are a library's one of these will do.
    only_library = ~own.any().over("run")
    lines = lines.with_columns(told=(own | (call & only_library)).cast(pl.Int32))

    # Python writes the innermost call last, the others write it first.
    told = pl.col("told")
    last = told.cum_sum(reverse=True).over("run") == 1
    first = told.cum_sum().over("run") == 1
    innermost = pl.when(python).then(last).otherwise(first)
    lines = lines.with_columns(chosen=(told == 1) & innermost)
    chosen = pl.col("chosen")
    source_of_chosen = source & chosen.shift(1, fill_value=False)
    return lines.filter(~(call | source) | chosen | source_of_chosen)


@cache
def codes(settings: MaskSection) -> tuple[Code, ...]:
    """The codes that settings keep, one's own first.

    Raises:
        RecipeError: one of one's own is no regular expression, or matches an empty text.
    """
    own = tuple(
        Code(rule.name, "", _without_groups(rule.pattern), "", "own rule")
        for rule in settings.own_keep
    )
    for rule, row in zip(settings.own_keep, own, strict=True):
        if reason := _fault([Rule(row.name, row.code, row.about)]):
            raise RecipeError(
                f"keep rule {rule.name}: {rule.pattern!r} is no regular expression: {reason}"
            )
        if pl.Series([""]).str.contains(row.code).item():
            raise RecipeError(f"keep rule {rule.name}: {rule.pattern!r} matches an empty text")
    return own + (CODES if settings.keep == "codes" else ())


def _without_groups(pattern: str) -> str:
    r"""A pattern whose groups are not counted, since those of the table are.

    >>> _without_groups(r"(a)\((?<x>b)(?:c)")
    '(?:a)\\((?:b)(?:c)'
    """
    return _GROUP.sub(r"\1(?:", pattern)


def _marked(messages: pl.Series, settings: MaskSection) -> pl.Series:
    """Messages with marks around the codes that are kept."""
    pattern, replacement = _marking(settings)
    return messages.str.replace_all(pattern, replacement)


@cache
def _marking(settings: MaskSection) -> tuple[str, str]:
    """All codes as one alternation of three groups each, of which one row's are filled, and what marks the middle one."""
    table = codes(settings)
    pattern = "|".join(f"({row.before})({row.code})({row.after})" for row in table)
    # Row n has the groups 3n + 1 to 3n + 3. All groups are written, those of the other rows empty:
    # "${1}${4}${7}...", the mark, "${2}${5}${8}...", the mark, "${3}${6}${9}...".
    firsts = range(1, 3 * len(table) + 1, 3)
    before = "".join(f"${{{group}}}" for group in firsts)
    code = "".join(f"${{{group + 1}}}" for group in firsts)
    after = "".join(f"${{{group + 2}}}" for group in firsts)
    return pattern, f"{before}{_BEGINS}{code}{_ENDS}{after}"


def _around_codes(messages: pl.Series, pattern: str) -> pl.Series:
    """Messages masked but between marks, and the marks gone.

    A code and what a rule matches both become a pair of marks, the code between them: an empty pair
    is a variable part.
    """
    either = f"{_BEGINS}([^{_ENDS}]*){_ENDS}|{pattern}"
    paired = messages.str.replace_all(either, f"{_BEGINS}${{1}}{_ENDS}")
    masked = paired.str.replace_all(_BEGINS + _ENDS, PLACEHOLDER, literal=True)
    return masked.str.replace_many([_BEGINS, _ENDS], ["", ""])
