"""`logllm serve`: what it asks for before it answers anybody."""

import pytest

from logllm.serve.store.verdict_store import Store

ANYWHERE = "0.0.0.0"  # noqa: S104 - it is refused
STORE = ("--store", "app.db")


@pytest.mark.parametrize(
    ("arguments", "token", "said"),
    [
        (("--host", ANYWHERE), None, "a token is needed"),
        (("--host", "::"), "", "a token is needed"),
        ((), "short", "found by trying"),
        (("--token-file", "absent"), None, "absent cannot be read"),
        (("--port", "1", "--host", "203.0.113.1"), "0123456789abcdef", "cannot be listened on"),
    ],
    ids=["everywhere", "everywhere-6", "short", "absent", "address"],
)
def test_refusals(logllm, monkeypatch, tmp_path, arguments, token, said) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOGLLM_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("LOGLLM_TOKEN", token)
    Store.open(tmp_path / "app.db").close()
    outcome = logllm("serve", *STORE, *arguments)
    assert outcome.code == 2
    assert said in outcome.err


def test_an_empty_token_file_is_no_permission(logllm, tmp_path) -> None:
    (tmp_path / "token").write_text("\n")
    outcome = logllm("serve", "--store", tmp_path / "app.db", "--token-file", tmp_path / "token")
    assert outcome.code == 2
    assert "a token is needed" in outcome.err


def test_a_store_that_is_not_there_is_not_made(logllm, tmp_path) -> None:
    outcome = logllm("serve", "--store", tmp_path / "typo.db")
    assert outcome.code == 2
    assert "typo.db is not there" in outcome.err
    assert not (tmp_path / "typo.db").exists()
