"""A message's variable parts become `<*>`: the paper's rules as one ordered table, and rules of one's own."""

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


class Rule(NamedTuple):
    """One row of the table."""

    name: str
    """What the rule is called."""
    pattern: str
    """Regular expression (Rust syntax)."""
    about: str
    """What it matches."""


_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
    "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion"
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mon Tue Wed Thu Fri Sat Sun"
_MONTHS = (
    "January February March April May June July August September October November December Jan Feb Mar Apr Jun Jul Aug Sep Oct Nov Dec"
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
    Rule("ipv4", r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?", "an IPv4 address, with or without a port"),
    Rule("hex-12", r"(?:[0-9A-Fa-f]{2}:){11}[0-9A-Fa-f]{2}", "twelve pairs of hexadecimal digits between colons"),
    Rule("hex-6", r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", "six pairs of hexadecimal digits between colons (a MAC address)"),
    Rule("path", r"[a-zA-Z0-9]*[:.]*(?:[/\\]+[^/\\\s\[\]]+)+[/\\]*", "a path, URL or the like"),
    Rule("hex-word-8", r"\b[0-9a-fA-F]{8}\b", "a word of eight hexadecimal digits"),
    Rule("hex-word-10", r"\b[0-9a-fA-F]{10}\b", "a word of ten hexadecimal digits"),
    Rule("at-dash", r"\w+[\w.]*@\w+[\w.]*-\w+[\w.]*", "`user@host-part`"),
    Rule("at", r"\w+[\w.]*@\w+[\w.]*", "`user@host`"),
    Rule("with-digit", r"[a-zA-Z.:\-_]*\d[a-zA-Z0-9.:\-_]*", "a run of letters, digits and `. : - _` that holds a digit"),
)
"""Tried in this order at each position (paper.md, section 1; the authors' scripts)."""


@cache
def rules(settings: MaskSection) -> tuple[Rule, ...]:
    """The rules that settings ask for, in the order they are tried.

    Raises:
        RecipeError: a rule of one's own is no regular expression, or would match an empty text; or some cannot be used together.
    """
    own = tuple(Rule(rule.name, rule.pattern, "own rule") for rule in settings.own)
    for rule in own:
        if reason := _fault([rule]):
            raise RecipeError(f"mask rule {rule.name}: {rule.pattern!r} is no regular expression: {reason}")
        if pl.Series([""]).str.contains(_joined([rule])).item():
            raise RecipeError(f"mask rule {rule.name}: {rule.pattern!r} matches an empty text and so would stand between all letters")
    table = own + (PAPER_RULES if settings.rules == "paper" else ())
    if own and (reason := _fault(table)):
        names = " and ".join(rule.name for rule in next(filter(_fault, combinations(own, 2)), own))
        remedy = "all rules are one expression: give groups different names, or none with (?:...), and keep it short"
        raise RecipeError(f"mask rules {names} cannot be used together: {reason}; {remedy}")
    return table


def mask(messages: pl.Series, settings: MaskSection) -> pl.Series:
    """Messages with their variable parts as `<*>`; one pass, all rules in one alternation.

    >>> mask(pl.Series(["took 12ms... see /var/log/x on Monday"]), MaskSection()).item()
    'took <*>  see <*> on <*>'

    Raises:
        RecipeError: see `rules`.
    """
    pattern = _pattern(settings)
    if settings.rules == "paper" and messages.str.contains("...", literal=True).any():
        messages = messages.str.replace_all(DOTS.pattern, ".. ")
    return messages.str.replace_all(pattern, PLACEHOLDER) if pattern else messages


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
        found = re.search(r"^(?:regex )?error: (.*[^:\n])$", str(exc), re.MULTILINE)
        return found[1].rstrip(".") if found else first_line(exc)
    return None
