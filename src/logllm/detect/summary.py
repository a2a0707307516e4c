"""What went wrong, when, and in which sessions: anomalous sessions put together as incidents."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from logllm.methods.trouble import gravity
from logllm.sessions.message_table import MessageTable, kinds_of

MessageScores = Callable[[pl.Series], pl.Series]
"""Scores messages of a table, given by their places, each as a session that holds nothing else."""

_LEAST_GAP, _MOST_GAP = timedelta(seconds=5), timedelta(minutes=15)
_GAP = 0.01  # of the log's time
_TELLING = 2.0  # standard errors
_SHOWN = 3
_SELDOM = 0.1  # more than this share of the sessions with a message must be known by it
_SCORED = 200
"""Messages that are scored by themselves, at most: the most over-represented and the gravest."""


@dataclass(frozen=True)
class Telling:
    """A message by which anomalous sessions are known."""

    message: str
    """It, masked; `"…"` stands for quoted words in which messages of the incident differ."""
    sessions: int
    """Sessions of the incident that have it."""
    weight: float
    """Its log odds between those and the log's normal sessions, in standard errors."""
    line: int
    """The number of a line that holds it, in the session with the highest score."""
    file: str | None = None
    """That line's file, where there are several inputs."""
    score: float | None = None
    """Its score by the verdicts' evidence, or as a session that holds nothing else; None: it has
    none, or none was asked for."""


@dataclass(frozen=True)
class Incident:
    """Anomalous sessions whose foremost messages lie close together in time."""

    start: datetime | None
    """Time of the first such message; None where the log has no times."""
    end: datetime | None
    """Time of the last one."""
    sessions: int
    """How many sessions; each is part of one incident only."""
    score: float
    """Their mean score."""
    messages: tuple[Telling, ...]
    """The messages that decided; the one that most sessions are known by comes first."""
    top: tuple[tuple[str, float], ...]
    """The sessions with the highest scores, and these scores."""
    expected: tuple[str, ...] = ()
    """Masked messages that did not come; the one that most sessions lack comes first."""


def summarise(
    verdicts: pl.DataFrame,
    messages: pl.Series,
    *,
    scores: MessageScores | None = None,
    threshold: float = 0.5,
    shown: int = _SHOWN,
) -> list[Incident]:
    """The incidents of one log, those of many sessions with high scores first.

    A session is known by its foremost message. That is the one that says most by the verdict's
    evidence, or where verdicts have none, the one that by itself scores highest. Among equals, and
    where no message is anomalous by itself, it is one over-represented in the anomalous sessions
    against the normal ones of the same log, then the gravest, FATAL before ERROR. Messages that
    differ in quoted words alone are one. A session stands where its foremost message stands, so
    that one that lasts as long as the log joins nothing that is apart. A line has the time of the
    nearest line before it that begins or ends a session. Incidents are as far apart as one per cent
    of the log's time, but at least 5 s and at most 15 min.

    Args:
        verdicts: A verdict frame with `messages` (`Detector.read`).
        messages: The message table, in which these are places.
        scores: Scores at most 200 messages by themselves where verdicts have no evidence; None: no
            message is scored.
        threshold: From which score on such a message is anomalous.
        shown: How many messages and sessions an incident names at most.
    """
    shapes = MessageTable()
    rows = _rows(verdicts).with_columns(original="message")
    shape_of_message = shapes.push(kinds_of(messages))
    shape_of_row = shape_of_message.gather(rows["message"])
    rows = rows.with_columns(message=shape_of_row)
    of_normal = rows.filter(~pl.col("anomalous")).group_by("message")
    normal = of_normal.agg(normal=pl.col("row").n_unique())
    anomalous = int(verdicts["anomalous"].sum())
    others = verdicts.height - anomalous
    rows = rows.filter("anomalous")
    if not rows.height:
        return []

    # Each message of an anomalous session with all that says how much it tells.
    weights = _weights(rows, normal, others=others)
    rows = rows.join(weights, on="message", maintain_order="left")
    rows = _graded(rows, messages)
    if "evidence" in verdicts.columns:
        rows = _evident(rows, verdicts)
    else:
        rows = _scored(rows, scores, threshold=threshold)

    # Each session in the incident that its foremost message lies in.
    order = ("loud", "telling", "gravity", "weight")
    foremost = rows.sort(*order, descending=True, nulls_last=True, maintain_order=True)
    foremost = foremost.unique("row", keep="first", maintain_order=True)
    foremost = foremost.sort("time", "place", nulls_last=True)
    apart = _apart(foremost, gap=_gap(verdicts))
    rows = _placed(rows, apart)
    # Many sessions with high scores come first.
    incidents: list[Incident] = []
    for of_incident in rows.partition_by("incident", maintain_order=True):
        incident = _incident(of_incident, normal, messages=messages, others=others, shown=shown)
        expected = _expected(of_incident, verdicts, shown=shown)
        incidents.append(replace(incident, expected=expected))
    return sorted(incidents, key=lambda incident: -incident.sessions * incident.score)


