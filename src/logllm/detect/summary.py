"""What was wrong, when, and in which sessions: anomalous sessions told to a person as incidents."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from logllm.methods.trouble import gravity
from logllm.sessions.message_table import MessageTable, kinds_of

MessageScores = Callable[[pl.Series], pl.Series]
"""Gives some messages of a table, by their places, the scores of sessions that hold nothing
else."""

_LEAST_GAP, _MOST_GAP = timedelta(seconds=5), timedelta(minutes=15)
_GAP = 0.01  # of the log's time
_TELLING = 2.0  # standard errors
_SHOWN = 3
_SELDOM = 0.1  # of the sessions that have a message must be known by it
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
    """What it says by the verdicts' evidence, or as a session that holds nothing else; none:
    nothing, or not asked for."""


@dataclass(frozen=True)
class Incident:
    """Anomalous sessions whose foremost messages lie close together in time."""

    start: datetime | None
    """Time of the first such message; none where the log has no times."""
    end: datetime | None
    """Time of the last one."""
    sessions: int
    """How many sessions; each is part of one incident only."""
    score: float
    """Their mean score."""
    messages: tuple[Telling, ...]
    """What decided, the message that most sessions are known by first."""
    top: tuple[tuple[str, float], ...]
    """The sessions with the highest scores, and those."""
    expected: tuple[str, ...] = ()
    """Messages that did not come, masked, those that most sessions lack first."""


def summarise(
    verdicts: pl.DataFrame,
    messages: pl.Series,
    *,
    scores: MessageScores | None = None,
    threshold: float = 0.5,
    shown: int = _SHOWN,
) -> list[Incident]:
    """The incidents of one log, those of many sessions with high scores first.

    A session is known by its foremost message: the one that says most by the verdict's evidence, or
    where verdicts have none the one that by itself scores highest; of equals, and where no message
    is anomalous by itself, one over-represented in the anomalous sessions against the normal ones
    of the same log, then the gravest, FATAL before ERROR. Messages that differ in
    quoted words alone are one. A session stands where its foremost message stands, so that one that
    lasts as long as the log joins nothing that is apart. A line has the time of the nearest line
    before it that begins or ends a session. Incidents are as far apart as one per cent of the log's
    time, but at least 5 s and at most 15 min.

    Args:
        verdicts: A verdict frame with `messages` (`Detector.read`).
        messages: What these are places in.
        scores: Scores messages by themselves where verdicts have no evidence; none: they are not
            scored. At most 200 are.
        threshold: From which score on such a message is anomalous.
        shown: Most messages and most sessions of an incident.
    """
    shapes = MessageTable()
    rows = _rows(verdicts).with_columns(original="message")
    shape_of_row = shapes.push(kinds_of(messages)).gather(rows["message"])
    rows = rows.with_columns(message=shape_of_row)
    of_normal = rows.filter(~pl.col("anomalous")).group_by("message")
    normal = of_normal.agg(normal=pl.col("row").n_unique())
    others = verdicts.height - int(verdicts["anomalous"].sum())
    rows = rows.filter("anomalous")
    if not rows.height:
        return []

    # Each message of an anomalous session with all that says how much it tells.
    rows = rows.join(_weights(rows, normal, others=others), on="message", maintain_order="left")
    rows = _graded(rows, messages)
    by_evidence = "evidence" in verdicts.columns
    rows = _evident(rows, verdicts) if by_evidence else _scored(rows, scores, threshold=threshold)

    # Each session in the incident that its foremost message lies in.
    order = ("loud", "telling", "gravity", "weight")
    foremost = rows.sort(*order, descending=True, nulls_last=True, maintain_order=True)
    foremost = foremost.unique("row", keep="first", maintain_order=True)
    foremost = _apart(foremost.sort("time", "place", nulls_last=True), gap=_gap(verdicts))
    rows = _placed(rows, foremost)
    incidents: list[Incident] = []
    for of_incident in rows.partition_by("incident", maintain_order=True):
        incident = _incident(of_incident, normal, messages=messages, others=others, shown=shown)
        expected = _expected(of_incident, verdicts, shown=shown)
        incidents.append(replace(incident, expected=expected))
    return sorted(incidents, key=lambda incident: -incident.sessions * incident.score)


def _rows(verdicts: pl.DataFrame) -> pl.DataFrame:
    """One row a message of a session.

    `row` (the session's), `session`, `score`, `anomalous`, `message`, `place`, `time`, `line`,
    `file`.
    """
    # Only a session's first and last lines have known times, its start and its end.
    several = "files" in verdicts.columns
    listed = ["messages", "lines", *(["files"] if several else [])]
    last = pl.col("lines").list.len() - 1
    numbered = verdicts.with_row_index("row").with_columns(last=last)
    rows = numbered.explode(listed)
    at = pl.int_range(pl.len()).over("row")
    time = pl.when(at == 0).then("start").when(at == pl.col("last")).then("end")
    rows = rows.with_columns(time=time)

    # In the order of the log; files by their first times, as app.log.1 comes before app.log.
    order = ["files", "lines"] if several else ["lines"]
    if several:
        by_file = rows.group_by("files", maintain_order=True).agg(pl.col("time").min())
        in_order = by_file.sort("time", nulls_last=True, maintain_order=True)
        rows = rows.with_columns(pl.col("files").cast(pl.Enum(in_order["files"])))
    rows = rows.sort(order, maintain_order=True)

    # A line in between has the time of the nearest known one before it.
    file = pl.col("files").cast(pl.String) if several else pl.lit(None, dtype=pl.String)
    return rows.with_row_index("place").select(
        *("row", "session", "score", "anomalous", "place"),
        message="messages",
        time=pl.col("time").forward_fill().backward_fill(),
        line="lines",
        file=file,
    )


def _weights(rows: pl.DataFrame, normal: pl.DataFrame, *, others: int) -> pl.DataFrame:
    """For each message of some sessions how many have it, and its smoothed log odds against the normal ones, in standard errors."""
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
    error = (1 / here + 1 / there).sqrt()
    return counted.select("message", "sessions", weight=log_odds / error)


def _graded(rows: pl.DataFrame, messages: pl.Series) -> pl.DataFrame:
    """Rows with `telling`, whether their messages are over-represented, and `gravity`, by their words of severity."""
    places = rows["original"].unique()
    graded = pl.DataFrame({"original": places, "gravity": gravity(messages.gather(places))})
    rows = rows.join(graded, on="original", maintain_order="left")
    return rows.with_columns(telling=pl.col("weight") > _TELLING)


def _scored(rows: pl.DataFrame, scores: MessageScores | None, *, threshold: float) -> pl.DataFrame:
    """Rows with `alone`, the scores of their messages by themselves, and `loud`, those from the threshold on, to a tenth."""
    if scores is None:
        return rows.with_columns(alone=pl.lit(None, dtype=pl.Float64), loud=pl.lit(0.0))
    distinct = rows.unique("original", maintain_order=True)
    foremost = distinct.sort("telling", "gravity", "weight", descending=True, maintain_order=True)
    places = foremost["original"].head(_SCORED)
    scored = pl.DataFrame({"original": places, "alone": scores(places)})
    # To a tenth: of what is anomalous by itself beyond doubt the gravest is meant.
    is_loud = pl.col("alone") >= threshold
    loud = pl.when(is_loud).then(pl.col("alone").round(1)).otherwise(0.0)
    rows = rows.join(scored, on="original", how="left", maintain_order="left")
    return rows.with_columns(loud=loud)


def _evident(rows: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """Rows with `alone` and `loud` by the evidence of their verdicts, the latter to a tenth."""
    # Evidence names lines: a message tells what the line that holds it tells.
    # Of one file verdicts do not name it.
    several = "files" in verdicts.columns
    place = ["row", "line", *(["file"] if several else [])]
    listed = verdicts.select("evidence").with_row_index("row")
    listed = listed.explode("evidence", empty_as_null=False)
    lines = listed.filter(pl.col("evidence").is_not_null()).unnest("evidence")
    lines = lines.select(*place, alone="score")
    rows = rows.join(lines, on=place, how="left", maintain_order="left")
    return rows.with_columns(loud=pl.col("alone").round(1).fill_null(0.0))


def _expected(rows: pl.DataFrame, verdicts: pl.DataFrame, *, shown: int) -> tuple[str, ...]:
    """What did not come in the sessions of an incident's rows."""
    if "expected" not in verdicts.columns:
        return ()
    # The message that most of the sessions lack is the most telling one.
    sessions = rows["row"].unique()
    missing = verdicts["expected"].gather(sessions).drop_nulls().explode()
    by_message = missing.alias("message").to_frame().group_by("message", maintain_order=True)
    foremost = by_message.len().sort("len", descending=True, maintain_order=True)
    return tuple(foremost["message"].head(shown))


def _gap(verdicts: pl.DataFrame) -> timedelta:
    """How far incidents are apart."""
    # In a log of a day incidents are minutes apart, in one of a minute seconds.
    span = verdicts.select(pl.col("end").max() - pl.col("start").min()).item()
    if span is None:
        return _LEAST_GAP
    share: timedelta = span * _GAP
    return min(max(share, _LEAST_GAP), _MOST_GAP)


def _apart(foremost: pl.DataFrame, *, gap: timedelta) -> pl.DataFrame:
    """Sessions by `row` in the order of their foremost messages, with `incident` and when it `began` and `ended`."""
    apart = (pl.col("time").diff() > gap).fill_null(False)
    sessions = foremost.with_columns(incident=apart.cum_sum())
    return sessions.select(
        *("row", "incident", "message"),
        began=pl.col("time").min().over("incident"),
        ended=pl.col("time").max().over("incident"),
    )


def _placed(rows: pl.DataFrame, foremost: pl.DataFrame) -> pl.DataFrame:
    """The rows that lie in the time of their session's incident, with `decided`.

    Whether it is the session's foremost message.
    """
    decisive = foremost.rename({"message": "decisive"})
    placed = rows.join(decisive, on="row", maintain_order="left")
    # A long session began before the fault and goes on after it: those lines say nothing of it.
    inside = pl.col("time").is_between("began", "ended").fill_null(True)
    decided = pl.col("message") == pl.col("decisive")
    return placed.filter(inside).with_columns(decided=decided).sort("incident", "place")


def _incident(
    rows: pl.DataFrame,
    normal: pl.DataFrame,
    *,
    messages: pl.Series,
    others: int,
    shown: int,
) -> Incident:
    """One incident of its sessions' rows."""
    decided = pl.col("row").filter("decided").n_unique()
    best = rows.sort("score", descending=True, maintain_order=True)
    by_message = best.group_by("message", maintain_order=True)
    tells = by_message.agg(
        pl.col("original", "line", "file", "alone", "loud", "telling", "gravity").first(),
        alike=pl.col("original").n_unique() == 1,
        decided=decided,
    )
    weights = _weights(rows, normal, others=others)
    tells = tells.join(weights, on="message", maintain_order="left")

    # A message tells if enough sessions are known by it, or if it is over-represented and grave.
    is_loud = pl.col("loud") > 0
    decisive = pl.col("decided") > _SELDOM * pl.col("sessions")
    grave = is_loud | (pl.col("gravity") > 1)
    tells = tells.filter(decisive | ((pl.col("weight") > _TELLING) & grave))
    # Everyday messages only where nothing else tells.
    by_itself = is_loud | pl.col("telling")
    tells = tells.filter(by_itself | ~by_itself.any())
    order = ("decided", "loud", "gravity", "weight")
    tells = tells.sort(*order, descending=True, nulls_last=True, maintain_order=True)
    sessions = best.unique("row", keep="first", maintain_order=True)
    foremost = tells.head(shown)
    return Incident(
        start=rows["began"][0],
        end=rows["ended"][0],
        sessions=sessions.height,
        score=float(sessions["score"].mean()),  # type: ignore[arg-type]
        messages=tuple(_telling(row, messages) for row in foremost.iter_rows(named=True)),
        top=tuple(sessions.head(shown).select("session", "score").iter_rows()),
    )


def _telling(row: dict[str, object], messages: pl.Series) -> Telling:
    """A row of messages that tell as what a person is shown of it."""
    original = messages.gather([row["original"]])  # type: ignore[list-item]
    return Telling(
        message=(original if row["alike"] else kinds_of(original)).item(),
        **{name: row[name] for name in ("sessions", "weight", "line", "file")},  # type: ignore[arg-type]
        score=row["alone"],  # type: ignore[arg-type]
    )
