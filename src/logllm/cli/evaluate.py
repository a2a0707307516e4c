"""`logllm evaluate`: a run's figures on a labelled part."""

from pathlib import Path
from typing import Annotated, Any

import typer

from logllm.cli.console import counts, emit, note, shares, table
from logllm.cli.detect import EngineOption

_FIGURES = ("average_precision", "f1", "precision", "recall")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")],
    data: Annotated[Path, typer.Option(help="Folder that `logllm prepare` wrote.")],
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    engine: EngineOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report on standard output.")] = False,
) -> None:
    """Judge a run on a labelled part of prepared data, at the run's own threshold."""
    from logllm.detect.detector import Detector
    from logllm.detect.evaluate import evaluate as judge

    with shares() as progress:
        detector = Detector.load(run, progress=progress, engine=engine)
    with counts("scoring") as bar:
        report = judge(detector, data, split=split, progress=bar)
    if as_json:
        emit(report)
    draw(report)


def draw(report: dict[str, Any]) -> None:
    """The report as a table."""
    unseen = report["unseen"]
    rows = [(name.replace("_", " "), _with_interval(report, name), _with_interval(unseen, name)) for name in _FIGURES]
    rows += [(name, report[name], unseen[name] if unseen else "") for name in ("tp", "fp", "tn", "fn")]
    title = f"{report['model']} on {report['sessions']:,} {report['split']} sessions"
    table(title, ("", "all (95 % interval)", "not in train"), rows)
    note(
        f"{report['sessions_seen_in_train']:,} sessions also occur in train; threshold {report['threshold']:.4g} ({report['threshold_chosen']})"
    )
    if not report["data_of_training"]:
        unknown = report["data_of_training"] is None
        note("what the run was trained on is not known" if unknown else "these data are not the ones the run was trained on")


def _with_interval(figures: dict[str, Any] | None, name: str) -> str:
    """A figure and its interval."""
    if figures is None or figures[name] is None:
        return "-"
    ends = figures["intervals"].get(name)
    return f"{figures[name]:.4f}" + (f" ({ends[0]:.3f}-{ends[1]:.3f})" if ends else "")
