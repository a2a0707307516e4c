"""The published way that ours is timed against does what it says: sessions and verdicts are the
same as ours."""

import gzip
import json

import numpy as np
import polars as pl
import pytest
import torch
from plain_path import MICRO_BATCH, PlainModel, masker, read_sessions

from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.logs.reader import Reader
from logllm.sessions.message_table import MessageTable
from logllm.sessions.sessionizer import Sessionizer

NOTHING: dict = {"format": {}, "sessions": {}, "split": {}, "mask": {}}


def ours(log, settings: PrepareSection) -> dict[str, list[str]]:
    """Masked messages of each session, by our own reader."""
    from datetime import date

    reader, grouping, table = (
        Reader(settings, today=date(2026, 1, 1)),
        Sessionizer(settings.sessions),
        MessageTable(),
    )
    frame = pl.concat(
        [
            *(grouping.push(table.numbered(records)) for records in reader.read([log])),
            grouping.flush(),
        ]
    )
    messages = table.messages.to_list()
    return {
        session: [messages[at] for at in places]
        for session, places in frame.select("session", "messages").iter_rows()
    }


def test_python_masks_as_the_oracle(shared) -> None:
    mask = masker(MaskSection())
    for name in ("HDFS", "Thunderbird", "Windows"):
        raw = (
            gzip.decompress((shared / f"loghub_2k/{name}_2k.log.gz").read_bytes())
            .decode("latin-1")
            .removesuffix("\n")
            .split("\n")
        )
        oracle = (
            gzip.decompress((shared / f"loghub_2k_masked/{name}_2k.masked.gz").read_bytes())
            .decode()
            .removesuffix("\n")
            .split("\n")
        )
        assert [mask(line.removesuffix("\r")) for line in raw] == oracle


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "sessions"),
    [
        ("HDFS", {}),
        ("HDFS", {"max_messages": 2, "long": "split"}),
        ("HDFS", {"by": "count", "size": 300}),
        ("Thunderbird", {}),
        ("BGL", {"max_messages": 7}),
    ],
)
def test_sessions_are_ours(shared, name, sessions) -> None:
    log = shared / f"loghub_2k/{name}_2k.log.gz"
    settings = choose(name.lower(), recipe=None, overrides={**NOTHING, "sessions": sessions})
    plain = read_sessions(log, settings)
    assert plain == ours(log, settings)
    assert list(plain) == list(ours(log, settings))


def test_keys_that_are_a_field(tmp_path) -> None:
    log = tmp_path / "postgres.log"
    log.write_text(
        "".join(
            f"2026-01-01 00:00:0{at}.000 UTC [{7 + at % 2}] LOG:  step {at}\n" for at in range(6)
        )
    )
    settings = choose("postgresql", recipe=None, overrides=NOTHING)
    assert read_sessions(log, settings) == ours(log, settings)


def test_what_is_not_written_out_is_refused(tmp_path) -> None:
    for settings in (
        choose("plain", recipe=None, overrides=NOTHING),
        choose("bgl", recipe=None, overrides={**NOTHING, "sessions": {"by": "time"}}),
    ):
        with pytest.raises(SystemExit, match="by key or by count"):
            read_sessions(tmp_path / "x.log", settings)


@pytest.fixture
def sessions(tiny_data) -> list[list[str]]:
    """Masked messages of twelve sessions."""
    messages = pl.read_parquet(tiny_data / "messages.parquet")["message"].to_list()
    rows = pl.read_parquet(tiny_data / "test.parquet")["messages"].to_list()[:12]
    return [[messages[at] for at in row] for row in rows]


def test_the_first_step_gives_our_scores(tiny_run, sessions) -> None:
    table = sorted({message for session in sessions for message in session})
    places = [np.array([table.index(message) for message in session]) for session in sessions]
    scores = Detector.load(tiny_run).score(places, pl.Series(table))
    answers, seconds = PlainModel(tiny_run).answers_of(sessions, micro_batch=5)
    assert seconds > 0
    assert [
        1 / (1 + np.exp(normal - anomalous))
        for normal, anomalous in (answer.logits for answer in answers)
    ] == pytest.approx(scores, abs=1e-5)