def _rows(verdicts: pl.DataFrame) -> pl.DataFrame:
    """One row for each message of a session.

    Columns are `row` (the session's), `session`, `score`, `anomalous`, `message`, `place`, `time`,
    `line` and `file`.
    """
    # Only a session's first and last lines have known times, its start and its end.
    several = "files" in verdicts.columns
    listed = ["messages", "lines"]
    if several:
        listed.append("files")
    last = pl.col("lines").list.len() - 1
    numbered = verdicts.with_row_index("row").with_columns(last=last)
    rows = numbered.explode(listed)
    at = pl.int_range(pl.len()).over("row")
    is_first, is_last = at == 0, at == pl.col("last")
    time = pl.when(is_first).then("start").when(is_last).then("end")
    rows = rows.with_columns(time=time)

    # In the order of the log; files by their first times, as app.log.1 comes before app.log.
    order = ["files", "lines"] if several else ["lines"]
    if several:
        by_file = rows.group_by("files", maintain_order=True)
        first_times = by_file.agg(pl.col("time").min())
        in_order = first_times.sort("time", nulls_last=True, maintain_order=True)
        ranked = pl.col("files").cast(pl.Enum(in_order["files"]))
        rows = rows.with_columns(ranked)
    rows = rows.sort(order, maintain_order=True).with_row_index("place")

    # A line in between has the time of the nearest known one before it.
    time_before = pl.col("time").forward_fill()
    file = pl.col("files").cast(pl.String) if several else pl.lit(None, dtype=pl.String)
    return rows.select(
        *("row", "session", "score", "anomalous", "place"),
        message="messages",
        time=time_before.backward_fill(),
        line="lines",
        file=file,
    )


def _weights(rows: pl.DataFrame, normal: pl.DataFrame, *, others: int) -> pl.DataFrame:
    """How many of some sessions have each message, and its `weight`.

    The weight is its smoothed log odds against the normal sessions, in standard errors.
    """
    own = rows["row"].n_unique()
    by_message = rows.group_by("message", maintain_order=True)
    counted = by_message.agg(sessions=pl.col("row").n_unique())
    counted = counted.join(normal, on="message", how="left", maintain_order="left")
    counted = counted.with_columns(pl.col("normal").fill_null(0))

    # Log odds of having the message, of these sessions less of the normal ones, each count with
    # half a session more; their variance is about 1 / here + 1 / there.
    here, there = pl.col("sessions") + 0.5, pl.col("normal") + 0.5
    odds_here = here / (own - here + 1)
    odds_there = there / (others - there + 1)
    log_odds = odds_here.log() - odds_there.log()
    variance = 1 / here + 1 / there
    weight = log_odds / variance.sqrt()
    return counted.select("message", "sessions", weight=weight)


def _graded(rows: pl.DataFrame, messages: pl.Series) -> pl.DataFrame:
    """Rows with `telling`, whether the message is over-represented, and with its `gravity`.

    Gravity is known by words of severity.
    """
    places = rows["original"].unique()
    gravities = gravity(messages.gather(places))
    graded = pl.DataFrame({"original": places, "gravity": gravities})
    rows = rows.join(graded, on="original", maintain_order="left")
    return rows.with_columns(telling=pl.col("weight") > _TELLING)


def _scored(rows: pl.DataFrame, scores: MessageScores | None, *, threshold: float) -> pl.DataFrame:
    """Rows with `alone`, the score of the message by itself, and `loud`.

    `loud` is that score to a tenth if it reaches the threshold, else 0.
    """
    if scores is None:
        return rows.with_columns(alone=pl.lit(None, dtype=pl.Float64), loud=pl.lit(0.0))
    distinct = rows.unique("original", maintain_order=True)
    foremost = distinct.sort("telling", "gravity", "weight", descending=True, maintain_order=True)
    places = foremost["original"].head(_SCORED)
    scored = pl.DataFrame({"original": places, "alone": scores(places)})
    # To a tenth: of what is anomalous by itself beyond doubt the gravest is meant.
    alone = pl.col("alone")
    is_loud = alone >= threshold
    loud = pl.when(is_loud).then(alone.round(1)).otherwise(0.0)
    rows = rows.join(scored, on="original", how="left", maintain_order="left")
    return rows.with_columns(loud=loud)


