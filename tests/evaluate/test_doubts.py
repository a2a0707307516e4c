"""Each reason to doubt, and a report without any."""

import pytest

from logllm.evaluate.doubts import doubts

SOUND = {
    "f1": 0.95,
    "average_precision": 0.97,
    "intervals": {"f1": [0.9, 0.98], "average_precision": [0.93, 0.99]},
    "tp": 40,
    "fn": 2,
    "threshold": 0.4,
    "threshold_chosen": "best F1 on validation",
    "split": "test",
    "data_of_training": True,
    "leakage": {"seen": 0.3, "early": 0.0},
    "unseen": {"f1": 0.9},
    "calibration": {"error": 0.01},
    "baselines": {"tree-counts": {"f1": 0.8, "average_precision": 0.85}},
}


def rival(f1: float, average_precision: float | None) -> dict:
    return {"baselines": {"tree-counts": {"f1": f1, "average_precision": average_precision}}}


def test_a_sound_report_is_not_doubted() -> None:
    assert doubts(SOUND) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tp": 28, "fn": 1}, "only 29 of the sessions are anomalous"),
        ({"tp": 1, "fn": 0}, "only 1 of the sessions is anomalous"),
        ({"tp": 0, "fn": 0}, "no session is anomalous"),
        (
            {"leakage": {"seen": 0.51}},
            (
                "51% of the sessions also occur in train, message for message.*look at the figures"
                " on the others"
            ),
        ),
        ({"leakage": {"seen": 1.0}, "unseen": None}, "100% of the sessions.*there are no others"),
        (
            {"leakage": {"seen": 0.0, "early": 0.9}},
            "90% of the sessions begin before the last train session ends",
        ),
        (rival(0.96, 0.5), "baseline tree-counts is better: F1 0.960 against 0.950$"),
        (
            rival(0.91, 0.98),
            (
                "tree-counts is better: average precision 0.980 against 0.970; within .* F1 0.910"
                " against 0.950$"
            ),
        ),
        (rival(0.9, 0.5), "tree-counts is within the model's interval: F1 0.900 against 0.950$"),
        (rival(0.95, None), "tree-counts is within the model's interval: F1 0.950 against 0.950$"),
        (
            {"threshold": 0.5, "threshold_chosen": "default: 3 anomalies"},
            r"threshold of 0.5 was not chosen on data \(default: 3 anomalies\)",
        ),
        (
            {"altered": {"sessions": 1200, "kind": "reword"}},
            r"1,200 of the sessions were altered \(reword\)",
        ),
        ({"data_of_training": False}, "these data are not the ones the run was trained on"),
        ({"data_of_training": None}, "what the run was trained on is not known"),
        ({"calibration": {"error": 0.2}}, "not probabilities: on average they are 0.20 away"),
        ({"split": "train", "leakage": {"seen": 1.0}}, "sessions that the model learnt from"),
        ({"split": "validation"}, "threshold was chosen on these sessions"),
    ],
)
def test_a_reason(change, said) -> None:
    import re

    found = doubts({**SOUND, **change})
    assert len(found) == 1
    assert re.search(said, found[0]), found[0]


def test_another_log_may_be_of_any_time() -> None:
    assert doubts({**SOUND, "leakage": {"seen": 0.0, "early": 1.0}, "log": "other.log"}) == []


def test_what_no_run_has_is_no_reason() -> None:
    """A baseline's own report knows of no training data and no threshold's choice."""
    absent = {"data_of_training", "threshold_chosen", "calibration", "baselines"}
    assert doubts({name: value for name, value in SOUND.items() if name not in absent}) == []
