"""What was wrong, when, and in which sessions: anomalous sessions told to a person as incidents."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from logllm.sessions.message_table import MessageTable

_QUOTED = r""""[^"]*"|'[^']*'|«[^»]*»|»[^«]*«|„[^“]*“"""
_LEAST_GAP, _MOST_GAP = timedelta(seconds=5), timedelta(minutes=15)
_GAP = 0.01  # of the log's time
_TELLING = 2.0  # standard errors
_SHOWN = 3


@dataclass(frozen=True)
class Telling:
    """A message that anomalous sessions have more often than normal ones."""

    message: str
    """It, masked; `"…"` stands for quoted words in which messages of the incident differ."""
    sessions: int
    """Anomalous sessions of the incident that have it."""
    weight: float
    """Its log odds between those and the log's normal sessions, in standard errors."""


@dataclass(frozen=True)
class Incident:
    """Anomalous sessions whose telling messages lie close together in time."""

    start: datetime | None
    """Time of the first such message; none where the log has no times."""
    end: datetime | None
    """Time of the last one."""
    sessions: int
    """How many sessions; a long one may be part of several incidents."""
    messages: tuple[Telling, ...]
    """The most telling messages, the foremost first."""
    top: tuple[tuple[str, float], ...]
    """The sessions with the highest scores, and those."""


def summarise(verdicts: pl.DataFrame, messages: pl.Series, *, shown: int = _SHOWN) -> list[Incident]:
    """The incidents of one log, in the order of time.

    Which messages tell is found without labels: those over-represented in anomalous sessions against the normal ones of the same log,
    where messages that differ in quoted words alone are one. A session stands where its telling messages stand, so that one that lasts
    as long as the log joins nothing that is apart. A line has the time of the nearest line before it that begins or ends a session.
    Incidents are as far apart as one per cent of the log's time, but at least 5 s and at most 15 min.

    Args:
        verdicts: A verdict frame with `messages` (`Detector.read`).
        messages: What these are places in.
        shown: Most messages and most sessions of an incident.
    """
    shapes = MessageTable()
    rows = _rows(verdicts).with_columns(original="message")
    rows = rows.with_columns(message=shapes.push(messages.str.replace_all(_QUOTED, '"…"')).gather(rows["message"]))
    normal = rows.filter(~pl.col("anomalous")).group_by("message").agg(normal=pl.col("row").n_unique())
    total = verdicts.height - int(verdicts["anomalous"].sum())
    points = _points(rows.filter("anomalous"), normal, others=total)
    if not points.height:
        return []
    span = verdicts.select(pl.col("end").max() - pl.col("start").min()).item()
    gap = _LEAST_GAP if span is None else min(max(span * _GAP, _LEAST_GAP), _MOST_GAP)
    points = points.sort("time", "place", nulls_last=True, maintain_order=True)
    apart = (pl.col("time").diff() > gap).fill_null(False)
    points = _worth_telling(points.with_columns(incident=apart.cum_sum()))
    return [_incident(part, normal, messages=messages, others=total, shown=shown) for part in points.partition_by("incident")]


def _rows(verdicts: pl.DataFrame) -> pl.DataFrame:
    """One row a message of a session: `row` (the session's), `session`, `score`, `anomalous`, `message`, `place`, `time`."""
    several = "files" in verdicts.columns
    listed = ["messages", "lines", *(["files"] if several else [])]
    last = pl.col("lines").list.len() - 1
    rows = verdicts.with_row_index("row").with_columns(last=last).explode(listed)
    at = pl.int_range(pl.len()).over("row")
    time = pl.when(at == 0).then("start").when(at == pl.col("last")).then("end")
    order = ["files", "lines"] if several else ["lines"]
    rows = rows.with_columns(time=time)
    if several:  # by their times: app.log.1 comes before app.log
        known = rows.group_by("files", maintain_order=True).agg(pl.col("time").min()).sort("time", nulls_last=True, maintain_order=True)
        rows = rows.with_columns(pl.col("files").cast(pl.Enum(known["files"])))
    rows = rows.sort(order, maintain_order=True)
    return rows.with_row_index("place").select(
        "row", "session", "score", "anomalous", "place", message="messages", time=pl.col("time").forward_fill().backward_fill()
    )


def _points(rows: pl.DataFrame, normal: pl.DataFrame, *, others: int) -> pl.DataFrame:
    """The rows of anomalous sessions that tell, and of a session without such its most telling ones."""
    weighed = rows.join(_weights(rows, normal, others=others), on="message", maintain_order="left")
    return weighed.filter((pl.col("weight") > _TELLING) | (pl.col("weight") == pl.col("weight").max().over("row")))


def _worth_telling(points: pl.DataFrame) -> pl.DataFrame:
    """Without incidents all sessions of which are in a larger one: what such a session alone says, as when it began, belongs to that."""
    points = points.with_columns(size=pl.col("row").n_unique().over("incident"))
    points = points.with_columns(foremost=pl.col("size") == pl.col("size").max().over("row"))
    return points.filter(pl.col("foremost").any().over("incident"))


def _weights(rows: pl.DataFrame, normal: pl.DataFrame, *, others: int) -> pl.DataFrame:
    """For each message of some sessions how many have it, and its smoothed log odds against the normal ones, in standard errors."""
    own = rows["row"].n_unique()
    counted = rows.group_by("message", maintain_order=True).agg(sessions=pl.col("row").n_unique())
    counted = counted.join(normal, on="message", how="left", maintain_order="left").with_columns(pl.col("normal").fill_null(0))
    here, there = pl.col("sessions") + 0.5, pl.col("normal") + 0.5
    odds = (here / (own - here + 1)).log() - (there / (others - there + 1)).log()
    return counted.select("message", "sessions", weight=odds / (1 / here + 1 / there).sqrt())


def _incident(points: pl.DataFrame, normal: pl.DataFrame, *, messages: pl.Series, others: int, shown: int) -> Incident:
    """One incident of its telling rows."""
    weights = _weights(points, normal, others=others).sort("weight", descending=True, maintain_order=True)
    weights = weights.filter((pl.col("weight") > 0) | (pl.int_range(pl.len()) == 0)).head(shown)
    originals = points.group_by("message").agg(pl.col("original").first(), alike=pl.col("original").n_unique() == 1)
    weights = weights.join(originals, on="message", maintain_order="left")
    sessions = points.unique("row", maintain_order=True).sort("score", descending=True, maintain_order=True)
    return Incident(
        start=points["time"].min(),  # type: ignore[arg-type]
        end=points["time"].max(),  # type: ignore[arg-type]
        sessions=sessions.height,
        messages=tuple(
            Telling(messages[original] if alike else _shape(messages[original]), count, weight)
            for _, count, weight, original, alike in weights.iter_rows()
        ),
        top=tuple(sessions.head(shown).select("session", "score").iter_rows()),
    )


def _shape(message: str) -> str:
    """A message without its quoted words."""
    return re.sub(_QUOTED, '"…"', message)
