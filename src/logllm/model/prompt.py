"""The words around the messages and the two answers, as token ids; nowhere else (paper, section 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from logllm.config.model import PromptSection
from logllm.counting import plural
from logllm.errors import ModelError
from logllm.sessions.message_table import Rows


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt: head, messages, tail, answer.

    Attributes:
        head: ids before the first message, the beginning-of-sequence token first where the tokenizer sets one.
        tail: ids after the last message.
        normal: ids of the normal answer, end-of-sequence last.
        anomalous: ids of the anomalous answer, end-of-sequence last.
        shared: how many first ids the two answers have in common; the verdict is read after them.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]
    normal: tuple[int, ...]
    anomalous: tuple[int, ...]
    shared: int

    @property
    def verdict_ids(self) -> tuple[int, int]:
        """The two ids that tell the answers apart: normal, anomalous."""
        return self.normal[self.shared], self.anomalous[self.shared]

    @property
    def question(self) -> tuple[int, ...]:
        """Ids between the last message and the verdict: the tail and the answers' common beginning."""
        return self.tail + self.normal[: self.shared]


class PromptTable:
    """A prompt's words as the first rows of a table of input vectors, which messages follow: an input is a list of its rows.

    Attributes:
        words: the words' token ids, row by row.
        normal: the normal answer's rows.
        anomalous: the anomalous answer's rows.
        opening: the rows of what both answers begin with; the verdict is read after them.
    """

    def __init__(self, prompt: Prompt) -> None:
        """Lay out a prompt."""
        pieces = (prompt.head, prompt.tail, prompt.normal, prompt.anomalous)
        self.words = tuple(token for piece in pieces for token in piece)
        ends = np.cumsum([len(piece) for piece in pieces])
        self._head, self._tail, self.normal, self.anomalous = np.split(np.arange(ends[-1]), ends[:-1])
        self.opening: Rows = self.normal[: prompt.shared]

    def rows(self, places: Sequence[Rows], *, endings: Sequence[Rows], most: int) -> list[Rows]:
        """Whole prompts.

        Args:
            places: for each session the places of its messages among the messages.
            endings: for each session the rows after the tail.
            most: positions that the decoder can read.

        Raises:
            ModelError: a prompt that is longer.
        """
        first = len(self.words)
        rows = [np.concatenate([self._head, place + first, self._tail, ending]) for place, ending in zip(places, endings, strict=True)]
        longest = max(map(len, rows))
        if longest > most:
            given = max(map(len, places))
            fitting = given - longest + most
            raise ModelError(
                f"a session of {plural(given, 'message')} is longer than the {fitting:,} that the decoder can read: "
                f"prepare with --max-messages {fitting}"
            )
        return rows


def render(section: PromptSection, tokenizer: Any) -> Prompt:
    """Turn the prompt's words into ids.

    Each piece is tokenised by itself, without special tokens. A beginning-of-sequence token comes first where the
    tokenizer itself would set one (Llama's does, SmolLM2's does not).

    Raises:
        ModelError: the two answers are the same, or have the same ids.
    """
    ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    normal, anomalous = ([*_ids(tokenizer, answer), *ends] for answer in (section.normal, section.anomalous))
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(normal, anomalous, strict=False))))
    if shared >= min(len(normal), len(anomalous)):
        raise ModelError(f"the answers {section.normal!r} and {section.anomalous!r} cannot be told apart: change model.prompt")
    beginning = [tokenizer.bos_token_id] if _sets_bos(tokenizer) else []
    return Prompt(
        head=(*beginning, *_ids(tokenizer, section.head)),
        tail=_ids(tokenizer, section.tail),
        normal=tuple(normal),
        anomalous=tuple(anomalous),
        shared=shared,
    )


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _sets_bos(tokenizer: Any) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
