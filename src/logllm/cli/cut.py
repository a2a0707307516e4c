"""Sessions that the ends of an input may have cut, told on a terminal apart from the others."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from logllm.cli.console import note
from logllm.counting import agreeing

if TYPE_CHECKING:
    import polars as pl

    from logllm.detect.reading import Reading

_SHOWN = 3
_WHERE = {"start": "before it began", "end": "after it ended", "both": "before and after it"}


def tell_cut(verdicts: "Sequence[pl.DataFrame]", reading: "Reading") -> None:
    """Say how many sessions the input may have cut, and which of them it leaves undecided.

    Only more of the log can decide those.

    Args:
        verdicts: All of a log's, as they came.
        reading: Gave them.
    """
    import polars as pl

    # Verdicts of a run without ends have no column `cut`, and a frame of none has no types.
    narrow: list[pl.DataFrame] = []
    for frame in verdicts:
        names = ("session", "score", "anomalous", "cut")
        narrow.append(frame.select(name for name in names if name in frame.columns))
    frame = pl.concat(narrow, how="diagonal_relaxed")
    if "cut" not in frame.columns:
        return
    cut = frame.filter(pl.col("cut").is_not_null())
    outside = agreeing(cut.height, "{session|sessions} may have records outside this input")
    note(f"\n{outside} ({_sides(cut)}); {_already_anomalous(cut)}")
    if not reading.knows_ends:
        note(
            "  this run has not learnt how sessions begin and end, so only those of the first and"
            " the last record count as cut"
        )
    _tell_doubtful(cut, reading.threshold)


def _already_anomalous(cut: "pl.DataFrame") -> str:
    """How many sessions are anomalous by what was seen of them."""
    anomalous = int(cut["anomalous"].sum())
    if not anomalous:
        return "none of them is anomalous already"
    return agreeing(anomalous, "of them {is|are} anomalous already")


def _sides(cut: "pl.DataFrame") -> str:
    """How many sessions may go on before the input, after it, and on both sides."""
    counts: list[str] = []
    for side, words in _WHERE.items():
        count = int((cut["cut"] == side).sum())
        # Most inputs cut on one side only: nothing is said of the others.
        if count:
            counts.append(f"{count:,} {words}")
    return ", ".join(counts)


def _tell_doubtful(cut: "pl.DataFrame", threshold: float) -> None:
    """Name sessions that reach the threshold and are not called anomalous.

    The part of them that is missing may explain their scores.
    """
    import polars as pl

    undecided = ~pl.col("anomalous") & (pl.col("score") >= threshold)
    doubtful = cut.filter(undecided).sort("score", descending=True)
    if doubtful.height:
        foremost = doubtful.head(_SHOWN).select("session", "score")
        such = ", ".join(f"{session} ({score:.4f})" for session, score in foremost.iter_rows())
        them = "it" if doubtful.height == 1 else "them"
        more = f"{doubtful.height:,} more would be anomalous if no record of {them} were missing"
        note(f"  {more}, such as {such}")
