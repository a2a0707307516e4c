"""A run that is promoted while a watch goes on judges from then on; no line is read twice, none is
lost."""

import json
import shutil
import time

import numpy as np
import pytest

from logllm.config.recipe import Recipe
from logllm.config.watch import WatchSection
from logllm.detect.detector import Detector
from logllm.errors import ModelError
from logllm.methods.contract import Opinion
from logllm.runs.promotion import Promotion, pointer_of, write_promotion
from logllm.serve.feedback.following import Following, standing
from logllm.serve.source_rows import source_rows
from logllm.serve.store.verdict_store import Store
from logllm.serve.surroundings import Watched
from logllm.serve.watch import Watch
from tests.serve.scripted import Errors, Script
from tests.serve.scripted import settings as prepared


class Uncached(Errors):
    """Keeps no scores on this machine."""

    recipe = Recipe.of_method("grep", overrides=["detect.cache_sessions=0"])


class Losses(Uncached):
    """Judges sessions that hold the word LOST anomalous."""

    name = "losses@2"

    def opinion(self, sessions, messages, *, progress=None):
        lost = messages.str.contains("LOST").to_numpy()
        return Opinion(np.array([0.9 if lost[rows].any() else 0.1 for rows in sessions]))

    def line_scores(self, rows, messages):
        return np.where(messages.gather(rows).str.contains("LOST").to_numpy(), 0.9, 0.1)


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "app.db")
    yield opened
    opened.close()


@pytest.mark.real
def test_a_watch_takes_up_another_run_between_two_transactions(store):
    lines = [
        "2026-11-03 12:00:00 a ERROR of old",
        "2026-11-03 12:00:01 b begins",
        "2026-11-03 12:00:02 b LOST a block",
        "2026-11-03 12:00:03 c ERROR of new",
    ]
    source = Script({"p": lines})
    how = WatchSection(begin="start", idle=3600)
    watched = Watched("app", source, prepared(), apart=False)
    watch = Watch([watched], run=Uncached(), how=how, store=store, told=lambda words: None)
    promoted = []
    watch.newer = lambda: promoted.pop() if promoted else None
    seen = [{}]
    until = time.monotonic() + 20

    def status(running):
        judged = {
            row["session"]: (row["anomalous"], row["model"])
            for row in store.verdicts("app").iter_rows(named=True)
        }
        if not source.given["p"]:
            source.give("p", 3)
        if judged == {"a": (True, "errors@1"), "b": (False, "errors@1")} and seen[-1] != judged:
            promoted.append(Losses())
        if judged.get("b") == (True, "losses@2") and source.given["p"] == 3:
            source.give("p", 1)
        seen.append(judged)
        running.stopping = len(judged) == 3 or time.monotonic() > until

    watch.run(status=status)
    assert {"a": (True, "errors@1"), "b": (False, "errors@1")} in seen
    assert seen[-1] == {"a": (False, "losses@2"), "b": (True, "losses@2"), "c": (False, "losses@2")}
    assert [row["run"] for row in source_rows(store)] == ["losses@2"]
    lines_of = dict(store.verdicts("app").select("session", "lines").iter_rows())
    assert lines_of == {"a": [1], "b": [2, 3], "c": [4]}


@pytest.fixture
def runs(tiny_run, tmp_path):
    for name in ("app", "app.2"):
        shutil.copytree(tiny_run, tmp_path / name)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
    return tmp_path


def test_promotion_and_roll_back_are_followed(runs):
    said, clock = [], [0.0]
    following = Following(
        runs / "app", load=Detector.load, told=said.append, clock=lambda: clock[0]
    )
    assert following.first().model.startswith("app@")
    assert following.newer() is None
    write_promotion(runs / "app", Promotion("app.2", ("app",)))
    clock[0] += 1
    assert following.newer() is None  # it looks every two seconds
    clock[0] += 2
    assert following.newer().model.startswith("app.2@")
    assert said == [
        f"{following.first().model} judges from now on: it stands in the place of {runs / 'app'}"
    ]
    clock[0] += 3
    assert following.newer() is None
    write_promotion(runs / "app", Promotion("app"))
    clock[0] += 3
    assert following.newer_judge().name.startswith("app@")


def test_a_run_that_cannot_be_loaded_is_told_of_once(runs):
    said, clock = [], [0.0]
    following = Following(
        runs / "app", load=Detector.load, told=said.append, clock=lambda: clock[0]
    )
    following.first()
    write_promotion(runs / "app", Promotion("app.2", ("app",)))
    (runs / "app.2" / "projector.safetensors").write_bytes(b"")
    for _ in range(3):
        clock[0] += 3
        assert following.newer() is None
    assert len(said) == 1
    assert said[0].startswith("the run goes on as it is: ")


def test_what_stands_where_a_run_is_named(runs):
    assert standing(runs / "app") == {
        "current": "app",
        "former": None,
        "changed": None,
        "gates": [],
    }
    write_promotion(
        runs / "app",
        Promotion("app.2", ("app",), ({"promoted": True},), changed="2026-11-27T12:00:00Z"),
    )
    assert standing(runs / "app") == {
        "current": "app.2",
        "former": "app",
        "changed": "2026-11-27T12:00:00Z",
        "gates": [{"promoted": True}],
    }
    pointer_of(runs / "app").write_text("")
    with pytest.raises(ModelError, match="does not say which run is the current one"):
        standing(runs / "app")
