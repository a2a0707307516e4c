"""Where a session has a gap: what nearly all sessions that begin like it hold, and it does not."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from logllm.sessions.following import END, Following, Goals
from logllm.sessions.message_sets import Keys

MISSING = 3
"""How many messages that did not come a verdict names at most."""
_NEARLY_ALL = 0.8
"""So large a share of sessions must go on to hold a message before it is missed."""
_ENOUGH = 0.2
"""So large a share of the ways to an end must be known before anything is missed."""
_MOST_STEPS = 128
"""Of a session so many beginnings are looked at, at most."""
_MOST_WORDS = 20
"""Of a message so many words are compared."""

Sign = tuple[int, str]
"""A message without one of its words: which one, and the others."""


class Gap(NamedTuple):
    """Where something is missing in a session."""

    place: int
    """The last message before the gap."""
    missing: list[int]
    """The keys of the messages that did not come, in their usual order, at most `MISSING`."""


def gap(keys: Keys, following: Following, *, texts: Mapping[int, str]) -> Gap | None:
    """Where a session has a gap; None where it has none, as far as is known.

    Args:
        keys: of the session's messages, not empty.
        following: what normal sessions go on with.
        texts: the messages of this log by their keys: only what it holds somewhere is missed.
    """
    held = _signs(keys.tolist(), texts)
    # The longest beginning after which something is missing: before it, what is missing later may
    # still come, and after it, a session without it is like no other.
    for count in range(min(len(keys), _MOST_STEPS), 0, -1):
        goals = following.goals(keys[:count])
        missing = _missing(goals, held=held, texts=texts)
        if not missing:
            continue
        # Where sessions do not end like that, it stopped at its last message.
        stopped = END not in following.usual(keys)
        before = len(keys) if stopped else count
        return Gap(before - 1, missing)
    return None


def _missing(goals: Goals, *, held: frozenset[Sign], texts: Mapping[int, str]) -> list[int]:
    """The keys of what nearly all sessions go on to hold, and one does not.

    `render cart.html` is not missed where the session holds `render pay.html`; where it holds
    nothing of the kind, the most frequent of them is named for all.

    Args:
        goals: what sessions hold at their ends that begin like it.
        held: the signs of the messages that it holds.
        texts: messages by their keys.
    """
    reached = sum(goals.ends.values())
    if reached < _ENOUGH:
        return []
    # In which share of the ends there is each message, and one with each sign.
    of_keys: dict[int, float] = defaultdict(float)
    of_signs: dict[Sign, float] = defaultdict(float)
    for at_end, share in goals.ends.items():
        for key in at_end:
            of_keys[key] += share
        for sign in _signs(at_end, texts) - held:
            of_signs[sign] += share

    # Of messages that share a usual sign the most frequent one is named.
    usual = {sign for sign, share in of_signs.items() if share >= _NEARLY_ALL * reached}
    by_share = sorted(of_keys, key=lambda key: (-of_keys[key], key))
    named: list[int] = []
    for key in by_share:
        signs = _signs([key], texts) & usual
        if signs:
            named.append(key)
            usual -= _signs([key], texts)
    return sorted(named, key=lambda key: goals.first.get(key, 0))[:MISSING]


def _signs(keys: Iterable[int], texts: Mapping[int, str]) -> frozenset[Sign]:
    """The signs of some messages; those that this log does not hold have none.

    Messages that differ in one word share one.

    >>> first, second = (_signs([7], {7: text}) for text in ("render pay", "render cart"))
    >>> sorted(first), sorted(first & second)
    ([(0, 'pay'), (1, 'render')], [(1, 'render')])
    """
    signs: set[Sign] = set()
    for key in keys:
        words = texts.get(key, "").split()[:_MOST_WORDS]
        # A message of one word is a sign of its own.
        if len(words) == 1:
            signs.add((-1, words[0]))
            continue
        for place in range(len(words)):
            others = words[:place] + words[place + 1 :]
            signs.add((place, " ".join(others)))
    return frozenset(signs)
