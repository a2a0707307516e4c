"""Incidents out of verdicts."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from logllm.detect.summary import summarise

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MESSAGES = ["connected", "select", "bye", "FATAL: too many clients", "ERROR: disk full", "started"]


class Log:
    """Sessions laid out in a log: one line a second and message, sessions in a row unless
    placed."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.line = 1

    def add(self, name, messages, *, score=0.1, at=None, lines=None, file=None) -> None:
        at = self.line if at is None else at
        lines = lines or list(range(self.line, self.line + len(messages)))
        self.line = max(self.line, lines[-1] + 1)
        start = NOON + timedelta(seconds=at)
        row = {
            "session": name,
            "score": score,
            "anomalous": score > 0.5,
            "lines": lines,
            "messages": messages,
        }
        row |= {"start": start, "end": start + timedelta(seconds=lines[-1] - lines[0])}
        self.rows.append(row | ({} if file is None else {"files": [file] * len(lines)}))

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self.rows)


@pytest.fixture
def log():
    """Two thousand lines of normal sessions, and two faults: one over five sessions, 1,000 s later
    one over two."""
    made = Log()
    for number in range(300):
        made.add(f"n{number}", [0, 1, 2])
        if number in {100, 101, 102, 103, 104}:
            made.add(f"clients{number}", [0, 3], score=0.9 + number / 10_000)
        if number in {200, 201}:
            made.add(f"disk{number}", [0, 1, 4, 2], score=0.8)
    return made


def test_incidents_are_told_apart_by_time(log) -> None:
    first, second = summarise(log.frame(), pl.Series(MESSAGES))
    assert (first.sessions, second.sessions) == (5, 2)
    assert [telling.message for telling in first.messages] == ["FATAL: too many clients"]
    assert [telling.message for telling in second.messages] == ["ERROR: disk full"]
    assert (first.messages[0].sessions, second.messages[0].sessions) == (5, 2)
    assert first.messages[0].weight > 3
    assert first.top == (("clients104", 0.9104), ("clients103", 0.9103), ("clients102", 0.9102))
    rows = log.frame().filter(pl.col("session").str.starts_with("clients"))
    assert (first.start, first.end) == (rows["end"].min(), rows["end"].max())


def test_an_alert_in_a_rotated_log_has_the_time_of_its_own_file() -> None:
    made = Log()
    for day, file in enumerate(["app.log.2", "app.log.1", "app.log"]):
        for hour in range(24):
            lines = [2 * hour + 2, 2 * hour + 3]
            made.add(f"{day}-{hour}", [0, 2], at=3600 * (24 * day + hour), lines=lines, file=file)
    verdicts = made.frame()
    files = ["app.log.2", "app.log.1", "app.log.1"]
    spanning = {
        "session": "bad",
        "score": 0.9,
        "anomalous": True,
        "lines": [9, 1, 60],
        "messages": [0, 4, 2],
        "files": files,
    }
    spanning |= {"start": NOON + timedelta(hours=4), "end": NOON + timedelta(hours=47)}
    (incident,) = summarise(
        pl.concat([verdicts, pl.DataFrame([spanning]).select(verdicts.columns)]),
        pl.Series(MESSAGES),
    )
    assert incident.messages[0].message == "ERROR: disk full"
    assert NOON + timedelta(hours=23) <= incident.start <= NOON + timedelta(hours=25)


def test_a_session_as_long_as_the_log_joins_nothing(log) -> None:
    """The server's own session has a telling line in each fault and everyday ones between; it is
    part of the one where its foremost lies."""
    lines = [row["lines"][1] for row in log.frame().filter("anomalous").to_dicts()]
    log.add("server", [5, 3, 4, 5], score=0.99, at=0, lines=[1, lines[0], lines[-1], log.line + 5])
    first, second = summarise(log.frame(), pl.Series(MESSAGES))
    assert (first.sessions, second.sessions) == (6, 2)
    assert first.top[0] == ("server", 0.99)
    assert first.end < second.start


def test_incidents_of_many_sessions_with_high_scores_come_first(log) -> None:
    for number in range(20):
        log.add(f"late{number}", [0, 6], score=0.9)
    incidents = summarise(log.frame(), pl.Series([*MESSAGES, "ERROR: no route"]))
    assert [(incident.sessions, round(incident.score, 1)) for incident in incidents] == [
        (20, 0.9),
        (5, 0.9),
        (2, 0.8),
    ]


def test_the_gravest_of_equals_is_what_a_session_is_known_by() -> None:
    made = Log()
    for number in range(200):
        made.add(f"n{number}", [0, 1, 2])
    for number in range(5):
        made.add(f"bad{number}", [4, 3, 5], score=0.9)
    (incident,) = summarise(
        made.frame(),
        pl.Series(["connected", "select", "bye", "FATAL: gone", "LOG: odd", "WARNING: full"]),
    )
    assert [(telling.message, telling.line) for telling in incident.messages] == [
        ("FATAL: gone", 602),
        ("WARNING: full", 603),
    ]


def test_what_is_anomalous_by_itself_is_what_decided(log) -> None:
    """The message that a model finds anomalous goes before a graver one that it does not."""
    for number in range(4):
        log.add(f"odd{number}", [0, 3, 6], score=0.9)
    scored = {6: 0.93, 3: 0.2}
    first, *_ = summarise(
        log.frame().filter(pl.col("session").str.contains("^(?:n|odd)")),
        pl.Series([*MESSAGES, "LOG: strange"]),
        scores=lambda places: pl.Series([scored.get(place, 0.1) for place in places]),
    )
    assert [(telling.message, telling.score) for telling in first.messages] == [
        ("LOG: strange", 0.93),
        ("FATAL: too many clients", 0.2),
    ]


