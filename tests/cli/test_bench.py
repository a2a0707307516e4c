"""The verb `bench`; what it measures has its own tests in tests/bench."""

import pytest

from logllm.cli.bench import draw

REPORT = {
    "run": "a",
    "inputs": ["a.log"],
    "load_seconds": 1.5,
    "end_to_end": {
        "seconds": 2.0,
        "lines": 1000,
        "sessions": 120,
        "lines_per_second": 500.0,
        "sessions_per_second": 60.0,
    },
    "memory": {"loaded": 600_000_000, "peak": 1_200_000_000},
    "gemm": {"before": 1.6e11, "after": 1.5e11},
    "formats": {"encoder": "float32", "decoder": "bfloat16"},
    "work": {
        "sessions": 120,
        "distinct_sessions": 88,
        "messages": 615,
        "distinct_messages": 6,
        "positions": 3135,
        "distinct_positions": 1176,
    },
    "stages": {
        "read": {"seconds": 0.01, "lines": 1000, "lines_per_second": 100_000.0},
        "decode": {
            "seconds": 1.0,
            "positions": 1176,
            "positions_per_second": 1176.0,
            "flops": 5,
            "share": 0.876,
        },
    },
    "training": [{"trains": ["encoder", "projector"], "steps": 5, "sessions_per_second": 12.34}],
    "start_seconds": 6.2,
    "threads": 2,
    "engine": "exact",
}


@pytest.mark.parametrize("aside", [False, True], ids=["asked-for", "beside-json"])
def test_the_tables_tell_every_figure(capfd, aside) -> None:
    """What `--json` prints for programs is shown where a bench is run: tests/cli/test_leaks.py."""
    draw(REPORT, aside=aside)
    done = capfd.readouterr()
    told, other = (done.err, done.out) if aside else (done.out, done.err)
    for words in (
        "100,000 lines/s",
        "0.88",
        "160, 150 GFLOP/s on 2 threads",
        "encoder + projector",
        "12.3",
        "decoder in bfloat16",
        "88 of 120 sessions",
        "1.20 GB at the peak",
        "ten lines in 6.2 s",
    ):
        assert words in told, words
    assert other == ""


def test_what_cannot_be_measured_is_refused(logllm, tiny_run) -> None:
    assert "name files, not -" in logllm("bench", tiny_run, "-").err
    missing = logllm("bench", "nowhere", "x")
    assert missing.code == 2
    assert "there is no folder nowhere" in missing.err
