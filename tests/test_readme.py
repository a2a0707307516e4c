"""Every command that the README and the pages for users name exists, with every option they name,
and the make targets do too."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from logllm.cli.app import app
from logllm.config.recipe import packaged
from logllm.methods.registry import entry, names

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TREE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WRITTEN = [
    path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if path.name not in {"cli.md", "moved.md", "results.md"}
]
PAGES = "".join(path.read_text(encoding="utf-8") for path in WRITTEN)
VERBS = "|".join(typer.main.get_command(app).commands)
NAMED = re.compile(rf"(?:^    |`|\| )(logllm (?:{VERBS}) [^`\n]*)", re.MULTILINE)
COMMANDS = sorted({found.strip() for found in NAMED.findall(README + PAGES)})


def test_readme_and_pages_name_commands() -> None:
    assert len(COMMANDS) >= 40


@pytest.mark.sampled(4)
@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    found: Any = typer.main.get_command(app)
    while words and hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    options = {
        name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for word in words if word.startswith("--")} <= options
    if found.name == "train" and words and not words[0].startswith("--"):
        assert words[0] in {*packaged(), *names(), "METHOD", "NAME", "..."}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", README)) - {"and"}))
def test_make_target(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "words", "fewer"),
    [
        ("README.md", r"with (\d+) other methods", 1),
        ("docs/start/research.md", r"with (\d+) methods to compare it with", 1),
        ("docs/methods.md", r"`logllm show methods` lists all (\d+)", 0),
        ("docs/glossary.md", r"LogLLM, `words`, `novelty` and (\d+) more", 3),
    ],
    ids=["README", "research", "methods", "glossary"],
)
def test_the_number_of_methods_is_right(page: str, words: str, fewer: int) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (number,) = re.findall(words, text)
    own = [name for name in names() if entry(name).place.startswith("logllm.")]
    assert int(number) == len(own) - fewer


def test_the_tree_names_every_folder() -> None:
    for path in (ROOT / "src" / "logllm").iterdir():
        if path.is_dir() and path.name != "__pycache__":
            assert f"─ {path.name}/ " in TREE, path.name


def test_no_row_of_a_table_is_broken_in_two() -> None:
    for page in sorted((ROOT / "docs").rglob("*.md")):
        broken = [
            line
            for line in page.read_text(encoding="utf-8").splitlines()
            if line.startswith("| ") != line.endswith(" |")
        ]
        assert not broken, f"{page.name}: {broken[0]}"


def test_results_name_no_folder_of_a_machine() -> None:
    for table in sorted((ROOT / "docs" / "results").glob("*.json")):
        assert not re.search(r"[ =\"]/\w+/", table.read_text(encoding="utf-8")), table.name