def _evident(rows: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """Rows with `alone` and `loud` by the evidence of their verdicts; `loud` is to a tenth."""
    # Evidence names lines: a message tells what the line that holds it tells. Where there is one
    # file, verdicts do not name it.
    place = ["row", "line"]
    if "files" in verdicts.columns:
        place.append("file")
    listed = verdicts.select("evidence").with_row_index("row")
    listed = listed.explode("evidence", empty_as_null=False)
    lines = listed.filter(pl.col("evidence").is_not_null()).unnest("evidence")
    lines = lines.select(*place, alone="score")
    rows = rows.join(lines, on=place, how="left", maintain_order="left")
    to_a_tenth = pl.col("alone").round(1)
    return rows.with_columns(loud=to_a_tenth.fill_null(0.0))


def _expected(rows: pl.DataFrame, verdicts: pl.DataFrame, *, shown: int) -> tuple[str, ...]:
    """Which messages did not come in the sessions of an incident's rows."""
    if "expected" not in verdicts.columns:
        return ()
    # The message that most of the sessions lack is the most telling one.
    sessions = rows["row"].unique()
    lists = verdicts["expected"].gather(sessions).drop_nulls()
    missing = lists.explode().alias("message")
    by_message = missing.to_frame().group_by("message", maintain_order=True)
    foremost = by_message.len().sort("len", descending=True, maintain_order=True)
    return tuple(foremost["message"].head(shown))


def _gap(verdicts: pl.DataFrame) -> timedelta:
    """How far incidents are apart at least."""
    # In a log of a day incidents are minutes apart, in one of a minute seconds.
    length = pl.col("end").max() - pl.col("start").min()
    span = verdicts.select(length).item()
    if span is None:
        return _LEAST_GAP
    share: timedelta = span * _GAP
    return min(max(share, _LEAST_GAP), _MOST_GAP)


def _apart(foremost: pl.DataFrame, *, gap: timedelta) -> pl.DataFrame:
    """Sessions by `row` in the order of their foremost messages, each with its `incident`.

    `began` and `ended` are the times of the incident.
    """
    time = pl.col("time")
    apart = (time.diff() > gap).fill_null(False)
    sessions = foremost.with_columns(incident=apart.cum_sum())
    return sessions.select(
        *("row", "incident", "message"),
        began=time.min().over("incident"),
        ended=time.max().over("incident"),
    )


def _placed(rows: pl.DataFrame, foremost: pl.DataFrame) -> pl.DataFrame:
    """The rows that lie in the time of their session's incident, with `decided`.

    A row has decided if it holds the session's foremost message.
    """
    decisive = foremost.rename({"message": "decisive"})
    placed = rows.join(decisive, on="row", maintain_order="left")
    # A long session began before the fault and goes on after it: those lines say nothing of it.
    inside = pl.col("time").is_between("began", "ended").fill_null(True)
    decided = pl.col("message") == pl.col("decisive")
    of_incidents = placed.filter(inside).with_columns(decided=decided)
    return of_incidents.sort("incident", "place")


def _incident(
    rows: pl.DataFrame,
    normal: pl.DataFrame,
    *,
    messages: pl.Series,
    others: int,
    shown: int,
) -> Incident:
    """One incident, made of its sessions' rows."""
    best = rows.sort("score", descending=True, maintain_order=True)
    by_message = best.group_by("message", maintain_order=True)
    of_best = pl.col("original", "line", "file", "alone", "loud", "telling", "gravity").first()
    originals = pl.col("original").n_unique()
    decided = pl.col("row").filter("decided")
    tells = by_message.agg(of_best, alike=originals == 1, decided=decided.n_unique())
    weights = _weights(rows, normal, others=others)
    tells = tells.join(weights, on="message", maintain_order="left")

    # A message tells if enough sessions are known by it, or if it is over-represented and grave.
    is_loud = pl.col("loud") > 0
    decisive = pl.col("decided") > _SELDOM * pl.col("sessions")
    grave = is_loud | (pl.col("gravity") > 1)
    over_represented = pl.col("weight") > _TELLING
    tells = tells.filter(decisive | (over_represented & grave))
    # Everyday messages only where nothing else tells.
    by_itself = is_loud | pl.col("telling")
    tells = tells.filter(by_itself | ~by_itself.any())
    order = ("decided", "loud", "gravity", "weight")
    tells = tells.sort(*order, descending=True, nulls_last=True, maintain_order=True)
    sessions = best.unique("row", keep="first", maintain_order=True)
    foremost = tells.head(shown).iter_rows(named=True)
    telling = [_telling(row, messages) for row in foremost]
    top = sessions.head(shown).select("session", "score")
    mean = sessions["score"].mean()
    return Incident(
        start=rows["began"][0],
        end=rows["ended"][0],
        sessions=sessions.height,
        score=float(mean),  # type: ignore[arg-type]
        messages=tuple(telling),
        top=tuple(top.iter_rows()),
    )


def _telling(row: dict[str, Any], messages: pl.Series) -> Telling:
    """A row of telling messages, as it is shown to a person."""
    original = messages.gather([row["original"]])
    message = original if row["alike"] else kinds_of(original)
    return Telling(
        message=message.item(),
        sessions=row["sessions"],
        weight=row["weight"],
        line=row["line"],
        file=row["file"],
        score=row["alone"],
    )
