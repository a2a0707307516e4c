"""`logllm show`: recipes, methods, runs, formats, data sets, masks and weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logllm.cli.console import emit, hanging, note, one_line, result, size, table

if TYPE_CHECKING:
    from logllm.config.format import FormatSection
    from logllm.config.mask import MaskSection
    from logllm.datasets.published.public import Dataset
    from logllm.model.base.candidate import Candidate, Role

app = typer.Typer(
    help="Show recipes, methods, runs, verdicts, formats, data sets, masks and weights.",
    no_args_is_help=True,
)


@app.command()
def recipe(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A packaged recipe or a TOML file. Without it, list the packaged ones."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting: train.seed=7. Repeatable."),
    ] = None,
) -> None:
    """Print a recipe with every setting resolved, as TOML."""
    from logllm.config.recipe import Recipe, packaged

    # Without a name it lists what could be named.
    if name is None:
        rows = [(recipe_name, Recipe.load(recipe_name).title) for recipe_name in packaged()]
        table("recipes", ("name", "for"), rows, asked=True)
        return
    resolved = Recipe.load(name, overrides=settings or [])
    typer.echo(resolved.toml(), nl=False)


@app.command()
def run(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder that `logllm train` wrote. Default: the run that comes with logllm."
        ),
    ] = None,
) -> None:
    """Print a run's manifest as JSON."""
    from logllm.runs.manifest import find_run, read_manifest, shipped_run

    place = shipped_run() if folder is None else find_run(folder)
    emit(read_manifest(place))


@app.command()
def methods() -> None:
    """List the methods, LogLLM and simpler ones, and the labels they learn from."""
    from logllm.methods.registry import entry, names

    # By what labels they need: that is what decides which of them one can use.
    by_labels: dict[str, list[str]] = {}
    for name in names():
        method = entry(name)
        source = f" ({method.source})" if method.source else ""
        labels = "labels that the method names"
        if method.needs is not None:
            labels = method.needs.value
        line = hanging(f"  {name:<21}", f"{method.what}{source}")
        by_labels.setdefault(labels, []).append(line)
    for labels, lines in by_labels.items():
        result("\n".join([f"learning from {labels}:", *lines, ""]))
    note(
        "logllm train NAME --data DATA --out RUN; methods of other packages are found by their"
        " entry point (docs/extend/method.md)"
    )


@app.command()
def verdict() -> None:
    """Print the JSON Schema of a verdict."""
    from logllm.detect.verdict import json_schema

    emit(json_schema())


@app.command()
def formats(
    name: Annotated[
        str | None,
        typer.Argument(
            help=(
                "A format or a TOML file. Without it, list all formats: your own in the folder"
                " LOGLLM_FORMATS, and the built-in ones."
            )
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="List all formats with their fields, as one JSON list."),
    ] = False,
) -> None:
    """List the formats, or print one, as the TOML that you would write for your own."""
    import tomli_w

    from logllm.formats.description import known, load_format, own_formats

    if name is not None:
        description = load_format(name).model_dump(mode="json", exclude_none=True)
        typer.echo(tomli_w.dumps(description), nl=False)
        return
    # One's own formats come first: they are tried first, too.
    every = (*own_formats().values(), *map(load_format, known()))
    if as_json:
        emit([_facts(described) for described in every])
        return
    widest = max(len(described.name) for described in every)
    for described in every:
        result(one_line(f"{described.name:<{widest}}  {described.title}"))
    note(
        "more of one: logllm show formats NAME; of all: --json; without --format the one that fits"
        " is taken"
    )


def _facts(described: "FormatSection") -> dict[str, object]:
    """What a list of formats says of one."""
    from logllm.logs.fields import fields_of

    return {
        "name": described.name,
        "kind": described.kind,
        "fields": list(fields_of(described)),
        "sessions": described.sessions.in_words,
        "for": described.title,
    }


@app.command()
def datasets() -> None:
    """List the data sets that `prepare` downloads or that come with logllm.

    Each comes with its licence and its citation.
    """
    from logllm.datasets.published.fetching import address
    from logllm.datasets.published.packaged import PACKAGED
    from logllm.datasets.published.public import CATALOG

    rows: list[tuple[str, str, str]] = []
    for public in CATALOG.values():
        lines = "all" if public.stop is None else f"{public.start:,} to {public.stop:,}"
        rows.append((public.name, _state(public), lines))
    for ours in PACKAGED.values():
        logs = ", ".join(ours.logs)
        rows.append((ours.name, "comes with logllm", f"logs: {logs}"))
    table("data sets", ("name", "state", "lines kept"), rows, asked=True)
    # Terms and citations are too long for a table's cells.
    for public in CATALOG.values():
        result(f"{public.name}: {address(public)}\n  terms: {public.terms}\n  cite: {public.cite}")
    for ours in PACKAGED.values():
        result(f"{ours.name}: {ours.title}\n  terms: {ours.terms}\n  cite: {ours.cite}")


