"""The same session seen anew: what must not change does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.test_train import changed

from logllm.config.train import StageSection, TrainSection
from logllm.errors import DataError
from logllm.methods.train import train
from logllm.model.encoder import MessageTokens
from logllm.training.sampler import NOTHING, Normal, TrainingSet, augmented, beginnings, normal_part


def stage(**settings) -> StageSection:
    return StageSection(trains=("projector",), lr=1.0, epochs=1, **settings)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 1000),
    st.floats(0, 1),
    st.booleans(),
)
def test_alerts_stay_and_nothing_else_becomes_one(items, seed, share, shuffle) -> None:
    session, alerts = (
        np.array([message for message, _ in items]),
        np.array([alert for _, alert in items]),
    )
    pool = np.array([100, 101, 102])
    section = stage(replace_normal=share, shuffle_messages=shuffle)
    seen = augmented(
        session,
        alerts,
        section=section,
        normal=Normal(pool, 0, pool),
        rng=np.random.default_rng(seed),
    )[0]
    assert len(seen) == len(session)
    kept = seen[~np.isin(seen, pool)].tolist()
    for message in session[alerts]:
        kept.remove(message)  # every alert is there
    left = session[~alerts].tolist()
    for message in kept:
        left.remove(message)  # and what else is there was there before
    if not shuffle:
        assert (seen[alerts] == session[alerts]).all()


def test_off_means_untouched_and_all_means_all() -> None:
    session, alerts, pool = np.arange(1000), np.arange(1000) == 3, np.array([5000])
    rng = np.random.default_rng(0)
    assert (
        augmented(session, alerts, section=stage(), normal=Normal(pool, 0, pool), rng=rng)[0]
        is session
    )
    assert (
        augmented(
            session,
            alerts,
            section=stage(replace_normal=1.0),
            normal=Normal(pool, 0, pool),
            rng=rng,
        )[0]
        == 5000
    ).sum() == 999
    assert (
        350
        < (
            augmented(
                session,
                alerts,
                section=stage(replace_normal=0.4),
                normal=Normal(pool, 0, pool),
                rng=rng,
            )[0]
            == 5000
        ).sum()
        < 450
    )


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 1000))
def test_a_crop_keeps_order_and_label(alerts, seed) -> None:
    session, alerts = np.arange(len(alerts)), np.array(alerts)
    seen = augmented(
        session, alerts, section=stage(crop=True), normal=NOTHING, rng=np.random.default_rng(seed)
    )[0]
    assert 1 <= len(seen) <= len(session)
    assert (np.diff(seen) > 0).all()
    assert alerts[seen].any() == alerts.any()


def test_crops_are_of_all_lengths() -> None:
    rng = np.random.default_rng(0)
    lengths = {
        len(
            augmented(
                np.arange(5),
                np.zeros(5, dtype=bool),
                section=stage(crop=True),
                normal=NOTHING,
                rng=rng,
            )[0]
        )
        for _ in range(200)
    }
    assert lengths == {1, 2, 3, 4, 5}


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 60), st.integers(0, 1000))
def test_transplanted_alerts_keep_their_order_in_a_normal_session(alerts, length, seed) -> None:
    session, alerts, host = np.arange(len(alerts)), np.array(alerts), np.arange(1000, 1000 + length)
    normal = NOTHING._replace(sessions=[host])
    seen = augmented(
        session,
        alerts,
        section=stage(transplant=1.0),
        normal=normal,
        rng=np.random.default_rng(seed),
    )[0]
    if not alerts.any():
        assert seen is session
        return
    assert seen[seen < 1000].tolist() == session[alerts].tolist()
    assert seen[seen >= 1000].tolist() == host[: max(len(session), length) - alerts.sum()].tolist()
    assert (np.diff(np.flatnonzero(seen < 1000)) == 1).all()


def test_a_share_is_transplanted_to_all_places() -> None:
    rng, normal = np.random.default_rng(0), NOTHING._replace(sessions=[np.arange(10, 14)])
    session, alerts = np.array([1, 2]), np.array([True, False])
    seen = [
        augmented(session, alerts, section=stage(transplant=0.5), normal=normal, rng=rng)[
            0
        ].tolist()
        for _ in range(400)
    ]
    moved = [each for each in seen if each != [1, 2]]
    assert 160 < len(moved) < 240
    assert {each.index(1) for each in moved} == {0, 1, 2, 3}


@given(
    st.lists(st.booleans(), min_size=1, max_size=90),
    st.integers(0, 9),
    st.booleans(),
    st.integers(0, 1000),
)
def test_inserted_messages_are_lines_of_the_part_or_copies(alerts, room, labelled, seed) -> None:
    session, alerts = np.arange(len(alerts)), np.array(alerts)
    normal = NOTHING._replace(lines=np.array([1000, 1001]), longest=len(session) + room)
    seen, marks = augmented(
        session,
        alerts if labelled else None,
        section=stage(insert=1.0),
        normal=normal,
        rng=np.random.default_rng(seed),
    )
    assert len(seen) - len(session) == min(-(-len(session) // 20), room)
    own = seen[seen < 1000]
    assert np.unique(own).tolist() == session.tolist()
    assert (np.diff(own) >= 0).all()  # a copy stands beside its like
    if labelled:
        assert (
            marks == np.where(seen < 1000, alerts[np.minimum(seen, len(alerts) - 1)], False)
        ).all()
    else:
        assert marks is None


def test_a_share_gets_messages_of_all_lines_known_to_be_no_alert() -> None:
    sessions, rng = [np.array([7, 8, 7, 9])], np.random.default_rng(0)
    for alerts, known in (([np.array([False, True, False, False])], {7, 9}), (None, {7, 8, 9})):
        normal = normal_part(sessions, alerts)._replace(longest=9)
        more = [
            set(
                augmented(
                    np.array([1, 2]), None, section=stage(insert=0.5), normal=normal, rng=rng
                )[0]
            )
            - {1, 2}
            for _ in range(400)
        ]
        assert 70 < sum(map(bool, more)) < 130  # half of half: the others are copies
        assert set().union(*more) == known


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 50), st.integers(0, 1000))
def test_beginnings_are_anomalous_from_the_first_alert_on(alerts, count, seed) -> None:
    found = beginnings(np.array(alerts), count=count, rng=np.random.default_rng(seed))
    assert len(found) == min(count, len(alerts) - 1)
    assert len({length for length, _ in found}) == len(found)
    assert all(
        0 < length < len(alerts) and anomalous == any(alerts[:length])
        for length, anomalous in found
    )


def test_a_micro_batch_has_labels_of_sessions_and_beginnings(tiny) -> None:
    _, tokenizer = tiny
    sessions = [np.array([0, 1, 2]), np.array([1, 0, 1, 1])]
    alerts = [np.array([False, True, False]), np.zeros(4, dtype=bool)]
    data = TrainingSet(
        sessions,
        np.array([True, False]),
        MessageTokens(["a", "b", "c"], tokenizer, max_tokens=9),
        alerts,
    )
    section = TrainSection(stages=(stage(beginnings=2),), batch=2, micro_batch=2)
    (found,) = data.micro_batches(np.array([1, 0]), section, stage=0, step=0)
    assert [session.tolist() for session in found.sessions] == [[0, 1, 2], [1, 0, 1, 1]]
    assert [at for at, _ in found.beginnings] == [0, 0, 1, 1]
    assert found.beginnings[:2] == ((0, 1), (0, 2))
    assert found.labels.tolist() == [1, 0, 0, 1, 0, 0]


def test_labels_of_sessions_are_not_enough(tiny_recipe, tiny_data, tmp_path) -> None:
    recipe = changed(
        tiny_recipe,
        stages=[{"trains": ["projector"], "lr": 1e-3, "epochs": 1, "replace_normal": 0.5}],
    )
    with pytest.raises(
        DataError,
        match=(
            r"train.stages.0.\w+ need a label for each line.* --set train.stages.0.\w+=(false|0)$"
        ),
    ):
        train(recipe, tiny_data, out=tmp_path / "run")
