"""The model card of an exported run, in Markdown with the front matter of the Hugging Face hub."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logllm.config.model import DecoderSection
from logllm.config.recipe import Recipe
from logllm.config.sessions import SessionSection
from logllm.counting import figure, plural
from logllm.runs.manifest import SHIPPED

CARD = "README.md"
"""The model card's file, where the Hugging Face hub looks for it."""
MERGED = "merged"
"""A manifest's `bundle` where encoder and decoder are whole models with the adapters merged in."""
_BOTH = "both"
_NETWORKS = ("logllm", _BOTH)
"""Methods with a network, whose adapters are exported; runs of all others are exported as they
are."""
_FIGURES = ("average_precision", "f1", "precision", "recall")
_COLUMNS = ("sessions", "average precision", "F1", "precision", "recall", "TP", "FP", "TN", "FN")
"""Of the table of figures."""
_COUNTS = ("tp", "fp", "tn", "fn")
_LIMITS = """## Limits

- It knows the messages of the system and the software versions it was trained on. \
On other logs its scores mean nothing until
  `logllm evaluate` has judged it on labelled sessions of theirs.
- It judges sessions, and sees messages after masking: \
a fault that shows only in a masked number is invisible to it.
- A score ranks sessions; it is no calibrated probability. Choose a threshold on data of your own.
- `recipe.toml` and `manifest.json` hold the format, \
the masking rules and the session settings it was trained with."""
_CITATION = """## Cite

The method is that of LogLLM (Guan, Cao, Qian, Gao, Ouyang; \
[arXiv:2411.08561](https://arxiv.org/abs/2411.08561)):

    @misc{guan2024logllm,
      title = {LogLLM: Log-based Anomaly Detection Using Large Language Models},
      author = {Guan, Wei and Cao, Jian and Qian, Shiyou and Gao, Jianqi and Ouyang, Chun},
      year = {2024}, eprint = {2411.08561}, archivePrefix = {arXiv}
    }"""


def model_card(
    manifest: Mapping[str, Any],
    recipe: Recipe,
    *,
    hub: Mapping[str, str | None],
    license: str,
    reports: Sequence[Mapping[str, Any]],
) -> str:
    """What a bundle is, how to use it, how good it is, and what it is not.

    Args:
        manifest: the bundle's.
        recipe: its recipe, base models called by their names.
        hub: each base model's name on the hub; None for one that was a folder.
        license: as the hub spells it.
        reports: what `evaluate` found.
    """
    # In the order in which somebody who has never heard of it asks.
    sections = [
        _front_matter(manifest, hub=hub, license=license),
        f"# {manifest['name']}",
        _what(manifest, recipe),
        _use(manifest, hub),
        _quality(manifest, reports),
        _data(manifest),
        _settings(manifest, recipe),
        _LIMITS,
        _licences(manifest, license),
    ]
    # The paper is that of the network: a run of words has nothing of it.
    if recipe.method in _NETWORKS:
        sections.append(_CITATION)
    return "\n\n".join(sections) + "\n"


def _front_matter(
    manifest: Mapping[str, Any],
    *,
    hub: Mapping[str, str | None],
    license: str,
) -> str:
    """What the hub indexes."""
    from huggingface_hub import ModelCardData

    # A base model that was a folder has no name on the hub.
    own_bases = manifest.get("base_models", {})
    bases: list[str] = []
    for network, name in hub.items():
        if name is not None and network in own_bases:
            bases.append(name)
    # The hub draws the family tree of models by these two fields.
    relation = "finetune" if manifest["bundle"] == MERGED else "adapter"
    lineage: dict[str, Any] = {}
    if bases:
        lineage = {"base_model": bases, "base_model_relation": relation}

    tags = ["log-anomaly-detection", "anomaly-detection", "log-analysis", "logllm"]
    data = ModelCardData(library_name="logllm", license=license, tags=tags, **lineage)
    return f"---\n{data.to_yaml().strip()}\n---"


