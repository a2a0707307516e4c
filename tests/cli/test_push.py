"""`logllm export` and `logllm push`, to a hub on this machine."""

import shutil
from pathlib import Path

import pytest
from tests.hub import FakeHub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    import huggingface_hub

    # Its constants were read when it was imported: uploads by plain HTTP, and no token of whoever
    # runs the tests.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def bundle(logllm, tiny_run, tmp_path) -> Path:
    exported = logllm("export", tiny_run, "--out", tmp_path / "bundle")
    assert exported.code == 0, exported.err
    assert "decoder/adapter_model.safetensors" in exported.err
    return tmp_path / "bundle"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_every_file_arrives(logllm, hub, bundle) -> None:
    done = logllm("push", bundle, "somebody/storage-logs")
    assert done.code == 0, done.err
    assert "hf download somebody/storage-logs --local-dir RUN" in done.err
    assert hub.repositories["somebody/storage-logs"] == contents(bundle)
    assert hub.private["somebody/storage-logs"] is False
    assert {"README.md", "manifest.json", "recipe.toml", "projector.safetensors"} < contents(
        bundle
    ).keys()
    # Tensors went as large files, the others in the commit.
    assert any(asked.startswith("PUT /objects/") for asked in hub.asked)


def test_only_the_bundles_files_and_licences_go(logllm, hub, bundle) -> None:
    whole = contents(bundle)
    (bundle / "notes-to-self.txt").write_text("secret")
    (bundle / "LICENSE").write_text("free")
    assert logllm("push", bundle, "me/logs").code == 0
    assert hub.repositories["me/logs"] == {**whole, "LICENSE": b"free"}


@pytest.mark.real
def test_pushing_again_replaces_the_models(logllm, hub, bundle, tiny_run, tmp_path) -> None:
    assert logllm("push", bundle, "me/logs").code == 0
    assert logllm("export", tiny_run, "--out", tmp_path / "whole", "--merged").code == 0
    assert logllm("push", tmp_path / "whole", "me/logs").code == 0
    assert hub.repositories["me/logs"] == contents(tmp_path / "whole")


@pytest.mark.real
def test_private(logllm, hub, bundle) -> None:
    assert logllm("push", bundle, "me/mine", "--private").code == 0
    assert hub.private["me/mine"] is True
    assert logllm("push", bundle, "me/open").code == 0
    hub.repositories["me/open"].clear()
    refused = logllm("push", bundle, "me/open", "--private")
    assert refused.code == 2
    assert "is there already and public" in refused.err
    assert hub.repositories["me/open"] == {}


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("hf_wrong", "does not accept your token: log in with hf auth login, or set HF_TOKEN"),
        ("", "does not accept your token"),
        ("hf_reader", "your token may not write there"),
    ],
)
def test_a_token_that_does_not_serve(logllm, hub, bundle, monkeypatch, token, said) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    outcome = logllm("push", bundle, "me/logs")
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert hub.repositories == {}


def test_a_hub_that_breaks_while_committing(logllm, hub, bundle) -> None:
    hub.broken["commit"] = 500
    outcome = logllm("push", bundle, "me/logs")
    assert outcome.code == 2
    assert "me/logs cannot be pushed" in outcome.err
    assert "(status 500)" in outcome.err


def test_no_hub(logllm, bundle, monkeypatch) -> None:
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    outcome = logllm("push", bundle, "me/logs")
    assert outcome.code == 2
    assert f"cannot be pushed to {server.endpoint}" in outcome.err
    assert "check the network" in outcome.err


def test_what_is_no_bundle_is_not_pushed(logllm, hub, bundle, tiny_run, tmp_path) -> None:
    outcome = logllm("push", tiny_run, "me/logs")
    assert outcome.code == 2
    assert "is no bundle: make one with logllm export" in outcome.err
    spoilt = shutil.copytree(bundle, tmp_path / "spoilt")
    (spoilt / "projector.safetensors").write_bytes(b"")
    assert "files.projector.safetensors disagrees" in logllm("push", spoilt, "me/logs").err
    assert "a/b/c" in logllm("push", bundle, "a/b/c").err
    assert hub.asked == []
