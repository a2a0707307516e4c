"""The published way, plainly.

What scoring and training cost without any of the work that this project saves.

Written from the facts of the paper and of its authors' scripts (arXiv:2411.08561), to be timed next
to ours:

- Python's `re` parses and masks line by line, dictionaries group;
- every message of every session is tokenised and encoded, as often as it occurs;
- micro-batches of sessions in the log's order, messages padded to the batch's longest, prompts
  padded on the left;
- adapters beside the weights (PEFT, not merged), up to six tokens generated greedily, a regular
  expression reads the verdict from them, and what it cannot read is normal.

Nothing of logllm's model path is used: a run's base models and adapters are read by transformers
and PEFT. What is read is the run's own prompt, pooling and threshold, so that its verdicts can be
compared with ours.
"""

import re
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from logllm.config.mask import MaskSection
from logllm.config.model import EncoderSection, PromptSection
from logllm.config.prepare import PrepareSection
from logllm.config.sessions import SessionSection
from logllm.logs.lines import read_lines
from logllm.logs.masking import PLACEHOLDER, rules
from logllm.logs.masks.mask_table import DOTS
from logllm.model.base.weights import locate
from logllm.runs.manifest import read_manifest, read_recipe

GENERATED = 6
"""Most tokens of an answer (the scripts)."""
MICRO_BATCH, ACCUMULATED = 4, 4
"""Training: sessions a pass, and passes a step (the scripts)."""

Sessions = dict[str, list[str]]
"""Masked messages of each session."""


class Answer(NamedTuple):
    """What the decoder says of a session."""

    text: str
    """What it generated after the answer's forced beginning."""
    anomalous: bool
    """What the regular expression read in it; unreadable is normal."""
    logits: tuple[float, float]
    """Of the normal and the anomalous answer at the first generated step."""


def masker(settings: MaskSection) -> Any:
    """A function that masks one message with Python's `re`.

    The same table of rules, in the same order.

    >>> masker(MaskSection())("took 12ms... see /var/log/x on Monday")
    'took <*>  see <*> on <*>'
    """
    dots = re.compile(DOTS.pattern)
    variable = re.compile("|".join(f"(?:{rule.pattern})" for rule in rules(settings)))
    return lambda message: variable.sub(PLACEHOLDER, dots.sub(".. ", message))


def read_sessions(log: Path, settings: PrepareSection) -> Sessions:
    """Parse, mask and group a log, line by line.

    Raises:
        SystemExit: a format without a pattern, or sessions by time: not written out here.
    """
    if settings.format.pattern is None or settings.sessions.by == "time":
        raise SystemExit("the plain path reads formats with a pattern, by key or by count")
    pattern = re.compile(re.sub(r"\(\?<([A-Za-z_]\w*)>", r"(?P<\1>", settings.format.pattern))
    mask = masker(settings.mask)
    grouped: Sessions = {}
    record = 0
    for line in _lines(log, settings):
        found = pattern.fullmatch(line)
        message = (found[settings.format.message] or "").strip() if found else ""
        if found is None or not message:
            continue
        for name in _names(found, message, record=record, settings=settings):
            grouped.setdefault(name, []).append(mask(message))
        record += 1
    return {
        part: messages
        for name, whole in grouped.items()
        for part, messages in _parts(name, whole, section=settings.sessions)
    }


def _lines(log: Path, settings: PrepareSection) -> Iterator[str]:
    """Lines of a log of any kind of archive."""
    for batch in read_lines([log], encoding=settings.format.encoding):
        yield from batch.frame["text"].to_list()


def _names(
    found: "re.Match[str]", message: str, *, record: int, settings: PrepareSection
) -> Iterator[str]:
    """The sessions that a record belongs to."""
    section = settings.sessions
    if section.by == "count":
        yield f"{section.size}@{record - record % section.size + 1}"
    elif section.key_pattern is not None:
        yield from dict.fromkeys(re.findall(section.key_pattern, message))
    elif section.key_field is not None and found[section.key_field]:
        yield found[section.key_field].strip()


