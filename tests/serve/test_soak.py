"""A tenth of the load of `make soak`."""

import alerting
import feedback
import pytest
import serving_load
import soak
import soak_files
import soak_pace
from watching import Load

pytestmark = [pytest.mark.real, pytest.mark.alone]


@pytest.fixture(scope="module")
def made(tmp_path_factory, shared):
    """The HDFS sample and a run."""
    folder = tmp_path_factory.mktemp("soak")
    return soak.trained(shared, folder)


@pytest.fixture
def load(made, tmp_path) -> Load:
    log, run = made
    return Load(run, log, tmp_path, share=0.1)


def test_files_that_rotate_lose_nothing_through_kills(load) -> None:
    figures = soak_files.rotations(load)
    assert figures["sessions"] > 500
    wrong = ("missing", "doubled", "others", "with_other_lines", "with_another_verdict")
    assert {name: figures[name] for name in wrong} == dict.fromkeys(wrong, 0)


def test_a_row_comes_soon_after_its_session_has_ended(load) -> None:
    figures = soak_pace.latency(load)
    assert figures["sessions"] > 100
    assert figures["p50"] <= 1.5


def test_a_file_is_read_fast(load) -> None:
    assert soak_pace.throughput(load)["lines_a_second"] > 5_000


def test_messages_that_are_always_new_do_not_fill_the_memory(load) -> None:
    figures = soak_pace.memory(load)
    assert figures["lines_read"] > 5_000
    # In a minute the highest of all values is a matter of chance; `make soak` looks at it in ten.
    assert figures["usual_growth_mb"] < 100
    assert figures["growth_mb"] < 200


def test_one_fault_in_many_sessions_is_told_three_times_at_most(load) -> None:
    figures = alerting.fault(load)
    assert figures["anomalous"] == figures["counted"] == figures["sessions"]
    assert 1 <= figures["notifications"] <= 3


def test_nothing_is_lost_while_a_place_is_down(load) -> None:
    figures = alerting.down(load)
    assert figures["incidents"] > 3
    assert (figures["lost"], figures["doubled"]) == (0, 0)


def test_of_what_is_muted_nobody_is_told(load) -> None:
    figures = alerting.muted(load)
    assert figures["counted"] == figures["sessions"]
    assert figures["notifications"] == 0


def test_the_service_answers_soon_and_loses_nobody_on_the_stream(load) -> None:
    figures = serving_load.at_share(load)
    # The figure is for p95, on a machine that does nothing else.
    assert figures["queries"]["all"]["p50"] <= 100
    stream = figures["stream"]
    assert stream["verdicts"] > 500
    assert stream["missed"] == 0
    assert stream["mib_at_the_end"] - stream["mib_after_a_third"] < 20
    assert stream["exit"] == 0
    assert stream["ended_in_seconds"] <= 15  # 5 where nothing else runs


def test_right_answers_to_a_shifted_log_help_and_wrong_ones_are_refused(load) -> None:
    figures = feedback.at_share(load)
    right, wrong = figures["right"], figures["wrong"]
    assert right["promoted"] == right["attempts"] == 1
    _, _, _, lower, _ = right["average_precision"][0]
    assert lower > 0
    assert (wrong["promoted"], wrong["attempts"]) == (0, 1)