def _what(manifest: Mapping[str, Any], recipe: Recipe) -> str:
    """What it is, in one paragraph."""
    bases = manifest.get("base_models", {})
    version, seed = manifest["versions"]["logllm"], manifest["seed"]
    if recipe.method not in _NETWORKS:
        sentences = [
            "Log anomaly detection: for each session of a log a score and a verdict.",
            f"Method `{recipe.method}`.",
        ]
        # Some of these methods read vectors of an encoder that is not trained.
        if "encoder" in bases:
            sentences.append(f"It reads vectors of `{bases['encoder']['weights']}`.")
        return " ".join([*sentences, f"Trained with logllm {version}, seed {seed}."])

    merged = manifest["bundle"] == MERGED
    kind = "LoRA adapters and a projector, to be used with the two base models"
    if merged:
        kind = "Two whole models, into which LoRA adapters were merged, and a projector"
    encoder, decoder = bases["encoder"]["weights"], bases["decoder"]["weights"]
    sentences = [
        (
            "Log anomaly detection with language models: for each session of a log a score and a"
            " verdict."
        ),
        f"{kind}: encoder `{encoder}`, decoder `{decoder}`.",
    ]
    if recipe.method == _BOTH:
        beside = "Learners of words and of lines judge beside them"
        sentences.append(f"{beside}: the verdict is the weighted mean of their logits.")

    # What trained them, as far as that is known: imported adapters say nothing of it.
    if "imported" in manifest:
        folder = f"`{manifest['imported']['from']}`, a folder in the layout of the paper's authors"
        sentences.append(
            f"The adapters were not trained with logllm: they were imported from {folder}."
        )
    else:
        recipe_name = f"recipe `{manifest['recipe']}`"
        sentences.append(f"Trained with logllm {version}, {recipe_name}, seed {seed}.")

    # In float32 nothing is lost by merging.
    number_formats = {recipe.model.encoder.dtype, recipe.model.decoder.dtype}
    formats = sorted(number_formats - {"float32"})
    if merged and formats:
        rounded = f"Merging rounded to {' and '.join(formats)}"
        sentences.append(f"{rounded}: scores differ a little from those of the adapters.")
    return " ".join(sentences)


def _use(manifest: Mapping[str, Any], hub: Mapping[str, str | None]) -> str:
    """How to fetch and run it."""
    if manifest["name"] == SHIPPED:
        judges = "judges logs of PostgreSQL, whatever their prefix, where no run is named"
        lines = ["## Use", "", f"It comes with logllm and {judges}:", ""]
        return "\n".join([*lines, "    logllm detect postgresql.log"])
    lines = ["## Use", "", "With logllm installed, `NAME` being this model's name on the hub:", ""]
    lines += ["    hf download NAME --local-dir RUN", "    logllm detect RUN app.log"]
    if manifest["bundle"] == MERGED:
        return "\n".join(lines)

    # Adapters without their base model are nothing: one that no hub has must be brought along.
    for network, base in manifest.get("base_models", {}).items():
        if hub[network] is None:
            fingerprint = f"fingerprint `{base['sha256'][:16]}`"
            was = f"The {network} `{base['weights']}` was a folder where this was trained."
            put = (
                f"Put a folder of that name with the same weights ({fingerprint}) into some folder"
            )
            lines += ["", f"{was} {put}, and set `LOGLLM_WEIGHTS` to the latter."]
    return "\n".join(lines)


def _quality(manifest: Mapping[str, Any], reports: Sequence[Mapping[str, Any]]) -> str:
    """Figures on labelled sessions, and the threshold."""
    rows = []
    validation = manifest["metrics"]["validation"]
    if validation is not None:
        rows.append(_row("validation", validation))
    for report in reports:
        rows += _report_rows(report)
    table = ["Not evaluated where this was exported."]
    if rows:
        ruler = "|" + "---|" * len(_COLUMNS)
        table = [_cells(_COLUMNS), ruler, *rows]

    # Only reports have intervals: the validation part's figures are those the threshold was chosen
    # by.
    intervals = ["In brackets 95 % bootstrap intervals over sessions."] if reports else []
    threshold = manifest["threshold"]
    least = f"a score of at least {threshold['value']:.4g}"
    called = f"Sessions with {least} are called anomalous ({threshold['how']})."
    return "\n".join(["## How good", "", *table, "", *intervals, called])


def _report_rows(report: Mapping[str, Any]) -> Iterator[str]:
    """All sessions of a part, and those that do not occur in training."""
    part = report["split"]
    if report.get("log"):
        part = f"{part} ({report['log']})"
    yield _row(f"{part}: all {report['sessions']:,}", report)
    if report.get("unseen"):
        yield _row(f"{part}: not in the train part", report["unseen"])


