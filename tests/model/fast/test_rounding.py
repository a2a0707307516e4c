"""Whether scores may be rounded: measured in training, asked of the machine, refused otherwise."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from logllm.detect.detector import Detector
from logllm.errors import ModelError, RecipeError
from logllm.model.fast.machine import Processor, gains, rounds_faster
from logllm.model.fast.rounding import DOUBT, measured, settled
from logllm.runs.manifest import read_manifest

ADMITTED = {"name": "app", "engines": {"bf16": measured(DOUBT / 2, sessions=9)}}
REFUSED = {"name": "app", "engines": {"bf16": measured(DOUBT, sessions=9)}}
NEVER = {"name": "app"}


ROUNDING = Processor("a processor", frozenset({"avx512f", "avx512_bf16"}))


@pytest.mark.parametrize(
    ("manifest", "faster", "wanted"),
    [
        (ADMITTED, True, "bf16"),
        (ADMITTED, False, "exact"),
        (REFUSED, True, "exact"),
        (NEVER, True, "exact"),
    ],
    ids=["admitted", "slower here", "too far", "never measured"],
)
def test_auto_rounds_where_it_may_and_pays(manifest, faster, wanted) -> None:
    assert settled("auto", manifest, faster=lambda: faster) == wanted
    assert settled("exact", manifest, faster=lambda: faster) == "exact"


def test_a_machine_is_measured_once(cached) -> None:
    calls = []

    def measure() -> float:
        calls.append(1)
        return 2.0

    assert gains(ROUNDING, measure=measure)
    assert gains(ROUNDING, measure=measure)
    assert len(calls) == 1
    (cached.parent / "machine.json").write_text("damaged")
    assert gains(ROUNDING, measure=measure)
    assert len(calls) == 2


def test_a_small_gain_is_not_worth_it(cached) -> None:
    assert not gains(ROUNDING, measure=lambda: 1.0)


def test_without_the_instructions_it_is_not_even_measured() -> None:
    assert not gains(
        Processor("a processor", frozenset({"avx2", "avx512f"})), measure=lambda: 1 / 0
    )


def test_what_may_not_serve_is_refused_with_a_remedy() -> None:
    with pytest.raises(
        ModelError, match="run app was trained without measuring .* take engine exact"
    ):
        settled("bf16", NEVER)
    with pytest.raises(
        ModelError,
        match="may not serve run app: rounding moved its logits by up to 1 on 9 sessions",
    ):
        settled("bf16", REFUSED)
    old = {
        "name": "app",
        "engines": {
            "bf16": {"admitted": False, "sessions": 9, "largest_difference": 0.25, "flips": 3}
        },
    }
    with pytest.raises(ModelError, match=r"up to 0\.25 on 9"):
        settled("bf16", old)


def test_training_measures_and_keeps_the_answer(tiny_run, tmp_path) -> None:
    found = read_manifest(tiny_run)["engines"]["bf16"]
    assert found["admitted"]
    assert 0 < found["largest_error"] < DOUBT
    assert found["sessions"] > 10
    assert Detector.load(tiny_run, engine="bf16").recipe.detect.engine == "bf16"
    run = shutil.copytree(tiny_run, tmp_path / "run")
    manifest = read_manifest(run)
    del manifest["engines"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="without measuring"):
        Detector.load(run, engine="bf16")
    assert Detector.load(run).recipe.detect.engine == "exact"


def test_rounded_scores_are_near_and_turn_no_verdict(tiny_run) -> None:
    rng = np.random.default_rng(0)
    sessions = [rng.integers(0, 4, size=rng.integers(1, 9)) for _ in range(60)]
    messages = pl.Series(["open file", "write bytes", "lost replica", "never seen before"])
    exact, rounded = (
        Detector.load(tiny_run, engine=engine).score(sessions, messages)
        for engine in ("exact", "bf16")
    )
    threshold = Detector.load(tiny_run).threshold
    assert np.abs(exact - rounded).max() <= 0.01
    assert ((exact >= threshold) == (rounded >= threshold)).all()


def test_auto_rounds_many_sessions_and_leaves_few_exact(tiny_run, cached, monkeypatch) -> None:
    monkeypatch.setattr("logllm.model.fast.machine.processor", lambda: ROUNDING)
    gains(ROUNDING, measure=lambda: 3.0)  # remembered from now on
    rounds_faster.cache_clear()
    rng = np.random.default_rng(1)
    sessions = list(
        {
            session.tobytes(): session
            for session in (rng.integers(0, 4, size=6) for _ in range(200))
        }.values()
    )
    messages = pl.Series(["open file", "write bytes", "lost replica", "never seen before"])
    exact, rounded, auto = (
        Detector.load(tiny_run, engine=engine) for engine in ("exact", "bf16", "auto")
    )
    assert (auto.score(sessions[:63], messages) == exact.score(sessions[:63], messages)).all()
    assert (auto.score(sessions[:64], messages) == rounded.score(sessions[:64], messages)).all()
    assert auto.recipe.detect.engine == "auto"
    rounds_faster.cache_clear()


def test_an_engine_that_is_none_is_named(tiny_run) -> None:
    with pytest.raises(RecipeError, match="engine"):
        Detector.load(tiny_run, engine="int3")
