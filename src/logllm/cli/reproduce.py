"""`logllm reproduce`: the paper's tables, cell by cell, beside the paper's figures."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logllm.cli.console import emit, note, result, table
from logllm.errors import RecipeError

if TYPE_CHECKING:
    from logllm.evaluate.tables.running import Table


# Of every table.
_Name = Annotated[
    str, typer.Argument(metavar="TABLE", help="main, preprocessing, stages, beta or unstable.")
]
_Data = Annotated[
    list[str], typer.Option(help="Folder that `logllm prepare` wrote, or NAME=FOLDER. Repeatable.")
]
_Out = Annotated[
    Path,
    typer.Option(
        help=(
            "Folder for the results; tables in the same folder share the cells they have in common."
        )
    ),
]
_Recipe = Annotated[
    str, typer.Option(help="Recipe that LogLLM is trained with: a packaged one or a TOML file.")
]
_Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting of the recipe. Repeatable.")
]

# How much is trained.
_Seeds = Annotated[int, typer.Option(min=1, help="Number of seeds, starting at 0.")]
_Sessions = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=(
            "Number of sessions that each cell trains on. Default: the recipe's own number in main,"
            " 2,400 elsewhere."
        ),
    ),
]
_Baselines = Annotated[
    str | None, typer.Option(help="Names separated by commas, or none. Default: the table's own.")
]

# Of one table each, which its help names.
_Folds = Annotated[
    int | None,
    typer.Option(
        help="main: number of parts in order of time, each tested after training on all before it."
    ),
]
_FromFold = Annotated[
    int,
    typer.Option(help="main: use the folds from this one on; earlier ones stay for development."),
]
_Raw = Annotated[
    list[str] | None,
    typer.Option(help="preprocessing: the log that --data was prepared from. Repeatable."),
]
_Labels = Annotated[Path | None, typer.Option(help="preprocessing: the log's labels.")]
_Betas = Annotated[str | None, typer.Option(help="beta: shares separated by commas.")]
_Kinds = Annotated[str | None, typer.Option(help="unstable: alterations separated by commas.")]
_Ratios = Annotated[
    str | None, typer.Option(help="unstable: shares of sessions to alter, separated by commas.")
]
_Strength = Annotated[float, typer.Option(help="unstable: share of a session's messages to alter.")]
_Run = Annotated[
    Path | None, typer.Option(help="unstable: an existing run to judge with; nothing is trained.")
]

# How the work is done.
_Jobs = Annotated[
    int, typer.Option(min=1, help="Number of cells to work on at once; they share the cores.")
]
_Only = Annotated[
    str | None, typer.Option(help="Only cells whose name contains this (* stands for anything).")
]
_List = Annotated[bool, typer.Option("--list", help="List the cells and which are done, and exit.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the table on standard output.")]


def reproduce(
    name: _Name,
    data: _Data,
    out: _Out,
    recipe: _Recipe = "small",
    settings: _Settings = None,
    seeds: _Seeds = 1,
    sessions: _Sessions = None,
    baselines: _Baselines = None,
    folds: _Folds = None,
    from_fold: _FromFold = 1,
    raw: _Raw = None,
    labels: _Labels = None,
    betas: _Betas = None,
    kinds: _Kinds = None,
    ratios: _Ratios = None,
    strength: _Strength = 0.05,
    run: _Run = None,
    jobs: _Jobs = 1,
    only: _Only = None,
    list_: _List = False,
    as_json: _AsJson = False,
) -> None:
    """Reproduce a table of the paper; if interrupted, run the same command again to continue."""
    from logllm.config.recipe import Recipe
    from logllm.evaluate.tables.cell import told, whole
    from logllm.evaluate.tables.cell_data import given_data
    from logllm.evaluate.tables.grid import Asked
    from logllm.evaluate.tables.running import opened
    from logllm.evaluate.tables.running import run as work

    lists: dict[str, Any] = {
        "baselines": _names(baselines),
        "kinds": _names(kinds),
        "betas": _numbers(betas),
        "ratios": _numbers(ratios),
    }
    wanted = Asked(
        name,
        tuple(map(given_data, data)),
        Recipe.load(recipe, overrides=settings or []),
        seeds=seeds,
        sessions=sessions,
        strength=strength,
        run=run,
        raw=tuple(raw or ()),
        labels=labels,
        folds=folds,
        from_fold=from_fold,
        # A list that is not given is the table's own.
        **{key: values for key, values in lists.items() if values is not None},
    )
    grid = opened(wanted, out, command=told(whole(sys.argv[1:])))
    if list_:
        _list(grid)
        return
    # As Ctrl-C does: the processes end, and the table is written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = work(grid, jobs=jobs, only=only, watch=note)
    _draw(results, out, as_json=as_json)


def _list(grid: "Table") -> None:
    """List the cells, and how far each of them is."""
    rows = [(cell.label, state, cell.slug) for cell, state in grid.states()]
    for label, state, folder in rows:
        result(f"{state:<6}{label}  {folder}")
    done = sum(state == "done" for _, state, _ in rows)
    note(f"{done} of {len(rows)} done")


def _draw(results: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Show the rows in short, and say where the whole table is."""
    if as_json:
        emit(results)
    rows: list[tuple[Any, ...]] = []
    for row in (*results["rows"], *results.get("pooled", ())):
        # In the main table there is one variant, which has no name.
        words = (row["data"], row["variant"], row["method"])
        named = " ".join(filter(None, words))
        f1, average = _figure(row, "f1"), _figure(row, "average_precision")
        rows.append((named, row["seeds"], f1, average))
    table(results["table"], ("", "seeds", "F1", "AP"), rows, asked=not as_json)
    stem = out / results["table"]
    files = ", ".join(f"{stem}{ending}" for ending in (".md", ".json", ".png"))
    note(f"written: {files}")


def _figure(row: dict[str, Any], name: str) -> str:
    """A figure's mean over seeds."""
    mean = row.get(name, {}).get("mean")
    return "-" if mean is None else f"{mean:.4f}"


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names between commas; an empty tuple for the word `none`; none where nothing is given."""
    if text is None:
        return None
    if text == "none":
        return ()
    return tuple(name.strip() for name in text.split(","))


def _numbers(text: str | None) -> tuple[float, ...] | None:
    """Numbers between commas; none where nothing is given.

    Raises:
        RecipeError: something else stands between them.
    """
    if text is None:
        return None
    try:
        return tuple(map(float, text.split(",")))
    except ValueError as exc:
        raise RecipeError(
            f"{text}: {exc}; write numbers separated by commas, such as 0,0.1,0.3"
        ) from exc
