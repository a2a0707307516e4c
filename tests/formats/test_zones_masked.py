"""Zone names after times say where a server stands and nothing of how it is: PostgreSQL's formats
mask them, and no other does."""

import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.datasets.settings import choose
from logllm.formats.description import known, load_format
from logllm.formats.postgres_prefix import postgres_format
from logllm.logs.masking import mask

ZONES = [
    "UTC",
    "CET",
    "CEST",
    "EEST",
    "ACWST",
    "MSK",
    "WIB",
    "-03",
    "+0530",
    "+05:30",
    "Z",
    "Europe/Berlin",
    "America/Argentina/Buenos_Aires",
]
MESSAGES = {
    "LOG:  database system was shut down at {}": "LOG:  database system was shut down at <*>",
    "LOG:  database system was interrupted; last known up at {}; see": (
        "LOG:  database system was interrupted; last known up at <*>; see"
    ),
    "LOG:  Datenbanksystem wurde am {} heruntergefahren": (
        "LOG:  Datenbanksystem wurde am <*> heruntergefahren"
    ),
    "STATEMENT:  SELECT 1 WHERE at > '{}' AND id < 3": (
        "STATEMENT:  SELECT <*> WHERE at > '<*>' AND id < <*>"
    ),
}
POSTGRES = ("postgresql", "postgresql-csv", "postgresql-json")


def settings(name: str, **masks: object) -> PrepareSection:
    return choose(name, overrides={"format": {}, "sessions": {}, "split": {}, "mask": masks})


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("name", POSTGRES)
def test_a_time_and_its_zone_are_one_variable_part(name: str, zone: str) -> None:
    texts = pl.Series([message.format(f"2026-03-29 02:59:59.123 {zone}") for message in MESSAGES])
    assert mask(texts, settings(name).mask).to_list() == list(MESSAGES.values())


def test_a_zone_in_numbers_may_follow_at_once() -> None:
    text = pl.Series(
        ["LOG:  last completed transaction was at log time 2026-11-27 00:16:44.339823+00"]
    )
    assert (
        mask(text, settings("postgresql").mask).item()
        == "LOG:  last completed transaction was at log time <*>"
    )


def test_a_time_without_a_zone_is_masked_as_the_paper_does() -> None:
    text = pl.Series(
        [
            "STATEMENT:  SELECT 1 WHERE at > '2026-03-29 02:59:59' AND id < 3",
            "LOG:  at 2026-03-29 02:59:59 heruntergefahren",
        ]
    )
    assert mask(text, settings("postgresql").mask).to_list() == mask(text, MaskSection()).to_list()


def test_only_postgresql_s_formats_have_rules_of_their_own() -> None:
    """What HDFS, BGL, Thunderbird and the paper's recipes read stays as it is."""
    assert {name for name in known() if load_format(name).masks} == set(POSTGRES)
    assert {settings(name).mask for name in known() if name not in POSTGRES} == {MaskSection()}


def test_the_masks_are_the_same_however_the_server_writes() -> None:
    told = postgres_format(
        pl.Series(
            [
                "<2024-01-02 03:04:05 CET u@d 17>LOG:  ready",
                "<2024-01-02 03:04:06 CET u@d 17>ERROR:  no",
            ]
            * 2
        )
    )
    assert told is not None
    assert {told.masks, *(load_format(name).masks for name in POSTGRES)} == {
        load_format("postgresql").masks
    }


def test_a_user_s_rules_come_first_and_off_is_off() -> None:
    own = [{"name": "year", "pattern": "[0-9]{4}"}]
    assert [rule.name for rule in settings("postgresql", own=own).mask.own] == [
        "year",
        "zoned-time",
    ]
    assert settings("postgresql", rules="off").mask == MaskSection(rules="off")
