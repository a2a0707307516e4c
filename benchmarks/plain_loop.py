"""Training speed next to a plain PyTorch loop over the same batches, step by step in turn.

    python benchmarks/plain_loop.py --data DIR [--recipe small] [--steps 30] [--json]

The plain loop is what one would write by hand for the last stage of a recipe: the batch's distinct
messages tokenised and encoded, projected, put between the prompt's embeddings, padded on the left,
one pass, one loss, one step of AdamW. Ours is `logllm train`'s loop with all it does besides:
sampling, schedule, log, checkpoints. After each of our steps the plain loop does the same sessions,
so that both see the same machine; medians are compared.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import LogLLM, assemble
from logllm.training.fit import Examples, accelerate, deterministic
from logllm.training.loop import Loop, Step
from logllm.training.sampler import TrainingSet

WARM_UP = 3
"""First steps, which are not counted."""


class PlainLoop:
    """A training step without any of logllm's machinery."""

    def __init__(self, model: LogLLM, tokenizer: Any, *, messages: list[str]) -> None:
        """Train a model of its own on the messages given."""
        self.model, self.tokenizer, self.messages = model, tokenizer, messages
        self.optimizer = torch.optim.AdamW(
            model.trains(("encoder", "projector", "decoder")), lr=4e-4
        )

    def step(self, sessions: list[Any], labels: list[bool]) -> float:
        """One step on some sessions; the seconds it took."""
        started = time.perf_counter()
        distinct = sorted({int(message) for session in sessions for message in session})
        encoded = self.tokenizer(
            [self.messages[row] for row in distinct],
            padding=True,
            truncation=True,
            max_length=100,
            return_tensors="pt",
        )
        projected = self.model.projector(
            self.model.encoder(encoded["input_ids"], encoded["attention_mask"])
        )
        row_of = {message: row for row, message in enumerate(distinct)}
        embed, prompt = self.model.decoder.embed, self.model.prompt
        head, question = embed(torch.tensor(prompt.head)), embed(torch.tensor(prompt.question))
        inputs = [
            torch.cat([head, projected[[row_of[int(message)] for message in session]], question])
            for session in sessions
        ]
        longest = max(map(len, inputs))
        padded = torch.stack(
            [nn.functional.pad(each, (0, 0, longest - len(each), 0)) for each in inputs]
        )
        mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in inputs])
        logits: Tensor = self.model.decoder(padded, mask, keep=1)[:, 0, list(prompt.verdict_ids)]
        loss = nn.functional.cross_entropy(logits, torch.tensor(labels).long())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return time.perf_counter() - started


def compare(data: Path, *, recipe: str, steps: int) -> dict[str, Any]:
    """Seconds a step, ours and plain, over the last stage of a recipe."""
    prepared = Prepared.load(data)
    whole = Recipe.load(recipe, overrides=["train.objective=verdict"])
    batch = whole.train.batch
    stage = whole.train.stages[-1].model_copy(
        update={"max_sessions": batch * steps, "epochs": None}
    )
    section = whole.train.model_copy(update={"stages": (stage,), "micro_batch": batch})
    sessions, labels, _, alerts = Examples.of(prepared)
    with deterministic(section.seed), tempfile.TemporaryDirectory() as scratch:
        model, tokenizer = assemble(whole.model)
        plain = PlainLoop(*assemble(whole.model), messages=prepared.messages.to_list())
        tokens = MessageTokens(
            prepared.messages.to_list(), tokenizer, max_tokens=whole.model.encoder.max_tokens
        )
        data_set = TrainingSet(sessions, labels, tokens, alerts)
        loop = Loop(
            model, data_set, section=section, run=Path(scratch), accelerator=accelerate(whole)
        )
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        since = time.perf_counter()

        def watch(step: Step) -> None:
            nonlocal since
            seconds["ours"].append(time.perf_counter() - since)
            rows = loop.orders[0][(step.step - 1) * batch : step.step * batch]
            seconds["plain"].append(
                plain.step([sessions[row] for row in rows], labels[rows].tolist())
            )
            since = time.perf_counter()

        loop.train(encode_positions=whole.detect.tokens_on(model.device.type), watch=watch)
    ours, by_hand = (
        statistics.median(times[WARM_UP:]) for times in (seconds["ours"], seconds["plain"])
    )
    ratio = statistics.median(
        b / a for a, b in zip(seconds["ours"][WARM_UP:], seconds["plain"][WARM_UP:], strict=True)
    )
    return {
        "sessions_per_second": round(batch / ours, 2),
        "plain_sessions_per_second": round(batch / by_hand, 2),
        "ratio": round(ratio, 3),
        "steps": steps - WARM_UP,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that `logllm prepare` wrote"
    )
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = compare(options.data, recipe=options.recipe, steps=options.steps)
    if options.json:
        print(json.dumps(found))
    else:
        print(
            f"{found['sessions_per_second']} sessions/s, plain loop"
            f" {found['plain_sessions_per_second']}: {found['ratio']} of its speed (median of"
            f" {found['steps']} steps, {found['threads']} threads)"
        )


if __name__ == "__main__":
    main()
