"""`logllm import`, and the other verbs on what it made."""

import json

import pytest


@pytest.fixture
def options(tiny_models) -> list[str]:
    plain = [
        f"model.{part}.{key}"
        for part in ("encoder", "decoder")
        for key in ("quantize=none", "dtype=float32")
    ]
    weights = ["--encoder", tiny_models.encoder.weights, "--decoder", tiny_models.decoder.weights]
    return [*weights, *(word for setting in plain for word in ("--set", setting))]


@pytest.fixture
def bgl(tmp_path):
    """250 lines in BGL's format, the last hundred of them with an alert."""
    line = (
        "{} {} 2005.06.03 R02-M1 2005-06-03-15.42.50.{:06} R02-M1 RAS KERNEL INFO instruction cache"
        " parity error {}"
    )
    (tmp_path / "BGL.log").write_text(
        "".join(
            line.format("-" if n < 200 else "KERNDTLB", 1117838570 + n, n, n % 7) + "\n"
            for n in range(250)
        )
    )
    return tmp_path / "BGL.log"


@pytest.mark.real
def test_the_other_verbs_work_on_an_imported_run(logllm, authors, options, bgl, tmp_path) -> None:
    done = logllm(
        "import", authors[0], "--out", tmp_path / "run", *options, "--threshold", 0.25, "--json"
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["threshold"]["value"] == 0.25
    assert "logllm evaluate" in done.err
    shown = logllm("show", "run", tmp_path / "run")
    assert json.loads(shown.out) == json.loads(done.out)
    detected = logllm("detect", tmp_path / "run", bgl)
    assert detected.code == 0, detected.err
    verdicts = [json.loads(line) for line in detected.out.splitlines()]
    assert [len(verdict["lines"]) for verdict in verdicts] == [100, 100, 50]
    assert all(verdict["anomalous"] == (verdict["score"] >= 0.25) for verdict in verdicts)
    assert (
        logllm("prepare", "bgl", "--recipe", "bgl", "--raw", bgl, "--out", tmp_path / "data").code
        == 0
    )
    evaluated = logllm("evaluate", tmp_path / "run", "--data", tmp_path / "data", "--json")
    assert evaluated.code == 0, evaluated.err
    report = json.loads(evaluated.out)
    assert (report["threshold"], report["threshold_chosen"], report["data_of_training"]) == (
        0.25,
        "set at import",
        None,
    )
    exported = logllm(
        "export", tmp_path / "run", "--out", tmp_path / "bundle", "--merged", "--license", "llama3"
    )
    assert exported.code == 0, exported.err
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "not trained with logllm: they were imported from `ft_model_bgl`" in card
    assert "license: llama3\n" in card
    again = [
        json.loads(line) for line in logllm("detect", tmp_path / "bundle", bgl).out.splitlines()
    ]
    assert [verdict["score"] for verdict in again] == pytest.approx(
        [verdict["score"] for verdict in verdicts], abs=1e-4
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "bgk"], "no recipe 'bgk'"),
        (
            ["--recipe", "small"],
            "recipe small does not say which logs it is for: name their format with --format",
        ),
        (["--format", "bgk"], "no format 'bgk'"),
        (["--set", "model.decoder.weights=nowhere/nothing"], "no weights 'nowhere/nothing'"),
    ],
)
def test_a_mistake_leaves_nothing(
    logllm, authors, options, tmp_path, monkeypatch, arguments, said
) -> None:
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    outcome = logllm(
        "import", authors[0], "--out", tmp_path / "run", *options[:2], *options[4:], *arguments
    )
    assert outcome.code == 2
    assert said in outcome.err
    assert not (tmp_path / "run").exists()
