"""`show weights NAME` at the command line."""

import json


def test_a_card_as_table_and_as_json(logllm, tiny_models) -> None:
    name = tiny_models.encoder.weights
    shown = logllm("show", "weights", name)
    assert (shown.code, shown.err) == (0, "")
    assert "no: bert reads in both directions" in " ".join(shown.out.replace("│", " ").split())
    card = json.loads(logllm("show", "weights", name, "--json").out)
    assert card["encoder"]["targets"] == ["query", "value"]
    assert card["bytes"]["float32"] == 4 * card["parameters"]


def test_what_is_no_model_is_one_line_and_exit_2(logllm, tmp_path) -> None:
    refused = logllm("show", "weights", tmp_path)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "holds no config.json" in refused.err
