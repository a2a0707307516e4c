"""Drain's templates take the messages' place in prepared data."""

import polars as pl
import pytest

from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import PARTS, Prepared
from logllm.errors import DataError
from logllm.evaluate.templates import templates, write_templates

RAW = [
    "send 17 bytes to a1",
    "send 4 bytes to b2",
    "close file x",
    "close file y",
    "send many bytes to c3",
    "shut down",
]


@pytest.mark.parametrize(
    ("learn", "ids", "texts", "unmatched"),
    [
        (
            [True] * 6,
            False,
            ["send <*> bytes to <*>"] * 2
            + ["close file <*>"] * 2
            + ["send <*> bytes to <*>", "shut down"],
            0,
        ),
        ([True] * 6, True, ["E1", "E1", "E2", "E2", "E1", "E3"], 0),
        # Learnt from one message each, a template is the message itself: another message of the
        # kind does not match it.
        ([True, False, True, False, False, False], False, RAW, 4),
        ([True, False, True, False, False, False], True, ["E1", "E0", "E2", "E0", "E0", "E0"], 4),
        ([True, True, True, True, False, False], True, ["E1", "E1", "E2", "E2", "E1", "E0"], 1),
    ],
)
def test_messages_and_their_templates(learn, ids, texts, unmatched) -> None:
    found = templates(RAW, learn, ids=ids)
    assert (found.texts, found.unmatched) == (texts, unmatched)


@pytest.fixture
def unmasked(tiny_data, tmp_path):
    settings = Prepared.load(tiny_data).settings
    settings = settings.model_copy(
        update={"mask": settings.mask.model_copy(update={"rules": "off"})}
    )
    home = tiny_data.parent
    prepare([home / "app.jsonl"], tmp_path / "raw", settings=settings, labels=home / "labels.csv")
    return tmp_path / "raw"


@pytest.mark.parametrize("ids", [False, True])
def test_sessions_keep_all_but_their_messages_texts(unmasked, tmp_path, ids) -> None:
    write_templates(unmasked, tmp_path / "out", ids=ids)
    before, after = Prepared.load(unmasked), Prepared.load(tmp_path / "out")
    part = pl.concat([before.part(name) for name in PARTS])
    learnt = set(before.part("train")["messages"].explode())
    expected = templates(
        before.messages.to_list(), [at in learnt for at in range(len(before.messages))], ids=ids
    ).texts
    for name in PARTS:
        one, other = before.part(name), after.part(name)
        assert one.drop("messages").equals(other.drop("messages"))
        assert one["messages"].dtype == other["messages"].dtype
        for old, new in zip(one["messages"], other["messages"], strict=True):
            assert [expected[at] for at in old] == after.messages.gather(new).to_list()
    assert after.messages.n_unique() == len(after.messages) == after.manifest["distinct_messages"]
    assert part["messages"].n_unique() >= after.manifest["distinct_sessions"] > 1
    assert before.manifest["fingerprint"] == after.manifest["templates"]["of"]


def test_masked_messages_are_refused(tiny_data, tmp_path) -> None:
    with pytest.raises(DataError, match="--mask off"):
        write_templates(tiny_data, tmp_path / "out", ids=True)