def test_words_are_read_and_what_cannot_be_read_is_normal(tiny_run) -> None:
    plain = PlainModel(tiny_run)
    assert [
        plain._read(text)
        for text in ("normal.", "anomalous.", "", "abnormal", "anomalous or normal")
    ] == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert plain.decoder_tokenizer.decode(plain.forced) == "The sequence is"


def test_a_step_learns_adapters_and_projector_alone(tiny_run, sessions) -> None:
    plain = PlainModel(tiny_run, trainable=True)
    before = {
        name: value.clone()
        for part in (plain.encoder, plain.projector, plain.decoder)
        for name, value in part.named_parameters()
    }
    learns = plain.parameters()
    assert (
        plain.step(
            sessions[: MICRO_BATCH + 2],
            [True, False] * 3,
            optimizer=torch.optim.AdamW(learns, lr=0.1),
        )
        > 0
    )
    after = {
        name: value
        for part in (plain.encoder, plain.projector, plain.decoder)
        for name, value in part.named_parameters()
    }
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("lora_" in name or name in ("weight", "bias") for name in changed)


def test_its_loss_is_ours_over_the_answers_tokens(tiny_run, sessions) -> None:
    """One micro-batch, equal answers: gradients of the projector against our objective `answer`, a
    fourth of it."""
    from logllm.model.checkpoint import load_run
    from logllm.model.encoder import MessageTokens
    from logllm.model.logllm import collate

    model, tokenizer, _, _ = load_run(tiny_run)
    table = sorted({message for session in sessions for message in session})
    places = [
        np.array([table.index(message) for message in session])
        for session in sessions[:MICRO_BATCH]
    ]
    model.trains(("projector",))
    model.message_dropout.eval()
    batch = collate(
        places,
        tokens=MessageTokens(table, tokenizer, max_tokens=100),
        labels=torch.ones(MICRO_BATCH, dtype=torch.int64),
    )
    model.loss(batch, objective="answer").backward()
    plain = PlainModel(tiny_run, trainable=True)

    class Kept(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            """Leave the gradients to look at."""

    plain.step(
        sessions[:MICRO_BATCH], [True] * MICRO_BATCH, optimizer=Kept(plain.parameters(), lr=0.0)
    )
    torch.testing.assert_close(
        plain.projector.weight.grad * 4, model.projector.weight.grad, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("what", ["score", "verdicts", "train"])
def test_side_by_side(what, plain_run, tiny_data, small_products, tmp_path, program) -> None:
    """The comparison runs and its figures hang together."""
    import side_by_side

    run, log = plain_run
    small = ["--slices", "2", "--sessions", "5", "--steps", "2"]
    program(
        "side_by_side",
        what,
        run,
        tiny_data if what == "train" else log,
        *small,
        "--out",
        tmp_path / "found.json",
    )
    side_by_side.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["kind"], found["recipe"]) == (what, "tiny")
    if what == "verdicts":
        assert found["all"]["sessions"] == 120 > found["distinct"]["sessions"]
        assert found["all"]["verdicts_equal"] == found["distinct"]["verdicts_equal"] == 1
        assert found["all"]["largest_score_difference"] < 1e-5
        return
    assert 0 < found["ratio"]["lowest"] <= found["ratio"]["median"] <= found["ratio"]["highest"]
    if what == "score":
        assert [part["sessions"] for part in found["slices"]] == [5, 5]
        for part in found["slices"]:
            assert part["plain"] == pytest.approx(
                found["plain_lines_seconds"] + part["plain_slice"] * 120 / 5
            )
            assert part["ratio"] == part["plain"] / part["ours"]
    else:
        assert found["ours_sessions_per_second"] > 0 < found["plain_sessions_per_second"]
