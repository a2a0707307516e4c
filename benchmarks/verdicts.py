"""What a change that must not change a verdict is compared by.

The verdicts of every demo and figure that a machine makes in minutes.

Two trees are run after one another, with the same command, and what they print is compared:

    PYTHONPATH=TREE/src:TREE python benchmarks/verdicts.py --out FOLDER > TREE.json

Everything is made with the command line of the tree that is imported (`python -m logllm`), so that
the names of its modules do not matter; only the tiny models come from `tests.tiny`. One JSON object
is printed: a name -> the sha256 of what was written under it. The outputs themselves stay in the
folder, so that what differs can be looked at. Without the real logs in ../shared/data the entries
that need them are left out. About three minutes on two cores.

Commands run one a core, each with one thread: sums of numbers do not depend on what else the
machine does. `--engine auto` depends on what the cache of this user holds of this machine
(machine.json), so both trees are to run with the same cache.
"""

import argparse
import gzip
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

import logllm

TREE = Path(logllm.__file__).resolve().parents[2]
SHARED = TREE.parent / "shared" / "data"
PACKAGED = ("test", "changed", "german")
"""The packaged PostgreSQL logs that are judged."""
ENGINES = ("exact", "auto")
METHODS = (
    *("tree-counts", "logistic-counts", "random-forest-counts"),
    *("tree-words", "logistic-words", "logistic-vectors", "cnn", "neurallog"),
    *("forest-counts", "forest-words", "unseen", "rapid", "deeplog"),
)
"""All but logrobust, which takes most of a minute, logistic-extremes, the twin of logistic-vectors,
and logistic-lines, which wants labels of lines."""
HDFS_SHARE = 6_000
"""Lines of the HDFS sample that the methods learn from."""
POSTGRES_SHARE = 4_000
"""Lines of the packaged test log that come through standard input and are redacted."""
NOT_COMPARED = ("logllm", "files", "fingerprint", "fetched")
"""Keys of a manifest of data: a version, hashes of Parquet as it was packed, and when a log was
fetched."""
FIGURES = (
    "precision",
    "recall",
    "f1",
    "average_precision",
    "threshold",
    "tp",
    "fp",
    "tn",
    "fn",
    "sessions",
    "unseen",
)
"""Keys of an evaluation that are compared."""
MAKE_TINY = """
from pathlib import Path
from tests.tiny import make_log, make_models

make_models(Path("weights"))
lines, labels = make_log(sessions=120, seed=0)
Path("logs/app.jsonl").write_text("\\n".join(lines) + "\\n")
rows = "".join(f"{key},{label}\\n" for key, label in labels)
Path("logs/app.csv").write_text("session,label\\n" + rows)
"""
"""Writes tiny random models, and a made log with its labels."""

Hashes = dict[str, str]


