"""What simple methods reach on prepared data, to compare a run's figures with.

    python benchmarks/baselines.py --data DIR [--json]

Three methods learn from the train and validation parts and are judged on the test part: a decision tree on how often each
message occurs, a logistic regression on which words occur, and the rule that a message never seen in a normal session
is a sign of an anomaly. They need seconds; a language model should do better than they do, or is not worth its time.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

Sessions = Sequence[Sequence[int]]
Scores = npt.NDArray[np.float64]


class Data(NamedTuple):
    """Labelled sessions, each the indexes of its messages."""

    messages: list[str]
    train: Sessions
    train_anomalous: npt.NDArray[np.bool_]
    test: Sessions
    test_anomalous: npt.NDArray[np.bool_]


def read(folder: Path) -> Data:
    """Read what `logllm prepare` wrote, validation counted as train; sessions without a label are left out."""
    labelled = pl.col("anomalous").is_not_null()
    parts = [pl.read_parquet(folder / f"{part}.parquet", columns=["messages", "anomalous"]) for part in ("train", "validation")]
    train = pl.concat(parts).filter(labelled)
    test = pl.read_parquet(folder / "test.parquet", columns=["messages", "anomalous"]).filter(labelled)
    return Data(
        messages=pl.read_parquet(folder / "messages.parquet")["message"].to_list(),
        train=train["messages"].to_list(),
        train_anomalous=train["anomalous"].to_numpy(),
        test=test["messages"].to_list(),
        test_anomalous=test["anomalous"].to_numpy(),
    )


def tree_on_counts(data: Data) -> Scores:
    """A decision tree on how often each message occurs; messages that train does not have are ignored."""
    counts = CountVectorizer(analyzer=list)
    tree = DecisionTreeClassifier(random_state=0).fit(counts.fit_transform(data.train), data.train_anomalous)
    return _of_anomalous(tree.predict_proba(counts.transform(data.test)))


def regression_on_words(data: Data) -> Scores:
    """A logistic regression on which words occur in a session's masked messages."""
    split = CountVectorizer().build_analyzer()
    words = [frozenset(split(message)) for message in data.messages]
    presence = CountVectorizer(analyzer=lambda session: frozenset[str]().union(*(words[index] for index in set(session))), binary=True)
    regression = LogisticRegression(max_iter=10_000, random_state=0).fit(presence.fit_transform(data.train), data.train_anomalous)
    return _of_anomalous(regression.predict_proba(presence.transform(data.test)))


def unseen_messages(data: Data) -> Scores:
    """The rule: the share of a session's messages that no normal session of train holds; any such message is an alarm.

    The share ranks; for the verdict at .5 it is raised by one half wherever it is not zero.
    """
    known = {index for session, anomalous in zip(data.train, data.train_anomalous, strict=True) if not anomalous for index in session}
    shares = np.array([sum(index not in known for index in session) / max(len(session), 1) for session in data.test])
    return np.where(shares > 0, 0.5 + shares / 2, 0.0)


def _of_anomalous(probabilities: npt.NDArray[np.float64]) -> Scores:
    """The column of the class anomalous."""
    return probabilities[:, 1]


METHODS: dict[str, Callable[[Data], Scores]] = {
    "decision tree on event counts": tree_on_counts,
    "logistic regression on word presence": regression_on_words,
    "message never seen in normal training": unseen_messages,
}


def judge(scores: Scores, anomalous: npt.NDArray[np.bool_]) -> dict[str, float | int]:
    """Figures of scores against labels; a score of .5 or more counts as an alarm.

    >>> figures = judge(np.array([0.9, 0.2, 0.6, 0.1]), np.array([True, False, False, True]))
    >>> figures["tp"], figures["fp"], figures["fn"], figures["tn"], figures["f1"]
    (1, 1, 1, 1, 0.5)
    """
    tn, fp, fn, tp = (int(count) for count in confusion_matrix(anomalous, scores >= 0.5, labels=[False, True]).ravel())
    return {
        "average_precision": float(average_precision_score(anomalous, scores)),
        "roc_auc": float(roc_auc_score(anomalous, scores)),
        "precision": tp / max(tp + fp, 1),
        "recall": tp / max(tp + fn, 1),
        "f1": 2 * tp / max(2 * tp + fp + fn, 1),
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
    }


def show(report: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table(title=f"{report['data']}: {report['sessions']:,} test sessions, {report['anomalous']:,} anomalous")
    table.add_column("method")
    columns = ("average_precision", "f1", "precision", "recall", "roc_auc")
    for name in (*columns, "errors"):
        table.add_column(name.replace("_", " "), justify="right")
    for method, figures in report["methods"].items():
        table.add_row(method, *(f"{figures[name]:.3f}" for name in columns), str(figures["fp"] + figures["fn"]))
    Console().print(table)


def main() -> int:
    """Read the options, run the three methods, print their figures."""
    parser = argparse.ArgumentParser(description="Figures of simple methods on prepared data.")
    parser.add_argument("--data", type=Path, required=True, help="folder that logllm prepare wrote")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    try:
        data = read(options.data)
    except OSError as error:
        print(f"{options.data} holds no prepared data, write some with logllm prepare: {error}", file=sys.stderr)
        return 2
    if any(labels.all() or not labels.any() for labels in (data.train_anomalous, data.test_anomalous)):
        print(f"{options.data} has one class only in train or test: there is nothing to compare", file=sys.stderr)
        return 2
    report = {
        "data": str(options.data),
        "sessions": len(data.test),
        "anomalous": int(data.test_anomalous.sum()),
        "methods": {name: judge(method(data), data.test_anomalous) for name, method in METHODS.items()},
    }
    if options.json:
        print(json.dumps(report))
    else:
        show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
