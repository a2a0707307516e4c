"""How much disk an installation takes that judges logs and does no more, and that it does judge.

    python benchmarks/footprint.py [--torch torch==2.13.0] [--extra train] [--no-compile]
        [--keep FOLDER] [--json]

A fresh virtual environment is made, PyTorch and this package are installed into it, and `logllm
detect` judges the test log with the run that comes with logllm, with an empty cache: base models
are fetched and converted as on a new machine. pip finds packages as it is set up to.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "src" / "logllm" / "datasets" / "sets" / "postgres" / "test.log.xz"
UNWANTED = ("accelerate", "peft", "scipy", "sklearn", "transformers")
LARGEST = 12


def size(path: Path) -> int:
    """Bytes that a file or all files below a folder take on disk."""
    files = (
        [path]
        if path.is_file()
        else [each for each in path.rglob("*") if each.is_file() and not each.is_symlink()]
    )
    return sum(each.stat().st_blocks * 512 for each in files)


def install(folder: Path, *, torch: str, extra: str, options: Sequence[str]) -> Path:
    """A virtual environment with this package; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", *options]
    subprocess.run([*pip, torch], check=True)
    subprocess.run([*pip, f"{ROOT}[{extra}]" if extra else str(ROOT)], check=True)
    return python


def judged(python: Path, cache: Path) -> dict[str, Any]:
    """Verdicts on the whole test log by an installation of its own, without the source at hand."""
    environment = {**os.environ, "LOGLLM_CACHE": str(cache)}
    environment.pop("PYTHONPATH", None)
    started = time.perf_counter()
    command = [str(python), "-m", "logllm", "detect", str(LOG)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment, cwd=cache
    )
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        "sessions": len(verdicts),
        "anomalous": sum(verdict["anomalous"] for verdict in verdicts),
        "seconds_with_fetching": time.perf_counter() - started,
    }


def footprint(folder: Path, *, torch: str, extra: str, options: Sequence[str]) -> dict[str, Any]:
    """What an installation takes, part by part, and what it gives."""
    python = install(folder / "venv", torch=torch, extra=extra, options=options)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    parts = sorted(((size(path), path.name) for path in packages.iterdir()), reverse=True)
    (folder / "cache").mkdir()
    return {
        "bytes": size(folder / "venv"),
        "largest": {name: count for count, name in parts[:LARGEST]},
        "unwanted": [name for name in UNWANTED if (packages / name).exists()],
        **judged(python, folder / "cache"),
        "cache_bytes": size(folder / "cache"),
    }


def main() -> None:
    """Install, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch", default="torch==2.13.0", help="what pip is asked for first")
    parser.add_argument("--extra", default="", help="an extra to install as well, such as train")
    parser.add_argument(
        "--keep",
        type=Path,
        default=None,
        help="a new folder to leave it in; by default all is removed",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--no-compile",
        action="store_true",
        help="without the bytecode that pip makes: Python makes what it needs",
    )
    given = parser.parse_args()
    options = ["--no-compile"] if given.no_compile else []
    if given.keep is not None:
        given.keep.mkdir(parents=True)
        found = footprint(
            given.keep.resolve(), torch=given.torch, extra=given.extra, options=options
        )
    else:
        with tempfile.TemporaryDirectory() as scratch:
            found = footprint(Path(scratch), torch=given.torch, extra=given.extra, options=options)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(
        f"{found['bytes'] / 1e9:.2f} GB installed, {found['cache_bytes'] / 1e9:.2f} GB of base"
        " models"
    )
    for name, count in found["largest"].items():
        print(f"  {count / 1e6:7.0f} MB  {name}")
    print(
        f"{found['sessions']:,} sessions, {found['anomalous']:,} anomalous, in"
        f" {found['seconds_with_fetching']:.0f} s, fetching included"
    )
    if found["unwanted"]:
        print(f"not needed to judge: {', '.join(found['unwanted'])}", file=sys.stderr)


if __name__ == "__main__":
    main()
