"""Messages of Kafka as numbered lines."""

from collections.abc import MutableMapping, Sequence

import polars as pl
from confluent_kafka import Message

from logllm.logs.lines import lines_in

_NEWLINE = b"#012"
"""What stands for a line end inside a message, as rsyslog writes it."""


def line_of(offset: int) -> int:
    """The number of the line that a message is: messages count from 0, lines from 1."""
    return offset + 1


def lines_of_messages(
    messages: Sequence[Message],
    *,
    counts: MutableMapping[str, int],
) -> pl.DataFrame:
    """Lines (`contract.LINES`) of messages of one partition; one without a value is none.

    Args:
        messages: In their order.
        counts: Where is counted what was no text, or longer than a line may be.
    """
    # A message without a value deletes a key of a compacted topic: it says nothing, and its number
    # stays free.
    numbers: list[int] = []
    values: list[bytes] = []
    for message in messages:
        value = message.value()
        if value is not None:
            numbers.append(line_of(message.offset() or 0))
            values.append(value)
    counts["messages_without_a_value"] += len(messages) - len(values)
    lines = lines_in(_block(values), after=0, encoding="utf-8")
    counts["replaced_characters"] += lines.replaced
    counts["cut_lines"] += lines.cut
    # All values are read as one block, as a file's lines are: masks and codes cost the same here.
    text = lines.frame["text"].head(len(values))
    return pl.DataFrame([pl.Series("line", numbers, dtype=pl.UInt64), text])


def _block(values: Sequence[bytes]) -> bytes:
    """Values one below the other, each a line."""
    block = b"\n".join(values) + b"\n"
    # Nearly always: no value holds a line end, and none needs to be looked at by itself.
    if block.count(b"\n") == len(values):
        return block
    return b"".join(_in_one_line(value) + b"\n" for value in values)


def _in_one_line(value: bytes) -> bytes:
    """A value without the line end after it, and with another mark for those within."""
    without_end = value.removesuffix(b"\n").removesuffix(b"\r")
    return without_end.replace(b"\r\n", b"\n").replace(b"\n", _NEWLINE)
