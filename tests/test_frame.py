"""The files around the source agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import logllm

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = [
    line
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def pinned() -> dict[str, Version]:
    pairs = [line.split("==") for line in PINS]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_everything_needed_is_pinned() -> None:
    project, pins = PROJECT["project"], pinned()
    for text in [
        *project["dependencies"],
        *project["optional-dependencies"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:  # one extra of ours that includes others
            continue
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_torch_comes_first_and_without_a_build() -> None:
    assert PINS[0].startswith("torch==")
    assert all(version.local is None for version in pinned().values())


@pytest.mark.parametrize(
    "target", re.findall(r"make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
)
def test_ci_runs_targets_that_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CITATION.cff"])
def test_version_is_the_same_everywhere(name: str) -> None:
    assert logllm.__version__ in (ROOT / name).read_text(encoding="utf-8")


def test_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"
