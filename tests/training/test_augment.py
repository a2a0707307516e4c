"""The same session seen anew: what must not change does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.test_train import changed

from logllm.config.train import StageSection
from logllm.errors import DataError
from logllm.training.augment import augmented, normal_messages
from logllm.training.train import train


def stage(**settings) -> StageSection:
    return StageSection(trains=("projector",), lr=1.0, epochs=1, **settings)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40), st.integers(0, 1000), st.floats(0, 1), st.booleans()
)
def test_alerts_stay_and_nothing_else_becomes_one(items, seed, share, shuffle) -> None:
    session, alerts = np.array([message for message, _ in items]), np.array([alert for _, alert in items])
    pool = np.array([100, 101, 102])
    section = stage(replace_normal=share, shuffle_messages=shuffle)
    seen = augmented(session, alerts, section=section, pool=pool, rng=np.random.default_rng(seed))
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
    assert augmented(session, alerts, section=stage(), pool=pool, rng=rng) is session
    assert (augmented(session, alerts, section=stage(replace_normal=1.0), pool=pool, rng=rng) == 5000).sum() == 999
    assert 350 < (augmented(session, alerts, section=stage(replace_normal=0.4), pool=pool, rng=rng) == 5000).sum() < 450


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 1000))
def test_a_crop_keeps_order_and_label(alerts, seed) -> None:
    session, alerts = np.arange(len(alerts)), np.array(alerts)
    seen = augmented(session, alerts, section=stage(crop=True), pool=session, rng=np.random.default_rng(seed))
    assert 1 <= len(seen) <= len(session)
    assert (np.diff(seen) > 0).all()
    assert alerts[seen].any() == alerts.any()


def test_crops_are_of_all_lengths() -> None:
    rng = np.random.default_rng(0)
    lengths = {
        len(augmented(np.arange(5), np.zeros(5, dtype=bool), section=stage(crop=True), pool=np.arange(5), rng=rng)) for _ in range(200)
    }
    assert lengths == {1, 2, 3, 4, 5}


def test_labels_of_sessions_are_not_enough(tiny_recipe, tiny_data, tmp_path) -> None:
    with pytest.raises(DataError, match="crop and replace_normal need a label for each line"):
        normal_messages([np.array([1])], None)
    recipe = changed(tiny_recipe, stages=[{"trains": ["projector"], "lr": 1e-3, "epochs": 1, "replace_normal": 0.5}])
    with pytest.raises(DataError, match="crop and replace_normal need a label for each line"):
        train(recipe, tiny_data, out=tmp_path / "run")