def test_at_most_some_hundred_messages_are_scored() -> None:
    made = Log()
    for number in range(1000):
        made.add(f"bad{number}", [number], score=0.9)
    asked = []
    summarise(
        made.frame(),
        pl.Series([f"m{n}" for n in range(1000)]),
        scores=lambda places: asked.extend(places) or places * 0.0,
    )
    assert len(asked) == 200


def test_a_session_without_a_telling_message_is_told_by_its_foremost(log) -> None:
    log.add("odd", [0, 1, 2], score=0.7)
    *_, last = summarise(log.frame(), pl.Series(MESSAGES))
    assert (last.sessions, last.top) == (1, (("odd", 0.7),))
    assert last.messages[0].message in MESSAGES[:3]


def test_everyday_messages_are_not_told_beside_telling_ones(log) -> None:
    log.add("disk", [0, 4], score=0.9)
    log.add("odd", [0, 1, 2], score=0.7)
    *_, last = summarise(log.frame(), pl.Series(MESSAGES))
    assert last.sessions == 2
    assert [telling.message for telling in last.messages] == ["ERROR: disk full"]


def test_a_log_without_times_is_one_incident(log) -> None:
    frame = log.frame().with_columns(
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(name) for name in ("start", "end")
    )
    (only,) = summarise(frame, pl.Series(MESSAGES))
    assert (only.start, only.end, only.sessions) == (None, None, 7)
    assert [telling.message for telling in only.messages] == MESSAGES[3:5]


def test_lines_of_several_files_have_the_times_of_their_own() -> None:
    made = Log()
    for file, at in (("a.log", 0), ("b.log", 10_000)):
        for number in range(50):
            made.add(
                f"{file}{number}",
                [0, 1, 2],
                at=at + 3 * number,
                lines=[3 * number + step + 1 for step in range(3)],
                file=file,
            )
        made.add(f"{file} fails", [0, 3], score=0.9, at=at + 150, lines=[151, 152], file=file)
    first, second = summarise(made.frame(), pl.Series(MESSAGES))
    assert (first.top[0][0], second.top[0][0]) == ("a.log fails", "b.log fails")
    assert second.start - first.start == timedelta(seconds=10_000)


def test_without_anomalies_there_is_nothing_to_tell(log) -> None:
    assert summarise(log.frame().filter(~pl.col("anomalous")), pl.Series(MESSAGES)) == []


def test_where_all_is_anomalous_it_is_told_too(log) -> None:
    assert (
        sum(
            incident.sessions
            for incident in summarise(log.frame().filter("anomalous"), pl.Series(MESSAGES))
        )
        == 7
    )


def test_messages_that_differ_in_quoted_words_are_one(log) -> None:
    for number in range(4):
        log.add(f"guess{number}", [0, 6 + number], score=0.95)
    messages = pl.Series(
        [
            *MESSAGES,
            *(
                f'FATAL: password authentication failed for user "{name}"'
                for name in ("root", "admin", "oracle", "x")
            ),
        ]
    )
    incidents = summarise(log.frame(), messages)
    last = max(incidents, key=lambda incident: incident.start)
    assert [(telling.message, telling.sessions) for telling in last.messages] == [
        ('FATAL: password authentication failed for user "…"', 4)
    ]


def test_in_a_long_log_incidents_are_a_quarter_of_an_hour_apart_at_most() -> None:
    """One per cent of ten days would be more than two hours."""
    made = Log()
    for number in range(300):
        made.add(f"n{number}", [0, 1, 2], at=number * 2880)
    for minute in (0, 1, 20, 21):
        made.add(
            f"m{minute}",
            [0, 3],
            score=0.9,
            at=400_000 + 60 * minute,
            lines=[700 + 2 * minute, 701 + 2 * minute],
        )
    assert [
        incident.sessions for incident in summarise(made.frame().sort("start"), pl.Series(MESSAGES))
    ] == [2, 2]


def test_where_verdicts_have_evidence_it_says_by_which_message_a_session_is_known(log) -> None:
    """And what did not come is told; no message is scored by itself."""
    named = {"disk200": "bye", "disk201": "bye"}
    rows = []
    for row in log.rows:
        places = dict(
            zip((MESSAGES[message] for message in row["messages"]), row["lines"], strict=True)
        )
        message = named.get(row["session"], "FATAL: too many clients")
        evidence = (
            [{"line": places[message], "score": 0.7, "text": "as it is written"}]
            if row["anomalous"]
            else None
        )
        rows.append(
            row
            | {
                "evidence": evidence,
                "expected": ["started"] if row["session"] == "disk200" else None,
            }
        )
    schema = {"expected": pl.List(pl.String)}
    incidents = summarise(
        pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None),
        pl.Series(MESSAGES),
        scores=never,
    )
    clients, disk = sorted(incidents, key=lambda incident: incident.start)
    assert [(telling.message, telling.score) for telling in clients.messages] == [
        ("FATAL: too many clients", 0.7)
    ]
    assert (disk.messages[0].message, disk.messages[0].score) == ("bye", 0.7)
    assert (clients.expected, disk.expected) == ((), ("started",))


def never(places) -> pl.Series:
    raise AssertionError("no message is to be scored by itself")
