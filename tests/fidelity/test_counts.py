"""How many sessions a stage learns from, and how fast: the paper's four sets, and any other."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.config.recipe import Recipe
from logllm.config.train import StageSection, TrainSection
from logllm.training.fit import accelerate
from logllm.training.loop import Loop, learning_rate
from logllm.training.sampler import TrainingSet, oversampled, stage_order
from tests.fidelity.pairs import make_pair, make_sessions
from tests.fidelity.plain import (
    EPOCH_FLOOR,
    MICRO_BATCH,
    epoch_length,
    minority_after,
    rates,
    stage_length,
)

# paper.md, section 2: train sessions and the anomalous ones among them.
TRAIN = {
    "hdfs": (460_048, 13_497),
    "bgl": (37_708, 4_009),
    "liberty": (40_000, 34_144),
    "thunderbird": (79_997, 837),
}
# By hand: the minority at 30 %, and an epoch, the oversampled set whole until 50,000 are reached.
MINORITY = {"hdfs": 191_379, "bgl": 14_442, "liberty": 14_633, "thunderbird": 33_925}
EPOCH = {"hdfs": 637_930, "bgl": 2 * 48_141, "liberty": 2 * 48_777, "thunderbird": 113_085}


def labels_of(name: str) -> np.ndarray:
    sessions, anomalous = TRAIN[name]
    return np.random.default_rng(0).permutation(np.arange(sessions) < anomalous)


@pytest.mark.parametrize("name", TRAIN)
def test_the_plain_arithmetic_by_hand(name) -> None:
    sessions, anomalous = TRAIN[name]
    majority, minority = max(anomalous, sessions - anomalous), min(anomalous, sessions - anomalous)
    assert minority_after(majority, minority, beta=0.3) == MINORITY[name]
    assert epoch_length(sessions - anomalous, anomalous, beta=0.3) == EPOCH[name] >= EPOCH_FLOOR


@pytest.mark.parametrize("name", TRAIN)
def test_oversampling_of_the_papers_sets(name) -> None:
    labels = labels_of(name)
    rare = ~labels if name == "liberty" else labels  # there most windows are anomalous
    rows = oversampled(labels, share=0.3, rng=np.random.default_rng(0))
    times = np.bincount(rows, minlength=len(labels))
    assert times[rare].sum() == MINORITY[name]
    assert set(times[rare]) <= {MINORITY[name] // rare.sum(), MINORITY[name] // rare.sum() + 1}
    assert (times[~rare] == 1).all()
    assert rare[rows].mean() == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize("name", TRAIN)
def test_the_stages_of_the_papers_sets(name) -> None:
    """Stage 1: 1,000 of the oversampled set, none twice that is not in it twice. Stages 2 and 3:
    two epochs each."""
    labels, train = labels_of(name), Recipe.load(name).train
    first, *others = (stage_order(labels, train, stage=stage) for stage in range(len(train.stages)))
    in_set = np.bincount(
        oversampled(labels, share=0.3, rng=np.random.default_rng([train.seed, 0, 0])),
        minlength=len(labels),
    )
    assert len(first) == 1000
    assert (np.bincount(first, minlength=len(labels)) <= in_set).all()
    for order in others:
        assert len(order) == stage_length(EPOCH[name], epochs=2)
        # Each epoch holds each session of the majority as often as the set is repeated for the
        # floor.
        epoch = np.bincount(order[: EPOCH[name]], minlength=len(labels))
        majority = labels if name == "liberty" else ~labels
        assert (epoch[majority] == -(-EPOCH_FLOOR // (majority.sum() + MINORITY[name]))).all()
    assert len(others) == 2
    assert not np.array_equal(others[0], others[1])


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0, 0.8))
def test_oversampling_at_any_share(normal, anomalous, beta) -> None:
    labels = np.arange(normal + anomalous) < anomalous
    majority, minority = max(normal, anomalous), min(normal, anomalous)
    rows = oversampled(labels, share=beta, rng=np.random.default_rng(1))
    wanted = minority_after(majority, minority, beta=beta)
    assert len(rows) == majority + wanted
    assert sorted([labels[rows].sum(), (~labels[rows]).sum()]) == sorted([majority, wanted])
    # Up to beta, never beyond.
    assert wanted / len(rows) <= max(beta, minority / len(labels)) + 1e-9
    assert set(rows.tolist()) == set(range(len(labels)))


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.floats(0, 0.8),
    st.integers(1, 3),
    st.integers(0, 300),
)
def test_stages_of_any_length(normal, anomalous, beta, epochs, floor) -> None:
    labels = np.arange(normal + anomalous) < anomalous
    stage = StageSection(trains=("projector",), lr=1.0, epochs=epochs, min_epoch_sessions=floor)
    train = TrainSection(
        stages=(stage,), oversample=beta, batch=16, micro_batch=MICRO_BATCH, drop_last=True
    )
    expected = stage_length(epoch_length(normal, anomalous, beta=beta, floor=floor), epochs=epochs)
    assert len(stage_order(labels, train, stage=0)) == expected


@pytest.mark.parametrize("total", [1, 3, 9, 10, 11, 25, 99, 250, 1000, 24_388])
def test_the_rate_at_every_micro_batch(total) -> None:
    stage = StageSection(trains=("decoder",), lr=5e-5, epochs=2)
    sequence = list(rates(5e-5, micro_batches=total))
    assert [learning_rate(stage, done=done, total=total) for done in range(total)] == sequence
    assert sequence[0] == 5e-5
    assert sequence[-1] == 5e-5 * 0.7 ** (10 * (total - 1) // total)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("sessions", [160, 168, 100, 7])
def test_the_rates_of_a_whole_stage(folder, tmp_path, sessions) -> None:
    """Through the loop, for lengths that do and do not divide by ten, by the batch and by the
    micro-batch."""
    pair = make_pair(folder)
    rows, labels = make_sessions(40, seed=8, longest=1)
    stage = StageSection(trains=("projector",), lr=5e-4, max_sessions=sessions)
    section = Recipe.load("bgl").train.model_copy(update={"stages": (stage,)})
    data = TrainingSet(rows, labels, pair.tokens)
    Loop(
        pair.ours, data, section=section, run=tmp_path, accelerator=accelerate(Recipe.load("bgl"))
    ).train(encode_positions=500)
    log = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    sequence = list(rates(5e-4, micro_batches=sessions // MICRO_BATCH))
    per_step = 16 // MICRO_BATCH
    assert [step["lr"] for step in log] == pytest.approx(sequence[::per_step], rel=1e-12)
    assert sum(step["sessions"] for step in log) == sessions // MICRO_BATCH * MICRO_BATCH
    # A step's rate is that at its first micro-batch; that at its last one falls at most one step
    # earlier.
    ends = [
        sequence[min(at + per_step, len(sequence)) - 1] for at in range(0, len(sequence), per_step)
    ]
    assert all(
        later <= end <= rate
        for rate, end, later in zip(
            sequence[::per_step], ends, [*sequence[per_step::per_step], 0], strict=True
        )
    )
