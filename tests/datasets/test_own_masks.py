"""The masks of a log of one's own, and what is said of masks that leave too little or too much."""

import json

import pytest

from logllm.config.prepare import PrepareSection
from logllm.datasets.prepare import prepare
from logllm.datasets.settings import choose
from logllm.datasets.sources import own_masks
from logllm.formats.description import known, load_format

NOTHING = {"format": {}, "sessions": {}, "split": {}, "mask": {}}


def prepared(tmp_path, text, mask):
    log = tmp_path / "app.log"
    log.write_text(
        "".join(
            text.format(
                place=place,
                word=f"{place:b}".translate(str.maketrans("01", "xy")),
                bad=502 if place % 20 == 3 else 200,
            )
            + "\n"
            for place in range(1200)
        )
    )
    settings = choose("plain", overrides={**NOTHING, "mask": mask})
    return prepare([log], tmp_path / "data", settings=settings, force=True)


def test_codes_are_kept_but_in_the_formats_of_the_paper_s_data_sets():
    masks = {name: own_masks(load_format(name)) for name in known()}
    assert {name for name, mask in masks.items() if not mask} == {
        "bgl",
        "hdfs",
        "liberty",
        "spirit",
        "thunderbird",
    }
    assert masks["access"] == {"keep": "codes", "traces": "short", "ends": "early"}


def test_settings_of_before_keep_nothing():
    """A run reads as it was trained: a setting that it does not have is off."""
    before = {"format": {"name": "own", "kind": "json"}, "mask": {"rules": "paper", "own": []}}
    assert PrepareSection.read(json.loads(json.dumps(before)), source="run").mask.keep == "nothing"


@pytest.mark.parametrize(
    ("text", "mask", "warned"),
    [
        (
            "request {place} status={bad}",
            {},
            "1,200 records are 1 distinct message: what distinguishes them is masked",
        ),
        (
            "request {place} status={bad}",
            own_masks(load_format("plain")),
            "1,200 records are 2 distinct messages",
        ),
        (
            "user {word} came",
            {},
            (
                "1,200 of 1,200 records are distinct messages: nearly every line holds something"
                " that varies"
            ),
        ),
    ],
    ids=["one message", "two messages", "all distinct"],
)
def test_too_few_and_too_many_messages_are_said(tmp_path, text, mask, warned):
    assert any(warned in warning for warning in prepared(tmp_path, text, mask)["warnings"])


def test_masks_that_fit_are_not_spoken_of(tmp_path):
    shapes = "".join(
        f"step {{place}} {word}\n" for word in ("up", "down", "left", "right", "in", "out")
    )
    manifest = prepared(tmp_path, shapes.strip(), {})
    assert manifest["distinct_messages"] == 6
    assert not any("distinct" in warning for warning in manifest["warnings"])
