"""Statements in other words: what changes and what never does."""

import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.config.mask import MaskRuleSection, MaskSection
from logllm.errors import DataError
from logllm.evaluate import wording
from logllm.evaluate.wording import ADDED, DROPPED, STAND_INS, SYNONYMS, other_words
from logllm.logs.masking import PLACEHOLDER, mask

PIECES = [
    "<*>",
    "Received",
    "block",
    "of size <*>",
    "from <*>",
    "src: <*>",
    "dfs.DataNode$PacketResponder:",
    "failed, retrying",
    "LOG:",
    "not",
]
MESSAGES = st.lists(st.sampled_from(PIECES) | st.text(max_size=12), max_size=12).map(" ".join)
GENERATOR = np.random.default_rng


def reworded_by(edit, message, count=60):
    """All that one kind of change makes of a message."""
    return {edit(message, GENERATOR(seed)) for seed in range(count)}


@pytest.mark.real
@settings(max_examples=30)
@given(st.lists(MESSAGES, min_size=1, max_size=8, unique=True), st.integers(0, 5))
def test_a_reworded_message_is_new_masked_text_with_the_same_placeholders(raw, seed):
    messages = mask(pl.Series("message", raw), MaskSection()).unique(maintain_order=True)
    words = other_words(messages, known=messages, masks=MaskSection(), seed=seed)
    assert not set(words) & set(messages)
    assert [text.count(PLACEHOLDER) for text in words] == [
        text.count(PLACEHOLDER) for text in messages
    ]
    assert all(text.strip() for text in words)
    stable = mask(messages, MaskSection()) == messages
    assert mask(words, MaskSection()).filter(stable).to_list() == words.filter(stable).to_list()
    one_by_one = [
        other_words(messages[at : at + 1], known=messages, masks=MaskSection(), seed=seed).item()
        for at in range(len(messages))
    ]
    assert one_by_one == words.to_list()


def test_synonyms_stand_in_one_group_each_and_are_many():
    groups = [group.split() for group in re.split(r"[;\n]", SYNONYMS.strip())]
    assert [
        word
        for word, times in Counter(word for group in groups for word in group).items()
        if times > 1
    ] == []
    assert min(map(len, groups)) > 1
    assert sum(len(group) * (len(group) - 1) // 2 for group in groups) >= 150
    assert not {"not", "no", "never"} & ({*STAND_INS} | DROPPED | {*ADDED})


NAMES = "a_block block.size block[<*>] deleting-it LOG: file=<*>"  # nothing here is a plain word


@pytest.mark.parametrize(
    ("edit", "message", "becomes"),
    [
        (wording._synonym, "Deleting it", {"Removing it", "Erasing it"}),
        (wording._synonym, NAMES, {NAMES}),
        (
            wording._reorder,
            "Received <*> of size <*> from <*>",
            {"Received <*> from <*> of size <*>"},
        ),
        (wording._reorder, "up: sym <*>, at it; mask", {"up: sym <*>, mask; at it"}),
        (wording._reorder, "(sym <*>, at) it", {"(sym <*>, at) it"}),
        (wording._reorder, "src: <*> dest: <*>", {"dest: <*> src: <*>"}),
        (wording._add, "gone", {f"gone {word}" for word in ADDED}),
        (
            wording._add,
            "gone to <*>",
            {f"gone {word} to <*>" for word in ADDED} | {f"gone to <*> {word}" for word in ADDED},
        ),
        (wording._drop, "was added to it", {"added to it", "was added it", "added it"}),
        (wording._drop, "to", {"to"}),
        (
            wording._rename,
            "ciod: x ciod.c",
            {f"ciod-{word}: x ciod.c" for word in ("core", "service", "main")}
            | {f"ciod: x ciod.{word}.c" for word in ("core", "server", "internal", "impl")}
            | {f"ciod: x ciod.c{word}" for word in ("Impl", "Module", "Unit")},
        ),
        (wording._rename, "DataNode$PacketResponder ends", {"DataNode$PacketHandler ends"}),
        (wording._rename, "LOG: error <*> src: Up", {"LOG: error <*> src: Up"}),
    ],
)
def test_each_kind_of_change(edit, message, becomes):
    assert reworded_by(edit, message) == becomes


def test_seeds_word_differently():
    messages = pl.Series("message", ["Received block <*> of size <*> from <*>"])
    words = {
        other_words(messages, known=messages, masks=MaskSection(), seed=seed).item()
        for seed in range(20)
    }
    assert len(words) > 10


def test_masks_that_leave_no_words_are_named():
    masks = MaskSection(own=(MaskRuleSection(name="words", pattern="[a-z]+"),))
    with pytest.raises(DataError, match=r"'<\*> ,' cannot be reworded"):
        other_words(
            pl.Series("message", ["<*> ,"]), known=pl.Series(["<*> ,"]), masks=masks, seed=0
        )
