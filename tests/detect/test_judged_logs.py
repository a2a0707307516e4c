"""The shipped run judges servers' logs as people have them: in every zone, prefix and envelope, the
same sessions alarm."""

import re

import pytest
from tests.cases.right_readings import CASES, lines_of, log_of, right_records

from logllm.datasets.settings import for_format
from logllm.detect.detector import Detector
from logllm.detect.which_run import task
from logllm.runs.manifest import shipped_run

pytestmark = pytest.mark.real

ALARMS = [
    pytest.param(
        name,
        id=name,
        marks=[pytest.mark.xfail(strict=True)] if "alarms" in case.get("open", ()) else [],
    )
    for name, case in CASES.items()
    if "alarms" in case
]


@pytest.fixture(scope="module")
def shipped():
    """The run that comes with logllm, loaded once."""
    return Detector.load(shipped_run())


@pytest.mark.parametrize("name", ALARMS)
def test_the_sessions_with_the_fault_alarm_and_no_other(shipped, name) -> None:
    asked = task([str(log_of(name))])
    detector = Detector(
        shipped.run, settings=for_format(shipped.settings, asked.format), cached=False
    )
    right = right_records(CASES[name], lines_of(log_of(name)))
    faulty = {
        record.key
        for record in right
        if any(re.search(CASES[name]["alarms"], text) for text in record.texts)
    }
    verdicts = {verdict.session: verdict.anomalous for verdict in detector.read(asked.logs)}
    assert verdicts == {record.key: record.key in faulty for record in right}
