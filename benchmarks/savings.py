"""What each saving gains, one step at a time from the published way to ours.

Figures are seconds for a whole log.

    python benchmarks/savings.py RUN LOG --out savings-hdfs.json [--sessions 60]

Every step keeps the ones before it. All but the last are timed on seeded sessions and scaled by
count to all of them, or to all distinct ones; the last is ours on the whole log. The steps: the
published way (plain_path.py); one pass whose two verdict logits are read, in place of six generated
tokens; each distinct message encoded once; each distinct session scored once; sessions of like
length in one batch; Polars in place of Python's `re`; and ours, which shares the beginnings of
prompts and merges adapters.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from plain_path import PlainModel
from side_by_side import ours, read_plainly
from torch import Tensor

from logllm.bench.stages import session_stages
from logllm.config.prepare import PrepareSection
from logllm.model.checkpoint import surroundings
from logllm.runs.manifest import read_manifest, read_recipe
from logllm.storage import write_atomic

MICRO_BATCH = 16
"""Sessions a pass."""


class Steps:
    """The ways between the published one and ours."""

    def __init__(self, plain: PlainModel, sessions: Sequence[list[str]], *, count: int) -> None:
        """Prepare to time some of these sessions.

        Args:
            plain: the run's models.
            sessions: all sessions of a log.
            count: how many of them, and of the distinct ones, to time.
        """
        self.plain, self.sessions = plain, sessions
        self.distinct = sorted({tuple(session): session for session in sessions}.values(), key=len)
        self.table = list({message: None for session in sessions for message in session})
        draw = random.Random(0)  # noqa: S311 - no secret
        self.some = draw.sample(list(sessions), min(count, len(sessions)))
        self.some_distinct = draw.sample(self.distinct, min(count, len(self.distinct)))
        batches = [
            self.distinct[start : start + MICRO_BATCH]
            for start in range(0, len(self.distinct), MICRO_BATCH)
        ]
        kept = max(1, count // MICRO_BATCH)
        # Batches from the middle of equal parts: their lengths stand for all.
        places = (
            [(2 * at + 1) * len(batches) // (2 * kept) for at in range(kept)]
            if kept < len(batches)
            else range(len(batches))
        )
        self.alike = [session for place in places for session in batches[place]]

    def generated(self) -> float:
        """Six tokens, every message encoded, every session scored: seconds for all sessions."""
        return (
            self.plain.answers_of(self.some, micro_batch=MICRO_BATCH)[1]
            * len(self.sessions)
            / len(self.some)
        )

    def read(self) -> float:
        """The two logits of one pass."""
        return self._passes(self.some, self._encoded_again) * len(self.sessions) / len(self.some)

    def messages_once(self) -> float:
        """Vectors of the distinct messages, then every session."""
        return self._with_table(self.some, of=len(self.sessions))

    def sessions_once(self) -> float:
        """Vectors of the distinct messages, then the distinct sessions, in any order."""
        return self._with_table(self.some_distinct, of=len(self.distinct))

    def lengths_alike(self) -> float:
        """The distinct sessions in batches of like length."""
        return self._with_table(self.alike, of=len(self.distinct))

    @torch.no_grad()
    def _with_table(self, some: Sequence[list[str]], *, of: int) -> float:
        started = time.perf_counter()
        parts = [
            self.plain.vectors(self.table[start : start + 64])
            for start in range(0, len(self.table), 64)
        ]
        vectors = dict(zip(self.table, torch.cat(parts), strict=True))
        encoding = time.perf_counter() - started
        passes = self._passes(
            some, lambda session: torch.stack([vectors[message] for message in session])
        )
        return encoding + passes * of / len(some)

    def _encoded_again(self, session: list[str]) -> Tensor:
        return self.plain.vectors(session)

    @torch.no_grad()
    def _passes(
        self, sessions: Sequence[list[str]], vectors_of: Callable[[list[str]], Tensor]
    ) -> float:
        """Seconds of one pass a micro-batch, the head at the last position alone."""
        started = time.perf_counter()
        for start in range(0, len(sessions), MICRO_BATCH):
            batch = sessions[start : start + MICRO_BATCH]
            embeddings, mask = self.plain.spliced(
                [vectors_of(session) for session in batch], [self.plain.forced] * len(batch)
            )
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            self.plain.decoder(
                inputs_embeds=embeddings,
                attention_mask=mask,
                position_ids=positions,
                logits_to_keep=1,
                use_cache=False,
            )
        return time.perf_counter() - started


def savings(run: Path, log: Path, *, count: int) -> dict[str, Any]:
    """Seconds for the whole log after each step."""
    grouped, plain_lines = read_plainly(log, run)
    steps = Steps(PlainModel(run), list(grouped.values()), count=count)
    steps.plain.answers_of(steps.some[:2], micro_batch=2)  # warms up
    found = {
        "the published way": plain_lines + steps.generated(),
        "two logits read, nothing generated": plain_lines + steps.read(),
        "each distinct message encoded once": plain_lines + steps.messages_once(),
        "each distinct session scored once": plain_lines + steps.sessions_once(),
        "sessions of like length together": plain_lines + (alike := steps.lengths_alike()),
    }
    settings = PrepareSection.read(
        read_manifest(run)["data"]["prepare"], source="the run's manifest"
    )
    lines, _, _ = session_stages(
        [str(log)], settings, batch_lines=read_recipe(run).detect.read_lines
    )
    found["lines by Polars"] = float(lines["all four"]["seconds"]) + alike
    found["ours: beginnings shared, adapters merged"] = ours(run, log, engine="exact")[1]
    return {
        "sessions": len(grouped),
        "distinct_sessions": len(steps.distinct),
        "timed": len(steps.some),
        "seconds": found,
    }


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder that `logllm train` wrote")
    parser.add_argument("log", type=Path)
    parser.add_argument("--sessions", type=int, default=60, help="sessions to time at each step")
    parser.add_argument("--out", type=Path, required=True, help="where to write")
    given = parser.parse_args()
    about = {
        "kind": "savings",
        "run": given.run.resolve().name,
        "recipe": read_recipe(given.run).name,
        "input": given.log.name,
    }
    found = savings(given.run, given.log, count=given.sessions)
    write_atomic(
        given.out, (json.dumps({**about, **found, **surroundings()}, indent=2) + "\n").encode()
    )


if __name__ == "__main__":
    main()
