"""Mistakes of all kinds end with exit code 2 and leave everything as it was."""

import json

import pytest

from logllm.data.files import MANIFEST


@pytest.mark.parametrize(
    ("held", "verb"),
    [
        ("run", ["prepare", "json", "--raw", "DATA.jsonl", "--message", "message", "--force", "--out"]),
        ("run", ["perturb", "DATA", "--kind", "remove", "--force", "--out"]),
        ("data", ["folds", "DATA", "--parts", "2", "--force", "--out"]),
        ("run", ["baseline", "unseen", "--data", "DATA", "--force", "--out"]),
        ("data", ["evaluate", "RUN", "--data", "DATA", "--force", "--report"]),
        ("run", ["export", "RUN", "--force", "--out"]),
        ("data", ["train", "tiny", "--data", "DATA", "--force", "--out"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_force_replaces_only_what_the_verb_writes(logllm, tiny_run, tiny_data, tmp_path, held, verb) -> None:
    out = tmp_path / "out"
    out.mkdir()
    manifest = json.dumps({"kind": held, "version": 1})
    (out / MANIFEST).write_text(manifest)
    names = {"RUN": tiny_run, "DATA": tiny_data, "DATA.jsonl": tiny_data.parent / "app.jsonl"}
    outcome = logllm(*(names.get(part, part) for part in verb), out)
    assert outcome.code == 2
    assert "not replaced by" in outcome.err or "is no run: its manifest.json is of another kind" in outcome.err, outcome.err
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(MANIFEST, manifest)]
