"""Labelled sessions to parts: by time, or at random with the labels' shares kept."""

import math

import numpy as np
import polars as pl

from logllm.sessions.sessionizer import base_name

_ROUNDING = 1e-9  # .1 * 30 is a little more than 3


def number_of(total: int, share: float) -> int:
    """How many of a total a share is, rounded up.

    >>> number_of(30, 0.1), number_of(11, 0.1), number_of(5, 0.0)
    (3, 2, 0)
    """
    return math.ceil(total * share - _ROUNDING)


def last_share(sessions: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All but the last share of the sessions in order of their start, and that share.

    The parts of a session stay together.
    """
    units = in_time(sessions)
    count = number_of(units.height, share)
    return _divided(sessions, units, chosen=units["name"].tail(count))


def random_share(
    sessions: pl.DataFrame, share: float, *, generator: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All but a share of the sessions drawn at random, and that share.

    The parts of a session stay together. Each label's share is as near the whole's as whole
    sessions allow, so a label with a single session is drawn rarely.
    """
    units = _units(sessions)
    # Normal and anomalous ones are drawn apart, so that both have their share in each part.
    anomalous = pl.col("anomalous")
    of_normal = units.filter(~anomalous)["name"]
    of_anomalous = units.filter(anomalous)["name"]
    classes = [of_normal, of_anomalous]
    drawn: list[pl.Series] = []
    for members, count in zip(classes, _counts(classes, share), strict=True):
        order = generator.permutation(len(members))
        places = np.sort(order[:count])
        drawn.append(members.gather(places))
    return _divided(sessions, units, chosen=pl.concat(drawn))


def in_time(sessions: pl.DataFrame) -> pl.DataFrame:
    """Sessions with their parts as one, in order of their start, then of their first record.

    A session without a time follows the one before it in the log.

    Returns:
        `name`, `start`, `first`, `anomalous`.
    """
    units = _units(sessions)
    if not units["start"].null_count():
        return units.sort("start", "first", maintain_order=True)
    clock = pl.col("start").forward_fill().backward_fill()
    in_log = units.sort("first", maintain_order=True)
    return in_log.sort(clock, maintain_order=True)


def without_overlap(sessions: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Windows that end before the later ones begin."""
    if not later.height:
        return sessions
    ends_before = pl.col("last") < later["first"].min()
    return sessions.filter(ends_before)


def _units(sessions: pl.DataFrame) -> pl.DataFrame:
    """Sessions with their parts as one: `name`, `start`, `first`, `anomalous`."""
    named = sessions.select("start", "first", "anomalous", name=base_name())
    by_name = named.group_by("name", maintain_order=True)
    # Without a label a session counts as normal here: only its label's share is asked for.
    start, first = pl.col("start").min(), pl.col("first").min()
    anomalous = pl.col("anomalous").max().fill_null(False)
    return by_name.agg(start, first, anomalous)


def _counts(classes: list[pl.Series], share: float) -> list[int]:
    """How many to draw of each class: whole numbers that add up, by the largest remainder."""
    # Of 3 anomalous and 97 normal ones 10 % are .3 and 9.7: 0 and 9, and the tenth is a normal one.
    exact = [len(members) * share for members in classes]
    counts = [math.floor(number + _ROUNDING) for number in exact]
    members_of_all = sum(map(len, classes))
    total = number_of(members_of_all, share)
    missing = max(0, total - sum(counts))
    # The largest remainder first: what a class lacks by being rounded down.
    by_remainder = sorted(range(len(classes)), key=lambda place: counts[place] - exact[place])
    for place in by_remainder[:missing]:
        counts[place] += 1
    return counts


def _divided(
    sessions: pl.DataFrame, units: pl.DataFrame, *, chosen: pl.Series
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sessions whose unit is not chosen, and those whose is."""
    names = sessions.select(base_name().alias("name"))["name"]
    inside = pl.repeat(True, sessions.height, eager=True)
    if len(chosen) < units.height:
        inside = names.is_in(chosen.implode())
    return sessions.filter(~inside), sessions.filter(inside)
