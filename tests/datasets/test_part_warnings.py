"""What is said of parts that would measure badly."""

import polars as pl
import pytest

from logllm.config.prepare import PrepareSection, SplitSection
from logllm.datasets.data_warnings import part_warnings
from logllm.formats.description import load_format


def parts(train: int, validation: int, test: int) -> dict[str, pl.DataFrame]:
    """Parts of a hundred sessions each, so many of them anomalous."""
    counts = {"train": train, "validation": validation, "test": test}
    return {
        name: pl.DataFrame({"anomalous": [True] * count + [False] * (100 - count)})
        for name, count in counts.items()
    }


FEW = ": too few to measure by; --split random divides them evenly"


@pytest.mark.parametrize(
    ("by", "anomalies", "said"),
    [
        ("time", (8, 0, 2), ["the test part holds 2 anomalous sessions, of 10 in all"]),
        (
            "time",
            (30, 1, 4),
            [
                "the validation part holds 1 anomalous session and the test part holds 4 anomalous"
                " sessions, of 35 in all"
            ],
        ),
        ("time", (8, 5, 9), []),
        ("time", (2, 1, 1), []),  # of so few none divides well
        ("random", (8, 2, 2), []),
    ],
)
def test_a_division_by_time_that_leaves_few_anomalies_is_said(by, anomalies, said) -> None:
    form = load_format("hdfs")
    split = SplitSection(by=by)
    settings = PrepareSection(format=form, sessions=form.sessions, split=split)
    told = part_warnings(parts(*anomalies), {}, settings=settings)
    assert [line.removesuffix(FEW) for line in told if FEW in line] == said
