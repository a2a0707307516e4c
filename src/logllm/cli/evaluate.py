"""`logllm evaluate`: a run's figures on a labelled part."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logllm.cli.console import Tell, counts, emit, note, result, shares, table
from logllm.cli.detect import EngineOption, VerifyOption
from logllm.counting import agreeing, figure, plural

if TYPE_CHECKING:
    import polars as pl

    from logllm.detect.detector import Detector

_FIGURES = ("average_precision", "f1", "precision", "recall")


_Run = Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")]
_Data = Annotated[Path, typer.Option(help="Folder that `logllm prepare` wrote.")]
_Split = Annotated[str, typer.Option(help="test, validation or train.")]
_Folder = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help=(
            "Folder for a report: an HTML page, plots, scores and JSON, with trivial baselines for"
            " comparison."
        ),
    ),
]
_Force = Annotated[bool, typer.Option("--force", help="Replace a report in the folder.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the report on standard output.")]


def evaluate(
    run: _Run,
    data: _Data,
    split: _Split = "test",
    engine: EngineOption = None,
    verify: VerifyOption = False,
    folder: _Folder = None,
    force: _Force = False,
    as_json: _AsJson = False,
) -> None:
    """Measure how good a run is, on a labelled part of prepared data."""
    from logllm.detect.detector import Detector
    from logllm.evaluate.evaluation import scored
    from logllm.evaluate.report import check_report, complete

    # A folder that is taken is said before minutes of scoring.
    if folder is not None:
        check_report(folder, force=force)
    with shares() as progress:
        detector = Detector.load(run, progress=progress, engine=engine, verify=verify)
    with counts("scoring") as bar:
        report, scores = scored(detector, data, split=split, progress=bar)
    if folder is None:
        report = complete(report)
    else:
        report = _written(folder, data, detector, judged=(report, scores), force=force)
    if as_json:
        emit(report)
    draw(report, aside=as_json)


def _written(
    folder: Path,
    data: Path,
    detector: "Detector",
    *,
    judged: "tuple[dict[str, Any], pl.DataFrame]",
    force: bool,
) -> dict[str, Any]:
    """Write the report with the trivial baselines to disk; `judged` is what `scored` gave."""
    from logllm.datasets.prepared import Prepared
    from logllm.evaluate.report import PAGE, Judged, write_report
    from logllm.evaluate.trivial import trivial

    prepared = Prepared.load(data)
    report, scores = judged
    # The trivial ones learn on train and are measured on test; other parts have nothing beside.
    report |= trivial(prepared) if report["split"] == "test" else {"baselines": {}}
    judgement = Judged(report, scores, detector.score_lines)
    full = write_report(folder, judgement, prepared=prepared, force=force)
    note(f"the report is {folder / PAGE}: open it in a browser")
    return full


def draw(report: dict[str, Any], *, aside: bool) -> None:
    """Show the report as tables, and say what to doubt in it.

    Args:
        report: of an evaluation.
        aside: standard output has it as JSON, and the tables go to standard error.
    """
    unseen = report["unseen"]
    # Sessions that training has seen, too, are easy: figures of the others stand beside them.
    rows = [_row(name, report, unseen) for name in _FIGURES]
    for name in ("tp", "fp", "tn", "fn"):
        rows.append((name, report[name], unseen[name] if unseen else ""))
    judged = plural(report["sessions"], f"{report['split']} session")
    title = f"{report['model']} on {judged}"
    table(title, ("", "all (95 % interval)", "not in train"), rows, asked=not aside)
    if lines := report.get("lines"):
        _draw_lines(lines, aside=aside)
    if rivals := report.get("baselines"):
        _draw_rivals(rivals, aside=aside)
    tell = partial(result, aside=aside)
    _tell_what_to_know(report, tell=tell)


def _tell_what_to_know(report: dict[str, Any], *, tell: Tell) -> None:
    """Say what the figures rest on, and what to doubt in them."""
    seen = report["sessions_seen_in_train"]
    overlap = agreeing(seen, "{session also occurs|sessions also occur}")
    threshold = f"threshold {report['threshold']:.4g} ({report['threshold_chosen']})"
    tell(f"{overlap} in train; {threshold}")
    error = report["calibration"]["error"]
    calibration = f"scores lie {error:.3f} away from the observed shares"
    tell(f"{calibration} (expected calibration error)")
    for doubt in report.get("warnings", ()):
        tell(f"doubt: {doubt}")


def _row(name: str, report: dict[str, Any], unseen: dict[str, Any] | None) -> tuple[Any, ...]:
    """A figure of all sessions, and of those that training has not seen."""
    return name.replace("_", " "), _with_interval(report, name), _with_interval(unseen, name)


def _draw_rivals(rivals: dict[str, Any], *, aside: bool) -> None:
    """Show the figures of methods that need no model, which a network must surpass."""
    # Two columns fit beside the names; the report in a folder has all.
    figures = _FIGURES[:2]
    rows: list[tuple[str, ...]] = []
    for name, rival in rivals.items():
        cells = [_with_interval(rival, figure) for figure in figures]
        rows.append((name, *cells))
    columns = [figure.replace("_", " ") for figure in figures]
    table("trivial baselines on the same sessions", ("", *columns), rows, asked=not aside)


def _draw_lines(lines: dict[str, Any], *, aside: bool) -> None:
    """Show the figures of lines, and how often the foremost line of an alarm is a guilty one."""
    # Without a true alarm there is no foremost line to be right.
    top = "-" if lines["top"] is None else f"{lines['top']:.1%}"
    alarms = plural(lines["true_alarms"], "true alarm")
    rows = [(f"top line anomalous, of {alarms}", top)]
    for name in _FIGURES:
        rows.append((name.replace("_", " "), figure(lines[name], None, digits=4)))
    title = f"lines, anomalous from {lines['threshold']:.4g} on ({lines['threshold_chosen']})"
    table(title, ("", "all lines"), rows, asked=not aside)


def _with_interval(figures: dict[str, Any] | None, name: str) -> str:
    """A figure and its interval."""
    if figures is None:
        return "-"
    return figure(figures[name], figures["intervals"].get(name), digits=4)
