"""The figures of simple methods on the PostgreSQL set, as docs/figures.md has them.

F1 at the frozen threshold (average precision).

Every method learns from the train part of the same prepared data, its threshold is the best on the
validation part, and both are then judged on another execution. With a run, its row comes first.

python benchmarks/postgres_figures.py [--run src/logllm/runs/postgres] [--set FOLDER] [--logs test
changed german]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from logllm.datasets.prepared import Prepared
from logllm.datasets.published.packaged import PACKAGED
from logllm.metrics import Labels, Scores, choose_threshold, measure
from logllm.sessions.message_table import rows_of

LOGS = ("test", "changed", "german")
"""What is judged; all methods learn from `train`."""
BASELINES = {
    "logistic-words": "logistic regression on word presence",
    "tree-counts": "decision tree on event counts",
    "unseen": '"never seen in normal training"',
}
"""Names on the command line, and rows of the table."""
WORD = r"[A-Za-z_]+|<\*>"
"""A word, or what masking left of a number."""
SEVERE = ("ERROR", "FATAL", "PANIC", "FEHLER")
"""How a message begins that reports a failure."""


class Figure(NamedTuple):
    """What a method is worth on one log."""

    f1: float
    average_precision: float

    def __str__(self) -> str:
        """As the table has it, without the zero before the point."""
        return f"{self.f1:.3f} ({self.average_precision:.3f})".replace("0.", ".")


class Part(NamedTuple):
    """Sessions of one part as texts, one message a line."""

    texts: list[str]
    labels: Labels

    @classmethod
    def of(cls, prepared: Prepared, name: str) -> "Part":
        """A part of prepared data."""
        frame = prepared.labelled(name)
        texts = ["\n".join(prepared.messages.gather(rows)) for rows in rows_of(frame["messages"])]
        return cls(texts, frame["anomalous"].to_numpy().astype(bool))


def logllm(*arguments: object) -> str:
    """Standard output of a verb.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "logllm", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def prepare(logs: Path, name: str, *, out: Path) -> Path:
    """The train log and another one, prepared as `logllm prepare postgres --test-raw NAME` does.

    A folder without a train log is judged by what learnt from the one that comes with logllm.
    """
    own = (logs / "train.log.xz").exists()
    learnt = logs if own else PACKAGED["postgres"].folder
    train = ("--raw", learnt / "train.log.xz", "--labels", learnt / "train.labels.csv")
    test = ("--test-raw", logs / f"{name}.log.xz", "--test-labels", logs / f"{name}.labels.csv")
    logllm("prepare", "postgres", *train, *test, "--out", out)
    return out


def reported(*arguments: object) -> Figure:
    """The figure in the report that a verb prints."""
    report: dict[str, Any] = json.loads(logllm(*arguments, "--json"))
    return Figure(report["f1"], report["average_precision"])


def trained(method: str, data: Path, *, out: Path) -> Figure:
    """A method's figure on the data that it was trained on."""
    logllm("train", method, "--data", data, "--out", out, "--force")
    return reported("evaluate", out, "--data", data)


def words_and_pairs(prepared: Prepared) -> Figure:
    """Logistic regression on words and pairs of them, weighted by rarity (tf-idf).

    Both classes have the same weight.
    """
    train, validation, test = (Part.of(prepared, name) for name in ("train", "validation", "test"))
    words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=100, class_weight="balanced", max_iter=2000).fit(
        words.fit_transform(train.texts), train.labels
    )
    before, scores = (
        model.predict_proba(words.transform(part.texts))[:, 1] for part in (validation, test)
    )
    threshold = choose_threshold(before, validation.labels, scale="scores")
    return _judged(scores, test.labels, threshold=threshold.value)


def says_error(prepared: Prepared) -> Figure:
    """The rule that a session with a message of a failure is anomalous."""
    test = Part.of(prepared, "test")
    severe = [
        any(message.startswith(SEVERE) for message in text.split("\n")) for text in test.texts
    ]
    return _judged(np.array(severe, dtype=np.float64), test.labels, threshold=0.5)


def rows(
    logs: Path,
    names: Sequence[str] = LOGS,
    *,
    run: Path | None,
    scratch: Path,
) -> Iterator[tuple[str, Sequence[Figure]]]:
    """Each method's figures, one a log."""
    data = [prepare(logs, name, out=scratch / name) for name in names]
    if run is not None:
        yield (
            "the run that comes with logllm",
            [reported("evaluate", run, "--data", folder) for folder in data],
        )
    prepared = [Prepared.load(folder) for folder in data]
    yield (
        "logistic regression on words and pairs, tf-idf, balanced",
        [words_and_pairs(each) for each in prepared],
    )
    for name, title in BASELINES.items():
        yield title, [trained(name, folder, out=scratch / "run") for folder in data]
    yield '"it says ERROR"', [says_error(each) for each in prepared]


def _judged(scores: Scores, labels: Labels, *, threshold: float) -> Figure:
    found = measure(scores, labels, threshold=threshold)
    return Figure(found.f1, found.average_precision or 0.0)


def main() -> None:
    """Print the table's rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a folder that `logllm train` wrote, judged too")
    parser.add_argument(
        "--set",
        type=Path,
        default=PACKAGED["postgres"].folder,
        help="logs and labels of another making (datasets/postgres)",
    )
    parser.add_argument("--logs", nargs="+", default=LOGS, help="which logs of the set are judged")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for title, figures in rows(given.set, given.logs, run=given.run, scratch=Path(scratch)):
            print(f"| {title} | {' | '.join(map(str, figures))} |", flush=True)


if __name__ == "__main__":
    main()
