"""A labelled log, a run that learnt it, and a store with answers to what a newer version of the
program writes."""

import json
import re
from pathlib import Path

import numpy as np

from logllm.datasets.prepare import prepare
from logllm.datasets.settings import choose
from logllm.serve.feedback.answers_given import Said, find_session, give
from logllm.serve.store.verdict_store import Store
from tests.serve.store_contract import Clock, frame, kept, verdict

ROUTINE = (
    "open file",
    "read 3 blocks",
    "write 17 bytes",
    "sync replica 4",
    "checked 12 sums",
    "renewed lease",
    "close file",
)
FAULTS = ("disk failed at block 7", "write failed, no space left", "lost replica 3, giving up")
NEWER_ROUTINE = (
    "lost lease given up as planned, no replica left behind",
    "failed once at block, write repeated on a spare disk",
)
DIGITS = re.compile(r"[0-9]+")
NEWER_FAULT = ("quorum unreachable, waiting", "leader unreachable, waiting")


def make_data(folder: Path, *, sessions: int = 600) -> Path:
    """Prepared data of the old version: every fifth session holds a fault."""
    rng = np.random.default_rng(0)
    lines, labels = [], []
    for number in range(sessions):
        words = [str(word) for word in rng.choice(ROUTINE, size=rng.integers(3, 8))]
        bad = number % 5 == 0
        if bad:
            words[int(rng.integers(len(words)))] = FAULTS[int(rng.integers(len(FAULTS)))]
        labels.append(f"job-{number},{'anomalous' if bad else 'normal'}")
        for at, word in enumerate(words):
            lines.append(
                json.dumps(
                    {
                        "time": 1_700_000_000 + 10 * number + at,
                        "job": f"job-{number}",
                        "message": word,
                    }
                )
            )
    (folder / "app.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "labels.csv").write_text("\n".join(["session,label", *labels]) + "\n")
    overrides = {
        "format": {"time": "time", "time_format": ["epoch"]},
        "sessions": {"by": "key", "key_field": "job"},
        "split": {"by": "random"},
        "mask": {},
    }
    settings = choose("json", recipe=None, overrides=overrides)
    prepare(
        [folder / "app.jsonl"], folder / "data", settings=settings, labels=folder / "labels.csv"
    )
    return folder / "data"


def answered(path: Path, *, model: str, wrong: bool = False, count: int = 30) -> Store:
    """A store in which a person has answered: a third each of false alarms, of right ones, and of
    what was missed.

    Sixty more sessions were judged normal, and nobody objected to them.
    """
    store = Store.open(path, clock=Clock())
    rng = np.random.default_rng(1)
    rows = []
    for at in range(count + 60):
        new = (NEWER_ROUTINE, FAULTS, NEWER_FAULT)[at % 3] if at < count else ROUTINE
        words = [*rng.choice(ROUTINE, size=rng.integers(3, 6)), rng.choice(new)]
        messages = [DIGITS.sub("<*>", str(word)) for word in rng.permutation(words)]
        alarm = at < count and at % 3 < 2
        shown = {"kind": DIGITS.sub("<*>", str(words[-1])), "messages": json.dumps(messages)}
        rows.append(
            verdict(
                f"s{at}", at + 1, anomalous=alarm, score=0.9 if alarm else 0.1, model=model, **shown
            )
        )
    mine = store.claim("app", "p", owner="me")
    store.write("app", verdicts=frame(*rows), kept=kept(mine))
    for at in range(count):
        say(store, f"s{at}", anomalous=(at % 3 > 0) != wrong)
    return store


def say(store: Store, session: str, *, anomalous: bool) -> None:
    """Answer for a session."""
    give(
        store,
        find_session(store, session),
        said=Said("anomalous" if anomalous else "normal", "ann"),
    )
