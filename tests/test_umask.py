"""Who may read what logllm writes is what the umask says: a run that one user trained serves under
another."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(
    params=[0o022, 0o027, pytest.param(0o002, marks=pytest.mark.real)], ids="{:03o}".format
)
def umask(request) -> Iterator[int]:
    """The umask of this test alone."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def wrong(folder: Path, umask: int) -> list[str]:
    """What a folder holds with other permissions than plain creation gives."""
    paths = sorted(folder.rglob("*"))
    assert paths
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    wanted = {path: (0o777 if path.is_dir() else 0o666) & ~umask for path in paths}
    return [
        f"{modes[path]:o} {path.relative_to(folder)}"
        for path in paths
        if modes[path] != wanted[path]
    ]


@pytest.mark.sampled(2)
def test_data_a_run_its_scores_and_a_bundle(umask, tiny_recipe, tmp_path, monkeypatch) -> None:
    from logllm.detect.detector import Detector
    from logllm.methods.bundle import Bundle, export_run
    from logllm.methods.train import train
    from tests.tiny import make_data

    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "cache"))
    data, run = make_data(tmp_path, sessions=40), tmp_path / "run"
    checkpoints = set()

    def watch(_step: object) -> None:
        checkpoints.update(run.rglob("optimizer.safetensors"))
        assert wrong(run, umask) == []

    train(tiny_recipe, data, out=run, watch=watch)
    assert checkpoints
    assert list(
        Detector.load(run, cache=True).detect((tmp_path / "app.jsonl").read_text().splitlines())
    )
    assert any((tmp_path / "cache").rglob("*.sqlite"))
    export_run(run, tmp_path / "adapters", bundle=Bundle())
    export_run(run, tmp_path / "merged", bundle=Bundle(merged=True))
    assert wrong(tmp_path, umask) == []


@pytest.mark.real
def test_a_report_and_a_simple_run(umask, tiny_data, tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra report")
    from logllm.datasets.prepared import Prepared
    from logllm.detect.detector import Detector
    from logllm.evaluate.evaluation import scored
    from logllm.evaluate.report import Judged, write_report
    from logllm.methods.registry import recipe_for
    from logllm.methods.train import train

    train(recipe_for("unseen"), tiny_data, out=tmp_path / "run")
    report, scores = scored(Detector.load(tmp_path / "run"), tiny_data)
    write_report(
        tmp_path / "report", Judged(report, scores), prepared=Prepared.load(tiny_data), force=False
    )
    assert wrong(tmp_path, umask) == []
