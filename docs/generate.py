"""Write the pages that are made from the source: settings, commands, API, formats, results, cards.

With --check, say whether they are current.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import command_page
import library_page
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.config.recipe import Recipe
from logllm.evaluate.tables.charts import plot
from logllm.evaluate.tables.overview import page as results_page
from logllm.formats.description import known, load_format

PAGE = Path(__file__).with_name("settings.md")
COMMANDS = Path(__file__).with_name("cli.md")
LIBRARY = Path(__file__).with_name("api.md")
FORMATS = Path(__file__).with_name("formats.md")
RESULTS = Path(__file__).with_name("results.md")
METHOD = Path(__file__).with_name("extend") / "method.md"
EXAMPLE = Path(__file__).with_name("example_method") / "new_words.py"
SOURCE = Path(__file__).parent.parent / "src" / "logllm"
CARDS = {
    Path(__file__).with_name("data-card.md"): SOURCE / "datasets" / "sets" / "postgres",
    Path(__file__).with_name("model-card.md"): SOURCE / "runs" / "postgres",
}
TABLE = "## The built-in formats\n"
SHOWN = "and a test installs and runs it.\n\n```python\n"
INTRODUCTION = """# Settings

Every setting there is, made from the source by `make docs`. A recipe is a TOML file with these
tables; `--set train.seed=7` overrides one; a recipe may say `extends = "small"`. A format of one's
own is a TOML file with the tables under `format`.
"""


def sections(section: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """A section and all sections inside it, with their paths."""
    yield path, section
    for name, field in section.model_fields.items():
        for inner in inside(field.annotation):
            if inner is not section:  # a format inside a format has the same settings
                yield from sections(inner, f"{path}.{name}".removeprefix("."))


def inside(annotation: Any) -> list[type[BaseModel]]:
    """Sections in an annotation such as `tuple[StageSection, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in inside(part)]


def kind(annotation: Any) -> str:
    """An annotation as a reader says it."""
    if annotation is NoneType:
        return "none"
    if isinstance(annotation, type) and not get_args(annotation):
        return (
            "table"
            if issubclass(annotation, BaseModel)
            else {
                "str": "text",
                "int": "whole number",
                "float": "number",
                "bool": "true or false",
            }.get(annotation.__name__, annotation.__name__)
        )
    parts = get_args(annotation)
    if get_origin(annotation) is dict:
        return "table"
    if parts and parts[-1] is Ellipsis:
        return f"list of {kind(parts[0])}"
    if all(isinstance(part, str) for part in parts):
        return ", ".join(f"`{part}`" for part in parts)
    return " or ".join(kind(part) for part in parts if part is not NoneType)


def default(field: FieldInfo) -> str:
    """A field's default."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    return (
        "none"
        if value is None
        else f"`{value!r}`"
        if not isinstance(value, tuple)
        else f"`{list(value)!r}`"
    )


def described(field: FieldInfo) -> str:
    """A field's docstring as one cell of a table, which no line break may end."""
    return " ".join((field.description or "").split()).replace("|", chr(92) + "|")


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    named = [
        *sections(Recipe, ""),
        *((path, each) for path, each in sections(FormatSection, "format")),
        *sections(PrepareSection, "prepare"),
    ]
    seen: set[type[BaseModel]] = set()
    for path, section in named:
        if section in seen:
            continue
        seen.add(section)
        rows = [
            f"| `{name}` | {kind(field.annotation)} | {default(field)} | {described(field)} |"
            for name, field in section.model_fields.items()
        ]
        about = " ".join((section.__doc__ or "").split())
        parts.append(
            "\n".join(
                [
                    f"## {path or 'recipe'}",
                    "",
                    about,
                    "",
                    "| setting | kind | default | what |",
                    "| --- | --- | --- | --- |",
                    *rows,
                    "",
                ]
            )
        )
    return "\n".join(parts)


def formats() -> str:
    """The page on formats with its table of the built-in ones anew."""
    text = FORMATS.read_text(encoding="utf-8").partition(TABLE)[0]
    rows = [
        f"| `{each.name}` | {each.kind} | {each.sessions.in_words} | {each.title} |"
        for each in map(load_format, known())
    ]
    return text + "\n".join(
        [TABLE, "| name | kind | sessions | for |", "| --- | --- | --- | --- |", *rows, ""]
    )


def card(folder: Path) -> str:
    """A card that comes with logllm as a page, without what is written above it for a hub."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2].lstrip("\n")
    return text


def method() -> str:
    """The page on methods of one's own with its example as the file is."""
    before, shown, after = METHOD.read_text(encoding="utf-8").partition(SHOWN)
    rest = after[after.index("\n```\n") :]
    return before + shown + EXAMPLE.read_text(encoding="utf-8").rstrip("\n") + rest


def main() -> int:
    """Write the pages, or compare them."""
    stale = 0
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.with_suffix("").glob("*.json"))
    }
    pages = {
        PAGE: page(),
        COMMANDS: command_page.page(),
        LIBRARY: library_page.page(),
        FORMATS: formats(),
        RESULTS: results_page(found),
        METHOD: method(),
        **{place: card(folder) for place, folder in CARDS.items()},
    }
    for path, text in pages.items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            shown = path.relative_to(PAGE.parent)
            sys.stderr.write(f"docs/{shown} is not current: run make docs\n")
            stale = 1
    if "--check" not in sys.argv[1:]:
        for name, table in found.items():
            plot(table, RESULTS.with_suffix("") / f"{name}.png")
    return stale


if __name__ == "__main__":
    sys.exit(main())
