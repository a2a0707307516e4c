"""A report as one page of HTML that needs nothing else: no network, no script, no other file."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from logllm.evaluate.mistakes import Mistake

_SECTIONS = ("all sessions", "not in train", "each distinct once")


def page(report: Mapping[str, Any], *, drawings: Mapping[str, str], mistakes: Mapping[str, Sequence[Mistake]]) -> str:
    """The page.

    Args:
        report: figures, `leakage`, `calibration`, `warnings`, and `baselines` and `run` where there are any.
        drawings: plots by name, as SVG elements (`logllm.evaluate.plots.svg`).
        mistakes: the worst ones by kind (`logllm.evaluate.mistakes.worst`).
    """
    from jinja2 import Environment, StrictUndefined

    report = {"model": "", "threshold_chosen": "", "log": "", "run": None, "baselines": {}, **report}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(figure=_figure, share=_share, count=_count)
    template = environment.from_string((files("logllm.evaluate") / "report.html.jinja").read_text(encoding="utf-8"))
    columns = dict(zip(_SECTIONS, (report, report["unseen"], report["distinct"]), strict=True))
    methods = {report["model"] or "the model": report, **report["baselines"]}
    return template.render(report=report, columns=columns, methods=methods, drawings=drawings, mistakes=mistakes, run=report["run"])


def _figure(value: float | None) -> str:
    """A figure with four digits.

    >>> _figure(0.98765), _figure(None)
    ('.9877', '–')
    """
    return "–" if value is None else f"{value:.4f}".removeprefix("0")


def _share(value: float | None) -> str:
    """A share as a percentage.

    >>> _share(0.5), _share(0.00123), _share(None)
    ('50.0 %', '0.1 %', '–')
    """
    return "–" if value is None else f"{value:.1%}".replace("%", " %")


def _count(value: float) -> str:
    """A count with its thousands apart.

    >>> _count(12345)
    '12,345'
    """
    return f"{value:,}"
