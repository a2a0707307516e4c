"""What alterations cost, drawn several times, on a tiny run."""

from pathlib import Path

import numpy as np
import pytest
from altered import Method, draws, methods

from logllm.datasets.prepared import Prepared


def test_what_turned_a_session_is_told(tiny_data) -> None:
    """A method that calls whatever is longer than a session was in train anomalous: each altered
    one turns, by the message that came."""
    prepared = Prepared.load(tiny_data)
    part = prepared.part("test")
    longest = max(map(len, part["messages"]))
    method = Method(
        "length",
        lambda sessions, _: np.array([len(session) > longest for session in sessions], dtype=float),
        0.5,
    )
    found = draws(method, prepared, kind="insert", ratio=1.0, count=2)
    assert len(found["lost"]) == 2
    turned = found["turned"]
    assert {each["draw"] for each in turned} == {0, 1}
    train = prepared.part("train")
    for each in turned:
        assert not each["anomalous"]
        (came,) = each["more"]
        row = prepared.messages.to_list().index(came["message"])
        having = [
            bad
            for messages, bad in zip(train["messages"], train["anomalous"], strict=True)
            if row in messages
        ]
        assert (came["normal"], came["anomalous"]) == (having.count(False), having.count(True))


def test_a_run_and_baselines_stand_side_by_side(tiny_run, tiny_data: Path) -> None:
    prepared = Prepared.load(tiny_data)
    found = [
        draws(each, prepared, kind="shuffle", ratio=0.5, count=1)
        for each in methods(tiny_run, prepared, names=["logistic-words"])
    ]
    assert [each["method"] for each in found] == ["logllm", "logistic-words"]
    assert found[1]["lost"] == pytest.approx([0.0])  # words have no order
