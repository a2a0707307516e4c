"""The page of old and new names: every new one is there, no old module is, and every module that
went is on it."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "moved.md").read_text(encoding="utf-8")
MODULES = re.findall(r"^\| `(logllm[\w.]+)` \| `(logllm[\w.]+)` \|$", PAGE, re.MULTILINE)
NAMES = re.findall(r"\| `(logllm[\w.]+): ([\w, ]+)`[^|]*\|$", PAGE, re.MULTILINE)


def file_of(module: str) -> Path:
    return ROOT / "src" / f"{module.replace('.', '/')}.py"


def test_the_page_holds_both_tables() -> None:
    assert len(MODULES) > 90
    assert len(NAMES) > 12


@pytest.mark.parametrize(("old", "new"), MODULES, ids=[old for old, _ in MODULES])
def test_a_module_has_moved(old: str, new: str) -> None:
    assert file_of(new).is_file()
    assert not file_of(old).exists()


@pytest.mark.parametrize(
    ("module", "names"), NAMES, ids=[f"{module}: {names}" for module, names in NAMES]
)
def test_a_name_is_where_the_page_says(module: str, names: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in names.split(", ") if not hasattr(loaded, name)] == []
