"""The page of measurements is made from them, and what each saving gains is measured on the way."""

import json
import shutil
import subprocess
import sys

import performance
import pytest
import savings

from tests.cli.test_bench import REPORT

SPREAD = {"median": 40.0, "lowest": 38.5, "highest": 44.0}
SAME = {
    "sessions": 300,
    "verdicts_equal": 0.99967,
    "words_equal": 0.5,
    "largest_score_difference": 3e-7,
}
FOUND = {
    "score-hdfs": {
        "kind": "score",
        "recipe": "small",
        "engine": "exact",
        "sessions": 11_501,
        "distinct_sessions": 1532,
        "slice": 60,
        "micro_batch": 16,
        "threads": 2,
        "ratio": SPREAD,
        "slices": [
            {"plain": plain, "ours": own, "ours_with_evidence": own + 10}
            for plain, own in ((2800.0, 70.0), (3100.0, 71.0), (2890.0, 72.0))
        ],
    },
    "verdicts-hdfs": {"kind": "verdicts", "distinct": {**SAME, "sessions": 30}, "all": SAME},
    "train-hdfs": {
        "kind": "train",
        "trains": ["decoder"],
        "precision": "bf16",
        "ours_sessions_per_second": 6.1,
        "plain_sessions_per_second": 1.9,
        "ratio": {"median": 3.2, "lowest": 3.0, "highest": 3.3},
    },
    "savings-hdfs": {
        "kind": "savings",
        "sessions": 11_501,
        "distinct_sessions": 1532,
        "seconds": {"published": 2890.0, "read": 1445.0, "ours": 72.25},
    },
    "engines-hdfs": {
        "kind": "engines",
        "sessions": 200,
        "ways": {
            "exact": {"sessions_per_second": 50.04, "largest_difference": 0.0, "flips": 0},
            "int8": {"failed": "RuntimeError: no engine"},
        },
    },
    "kernels-hdfs": {
        "kind": "kernels",
        "messages": 1500,
        "sessions": 200,
        "encoder": {
            "kernels": {
                "linear layers": 0.785,
                "attention": 0.1,
                "activation": 0.02,
                "norms": 0.02,
                "the rest": 0.075,
            },
            "products": 0.93,
        },
        "decoder": {
            "kernels": {
                "linear layers": 0.85,
                "attention": 0.05,
                "activation": 0.03,
                "norms": 0.01,
                "the rest": 0.06,
            },
            "products": 0.97,
        },
    },
    "evaluate-hdfs-nano": {
        "model": "app@12345678",
        "average_precision": 0.9996,
        "f1": 0.98,
        "intervals": {"average_precision": [0.99, 1.0]},
        "unseen": {"f1": 0.97},
    },
    "bench-hdfs": REPORT,
}


def test_evidence_that_was_not_timed_is_said() -> None:
    slices = [{"plain": 300.0, "ours": 20.0}]
    page = performance.page({"score-old": {**FOUND["score-hdfs"], "slices": slices}})
    assert "| 300 s | 20.0 s | 40.0x (38.5–44.0) | not measured |" in page


def test_the_page_tells_every_measurement() -> None:
    page = performance.page(FOUND)
    for row in (
        (
            "| hdfs | small, exact | 11,501 (1,532) | 2,890 s | 71.0 s | 40.0x (38.5–44.0) | 81.0 s"
            " | 3 of 60, 16 a pass | 2 |"
        ),
        "| hdfs, all sessions | 300 | 99.967% | 3.0e-07 | 50.000% |",
        "| exact | 50.0 | 0.0e+00 | 0 |",
        "| int8 | failed: RuntimeError: no engine |  |  |",
        "| linear layers | 78.5% | 85.0% |",
        "reach 0.93 (encoder), 0.97 (decoder) of the peak.",
        "would let the encoder reach 0.79 and the decoder reach 0.88;",
        "| hdfs-nano | app | 1.000 (0.990–1.000) | 0.980 | 0.970 |",
        "| hdfs | decoder, bfloat16 | 1.90 | 6.10 | 3.2x (3.0–3.3) |",
        "| read | 1,445.0 s | 2.00x | 2.0x |",
        "| ours | 72.2 s | 20.00x | 40.0x |",
        "| decode | 1.00 s | 1,176 positions/s | 0.88 |",
        "| train encoder + projector |  | 12.3 sessions/s |  |",
    ):
        assert row in page, row
    assert "operations = 2 x w x positions + 4 x a x l x contexts" in page
    assert "\n\n\n" not in page


@pytest.fixture
def checkout(tmp_path):
    """A checkout with measurements and what makes a page of them."""
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(performance.__file__, tmp_path / "benchmarks")
    (tmp_path / "docs" / "performance").mkdir(parents=True)
    for name, figures in FOUND.items():
        (tmp_path / "docs" / "performance" / f"{name}.json").write_text(json.dumps(figures))
    return tmp_path


def made(checkout, *options) -> int:
    """Exit code of the program there."""
    return subprocess.run(
        [sys.executable, checkout / "benchmarks" / "performance.py", *options],
        capture_output=True,
        check=False,
    ).returncode


def test_a_page_that_is_not_current_is_found(checkout) -> None:
    assert made(checkout, "--check") == 1
    (checkout / "docs" / "performance.md").write_text(performance.page(FOUND))
    assert made(checkout, "--check") == 0
    (checkout / "docs" / "performance" / "train-hdfs.json").unlink()
    assert made(checkout, "--check") == 1


@pytest.mark.real
def test_plots(checkout) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra dev")
    assert made(checkout) == 0
    drawn = {path.name: path.read_text() for path in checkout.rglob("*.svg")}
    assert drawn.keys() == {"ratios.svg", "savings-hdfs.svg"}
    assert made(checkout) == 0
    assert drawn == {path.name: path.read_text() for path in checkout.rglob("*.svg")}


def test_savings(plain_run, tmp_path, program) -> None:
    run, log = plain_run
    out = tmp_path / "found.json"
    program("savings", run, log, "--sessions", "20", "--out", out)
    savings.main()
    found = json.loads(out.read_text())
    assert (found["kind"], found["sessions"], found["timed"]) == ("savings", 120, 20)
    assert len(found["seconds"]) == 7
    assert min(found["seconds"].values()) > 0
    assert performance.page({"savings-tiny": found}).count("![what each saving gains") == 1
