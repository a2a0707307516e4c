"""The rules of masking as one table, and the codes that are kept.

The rules are the paper's, in the order of the authors' scripts.
"""

from typing import NamedTuple


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


NUMBERS_AND_DAYS = "|".join(f"{_NUMBERS} {_DAYS}".split())
"""Words that rules mask, as one alternation."""
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
    "success(?:ful)?|succeeded|ok|healthy|ready|alive|passed|valid|available|reachable|connected"
    "|authenticated|authorized|allowed|error|failed|failure|timed?_?out|aborted|killed|oom_?killed"
    "|crashed|degraded"
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
