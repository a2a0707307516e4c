"""Each stage from lines of text to logits, timed by itself."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl

from logllm.bench.work import decoder_work, encoder_work, finish, gemm_peak, peak_format, share
from logllm.config.prepare import PrepareSection
from logllm.logs.lines import read_lines
from logllm.logs.masking import mask
from logllm.logs.reader import Reader
from logllm.logs.records import Parser
from logllm.model.decoder import Decoder
from logllm.model.encoder import Encoder, MessageTokens
from logllm.model.fast.light import Light, LightPart
from logllm.model.fast.scorer import Engine
from logllm.model.logllm import LogLLM
from logllm.sessions.message_table import MessageTable, Rows, distinct, rows_of
from logllm.sessions.sessionizer import Sessionizer

Made = TypeVar("Made")
Stage = dict[str, float | int]
"""Seconds, what was done in them, and how much of it a second."""
ENCODINGS, DECODINGS = 9, 3
"""How often messages are encoded, which may take no more than a moment, and sessions decoded; the
machine's peak is measured before, between and after, since its clock wanders."""


class Watch:
    """Adds up the time of several pieces of work."""

    def __init__(
        self, seconds: float = 0.0, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.seconds = seconds
        """So far."""
        self._clock = clock

    def timed(self, work: Callable[..., Made], *arguments: Any) -> Made:
        """The result of some work, with the time added that it takes."""
        started = self._clock()
        result = work(*arguments)
        self.seconds += self._clock() - started
        return result

    def each(self, items: Iterable[Made]) -> Iterator[Made]:
        """Items, with the time added that it takes to make each of them."""
        iterator, end = iter(items), object()
        while (item := self.timed(next, iterator, end)) is not end:
            yield item

    def stage(self, **done: int) -> Stage:
        """What was done in the time."""
        stage: Stage = {"seconds": self.seconds, **done}
        # Nothing takes no time at all, whatever a coarse clock says.
        seconds = max(self.seconds, 1e-9)
        for what, count in done.items():
            stage[f"{what}_per_second"] = count / seconds
        return stage


def line_stages(
    sources: Sequence[str], settings: PrepareSection, *, batch_lines: int
) -> dict[str, Stage]:
    """Reading, parsing and masking, one after the other and each by itself.

    Masking works on every message, repeated ones too.
    """
    parser = Parser(settings.format, sessions=settings.sessions)
    reading, parsing, masking = Watch(), Watch(), Watch()
    lines = messages = 0
    # Generators are timed as they are asked, so that a batch's reading counts to reading alone.
    batches = read_lines(sources, encoding=settings.format.encoding, batch_lines=batch_lines)
    for batch in reading.each(batches):
        records, _ = parsing.timed(parser.parse, batch)
        masking.timed(mask, records["message"], settings.mask)
        lines += batch.frame.height
        messages += records.height
    return {
        "read": reading.stage(lines=lines),
        "parse": parsing.stage(lines=lines),
        "mask": masking.stage(lines=messages),
    }


def session_stages(
    sources: Sequence[str], settings: PrepareSection, *, batch_lines: int
) -> tuple[dict[str, Stage], list[Rows], pl.Series]:
    """Grouping by itself, and all four stages as detection runs them, overlapping as they do.

    Returns:
        Figures, sessions as rows of the message table, and that table.
    """
    today = datetime.now(UTC).date()
    reader = Reader(settings, today=today, batch_lines=batch_lines)
    sessions = Sessionizer(settings.sessions)
    everything, grouping = Watch(), Watch()
    messages = MessageTable()
    # Reading is lazy: to take the next frame is to read, parse, mask and number it.
    numbered = map(messages.numbered, reader.read(sources))
    closed: list[pl.DataFrame] = []
    for records in everything.each(numbered):
        closed.append(grouping.timed(sessions.push, records))
    closed.append(grouping.timed(sessions.flush))
    everything.seconds += grouping.seconds
    lines = reader.tally.counts["lines"]
    rows = rows_of(pl.concat(closed)["messages"])
    figures = {"group": grouping.stage(lines=lines), "all four": everything.stage(lines=lines)}
    return figures, rows, messages.messages


def model_stages(
    engine: Engine, tokenizer: Any, *, data: tuple[Sequence[Rows], pl.Series], max_tokens: int
) -> tuple[dict[str, Stage], list[float]]:
    """Tokenising, encoding and decoding, each distinct thing once.

    Args:
        engine: what scores.
        tokenizer: the encoder's.
        data: sessions and their message table.
        max_tokens: of a message.

    Returns:
        Figures of the stages, those of `encode` and `decode` with the operations of their distinct
        work and the share of the machine's peak that they reached, and that peak each time it was
        measured.
    """
    sessions, messages = data
    once = distinct(sessions).sessions
    tokenising = Watch()
    texts = messages.to_list()
    tokens = tokenising.timed(lambda: MessageTokens(texts, tokenizer, max_tokens=max_tokens))
    model, vectors = engine.model, engine.encode(tokens)
    # How much there is to do at best: equal messages once, equal beginnings of prompts once.
    encoder, decoder = encoder_work(tokens), decoder_work(once, model.prompt)
    device = model.device

    # A part is compared with the peak in the number format that it multiplies in.
    def peak_of(part: Encoder | Decoder | LightPart) -> float:
        number_format = peak_format(part, device=device)
        return statistics.median(gemm_peak(device=device, dtype=number_format))

    # A GPU works on by itself: a pass is over when the device says so.

    def encode() -> None:
        engine.encode(tokens)
        finish(device)

    def judge() -> None:
        engine.judge(once, vectors)
        finish(device)

    encoding = _again_and_again(encode, times=ENCODINGS, peak=lambda: peak_of(model.encoder))
    decoding = _again_and_again(judge, times=DECODINGS, peak=lambda: peak_of(model.decoder))
    to_encode = encoder.flops(model.encoder.model)
    to_decode = decoder.flops(model.decoder.model)
    count = len(tokens)
    stages = {
        "tokenise": tokenising.stage(messages=count),
        "encode": encoding.stage(to_encode, tokens=encoder.positions, messages=count),
        "decode": decoding.stage(to_decode, positions=decoder.positions, sessions=len(once)),
    }
    return stages, [*encoding.peaks, *decoding.peaks]


class Passes(NamedTuple):
    """The same work several times over."""

    seconds: tuple[float, ...]
    """What each pass took."""
    peaks: tuple[float, ...]
    """The machine's peak before the first pass and after each, operations a second."""

    def stage(self, flops: int, **done: int) -> Stage:
        """The pass of middling time, and the middling share of the peak.

        Each pass is set beside the peak right before and right after it.
        """
        shares: list[float] = []
        for number, seconds in enumerate(self.seconds):
            around = self.peaks[number : number + 2]
            shares.append(share(flops, seconds=seconds, peak=around))
        middling = Watch(statistics.median(self.seconds)).stage(**done)
        return {**middling, "flops": flops, "share": statistics.median(shares)}


def _again_and_again(
    work: Callable[[], object], *, times: int, peak: Callable[[], float]
) -> Passes:
    """Time some work, the machine's peak measured before, between and after."""
    # A shared machine changes its speed from minute to minute: a peak of before may not hold.
    seconds, peaks = [], [peak()]
    for _ in range(times):
        watch = Watch()
        watch.timed(work)
        seconds.append(watch.seconds)
        peaks.append(peak())
    return Passes(tuple(seconds), tuple(peaks))


def saved(
    sessions: Sequence[Rows], messages: pl.Series, *, model: LogLLM | Light
) -> dict[str, int]:
    """How much there is of everything, and how much of it is distinct."""
    occurrences = int(np.sum([len(session) for session in sessions]))
    # Each message is one position of the decoder; every session has the prompt's words around them.
    around = len(model.prompt.head) + len(model.prompt.question)
    positions = occurrences + around * len(sessions)
    once = distinct(sessions).sessions
    work = decoder_work(sessions, model.prompt)
    return {
        "sessions": len(sessions),
        "distinct_sessions": len(once),
        "messages": occurrences,
        "distinct_messages": len(messages),
        "positions": positions,
        "distinct_positions": work.positions,
    }
