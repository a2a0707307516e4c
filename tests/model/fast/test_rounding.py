"""Whether scores may be rounded: measured in training, asked of the machine, refused otherwise."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from logllm.detect.detector import Detector
from logllm.errors import ModelError, RecipeError
from logllm.model.fast import rounding
from logllm.model.fast.rounding import DOUBT, measured, rounds_faster, settled
from logllm.runs.manifest import read_manifest

ADMITTED = {"name": "app", "engines": {"bf16": measured(DOUBT / 2, sessions=9)}}
REFUSED = {"name": "app", "engines": {"bf16": measured(DOUBT, sessions=9)}}
NEVER = {"name": "app"}


@pytest.fixture
def machine(cached, monkeypatch):
    """A processor of our own choosing."""

    def choose(*, flags: str, gain: float) -> list[float]:
        asked: list[float] = []
        info = {"flags": flags, "model name": "a processor"}
        monkeypatch.setattr(rounding, "_cpuinfo", lambda: info)
        monkeypatch.setattr(rounding, "_gain", lambda: (asked.append(gain), gain)[1])
        return asked

    return choose


@pytest.mark.parametrize(
    ("manifest", "gain", "wanted"),
    [(ADMITTED, 3.0, "bf16"), (ADMITTED, 1.0, "exact"), (REFUSED, 3.0, "exact"), (NEVER, 3.0, "exact")],
    ids=["admitted", "slower here", "too far", "never measured"],
)
def test_auto_rounds_where_it_may_and_pays(machine, manifest, gain, wanted) -> None:
    machine(flags="avx512f avx512_bf16", gain=gain)
    assert settled("auto", manifest) == wanted
    assert settled("exact", manifest) == "exact"


def test_the_machine_is_asked_once(machine, cached) -> None:
    asked = machine(flags="amx_bf16", gain=2.0)
    assert rounds_faster()
    assert rounds_faster()
    assert len(asked) == 1
    (cached.parent / "machine.json").write_text("damaged")
    assert rounds_faster()
    assert len(asked) == 2


def test_without_the_instructions_it_is_not_even_measured(machine) -> None:
    asked = machine(flags="avx2 avx512f", gain=9.0)
    assert not rounds_faster()
    assert asked == []


def test_what_may_not_serve_is_refused_with_a_remedy() -> None:
    with pytest.raises(ModelError, match="run app was trained without measuring .* take engine exact"):
        settled("bf16", NEVER)
    with pytest.raises(ModelError, match="may not serve run app: rounding moved its logits by up to 1 on 9 sessions"):
        settled("bf16", REFUSED)
    old = {"name": "app", "engines": {"bf16": {"admitted": False, "sessions": 9, "largest_difference": 0.25, "flips": 3}}}
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
    exact, rounded = (Detector.load(tiny_run, engine=engine).score(sessions, messages) for engine in ("exact", "bf16"))
    threshold = Detector.load(tiny_run).threshold
    assert np.abs(exact - rounded).max() <= 0.01
    assert ((exact >= threshold) == (rounded >= threshold)).all()


def test_auto_rounds_many_sessions_and_leaves_few_exact(tiny_run, machine) -> None:
    machine(flags="amx_bf16", gain=3.0)
    rng = np.random.default_rng(1)
    sessions = list({session.tobytes(): session for session in (rng.integers(0, 4, size=6) for _ in range(200))}.values())
    messages = pl.Series(["open file", "write bytes", "lost replica", "never seen before"])
    exact, rounded, auto = (Detector.load(tiny_run, engine=engine) for engine in ("exact", "bf16", "auto"))
    assert (auto.score(sessions[:63], messages) == exact.score(sessions[:63], messages)).all()
    assert (auto.score(sessions[:64], messages) == rounded.score(sessions[:64], messages)).all()
    assert auto.recipe.detect.engine == "auto"


def test_an_engine_that_is_none_is_named(tiny_run) -> None:
    with pytest.raises(RecipeError, match="engine"):
        Detector.load(tiny_run, engine="int3")
