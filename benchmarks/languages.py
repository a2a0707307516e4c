"""How a run judges the same sessions in other languages.

The test part's messages are translated by the message catalogues that come with the data set
(`logllm.methods.translations`); languages that the run has learnt are marked.

python benchmarks/languages.py RUN DATA [--languages en de it]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from logllm.config.train import TrainSection
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.methods.held_out import labels_of
from logllm.methods.prepared_part import Part
from logllm.methods.translations import translations_of
from logllm.metrics import measure

ENGLISH = "en"


def figures(run: Path, data: Path, *, languages: list[str]) -> list[dict[str, Any]]:
    """F1 at the run's threshold, and average precision, one row for each language."""
    detector = Detector.load(run)
    prepared = Prepared.load(data)
    test = Part.of(prepared, "test")
    labels = labels_of(test)
    others = tuple(language for language in languages if language != ENGLISH)
    translations = translations_of(prepared, TrainSection(languages=others))
    learnt = (ENGLISH, *detector.recipe.train.languages)

    rows = []
    for language in languages:
        messages = test.messages
        if language != ENGLISH:
            messages = translations[language].translated(messages)
        scores = detector.score(test.sessions, messages)
        report = measure(scores, labels, threshold=detector.threshold)
        rows.append(
            {
                "language": language,
                "learnt": language in learnt,
                "f1": report.f1,
                "average_precision": report.average_precision,
                "missed": report.fn,
                "false_alarms": report.fp,
            }
        )
    return rows


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path, help="prepared data, in English")
    parser.add_argument(
        "--languages", nargs="+", default=[ENGLISH, "de", "es", "fr", "sv", "it", "ru"]
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = figures(asked.run, asked.data, languages=asked.languages)
    if asked.json:
        print(json.dumps(rows))
        return
    table = Table("language", "learnt", "F1", "average precision", "missed", "false alarms")
    for row in rows:
        table.add_row(
            row["language"],
            "yes" if row["learnt"] else "no",
            f"{row['f1']:.3f}",
            f"{row['average_precision']:.4f}",
            str(row["missed"]),
            str(row["false_alarms"]),
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
