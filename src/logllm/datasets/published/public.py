"""The public data sets of the paper: where they are, what it uses of them, and what it counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from logllm.config.prepare import PrepareSection
from logllm.datasets.settings import choose

_LOGHUB_TERMS = (
    "loghub: free for research and academic work on condition that any use refers to"
    " github.com/logpai/loghub and cites its paper; the record doi.org/10.5281/zenodo.8196385 is"
    " marked CC BY 4.0"
)
_CFDR_TERMS = (
    "published by the USENIX Computer Failure Data Repository; its terms are at usenix.org/cfdr"
)
_LOGHUB = (
    "Zhu, He, He, Liu, Lyu: Loghub: A Large Collection of System Log Datasets for AI-driven Log"
    " Analytics, ISSRE 2023"
)
_SUPERCOMPUTERS = "Oliner, Stearley: What Supercomputers Say: A Study of Five System Logs, DSN 2007"
_ZENODO = "https://zenodo.org/records/8196385/files"
_CFDR = "http://0b4af6cdc2f0c5998459-c0245c5c937c5dedcca3f1764ecc9b2f.r43.cf2.rackcdn.com/hpc4"


@dataclass(frozen=True)
class Dataset:
    """A public data set. Its format and its recipe have its name."""

    name: str
    """What it is called on the command line."""
    url: str
    """Where its archive is."""
    kind: Literal["zip", "tar", "lines"]
    """`zip` and `tar` (compressed) hold files; `lines` is one compressed file."""
    paper: Mapping[str, int]
    """What the paper counted (`compared`)."""
    terms: str
    """Licence."""
    cite: str
    """Whom to cite."""
    log: str = ""
    """File in the archive that is the log."""
    labels: str | None = None
    """File in the archive that holds labels of sessions; none: the lines carry them."""
    start: int = 0
    """Lines before the slice that the paper uses."""
    stop: int | None = None
    """Lines up to its end; none: all."""
    bytes: int | None = None
    """Published size of the archive."""
    md5: str | None = None
    """Published MD5 of the archive."""


def _counts(lines: int, *, train: tuple[int, int], test: tuple[int, int]) -> dict[str, int]:
    """The paper's counts by the names that a manifest has for them.

    Args:
        lines: how many lines the log has.
        train: sessions of the train part, and how many of them are anomalous.
        test: the same of the test part.

    >>> _counts(9, train=(4, 2), test=(1, 0))["anomalous"]
    2
    """
    of_train, anomalous_train = train
    of_test, anomalous_test = test
    anomalous = anomalous_train + anomalous_test
    whole = {"lines": lines, "sessions": of_train + of_test, "anomalous": anomalous}
    train_part = {"train.sessions": of_train, "train.anomalous": anomalous_train}
    test_part = {"test.sessions": of_test, "test.anomalous": anomalous_test}
    return whole | train_part | test_part


CATALOG = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="hdfs",
            url=f"{_ZENODO}/HDFS_v1.zip",
            kind="zip",
            log="HDFS.log",
            labels="anomaly_label.csv",
            bytes=186_645_559,
            md5="76a24b4d9a6164d543fb275f89773260",
            paper=_counts(11_175_629, train=(460_048, 13_497), test=(115_013, 3_341)),
            terms=_LOGHUB_TERMS,
            cite=(
                f"{_LOGHUB}; Xu, Huang, Fox, Patterson, Jordan: Detecting Large-Scale System"
                " Problems by Mining Console Logs, SOSP 2009"
            ),
        ),
        Dataset(
            name="bgl",
            url=f"{_ZENODO}/BGL.zip",
            kind="zip",
            log="BGL.log",
            bytes=57_489_019,
            md5="4452953c470f2d95fcb32d5f6e733f7a",
            paper=_counts(4_747_963, train=(37_708, 4_009), test=(9_427, 817)),
            terms=_LOGHUB_TERMS,
            cite=f"{_LOGHUB}; {_SUPERCOMPUTERS}",
        ),
        Dataset(
            name="thunderbird",
            url=f"{_ZENODO}/Thunderbird.tar.gz",
            kind="tar",
            log="Thunderbird.log",
            start=160_000_000,
            stop=170_000_000,
            bytes=2_016_100_298,
            md5="0891b048df2919dc78c99c4428686b44",
            paper=_counts(10_000_000, train=(79_997, 837), test=(20_000, 29)),
            terms=_LOGHUB_TERMS,
            cite=f"{_LOGHUB}; {_SUPERCOMPUTERS}",
        ),
        Dataset(
            name="liberty",
            url=f"{_CFDR}/liberty2.gz",
            kind="lines",
            start=40_000_000,
            stop=45_000_000,
            paper=_counts(5_000_000, train=(40_000, 34_144), test=(10_000, 651)),
            terms=_CFDR_TERMS,
            cite=_SUPERCOMPUTERS,
        ),
    )
}
"""Counts as in the paper; sizes and MD5 sums of the Zenodo record as public repositories quote
them, not compared with the record by us."""


def paper_settings(dataset: Dataset) -> PrepareSection:
    """What the paper prepares a data set with: its format, and the recipe of its name.

    >>> settings = paper_settings(CATALOG["hdfs"])
    >>> settings.split.by, settings.split.validation, settings.sessions.max_messages
    ('random', 0.0, 128)
    """
    no_changes: dict[str, dict[str, Any]] = {"format": {}, "sessions": {}, "split": {}, "mask": {}}
    return choose(dataset.name, recipe=dataset.name, overrides=no_changes)


def compared(manifest: Mapping[str, Any], paper: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Counts of prepared data next to the paper's, by field; `train.sessions` is the part's.

    `lines` are the paper's *messages*: it counts those that do not parse, too (BGL has 47,135
    windows of 100, but 4,747,963 messages).

    >>> manifest = {"lines": 7, "parts": {"test": {"anomalous": 1}}}
    >>> compared(manifest, {"lines": 7, "test.anomalous": 2})
    {'lines': {'paper': 7, 'here': 7}, 'test.anomalous': {'paper': 2, 'here': 1}}
    """
    both: dict[str, dict[str, int]] = {}
    for field, count in paper.items():
        # `train.sessions` is a count of the part, `sessions` one of the whole.
        part, _, name = field.rpartition(".")
        counts = manifest["parts"][part] if part else manifest
        both[field] = {"paper": count, "here": counts[name]}
    return both


def differences(fields: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What is not as the paper counted it, a line each.

    >>> differences({"lines": {"paper": 7, "here": 7}, "test.anomalous": {"paper": 2, "here": 1}})
    ['test anomalous: 1 here, 2 in the paper']
    """
    sentences: list[str] = []
    for field, count in fields.items():
        ours, theirs = count["here"], count["paper"]
        if ours != theirs:
            what = field.replace(".", " ")
            sentences.append(f"{what}: {ours:,} here, {theirs:,} in the paper")
    return sentences
