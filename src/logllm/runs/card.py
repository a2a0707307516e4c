"""The model card of an exported run, in Markdown with the front matter of the Hugging Face hub."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
"""Methods with a network, whose adapters are exported; runs of all others are exported as they are."""
_FIGURES = ("average_precision", "f1", "precision", "recall")
_LIMITS = """## Limits

- It knows the messages of the system and the software versions it was trained on. On other logs its scores mean nothing until
  `logllm evaluate` has judged it on labelled sessions of theirs.
- It judges sessions, and sees messages after masking: a fault that shows only in a masked number is invisible to it.
- A score ranks sessions; it is no calibrated probability. Choose a threshold on data of your own.
- `recipe.toml` and `manifest.json` hold the format, the masking rules and the session settings it was trained with."""
_CITATION = """## Cite

The method is that of LogLLM (Guan, Cao, Qian, Gao, Ouyang; [arXiv:2411.08561](https://arxiv.org/abs/2411.08561)):

    @misc{guan2024logllm,
      title = {LogLLM: Log-based Anomaly Detection Using Large Language Models},
      author = {Guan, Wei and Cao, Jian and Qian, Shiyou and Gao, Jianqi and Ouyang, Chun},
      year = {2024}, eprint = {2411.08561}, archivePrefix = {arXiv}
    }"""


def model_card(
    manifest: Mapping[str, Any], recipe: Recipe, *, hub: Mapping[str, str | None], license: str, reports: Sequence[Mapping[str, Any]]
) -> str:
    """What a bundle is, how to use it, how good it is, and what it is not.

    Args:
        manifest: the bundle's.
        recipe: its recipe, base models called by their names.
        hub: each base model's name on the hub; None for one that was a folder.
        license: as the hub spells it.
        reports: what `evaluate` found.
    """
    front = _front_matter(manifest, hub=hub, license=license)
    parts = (
        _what(manifest, recipe),
        _use(manifest, hub),
        _quality(manifest, reports),
        _data(manifest),
        _settings(manifest, recipe),
        _LIMITS,
    )
    cite = [_CITATION] if recipe.method in _NETWORKS else []
    return "\n\n".join((front, f"# {manifest['name']}", *parts, _licences(manifest, license), *cite)) + "\n"


def _front_matter(manifest: Mapping[str, Any], *, hub: Mapping[str, str | None], license: str) -> str:
    """What the hub indexes."""
    from huggingface_hub import ModelCardData

    bases = [name for part, name in hub.items() if name is not None and part in manifest.get("base_models", {})]
    relation = {"base_model_relation": "adapter" if manifest["bundle"] != MERGED else "finetune"}
    tags = ["log-anomaly-detection", "anomaly-detection", "log-analysis", "logllm"]
    lineage: dict[str, Any] = {"base_model": bases, **relation} if bases else {}
    data = ModelCardData(library_name="logllm", license=license, tags=tags, **lineage)
    return f"---\n{data.to_yaml().strip()}\n---"


def _what(manifest: Mapping[str, Any], recipe: Recipe) -> str:
    """One paragraph."""
    bases = manifest.get("base_models", {})
    if recipe.method not in _NETWORKS:
        vectors = f" It reads vectors of `{bases['encoder']['weights']}`." if "encoder" in bases else ""
        return (
            f"Log anomaly detection: for each session of a log a score and a verdict. Method `{recipe.method}`.{vectors} "
            f"Trained with logllm {manifest['versions']['logllm']}, seed {manifest['seed']}."
        )
    kind = (
        "LoRA adapters and a projector, to be used with the two base models"
        if manifest["bundle"] != MERGED
        else "Two whole models, into which LoRA adapters were merged, and a projector"
    )
    origin = (
        f"The adapters were not trained with logllm: they were imported from `{manifest['imported']['from']}`, a folder in the layout of "
        "the paper's authors."
        if "imported" in manifest
        else f"Trained with logllm {manifest['versions']['logllm']}, recipe `{manifest['recipe']}`, seed {manifest['seed']}."
    )
    formats = sorted({recipe.model.encoder.dtype, recipe.model.decoder.dtype} - {"float32"})
    merged = manifest["bundle"] == MERGED
    rounded = (
        f" Merging rounded to {' and '.join(formats)}: scores differ a little from those of the adapters." if merged and formats else ""
    )
    beside = (
        " Learners of words and of lines judge beside them: the verdict is the weighted mean of their logits."
        if recipe.method == _BOTH
        else ""
    )
    return (
        "Log anomaly detection with language models: for each session of a log a score and a verdict. "
        f"{kind}: encoder `{bases['encoder']['weights']}`, decoder `{bases['decoder']['weights']}`.{beside} {origin}{rounded}"
    )


def _use(manifest: Mapping[str, Any], hub: Mapping[str, str | None]) -> str:
    """How to fetch and run it."""
    if manifest["name"] == SHIPPED:
        lines = ["## Use", "", "It comes with logllm and judges logs of PostgreSQL, whatever their prefix, where no run is named:", ""]
        return "\n".join([*lines, "    logllm detect postgresql.log"])
    lines = ["## Use", "", "With logllm installed, `NAME` being this model's name on the hub:", ""]
    lines += ["    hf download NAME --local-dir RUN", "    logllm detect RUN app.log"]
    for part, base in manifest.get("base_models", {}).items():
        if hub[part] is None and manifest["bundle"] != MERGED:
            lines += [
                "",
                f"The {part} `{base['weights']}` was a folder where this was trained. Put a folder of that name with the same weights "
                f"(fingerprint `{base['sha256'][:16]}`) into some folder, and set `LOGLLM_WEIGHTS` to the latter.",
            ]
    return "\n".join(lines)


def _quality(manifest: Mapping[str, Any], reports: Sequence[Mapping[str, Any]]) -> str:
    """Figures on labelled sessions, and the threshold."""
    rows = [row for report in reports for row in _report_rows(report)]
    validation = manifest["metrics"]["validation"]
    if validation is not None:
        rows.insert(0, _row("validation", validation))
    columns = ("sessions", "average precision", "F1", "precision", "recall", "TP", "FP", "TN", "FN")
    table = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *rows] if rows else ["Not evaluated where this was exported."]
    threshold = manifest["threshold"]
    said = f"Sessions with a score of at least {threshold['value']:.4g} are called anomalous ({threshold['how']})."
    ends = ["In brackets 95 % bootstrap intervals over sessions."] if reports else []
    return "\n".join(["## How good", "", *table, "", *ends, said])


def _report_rows(report: Mapping[str, Any]) -> Iterator[str]:
    """All sessions of a part, and those that do not occur in training."""
    part = f"{report['split']} ({report['log']})" if report.get("log") else report["split"]
    yield _row(f"{part}: all {report['sessions']:,}", report)
    if report.get("unseen"):
        yield _row(f"{part}: not in the train part", report["unseen"])


def _row(name: str, figures: Mapping[str, Any]) -> str:
    """One row of figures, with intervals where there are any."""
    intervals = figures.get("intervals", {})
    cells = [figure(figures[name], intervals.get(name)) for name in _FIGURES]
    return "| " + " | ".join((name, *cells, *(str(figures[count]) for count in ("tp", "fp", "tn", "fn")))) + " |"


def _data(manifest: Mapping[str, Any]) -> str:
    """What it was trained on, as far as the run knows."""
    prepare = manifest["data"]["prepare"]
    grouping = SessionSection.read(prepare["sessions"], source="the manifest").in_words
    lines = ["## Training data", "", f"Logs of the format `{prepare['format']['name']}`; sessions {grouping}."]
    if manifest["name"] == SHIPPED:
        lines.append(
            f"They are the data set `{SHIPPED}` that comes with logllm, whose data card says how it was made (`logllm show datasets`)."
        )
    if manifest["data"]["fingerprint"] is None:
        return "\n".join([*lines, "What the adapters were trained on is not recorded in them."])
    counts = [
        f"- {part}: {plural(figures['sessions'], 'session')}, {figures['anomalous']:,} anomalous, {figures['distinct_sessions']:,} distinct"
        for part, figures in manifest.get("counts", {}).items()
    ]
    return "\n".join([*lines, f"SHA-256 over the prepared sessions: `{manifest['data']['fingerprint']}`.", "", *counts]).rstrip()


def _settings(manifest: Mapping[str, Any], recipe: Recipe) -> str:
    """The settings that matter most."""
    if recipe.method not in _NETWORKS:
        rows = [f"| {name} | {value} |" for name, value in {"method": recipe.method, **recipe.options}.items()]
        return "\n".join(["## Settings", "", "| | |", "|---|---|", *rows, "", "All of them are in `recipe.toml`."])
    model = recipe.model
    depth = "" if model.decoder.layers is None else f", its first layers: {model.decoder.layers}"
    words = [f"`{text.encode('unicode_escape').decode()}`" if text else "" for text in (model.prompt.head, model.prompt.tail)]
    rows = [
        f"| {part} | `{section.weights}`{kept}, {section.dtype}, 4 bits: {section.quantize}; LoRA r {section.lora.r}, alpha {section.lora.alpha} |"
        for part, section, kept in (("encoder", model.encoder, ""), ("decoder", model.decoder, depth))
    ]
    rows += [
        f"| pooling | {model.encoder.pooling}, {model.encoder.max_tokens} tokens a message |",
        f"| prompt | {' messages '.join(words).strip()} |",
    ]
    if "imported" not in manifest:  # whatever trained those, it was not this recipe's stages
        stages = "; ".join(f"{' + '.join(stage.trains)} at {stage.lr:g}" for stage in recipe.train.stages)
        rows += [f"| objective | {recipe.train.objective} |", f"| stages | {stages} |"]
    return "\n".join(["## Settings", "", "| | |", "|---|---|", *rows, "", "All of them are in `recipe.toml`."])


def _licences(manifest: Mapping[str, Any], license: str) -> str:
    """Whose licences hold."""
    names = " and ".join(f"`{base['weights']}`" for base in manifest.get("base_models", {}).values())
    if not names:
        return f"## Licences\n\nThis bundle: `{license}`, as its publisher says."
    held = "contains weights derived from" if manifest["bundle"] == MERGED else "is used with"
    return (
        f"## Licences\n\nThis bundle: `{license}`, as its publisher says. It {held} {names}: their licences hold too, for whoever "
        "publishes it and for whoever uses it, and are not checked by logllm."
    )
