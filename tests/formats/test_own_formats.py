"""A folder with formats of one's own: they take part in recognition, before the built-in ones."""

import json
from datetime import date

import polars as pl
import pytest

from logllm.errors import RecipeError
from logllm.formats.description import known, load_format, own_formats
from logllm.formats.recognition import recognise

TODAY = date(2024, 8, 1)
SHOP = """
name = "shop"
pattern = '(?<time>\\S+ \\S+) (?<level>[A-Z]+) order=(?<order>\\d+) (?<message>.*)'
time = "time"
sessions = {by = "key", key_field = "order"}
"""
LINES = [f"2024-07-03 09:00:{at:02} INFO order={at // 4} step {at} is done" for at in range(40)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGLLM_FORMATS", str(tmp_path))
    (tmp_path / "shop.toml").write_text(SHOP)
    return tmp_path


def test_without_a_folder_there_are_none(monkeypatch):
    monkeypatch.delenv("LOGLLM_FORMATS", raising=False)
    assert own_formats() == {}


@pytest.mark.parametrize(
    ("around", "name"),
    [
        (lambda line: line, "shop"),
        (lambda line: f"shop-1  | {line}", "shop inside compose"),
        (
            lambda line: json.dumps(
                {"log": line + "\n", "stream": "stdout", "time": "2024-07-03T09:00:00Z"}
            ),
            "shop inside docker",
        ),
    ],
    ids=["alone", "compose", "docker"],
)
def test_one_s_own_format_is_taken_where_it_fits(folder, around, name):
    described = recognise(pl.Series(list(map(around, LINES))), today=TODAY).format
    assert described.name == name
    assert described.sessions.key_field == "order"


def test_other_logs_are_read_as_without_it(folder):
    lines = [
        f"2024-07-03 09:00:{at:02},123 INFO [main] com.shop.Orders - order {at} stored"
        for at in range(40)
    ]
    assert recognise(pl.Series(lines), today=TODAY).format.name == "log4j"


def test_it_is_named_as_the_built_in_ones_are(folder):
    assert load_format("shop").sessions.key_field == "order"
    with pytest.raises(RecipeError, match="nearest: shop"):
        load_format("shopp")


def test_a_file_that_changes_is_read_anew(folder):
    assert list(own_formats()) == ["shop"]
    (folder / "shop.toml").write_text(SHOP.replace('"shop"', '"store"'))
    assert list(own_formats()) == ["store"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "broken.toml is not TOML"),
        ('name = "x"\npattern = "("', "no regular expression"),
        ('name = "x"\npatern = "a"', "pattern"),
        (SHOP, "'shop', too"),
        (f'name = "{known()[0]}"\nkind = "plain"', "a built-in one is called"),
    ],
    ids=["toml", "expression", "key", "twice", "built-in"],
)
def test_what_is_wrong_in_the_folder_is_said(folder, text, message):
    (folder / "broken.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        recognise(pl.Series(LINES), today=TODAY)


def test_a_folder_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("LOGLLM_FORMATS", str(tmp_path / "none"))
    with pytest.raises(RecipeError, match="LOGLLM_FORMATS names .*none, which is no folder"):
        own_formats()