def _state(public: "Dataset") -> str:
    """Whether a public data set is here, or how much there is to fetch."""
    from logllm.datasets.published.fetching import here

    if here(public):
        return "here"
    # Not every server says how large a file is.
    return f"{public.bytes / 1e6:,.0f} MB to fetch" if public.bytes else "to fetch"


@app.command()
def mask(
    messages: Annotated[
        list[str] | None,
        typer.Argument(
            help="Messages to mask, or - for standard input. Without them, list the rules."
        ),
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            help="codes: mask as `prepare` does for your own logs; nothing: mask as the paper does."
        ),
    ] = "nothing",
) -> None:
    """Show the masking rules in the order they are tried, or what they make of messages."""
    from logllm.config.mask import MaskSection
    from logllm.logs.lines import STDIN, read_lines
    from logllm.logs.masking import mask

    settings = MaskSection.read({"keep": keep}, source="mask settings")
    if not messages:
        _tell_rules(settings)
        return
    # A log on standard input may be long: batch by batch.
    if messages == [STDIN]:
        for lines in read_lines([STDIN]):
            typer.echo("\n".join(mask(lines.frame["text"], settings)))
        return
    import polars as pl

    typer.echo("\n".join(mask(pl.Series(messages), settings)))


def _tell_rules(settings: "MaskSection") -> None:
    """Show the masking rules in their order, and what they leave alone."""
    from logllm.logs.masking import codes, rules
    from logllm.logs.masks.mask_table import DOTS

    masked = [(rule.name, rule.about, rule.pattern) for rule in (DOTS, *rules(settings))]
    table("masking rules", ("rule", "matches", "pattern"), masked, asked=True)
    unmasked = [(row.name, row.about, row.code) for row in codes(settings)]
    if unmasked:
        table("not masked", ("code", "such as", "pattern"), unmasked, asked=True)


_Name = Annotated[
    str | None,
    typer.Argument(
        help=(
            "A folder, a small model, or a model of the Hugging Face hub. Without it, list the"
            " small models."
        )
    ),
]
_Layers = Annotated[
    int | None,
    typer.Option(min=1, help="Count only its first layers, as model.decoder.layers keeps them."),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print what is found on standard output.")]


@app.command()
def weights(
    name: _Name = None,
    layers: _Layers = None,
    as_json: _AsJson = False,
) -> None:
    """Show the small base models and whether they are here, or how another model would fit.

    The fit is its size, where its adapters go, and the memory it takes.
    """
    if name is not None:
        _candidate(name, layers=layers, as_json=as_json)
        return
    from logllm.model.base.weights import SMALL_TIER, available
    from logllm.storage import cache

    # The small tier is what training takes unless another model is named.
    rows: list[tuple[str, str, str]] = []
    for model in SMALL_TIER.values():
        state = "here" if available(model.name) else f"{model.bytes / 1e6:.0f} MB to fetch"
        rows.append((model.name, state, model.title))
    table("small tier", ("name", "state", "what"), rows, asked=True)
    note(
        f"kept in {cache()}; any folder or Hugging Face model serves as model.encoder.weights or"
        " model.decoder.weights"
    )


def _candidate(name: str, *, layers: int | None, as_json: bool) -> None:
    """Print what a model would bring."""
    from dataclasses import asdict

    from logllm.model.base.candidate import describe

    candidate = describe(name, layers=layers)
    if as_json:
        emit(asdict(candidate))
        return
    rows = _properties(candidate)
    # A model may serve as one of the two, as both, or as neither.
    for network, role in (("encoder", candidate.encoder), ("decoder", candidate.decoder)):
        rows.append((f"as {network}", _serves(role)))
    for number_format, count in candidate.bytes.items():
        rows.append((f"memory in {number_format}", size(count)))
    table(name, ("what", "value"), rows, asked=True)


def _serves(role: "Role") -> str:
    """Whether a model can serve in a role, and where its adapters would go."""
    if role.refused is not None:
        return f"no: {role.refused}"
    targets = ", ".join(role.targets)
    return f"yes; adapters on {targets}: {role.adapter_parameters:,} parameters"


def _properties(candidate: "Candidate") -> list[tuple[str, object]]:
    """What a model is, whatever it serves as."""
    # A model that is not here is described by its configuration alone.
    weights = "here" if candidate.here else "not here"
    rows: list[tuple[str, object]] = [("architecture", candidate.architecture)]
    rows.append(("weights", weights))
    for what in ("parameters", "layers", "width", "vocabulary"):
        count = getattr(candidate, what) or 0
        rows.append((what, f"{count:,}"))
    rows.append(("pooler", "yes" if candidate.pooler else "no"))
    # Some tokenizers do not say whether they begin a text with a token of their own.
    sets_bos = {None: "?", True: "yes", False: "no"}[candidate.sets_bos]
    rows.append(("tokenizer sets BOS", sets_bos))
    return rows
