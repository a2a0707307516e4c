"""A projector that begins with words."""

import torch
from tests.training.test_train import changed
from transformers import AutoTokenizer

from logllm.model.batch import MessageTokens
from logllm.model.weights import locate
from logllm.training.start import start_with_words
from logllm.training.train import train

MESSAGES = ["system log messages", "normal", "anomalous sequence", "Is this or", "Below The"]


def test_each_message_says_its_own_words(tiny, tiny_recipe) -> None:
    model, tokenizer = tiny
    words_of = AutoTokenizer.from_pretrained(locate(tiny_recipe.model.decoder.weights))
    vectors = model.encode(MessageTokens(MESSAGES, tokenizer, max_tokens=100), positions=1000)
    start_with_words(model, MESSAGES, vectors=vectors, tokenizer=words_of)
    table = model.decoder.model.get_input_embeddings().weight.detach()
    with torch.no_grad():
        said = model.projector(vectors)
    words = torch.stack([table[words_of(text, add_special_tokens=False)["input_ids"]].mean(0) for text in MESSAGES])
    likeness = torch.nn.functional.cosine_similarity((said - said.mean(0))[:, None], (words - words.mean(0))[None], dim=-1)
    assert likeness.argmax(1).tolist() == list(range(len(MESSAGES)))
    assert said.norm(dim=1).mean() < 2 * table.norm(dim=1).mean()


def test_it_is_a_setting_of_the_model(tiny_recipe, tiny_data, tmp_path) -> None:
    """Other weights than a random start's, the same each time."""
    from safetensors.torch import load_file

    stages = [{"trains": ["decoder"], "lr": 1e-9, "max_sessions": 4}]
    weights = {}
    for name, start in (("words", "words"), ("again", "words"), ("random", "random")):
        recipe = changed(tiny_recipe, stages=stages)
        projector = recipe.model.projector.model_copy(update={"start": start})
        train(recipe.model_copy(update={"model": recipe.model.model_copy(update={"projector": projector})}), tiny_data, out=tmp_path / name)
        weights[name] = load_file(tmp_path / name / "projector.safetensors")["weight"]
    assert torch.equal(weights["words"], weights["again"])
    assert not torch.allclose(weights["words"], weights["random"])
