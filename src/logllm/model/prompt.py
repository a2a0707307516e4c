"""The words around the messages, and the two answers, as token ids (paper, section 1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from logllm.config.model import PromptSection
from logllm.counting import plural
from logllm.errors import ModelError
from logllm.sessions.message_table import Rows


@dataclass
class Prompt:
    """A rendered prompt: head, messages, tail, answer.

    Its words are the first rows of a table of input vectors, which messages follow: what a decoder
    reads is a list of the table's rows.

    Attributes:
        head: ids before the first message, the beginning-of-sequence token first where the
            tokenizer sets one.
        tail: ids after the last message.
        normal: ids of the normal answer, end-of-sequence last.
        anomalous: ids of the anomalous answer, end-of-sequence last.
        shared: how many first ids the two answers have in common; the verdict is read after them.
        words: all these ids, row by row.
        answers: the rows of the normal and of the anomalous answer.
        verdict_ids: the two ids that tell the answers apart: normal, anomalous.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]
    normal: tuple[int, ...]
    anomalous: tuple[int, ...]
    shared: int
    words: tuple[int, ...] = field(init=False)
    answers: tuple[Rows, Rows] = field(init=False, compare=False)
    verdict_ids: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the words."""
        # Head of 2, tail of 3, answers of 2 each: rows 0-1, 2-4, 5-6, 7-8, and messages from 9 on.
        pieces = (self.head, self.tail, self.normal, self.anomalous)
        self.words = tuple(token for piece in pieces for token in piece)
        ends = np.cumsum([len(piece) for piece in pieces])
        self._head, self._tail, normal, anomalous = np.split(np.arange(ends[-1]), ends[:-1])
        self.answers = normal, anomalous
        self.verdict_ids = self.normal[self.shared], self.anomalous[self.shared]

    @property
    def question(self) -> tuple[int, ...]:
        """Ids between the last message and the verdict: the tail, then what the answers share."""
        return self.tail + self.normal[: self.shared]

    def rows(
        self,
        places: Sequence[Rows],
        *,
        most: int,
        endings: Sequence[Rows] | None = None,
    ) -> list[Rows]:
        """Whole prompts.

        Args:
            places: for each session the places of its messages among the messages.
            most: positions that the decoder can read.
            endings: for each session the rows after the tail; none: those up to the verdict, what
                both answers begin with.

        Raises:
            ModelError: a prompt that is longer.
        """
        if endings is None:
            endings = [self.answers[0][: self.shared]] * len(places)
        first = len(self.words)
        rows = []
        for place, ending in zip(places, endings, strict=True):
            rows.append(np.concatenate([self._head, place + first, self._tail, ending]))

        # A message is one position: a prompt that is 3 too long has 3 messages too many.
        longest = max(map(len, rows))
        if longest > most:
            given = max(map(len, places))
            fitting = given - longest + most
            session = f"a session of {plural(given, 'message')}"
            what = f"{session} is longer than the {fitting:,} that the decoder can read"
            raise ModelError(f"{what}: prepare with --max-messages {fitting}")
        return rows


def render(section: PromptSection, tokenizer: Any) -> Prompt:
    """Turn the prompt's words into ids.

    Each piece is tokenised by itself, without special tokens. A beginning-of-sequence token comes
    first where the tokenizer itself would set one (Llama's does, SmolLM2's does not).

    Raises:
        ModelError: the two answers are the same, or have the same ids.
    """
    texts = (section.head, section.tail, section.normal, section.anomalous)
    pieces = [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    head, tail, normal, anomalous = pieces
    end = tokenizer.eos_token_id
    if end is not None:
        normal = (*normal, end)
        anomalous = (*anomalous, end)

    # Where the two first differ the verdict is read: "The sequence is normal." and "... anomalous."
    # have several tokens in common.
    pairs = zip(normal, anomalous, strict=False)
    alike = takewhile(lambda pair: pair[0] == pair[1], pairs)
    shared = len(list(alike))
    if shared >= min(len(normal), len(anomalous)):
        answers = f"the answers {section.normal!r} and {section.anomalous!r}"
        raise ModelError(f"{answers} cannot be told apart: change model.prompt")

    # Whether the tokenizer sets one is seen by a text of one letter: settings are named differently
    # in each.
    bos = tokenizer.bos_token_id
    if bos is not None and tokenizer("a")["input_ids"][:1] == [bos]:
        head = (bos, *head)
    return Prompt(head, tail, normal=normal, anomalous=anomalous, shared=shared)
