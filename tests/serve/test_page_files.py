"""The files of the live page: whole, alone, and without a way for a log's text to become more than
text."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from tests.pages import Page

FOLDER = Path(str(files("logllm.serve"))) / "page"
OURS = sorted(FOLDER.glob("*.js"))
IMPORTED = re.compile(r'^import .*?from "(.+?)";$', re.MULTILINE | re.DOTALL)
AS_MARKUP = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "eval(",
    "new Function",
    "setHTML",
)
"""What would make markup, or code, of a text."""


@pytest.fixture(scope="module")
def index() -> Page:
    return Page((FOLDER / "index.html").read_text())


def test_what_the_page_names_is_there(index) -> None:
    names = [
        attrs.get("src") or attrs.get("href")
        for tag, attrs in index.elements
        if tag in ("script", "link")
    ]
    assert len(names) >= 6
    assert [name for name in names if not (FOLDER / name).is_file()] == []


@pytest.mark.parametrize("script", OURS, ids=lambda path: path.name)
def test_a_module_imports_what_is_there_and_uses_it(script) -> None:
    text = script.read_text()
    wanted = [name for name in IMPORTED.findall(text) if not (FOLDER / name).is_file()]
    names = [
        name.strip()
        for block in re.findall(r"^import \{(.*?)\} from", text, re.MULTILINE | re.DOTALL)
        for name in block.split(",")
    ]
    unused = [name for name in names if name and len(re.findall(rf"\b{name}\b", text)) < 2]
    assert (wanted, unused) == ([], [])


@pytest.mark.parametrize("script", OURS, ids=lambda path: path.name)
def test_text_never_becomes_markup_or_code(script) -> None:
    text = script.read_text()
    assert [word for word in AS_MARKUP if word in text] == []
    assert text.count("\n") <= 400


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(index) -> None:
    """As the header `default-src 'self'` would refuse it."""
    assert "".join(index.scripts).strip() == ""
    attributes = [
        (name, value or "") for _, attrs in index.elements for name, value in attrs.items()
    ]
    assert [name for name, _ in attributes if name == "style" or name.startswith("on")] == []
    assert [value for _, value in attributes if "//" in value] == []
    assert not any(tag == "style" for tag, _ in index.elements)
    for sheet in FOLDER.glob("*.css"):
        assert "url(" not in sheet.read_text()
        assert "@import" not in sheet.read_text()


def test_every_element_that_a_module_looks_for_is_in_the_page(index) -> None:
    ids = [attrs["id"] for _, attrs in index.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = {
        name for script in OURS for name in re.findall(r'byId\("(.+?)"\)', script.read_text())
    }
    assert len(wanted) > 30
    assert wanted - set(ids) == set()


def test_what_labels_something_is_there(index) -> None:
    ids = {attrs["id"] for _, attrs in index.elements if "id" in attrs}
    made = {name for script in OURS for name in re.findall(r'id: "(.+?)"', script.read_text())}
    named = [
        attrs[name]
        for _, attrs in index.elements
        for name in ("aria-labelledby", "aria-controls")
        if name in attrs
    ]
    assert len(named) > 8
    assert set(named) - ids - made == set()


def test_the_plots_library_brings_its_licence() -> None:
    assert "uPlot (v1.6.32)" in (FOLDER / "vendor" / "uPlot.iife.min.js").read_text()
    assert "MIT License" in (FOLDER / "vendor" / "uPlot.LICENSE").read_text()
