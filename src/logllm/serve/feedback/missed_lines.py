"""Lines of a session that somebody gives, as masked messages, one for each record.

They are read as a run reads logs.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.errors import DataError
from logllm.logs.lines import STDIN
from logllm.logs.reader import Reader
from logllm.logs.tally import WrongFormat

MOST_LINES = 200
"""Lines of a session that can be given."""


def masked_messages(lines: Sequence[str], settings: PrepareSection) -> tuple[str, ...]:
    """The masked messages of some raw lines.

    Args:
        lines: of one session, in order.
        settings: how the run reads.

    Raises:
        DataError: they are none, too many, or most are not in the run's format.
    """
    if not lines or len(lines) > MOST_LINES:
        raise DataError(f"{len(lines):,} lines are given: 1 to {MOST_LINES}, those of the session")
    # A line without an end is one that may still grow: the reader would wait for the rest of it.
    ended = "".join(line.rstrip("\n") + "\n" for line in lines)
    text = BytesIO(ended.encode(settings.format.encoding, errors="replace"))
    # Read just as the run reads its logs, or the messages are not those that it knows.
    reader = Reader(settings, today=datetime.now(UTC).date(), stdin=text)
    try:
        records = pl.concat(list(reader.read([STDIN])))
    except WrongFormat as exc:
        what = f"the lines are not in the run's format ({settings.format.name})"
        raise DataError(f"{what}: give them as they stand in the log") from exc
    return tuple(records["message"].to_list())