def _row(name: str, figures: Mapping[str, Any]) -> str:
    """One row of figures, with intervals where there are any."""
    intervals = figures.get("intervals", {})
    cells = [name]
    for kind in _FIGURES:
        cells.append(figure(figures[kind], intervals.get(kind)))
    for count in _COUNTS:
        cells.append(str(figures[count]))
    return _cells(cells)


def _cells(texts: Sequence[str]) -> str:
    """One row of a table in Markdown."""
    return "| " + " | ".join(texts) + " |"


def _data(manifest: Mapping[str, Any]) -> str:
    """What it was trained on, as far as the run knows."""
    prepare = manifest["data"]["prepare"]
    grouping = SessionSection.read(prepare["sessions"], source="the manifest").in_words
    lines = [
        "## Training data",
        "",
        f"Logs of the format `{prepare['format']['name']}`; sessions {grouping}.",
    ]
    if manifest["name"] == SHIPPED:
        data_set = f"the data set `{SHIPPED}` that comes with logllm"
        card = "whose data card says how it was made (`logllm show datasets`)"
        lines.append(f"They are {data_set}, {card}.")

    # Imported adapters say nothing of their data.
    fingerprint = manifest["data"]["fingerprint"]
    if fingerprint is None:
        return "\n".join([*lines, "What the adapters were trained on is not recorded in them."])
    counts = []
    for part, figures in manifest.get("counts", {}).items():
        sessions = plural(figures["sessions"], "session")
        kinds = f"{figures['anomalous']:,} anomalous, {figures['distinct_sessions']:,} distinct"
        counts.append(f"- {part}: {sessions}, {kinds}")
    lines.append(f"SHA-256 over the prepared sessions: `{fingerprint}`.")
    return "\n".join([*lines, "", *counts]).rstrip()


def _settings(manifest: Mapping[str, Any], recipe: Recipe) -> str:
    """The settings that matter most."""
    settings: dict[str, Any] = {"method": recipe.method, **recipe.options}
    if recipe.method in _NETWORKS:
        settings = _of_network(recipe, imported="imported" in manifest)
    rows = [_cells([name, str(value)]) for name, value in settings.items()]
    table = ["| | |", "|---|---|", *rows]
    return "\n".join(["## Settings", "", *table, "", "All of them are in `recipe.toml`."])


def _of_network(recipe: Recipe, *, imported: bool) -> dict[str, str]:
    """The settings of a run with a network that matter most, by what they are called."""
    model = recipe.model
    settings: dict[str, str] = {}
    for network, section in (("encoder", model.encoder), ("decoder", model.decoder)):
        weights = f"`{section.weights}`"
        if isinstance(section, DecoderSection) and section.layers is not None:
            weights = f"{weights}, its first layers: {section.layers}"
        lora = f"LoRA r {section.lora.r}, alpha {section.lora.alpha}"
        numbers = f"{section.dtype}, 4 bits: {section.quantize}"
        settings[network] = f"{weights}, {numbers}; {lora}"
    settings["pooling"] = f"{model.encoder.pooling}, {model.encoder.max_tokens} tokens a message"

    # Line breaks and blanks count: they are written as a program would.
    around: list[str] = []
    for text in (model.prompt.head, model.prompt.tail):
        escaped = text.encode("unicode_escape").decode()
        around.append(f"`{escaped}`" if text else "")
    settings["prompt"] = " messages ".join(around).strip()

    # Whatever trained imported adapters, it was not this recipe's stages.
    if not imported:
        stages: list[str] = []
        for stage in recipe.train.stages:
            trained = " + ".join(stage.trains)
            stages.append(f"{trained} at {stage.lr:g}")
        settings |= {"objective": recipe.train.objective, "stages": "; ".join(stages)}
    return settings


def _licences(manifest: Mapping[str, Any], license: str) -> str:
    """Whose licences hold: the publisher's, and those of the base models."""
    own = f"This bundle: `{license}`, as its publisher says."
    bases = manifest.get("base_models", {}).values()
    names = " and ".join(f"`{base['weights']}`" for base in bases)
    if not names:
        return f"## Licences\n\n{own}"
    relation = "contains weights derived from" if manifest["bundle"] == MERGED else "is used with"
    hold = "their licences hold too, for whoever publishes it and for whoever uses it"
    theirs = f"It {relation} {names}: {hold}, and are not checked by logllm."
    return f"## Licences\n\n{own} {theirs}"
