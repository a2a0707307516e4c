"""`logllm baseline`: a simpler method's figures on the same prepared data."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import emit, shares
from logllm.cli.evaluate import draw


def baseline(
    name: Annotated[str, typer.Argument(help="One of the names above.")],
    data: Annotated[Path, typer.Option(help="Folder that `logllm prepare` wrote, with labels.")],
    out: Annotated[Path, typer.Option(help="Folder to write manifest, report and scores into.")],
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all that the method draws.")] = 0,
    encoder: Annotated[str, typer.Option(help="Encoder of the methods that read vectors: see `logllm show weights`.")] = "all-MiniLM-L6-v2",
    force: Annotated[bool, typer.Option("--force", help="Replace a baseline in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report on standard output.")] = False,
) -> None:
    """Fit a simpler method on prepared data and judge it as `evaluate` judges a run.

    On event counts: tree-counts, logistic-counts, forest-counts, random-forest-counts, unseen. On words: tree-words,
    logistic-words, forest-words. On frozen vectors: logistic-vectors, logistic-extremes, rapid; with labels per line logistic-lines.
    Networks: deeplog, logrobust, cnn, neurallog.
    """
    from logllm.config.model import EncoderSection
    from logllm.data.files import check_replaceable
    from logllm.data.prepared import Prepared
    from logllm.methods.registry import entry
    from logllm.study.judged import judged, write_baseline

    entry(name)  # a wrong name is told before the data are read
    check_replaceable(out, force=force, kind="baseline")
    with shares() as progress:
        found = judged(name, Prepared.load(data), seed=seed, encoder=EncoderSection(weights=encoder), progress=progress)
    write_baseline(out, found, force=force)
    if as_json:
        emit(found.report)
    draw(found.report)
