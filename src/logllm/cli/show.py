"""`logllm show`: what recipes, methods, runs, formats, data sets, masks and weights there are, and what they say."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import emit, note, size, table

app = typer.Typer(
    help="Show recipes, methods, runs, verdicts, formats, data sets, masks and weights."
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

    if name is None:
        rows = [(recipe_name, Recipe.load(recipe_name).title) for recipe_name in packaged()]
        table("recipes", ("name", "for"), rows)
    else:
        typer.echo(Recipe.load(name, overrides=settings or []).toml(), nl=False)


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

    emit(read_manifest(shipped_run() if folder is None else find_run(folder)))


@app.command()
def methods() -> None:
    """List the methods, LogLLM and simpler ones, and the labels they learn from."""
    from logllm.methods.registry import entry, names

    # By what labels they need: that is what decides which of them one can use.
    by_labels: dict[str, list[str]] = {}
    for name in names():
        known = entry(name)
        source = f" ({known.source})" if known.source else ""
        labels = "labels that the method names" if known.needs is None else known.needs.value
        by_labels.setdefault(labels, []).append(f"  {name:<21}{known.what}{source}")
    for labels, lines in by_labels.items():
        note("\n".join([f"learning from {labels}:", *lines, ""]))
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
) -> None:
    """Print a format's description, as the TOML that you would write for your own."""
    import tomli_w

    from logllm.formats.description import known, load_format, own_formats
    from logllm.logs.fields import fields_of

    if name is None:
        every = [*own_formats().values(), *map(load_format, known())]
        rows: list[tuple[str, ...]] = []
        for described in every:
            fields = ", ".join(fields_of(described))
            grouping = described.sessions.in_words
            rows.append((described.name, described.kind, fields, grouping, described.title))
        table("formats", ("name", "kind", "fields", "sessions", "for"), rows)
        note(
            "the TOML of one: logllm show formats NAME; without --format the one that fits is taken"
        )
    else:
        typer.echo(
            tomli_w.dumps(load_format(name).model_dump(mode="json", exclude_none=True)), nl=False
        )


@app.command()
def datasets() -> None:
    """List the data sets that `prepare` downloads or that come with logllm, with licence and citation."""
    from logllm.datasets.fetching import address, here
    from logllm.datasets.packaged import PACKAGED
    from logllm.datasets.public import CATALOG

    rows: list[tuple[str, str, str]] = []
    for public in CATALOG.values():
        size = f"{public.bytes / 1e6:,.0f} MB to fetch" if public.bytes else "to fetch"
        lines = "all" if public.stop is None else f"{public.start:,} to {public.stop:,}"
        rows.append((public.name, "here" if here(public) else size, lines))
    for ours in PACKAGED.values():
        rows.append((ours.name, "comes with logllm", f"logs: {', '.join(ours.logs)}"))
    table("data sets", ("name", "state", "lines kept"), rows)
    # Terms and citations are too long for a table's cells.
    for public in CATALOG.values():
        note(f"{public.name}: {address(public)}\n  terms: {public.terms}\n  cite: {public.cite}")
    for ours in PACKAGED.values():
        note(f"{ours.name}: {ours.title}\n  terms: {ours.terms}\n  cite: {ours.cite}")


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
    from logllm.logs.masking import DOTS, codes, mask, rules

    settings = MaskSection.read({"keep": keep}, source="mask settings")
    if not messages:
        rows = [(rule.name, rule.about, rule.pattern) for rule in (DOTS, *rules(settings))]
        table("masking rules", ("rule", "matches", "pattern"), rows)
        if unmasked := codes(settings):
            table(
                "not masked",
                ("code", "such as", "pattern"),
                [(row.name, row.about, row.code) for row in unmasked],
            )
        return
    import polars as pl

    from logllm.logs.lines import STDIN, read_lines

    # A log on standard input may be long: batch by batch.
    given = (
        [pl.Series(messages)]
        if messages != [STDIN]
        else (lines.frame["text"] for lines in read_lines([STDIN]))
    )
    for texts in given:
        typer.echo("\n".join(mask(texts, settings)))


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

    rows: list[tuple[str, str, str]] = []
    for model in SMALL_TIER.values():
        state = "here" if available(model.name) else f"{model.bytes / 1e6:.0f} MB to fetch"
        rows.append((model.name, state, model.title))
    table("small tier", ("name", "state", "what"), rows)
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
    rows: list[tuple[str, object]] = [
        ("architecture", candidate.architecture),
        ("weights", "here" if candidate.here else "not here"),
    ]
    rows += [
        (what, f"{getattr(candidate, what) or 0:,}")
        for what in ("parameters", "layers", "width", "vocabulary")
    ]
    rows += [
        ("pooler", "yes" if candidate.pooler else "no"),
        ("tokenizer sets BOS", {None: "?", True: "yes", False: "no"}[candidate.sets_bos]),
    ]
    # A model may serve as one of the two, as both, or as neither.
    for network, role in (("encoder", candidate.encoder), ("decoder", candidate.decoder)):
        serves = (
            f"yes; adapters on {', '.join(role.targets)}: {role.adapter_parameters:,} parameters"
        )
        rows.append((f"as {network}", serves if role.refused is None else f"no: {role.refused}"))
    rows += [
        (f"memory in {number_format}", size(count))
        for number_format, count in candidate.bytes.items()
    ]
    table(name, ("what", "value"), rows)
