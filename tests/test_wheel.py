"""What a wheel holds, and that it works away from the source: formats, recipes, data sets, the run
that comes with logllm."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = (
    "runs/postgres/manifest.json",
    "runs/postgres/README.md",
    "runs/postgres/encoder/adapter_model.safetensors",
    "datasets/sets/postgres/train.log.xz",
    "datasets/sets/postgres/train.labels.csv",
    "datasets/sets/postgres/LICENSE",
)


def in_wheel(root: Path) -> set[str]:
    return {file.distribution_path for file in WheelBuilder(str(root)).recurse_included_files()}


def test_all_that_lies_in_the_package_is_in_the_wheel() -> None:
    package = ROOT / "src" / "logllm"
    files = {
        f"logllm/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {
        "logllm/py.typed",
        "logllm/formats/known/hdfs.toml",
        "logllm/recipes/small.toml",
        "logllm/evaluate/report.html.jinja",
    } <= files
    assert in_wheel(ROOT) == files


def test_weights_and_archives_are_too(tmp_path) -> None:
    """Made-up ones under the project's own rules of what to leave out."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    package = tmp_path / "src" / "logllm"
    for name in ("__init__.py", *SHIPPED):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("__version__ = '0'")
    assert in_wheel(tmp_path) == {f"logllm/{name}" for name in ("__init__.py", *SHIPPED)}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """A source archive, and a wheel that is built of what the archive holds, as an index would have
    them."""
    folder = tmp_path_factory.mktemp("built")
    call = [sys.executable, "-m", "hatchling", "build", "--directory", folder]
    subprocess.run([*call, "--target", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    subprocess.run([*call, "--target", "wheel"], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return {"sdist": sdist, "source": source, "wheel": wheel}


@pytest.mark.real
def test_the_index_s_page_has_no_link_that_only_a_clone_has(built) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = wheel.read(name).decode()
    targets = re.findall(r"\]\(([^)]*)\)", metadata)
    assert targets
    assert all(target.startswith("https://") for target in targets)
    assert "# logllm" in metadata
    assert "Project-URL: Paper, https://arxiv.org/abs/2411.08561" in metadata


@pytest.mark.real
def test_a_wheel_of_the_source_archive_works_away_from_the_source(built, tmp_path) -> None:
    site = tmp_path / "site"
    call = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        site,
        built["wheel"],
    ]
    subprocess.run(call, check=True, capture_output=True)
    lines = [
        f"2026-11-20T10:00:0{at}Z INFO job={job} step {at}"
        for job in range(100, 160)
        for at in range(3)
    ]
    (tmp_path / "app.log").write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "logllm", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = [sys.executable, "-c", "import logllm; print(logllm.__file__)"]
    home = subprocess.run(
        where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert Path(home.strip()).is_relative_to(site)
    assert len(said("detect", "app.log").splitlines()) == 60
    assert '"postgres"' in said("show", "run", "postgres")
    assert "method" in said("show", "recipe", "small")


@pytest.mark.real
def test_the_source_archive_holds_what_its_pages_and_tests_need(built) -> None:
    for name in (
        "mkdocs.yml",
        "docs/index.md",
        "tests/test_wheel.py",
        "hatch_build.py",
        "CITATION.cff",
    ):
        assert (built["source"] / name).is_file(), name