def _parts(
    name: str, messages: list[str], *, section: SessionSection
) -> Iterator[tuple[str, list[str]]]:
    """A long session cut, or its parts."""
    most = section.max_messages
    for number, start in enumerate(
        range(0, len(messages), most) if section.long == "split" else [0]
    ):
        yield (f"{name}#{number + 1}" if number else name), messages[start : start + most]


class PlainModel:
    """A run's models as transformers and PEFT load them."""

    def __init__(self, run: Path, *, trainable: bool = False) -> None:
        """Load base models, adapters beside them, projector and prompt.

        Args:
            run: a folder that `logllm train` wrote.
            trainable: let the adapters and the projector learn.
        """
        from transformers import AutoModel, AutoModelForCausalLM

        section = read_recipe(run).model
        self.threshold: float = read_manifest(run)["threshold"]["value"]
        self.section: EncoderSection = section.encoder
        self.encoder, self.encoder_tokenizer = _adapted(
            run / "encoder", section.encoder.weights, kind=AutoModel, trainable=trainable
        )
        self.decoder, self.decoder_tokenizer = _adapted(
            run / "decoder", section.decoder.weights, kind=AutoModelForCausalLM, trainable=trainable
        )
        weights = load_file(run / "projector.safetensors")
        self.projector = nn.Linear(weights["weight"].shape[1], weights["weight"].shape[0])
        self.projector.load_state_dict(weights)
        self._render(section.prompt)

    def _render(self, prompt: PromptSection) -> None:
        """The prompt's pieces as token ids."""
        normal, anomalous = prompt.normal.split(" "), prompt.anomalous.split(" ")
        forced = " ".join(
            word
            for word, _ in takewhile(
                lambda pair: pair[0] == pair[1], zip(normal, anomalous, strict=False)
            )
        )
        tokenizer = self.decoder_tokenizer
        self.forced = self._ids(forced)
        answers = [
            [*self._ids(text), tokenizer.eos_token_id] for text in (prompt.normal, prompt.anomalous)
        ]
        if any(answer[: len(self.forced)] != self.forced for answer in answers):
            raise SystemExit(
                "the decoder's tokenizer does not split the answers after the words they share"
            )
        self.answers = {False: answers[0], True: answers[1]}
        self.verdict_ids = [answer[len(self.forced)] for answer in answers]
        # A beginning-of-sequence token, for a tokenizer that sets one, stands before the head
        # alone.
        self.head: list[int] = tokenizer(prompt.head)["input_ids"]
        self.tail = self._ids(prompt.tail)
        self._words = tuple(
            re.compile(rf"\b{re.escape(words[-1].strip('. '))}\b") for words in (normal, anomalous)
        )

    def _ids(self, text: str) -> list[int]:
        return (
            list(self.decoder_tokenizer(text, add_special_tokens=False)["input_ids"])
            if text
            else []
        )

    def vectors(self, messages: list[str]) -> Tensor:
        """One projected vector a message, (b * s, d_dec).

        Each message is tokenised and encoded whether or not it was met before.
        """
        tokens = self.encoder_tokenizer(
            messages,
            padding=True,
            truncation=True,
            max_length=self.section.max_tokens,
            return_tensors="pt",
        )
        output = self.encoder(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        )
        if self.section.pooling == "pooler":
            return self.projector(output.pooler_output)  # type: ignore[no-any-return]
        weight = tokens["attention_mask"].unsqueeze(-1).float()
        return self.projector((output.last_hidden_state * weight).sum(1) / weight.sum(1))  # type: ignore[no-any-return]

    def inputs(
        self, sessions: Sequence[list[str]], endings: Sequence[list[int]]
    ) -> tuple[Tensor, Tensor]:
        """Prompts as embeddings and mask, (b, p, d_dec) and (b, p)."""
        flat = self.vectors([message for session in sessions for message in session])
        return self.spliced(torch.split(flat, [len(session) for session in sessions]), endings)

    def spliced(
        self, sessions: Sequence[Tensor], endings: Sequence[list[int]]
    ) -> tuple[Tensor, Tensor]:
        """Prompts around sessions of projected vectors, padded on the left."""
        embed = self.decoder.get_input_embeddings()
        prompts = [
            torch.cat(
                [
                    embed(torch.tensor(self.head)),
                    vectors,
                    embed(torch.tensor([*self.tail, *ending], dtype=torch.int64)),
                ]
            )
            for vectors, ending in zip(sessions, endings, strict=True)
        ]
        longest = max(map(len, prompts))
        padded = torch.stack(
            [nn.functional.pad(prompt, (0, 0, longest - len(prompt), 0)) for prompt in prompts]
        )
        mask = torch.tensor(
            [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        )
        return padded, mask

    @torch.no_grad()
    def answer(self, sessions: Sequence[list[str]]) -> list[Answer]:
        """Generate the answers of one micro-batch."""
        embeddings, mask = self.inputs(sessions, [self.forced] * len(sessions))
        end = self.decoder_tokenizer.eos_token_id
        said = self.decoder.generate(
            inputs_embeds=embeddings,
            attention_mask=mask,
            max_new_tokens=GENERATED,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
            return_dict_in_generate=True,
            output_logits=True,
        )
        first = said.logits[0][:, self.verdict_ids].float().tolist()
        texts = self.decoder_tokenizer.batch_decode(said.sequences, skip_special_tokens=True)
        return [
            Answer(text, self._read(text), (pair[0], pair[1]))
            for text, pair in zip(texts, first, strict=True)
        ]

    def _read(self, text: str) -> bool:
        """Whether a generated text says anomalous; unreadable, or both, is normal."""
        normal, anomalous = (bool(word.search(text)) for word in self._words)
        return anomalous and not normal

    def answers_of(
        self, sessions: Sequence[list[str]], *, micro_batch: int
    ) -> tuple[list[Answer], float]:
        """Answers on sessions in the order given, and the seconds they took."""
        started = time.perf_counter()
        found: list[Answer] = []
        for start in range(0, len(sessions), micro_batch):
            found += self.answer(sessions[start : start + micro_batch])
        return found, time.perf_counter() - started

    def parameters(self) -> list[nn.Parameter]:
        """What learns: adapters and projector."""
        return [
            parameter
            for part in (self.encoder, self.projector, self.decoder)
            for parameter in part.parameters()
            if parameter.requires_grad
        ]

    def step(
        self,
        sessions: Sequence[list[str]],
        labels: Sequence[bool],
        *,
        optimizer: torch.optim.Optimizer,
    ) -> float:
        """One training step, and the seconds it took.

        The loss is the cross-entropy over the answer's tokens; the head runs at every position.
        """
        started = time.perf_counter()
        for start in range(0, len(sessions), MICRO_BATCH):
            some = slice(start, start + MICRO_BATCH)
            answers = [self.answers[bool(label)] for label in labels[some]]
            embeddings, mask = self.inputs(sessions[some], answers)
            targets = torch.full(mask.shape, -100)
            for row, answer in enumerate(answers):
                targets[row, -len(answer) :] = torch.tensor(answer)
            loss = (
                self.decoder(inputs_embeds=embeddings, attention_mask=mask, labels=targets).loss
                / ACCUMULATED
            )
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - started


def _adapted(folder: Path, weights: str, *, kind: Any, trainable: bool) -> tuple[Any, Any]:
    """A base model with a run's adapter beside it, in evaluation mode, and its tokenizer.

    The scripts never switch to training mode either.
    """
    from peft import PeftModel
    from transformers import AutoTokenizer

    base = kind.from_pretrained(locate(weights), dtype=torch.float32)
    return PeftModel.from_pretrained(
        base, folder, is_trainable=trainable
    ).eval(), AutoTokenizer.from_pretrained(locate(weights))