class Folder:
    """The folder of outputs, and the command line run in it.

    Paths are relative, so that none depends on where the folder is.
    """

    def __init__(self, path: Path) -> None:
        """Make it, empty of what an earlier run left."""
        shutil.rmtree(path, ignore_errors=True)
        (path / "logs").mkdir(parents=True)
        self.path = path.resolve()
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "120"}

    def logllm(
        self, *arguments: str, standard_input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A verb's outputs; one that fails is an outcome as well, compared by what it says."""
        command = [sys.executable, "-m", "logllm", *arguments]
        with (self.path / (standard_input or os.devnull)).open("rb") as stream:
            return subprocess.run(
                command,
                cwd=self.path,
                env=self.environment,
                stdin=stream,
                capture_output=True,
                text=True,
                check=False,
            )

    def keep(self, name: str, text: str) -> Hashes:
        """Write an output beside the others, and give its hash."""
        path = self.path / "outputs" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return {name: hashlib.sha256(text.encode()).hexdigest()}

    def detect(
        self, name: str, *arguments: str, standard_input: str | None = None, summary: bool = False
    ) -> Hashes:
        """Verdicts under a name, and with `summary` the incidents that are told of them."""
        options = ["--no-cache", *(["--summary"] if summary else [])]
        done = self.logllm("detect", *arguments, *options, standard_input=standard_input)
        hashes = self.keep(f"detect/{name}", done.stdout if done.returncode == 0 else done.stderr)
        if summary:
            told = done.stderr.splitlines()
            begins = next(at for at, line in enumerate(told) if "incident" in line)
            hashes |= self.keep(f"summary/{name}", "\n".join(told[begins:]))
        return hashes

    def prepare(self, name: str, *arguments: str) -> Hashes:
        """Prepared data of a name, in the folder `data/NAME`."""
        out = f"data/{name}"
        done = self.logllm("prepare", *arguments, "--out", out)
        return self.data(f"prepare/{name}", out, made=done)

    def data(self, name: str, folder: str, *, made: subprocess.CompletedProcess[str]) -> Hashes:
        """Prepared data that a verb made.

        Its counts, and what its tables hold, however they are packed.
        """
        if made.returncode:
            return self.keep(name, made.stderr)
        manifest = json.loads((self.path / folder / "manifest.json").read_text(encoding="utf-8"))
        hashes = self.keep(f"{name}/manifest", canonical(without(manifest, NOT_COMPARED)))
        for table in sorted((self.path / folder).glob("*.parquet")):
            frame = pl.read_parquet(table)
            columns = [f"{column}: {kind}" for column, kind in frame.schema.items()]
            hashes |= self.keep(f"{name}/{table.stem}", "\n".join([*columns, frame.write_ndjson()]))
        return hashes

    def train(self, name: str, recipe: str, *options: str, data: str) -> Hashes:
        """A run in `runs/NAME`: its threshold, and its weights to the byte if they are tensors."""
        out = f"runs/{name}"
        done = self.logllm("train", recipe, *options, "--data", data, "--out", out)
        if done.returncode:
            return self.keep(f"train/{name}", done.stderr)
        manifest = json.loads((self.path / out / "manifest.json").read_text(encoding="utf-8"))
        tensors = sorted((self.path / out).rglob("*.safetensors"))
        weights = {
            str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in tensors
        }
        return self.keep(
            f"train/{name}", canonical({"threshold": manifest["threshold"], "weights": weights})
        )


def main() -> None:
    """Make all outputs, and print their hashes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the outputs; what it holds is replaced"
    )
    folder = Folder(parser.parse_args().out)
    lay_out_logs(folder)
    print(f"verdicts of {TREE}", file=sys.stderr)
    hashes: Hashes = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(lambda task: task(), tasks(folder)):
            hashes |= part
    print(json.dumps(dict(sorted(hashes.items())), indent=1))


def tasks(folder: Folder) -> Iterable[Callable[[], Hashes]]:
    """What can be made side by side, the longest first."""
    real = SHARED.is_dir()
    if real:
        yield partial(methods, folder)
    for log in PACKAGED:
        for engine in ENGINES:
            yield partial(packaged_verdicts, folder, log, engine=engine)
    yield partial(
        folder.detect,
        "postgres/test-share/standard-input",
        "-",
        "--engine",
        "exact",
        standard_input="logs/test-share.log",
    )
    yield partial(
        folder.detect,
        "postgres/test-share/redact",
        "logs/test-share.log",
        "--engine",
        "exact",
        "--redact",
    )
    yield partial(tiny, folder)
    yield partial(packaged_data, folder)
    if real:
        yield partial(windows, folder)
        yield partial(formats, folder)


def packaged_verdicts(folder: Folder, log: str, *, engine: str) -> Hashes:
    """The run that comes with logllm on a log of the packaged set.

    The demo's own command is the one with a summary.
    """
    return folder.detect(
        f"postgres/{log}/{engine}",
        f"logs/{log}.log.xz",
        "--engine",
        engine,
        summary=engine == "exact",
    )


def packaged_data(folder: Folder) -> Hashes:
    """The packaged set as `prepare` makes it, and what is made of prepared data."""
    hashes = folder.prepare("postgres", "postgres")
    hashes |= folder.prepare("postgres-changed", "postgres", "--test-raw", "changed")
    hashes |= folder.prepare(
        "postgres-redacted",
        "--raw",
        "logs/test.log.xz",
        "--labels",
        "logs/test.labels.csv",
        "--redact",
    )
    hashes |= folder.prepare(
        "postgres-five-minutes",
        "--raw",
        "logs/test.log.xz",
        "--labels",
        "logs/test.labels.csv",
        "--window",
        "5m",
    )
    altered = folder.logllm(
        "perturb",
        "data/postgres",
        "--out",
        "data/postgres-reworded",
        "--kind",
        "reword",
        "--ratio",
        "0.2",
    )
    hashes |= folder.data("perturb/postgres", "data/postgres-reworded", made=altered)
    return hashes


def methods(folder: Folder) -> Hashes:
    """The HDFS sample prepared.

    Every simple method that learns in seconds, on a share of it, and its verdicts.
    """
    labels = ("--labels", "logs/anomaly_label.csv")
    hashes = folder.prepare("hdfs", "hdfs", "--raw", "logs/HDFS_2pct.log.gz", *labels)
    hashes |= folder.prepare("hdfs-share", "hdfs", "--raw", "logs/HDFS_share.log", *labels)
    for method in METHODS:
        hashes |= folder.train(method, method, data="data/hdfs-share")
        hashes |= folder.detect(f"hdfs/{method}", f"runs/{method}", "logs/HDFS_share.log")
    return hashes


def windows(folder: Folder) -> Hashes:
    """Windows by count and by time of BGL and Thunderbird, prepared and judged.

    Each log is read from a file and from standard input.
    """
    bgl = (
        "--raw",
        "logs/BGL_6135.jsonl.gz",
        "--format",
        "json",
        "--message",
        "message",
        "--time",
        "time",
        "--label",
        "label",
    )
    hashes: Hashes = {}
    for name, options in (
        ("count", ("--window", "10")),
        ("step", ("--window", "20", "--step", "5")),
        ("time", ("--window", "1h")),
    ):
        hashes |= folder.prepare(f"bgl-{name}", *bgl, "--normal", "normal", *options)
        hashes |= folder.train(f"bgl-{name}", "unseen", data=f"data/bgl-{name}")
        hashes |= folder.detect(f"bgl/{name}", f"runs/bgl-{name}", "logs/BGL_6135.jsonl.gz")
        hashes |= folder.detect(
            f"bgl/{name}/standard-input",
            f"runs/bgl-{name}",
            "-",
            standard_input="logs/BGL_6135.jsonl",
        )
    hashes |= folder.train("bgl-lines", "logistic-lines", data="data/bgl-count")
    hashes |= folder.detect("bgl/lines", "runs/bgl-lines", "logs/BGL_6135.jsonl.gz")
    cut = folder.logllm("folds", "data/bgl-count", "--parts", "3", "--out", "data/bgl-folds")
    for fold in ("fold-1", "fold-2"):
        hashes |= folder.data(f"folds/bgl/{fold}", f"data/bgl-folds/{fold}", made=cut)
    hashes |= folder.prepare("bgl-first", "bgl", "--raw", "logs/BGL_first10k.log.gz")
    hashes |= folder.prepare(
        "thunderbird", "thunderbird", "--raw", "logs/Thunderbird_19350.log.gz", "--split", "random"
    )
    return hashes


def formats(folder: Folder) -> Hashes:
    """Sixteen kinds of log, their formats found and their sessions proposed."""
    hashes: Hashes = {}
    for log in sorted((SHARED / "loghub_2k").glob("*_2k.log.gz")):
        hashes |= folder.prepare(
            f"found/{log.name.removesuffix('_2k.log.gz')}", "--raw", f"logs/{log.name}"
        )
    return hashes


def tiny(folder: Folder) -> Hashes:
    """LogLLM itself, the recipe `tiny` on tiny random models.

    Its weights, verdicts and figures, and a bundle's verdicts.
    """
    # Models, a log and its labels, made in a process that does not see the modules beside this one
    subprocess.run(
        [sys.executable, "-c", MAKE_TINY], cwd=folder.path, env=folder.environment, check=True
    )

    # A run of them
    log = ("--raw", "logs/app.jsonl", "--labels", "logs/app.csv", "--format", "json")
    sessions = (
        "--key-field",
        "job",
        "--time",
        "time",
        "--time-format",
        "epoch",
        "--split",
        "random",
    )
    weights = (
        "--set",
        "model.encoder.weights=weights/tiny-bert",
        "--set",
        "model.decoder.weights=weights/tiny-llama",
    )
    hashes = folder.prepare("tiny", *log, *sessions)
    hashes |= folder.train("tiny", "tiny", *weights, "--set", "train.seed=3", data="data/tiny")
    hashes |= folder.detect("tiny", "runs/tiny", "logs/app.jsonl")
    hashes |= folder.detect(
        "tiny/standard-input", "runs/tiny", "-", standard_input="logs/app.jsonl"
    )

    # What is made of the run
    report = json.loads(
        folder.logllm("evaluate", "runs/tiny", "--data", "data/tiny", "--json").stdout
    )
    hashes |= folder.keep("evaluate/tiny", canonical({name: report[name] for name in FIGURES}))
    folder.logllm("export", "runs/tiny", "--out", "bundles/tiny", "--merged")
    return hashes | folder.detect("tiny/bundle", "bundles/tiny", "logs/app.jsonl")


def lay_out_logs(folder: Folder) -> None:
    """Links to all logs by their own names, so that nothing depends on where a tree is.

    Unpacked ones for standard input.
    """
    logs = folder.path / "logs"
    packaged = next((TREE / "src" / "logllm").glob("*/sets/postgres"))
    for path in [*packaged.iterdir(), *SHARED.glob("*/*")]:
        (logs / path.name).symlink_to(path)
    postgres = lzma.decompress((logs / "test.log.xz").read_bytes()).splitlines(keepends=True)
    (logs / "test-share.log").write_bytes(b"".join(postgres[:POSTGRES_SHARE]))
    if SHARED.is_dir():
        (logs / "BGL_6135.jsonl").write_bytes(
            gzip.decompress((logs / "BGL_6135.jsonl.gz").read_bytes())
        )
        hdfs = gzip.decompress((logs / "HDFS_2pct.log.gz").read_bytes()).splitlines(keepends=True)
        (logs / "HDFS_share.log").write_bytes(b"".join(hdfs[:HDFS_SHARE]))


def without(manifest: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A manifest without keys, at any depth of objects."""
    left = {name: value for name, value in manifest.items() if name not in names}
    return {
        name: without(value, names) if isinstance(value, dict) else value
        for name, value in left.items()
    }


def canonical(value: object) -> str:
    """A value as JSON that does not depend on the order of its keys."""
    return json.dumps(value, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
