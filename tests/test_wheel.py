"""What a wheel holds: the formats, the recipes, the data sets and the run that come with logllm, beside the source."""

import shutil
from pathlib import Path

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
    files = {f"logllm/{path.relative_to(package)}" for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {"logllm/py.typed", "logllm/formats/known/hdfs.toml", "logllm/recipes/small.toml", "logllm/evaluate/report.html.jinja"} <= files
    assert in_wheel(ROOT) == files


def test_weights_and_archives_are_too(tmp_path) -> None:
    """Made-up ones under the project's own rules of what to leave out."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    package = tmp_path / "src" / "logllm"
    for name in ("__init__.py", *SHIPPED):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x")
    assert in_wheel(tmp_path) == {f"logllm/{name}" for name in ("__init__.py", *SHIPPED)}
