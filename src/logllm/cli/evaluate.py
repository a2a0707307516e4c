"""`logllm evaluate`: a run's figures on a labelled part."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logllm.cli.console import counts, emit, note, shares, table
from logllm.cli.detect import EngineOption, VerifyOption
from logllm.counting import agreeing, figure, plural

if TYPE_CHECKING:
    import polars as pl

    from logllm.detect.detector import Detector

_FIGURES = ("average_precision", "f1", "precision", "recall")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")],
    data: Annotated[Path, typer.Option(help="Folder that `logllm prepare` wrote.")],
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    engine: EngineOption = None,
    verify: VerifyOption = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--report", help=("Folder for a report: an HTML page, plots, scores and JSON, with trivial baselines for comparison.")
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a report in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report on standard output.")] = False,
) -> None:
    """Measure how good a run is, on a labelled part of prepared data."""
    from logllm.detect.detector import Detector
    from logllm.evaluate.evaluation import scored
    from logllm.evaluate.report import check_report, complete

    if folder is not None:
        check_report(folder, force=force)
    with shares() as progress:
        detector = Detector.load(run, progress=progress, engine=engine, verify=verify)
    with counts("scoring") as bar:
        report, scores = scored(detector, data, split=split, progress=bar)
    report = complete(report) if folder is None else _written(folder, data, detector, judged=(report, scores), force=force)
    if as_json:
        emit(report)
    draw(report)


def _written(
    folder: Path,
    data: Path,
    detector: "Detector",
    *,
    judged: "tuple[dict[str, Any], pl.DataFrame]",
    force: bool,
) -> dict[str, Any]:
    """The report with the trivial baselines, on disk; `judged` is what `scored` gave."""
    from logllm.datasets.prepared import Prepared
    from logllm.evaluate.report import PAGE, Judged, write_report
    from logllm.evaluate.trivial import trivial

    prepared = Prepared.load(data)
    report, scores = judged
    report |= trivial(prepared) if report["split"] == "test" else {"baselines": {}}
    full = write_report(
        folder,
        Judged(report, scores, detector.score_lines),
        prepared=prepared,
        force=force,
    )
    note(f"open {folder / PAGE}")
    return full


def draw(report: dict[str, Any]) -> None:
    """The report as tables, and what to doubt in it."""
    unseen = report["unseen"]
    rows = [(name.replace("_", " "), _with_interval(report, name), _with_interval(unseen, name)) for name in _FIGURES]
    rows += [(name, report[name], unseen[name] if unseen else "") for name in ("tp", "fp", "tn", "fn")]
    judged = plural(report["sessions"], f"{report['split']} session")
    title = f"{report['model']} on {judged}"
    table(title, ("", "all (95 % interval)", "not in train"), rows)
    if lines := report.get("lines"):
        _draw_lines(lines)
    if rivals := report.get("baselines"):
        named = [(name, *(_with_interval(rival, one) for one in _FIGURES[:2])) for name, rival in rivals.items()]
        table("trivial baselines on the same sessions", ("", *(one.replace("_", " ") for one in _FIGURES[:2])), named)
    note(
        f"{agreeing(report['sessions_seen_in_train'], '{session also occurs|sessions also occur}')} in train; "
        f"threshold {report['threshold']:.4g} ({report['threshold_chosen']})"
    )
    note(f"scores lie {report['calibration']['error']:.3f} away from the observed shares (expected calibration error)")
    for doubt in report.get("warnings", ()):
        note(f"doubt: {doubt}")


def _draw_lines(lines: dict[str, Any]) -> None:
    """The figures of lines, and how often the foremost line of an alarm is a guilty one."""
    top = "-" if lines["top"] is None else f"{lines['top']:.1%}"
    rows = [(f"top line anomalous, of {plural(lines['true_alarms'], 'true alarm')}", top)]
    rows += [(name.replace("_", " "), figure(lines[name], None, digits=4)) for name in _FIGURES]
    table(f"lines, anomalous from {lines['threshold']:.4g} on ({lines['threshold_chosen']})", ("", "all lines"), rows)


def _with_interval(figures: dict[str, Any] | None, name: str) -> str:
    """A figure and its interval."""
    if figures is None:
        return "-"
    return figure(figures[name], figures["intervals"].get(name), digits=4)
