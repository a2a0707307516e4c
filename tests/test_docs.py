"""The documentation's own examples run, and its links lead somewhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def block(page: str, language: str) -> str:
    """The first block of code of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a script of the documentation says, run in a folder."""
    ours = f'logllm() {{ "{sys.executable}" -m logllm "$@"; }}\n{script}'
    return subprocess.run(
        ["bash", "-ec", ours], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_navigation_names_every_page() -> None:
    named = set(
        re.findall(
            r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert named == {str(path.relative_to(DOCS)) for path in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(DOCS)) for path in PAGES])
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).is_file()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(DOCS)) for path in PAGES])
def test_a_page_can_be_read_without_the_site(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "--8<--" not in text
    assert len(text.splitlines()) > 10


EXTRAS = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def test_the_table_of_extras_is_that_of_the_package() -> None:
    table = (DOCS / "guide.md").read_text(encoding="utf-8").partition("## What an extra brings")[2]
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = package["optional-dependencies"]
    assert EXTRAS.findall(table.partition("\n## ")[0]) == list(optional)
    # What an extra takes in is said as it is.
    for name, packages in optional.items():
        taken = re.findall(r"logllm\[([\w,]+)\]", " ".join(packages))
        row = re.search(rf"^\| `{name}` \|.*$", table, re.MULTILINE)
        assert row is not None
        named = re.findall(r"`(\w+)`", row[0].split("|")[3])
        assert named == [part for group in taken for part in group.split(",")]


def test_the_glossary_is_in_order_and_defines_what_beginners_need() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)[2:]
    assert terms == sorted(terms, key=str.lower)
    wanted = {
        "session",
        "window",
        "distinct",
        "recipe",
        "run",
        "method",
        "evidence",
        "average precision",
        "threshold",
    }
    assert wanted <= set(terms)


@pytest.mark.real
def test_a_program_of_one_s_own_prints_what_is_anomalous(tmp_path: Path) -> None:
    lines = []
    for day in ("good", "today"):
        for job in range(100, 200):
            failed = day == "today" and job == 150
            what = "ERROR replica failed: connection timed out" if failed else "INFO wrote bytes"
            lines.append(f"2026-11-20T10:00:00Z INFO job={day}{job} opened file")
            lines.append(f"2026-11-20T10:00:01Z {what} job={day}{job}")
    (tmp_path / "good.log").write_text("\n".join(lines[:200]) + "\n")
    (tmp_path / "today.log").write_text("\n".join(lines[200:]) + "\n")
    script = (
        "logllm prepare --raw good.log --key 'job=(\\w+)' --out data/app\nlogllm train novelty"
        " --data data/app --out runs/app"
    )
    made = shell(script, tmp_path)
    assert made.returncode == 0, made.stderr
    program = [sys.executable, "-c", block("extend/stream.md", "python")]
    with (tmp_path / "today.log").open() as log:
        done = subprocess.run(
            program, cwd=tmp_path, stdin=log, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"today150 0\.\d{4} .*replica failed: connection timed out.*\n", done.stdout
    )


@pytest.mark.real
def test_the_quick_start_with_labels_runs(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    done = shell(block("start/labelled.md", "bash"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "300 sessions, 30 anomalous" in done.stderr
    assert "app@" in done.stdout  # the figures of `evaluate`
    verdicts = [line for line in done.stdout.splitlines() if line.startswith('{"session"')]
    assert len(verdicts) == 3
