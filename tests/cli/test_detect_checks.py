"""What `logllm detect` says of a log as a whole."""

import json

import polars as pl
import pytest

from logllm.cli.detect_checks import tell_foreign


@pytest.mark.parametrize(("new_words", "said"), [(0.49, ""), (0.62, "62 % of the words")])
def test_a_log_of_unknown_words_is_said(new_words, said, capsys) -> None:
    tell_foreign(new_words)
    told = capsys.readouterr().err
    assert (said in told) if said else not told


def test_new_words_are_those_of_all_sessions(logllm, tiny_run, tiny_data, monkeypatch) -> None:
    """The run of this test says nothing of new words: half of each session's are."""
    from logllm.detect.opened_run import OpenedRun

    plain = OpenedRun.opinion

    def opinion(self, *arguments, **named):
        said = plain(self, *arguments, **named)
        half = pl.DataFrame({"new_words": pl.Series([0.5] * len(said.scores))})
        return said._replace(more=half)

    monkeypatch.setattr(OpenedRun, "opinion", opinion)
    done = logllm("detect", tiny_run, tiny_data.parent / "app.jsonl", "--no-cache")
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[0])["new_words"] == 0.5
    assert "note: 50 % of the words of a session" in done.err
