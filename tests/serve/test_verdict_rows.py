"""What is kept of anomalous sessions besides their verdicts."""

import json

import polars as pl

from logllm.serve.verdict_rows import shown_of


class Plain:
    """Lines that are written as their messages are."""

    redacted = False

    def texts(self, lines):
        return lines["message"]


def test_an_error_goes_before_the_statement_that_it_stopped():
    messages = ["INFO begins", 'STATEMENT: SELECT "a"', "ERROR: no table"]
    sessions = pl.DataFrame(
        {"session": ["a"], "lines": [[4, 9, 8]], "files": [[0, 0, 0]], "messages": [[0, 1, 2]]}
    )
    evidence = [{"line": 9, "score": 0.72, "text": ""}, {"line": 8, "score": 0.71, "text": ""}]
    verdicts = pl.DataFrame({"anomalous": [True], "evidence": [evidence]})
    shown = shown_of(sessions, verdicts, written=Plain(), messages=pl.Series(messages), over=True)
    assert shown["kind"].to_list() == ["ERROR: no table"]
    assert json.loads(shown["messages"][0]) == messages


def test_of_normal_sessions_that_are_open_nothing_is_kept():
    sessions = pl.DataFrame(
        {"session": ["a", "b"], "lines": [[4], [5]], "files": [[0], [0]], "messages": [[0], [0]]}
    )
    verdicts = pl.DataFrame({"anomalous": [False, True]})
    shown = shown_of(
        sessions, verdicts, written=Plain(), messages=pl.Series(["ERROR <*>"]), over=False
    )
    assert shown.rows() == [(None, None, None), ('["ERROR <*>"]', '["ERROR <*>"]', "ERROR <*>")]
