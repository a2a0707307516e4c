"""A message's variable parts become `<*>`, but for codes that are kept.

The rules are the paper's (`logllm.logs.masks.mask_table`) and those of one's own.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import combinations

import polars as pl

from logllm.config.mask import MaskSection
from logllm.errors import RecipeError, first_line
from logllm.logs.masks.mask_table import CODES, DOTS, PAPER_RULES, Code, Rule

PLACEHOLDER = "<*>"
"""What stands for a variable part."""
# Around a code while the rest is masked: characters that no text has (noncharacters)
_BEGINS, _ENDS = "\ufdd0", "\ufdd1"
_GROUP = re.compile(r"(?<!\\)((?:\\\\)*)\((?:\?P?<[A-Za-z_]\w*>|(?!\?))")


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
    table = own
    if settings.rules == "paper":
        table += PAPER_RULES
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
    pattern = _pattern(settings)
    keeps = bool(codes(settings))
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
    most = int(count.max() or 0)  # type: ignore[arg-type]
    for place in range(most):
        code = codes_of.list.get(place, null_on_oob=True)
        after = pieces.list.get(place + 1, null_on_oob=True)
        filled = filled + (code + after).fill_null("")
    filled = filled.str.replace_many([_BEGINS, _ENDS], ["", ""])
    if whole.all():
        return filled
    return filled.zip_with(whole, _around_codes(marked, pattern))


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


@cache
def codes(settings: MaskSection) -> tuple[Code, ...]:
    """The codes that settings keep, one's own first.

    Raises:
        RecipeError: one of one's own is no regular expression, or matches an empty text.
    """
    own: list[Code] = []
    for rule in settings.own_keep:
        pattern = _without_groups(rule.pattern)
        reason = _fault([Rule(rule.name, pattern, "own rule")])
        if reason:
            raise RecipeError(
                f"keep rule {rule.name}: {rule.pattern!r} is no regular expression: {reason}"
            )
        if pl.Series([""]).str.contains(pattern).item():
            raise RecipeError(f"keep rule {rule.name}: {rule.pattern!r} matches an empty text")
        own.append(Code(rule.name, "", pattern, "", "own rule"))
    if settings.keep == "codes":
        own += CODES
    return tuple(own)


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
    """All codes as one alternation of three groups each, and what marks the middle one.

    In a match the groups of one row are filled.
    """
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
    """Messages masked except between marks, and without the marks.

    A code and what a rule matches both become a pair of marks, the code between them: an empty pair
    is a variable part.
    """
    either = f"{_BEGINS}([^{_ENDS}]*){_ENDS}|{pattern}"
    paired = messages.str.replace_all(either, f"{_BEGINS}${{1}}{_ENDS}")
    masked = paired.str.replace_all(_BEGINS + _ENDS, PLACEHOLDER, literal=True)
    return masked.str.replace_many([_BEGINS, _ENDS], ["", ""])
