"""A report as one page of HTML that needs nothing else: no network, no script, no other file."""

from collections.abc import Mapping, Sequence
from typing import Any

from logllm.detect.page.html import rendered
from logllm.evaluate.mistakes import Mistake

_TEMPLATE = "evaluate/report.html.jinja"
_SECTIONS = ("all sessions", "not in train", "each distinct once")


def page(
    report: Mapping[str, Any],
    *,
    drawings: Mapping[str, str],
    mistakes: Mapping[str, Sequence[Mistake]],
) -> str:
    """The page.

    Args:
        report: figures, `leakage`, `calibration`, `warnings`, and `baselines` and `run` where there
            are any.
        drawings: plots by name, as SVG elements (`logllm.evaluate.plots.svg`).
        mistakes: the worst ones by kind (`logllm.evaluate.mistakes.worst`).
    """
    # What a baseline's report has not got, the page leaves out.
    absent: dict[str, Any] = {
        "model": "",
        "threshold_chosen": "",
        "log": "",
        "run": None,
        "baselines": {},
        "lines": None,
    }
    report = {**absent, **report}
    views = (report, report["unseen"], report["distinct"])
    values = {
        "report": report,
        "columns": dict(zip(_SECTIONS, views, strict=True)),
        "methods": {report["model"] or "the model": report, **report["baselines"]},
        "drawings": drawings,
        "mistakes": mistakes,
        "run": report["run"],
    }
    return rendered(_TEMPLATE, values)
