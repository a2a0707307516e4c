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
    """Say how many sessions the input may have cut, and which of them only more of the log can decide.

    Args:
        verdicts: All of a log's, as they came.
        reading: Gave them.
    """
    import polars as pl

    names = ("session", "score", "anomalous", "cut")
    frame = pl.concat([frame.select(name for name in names if name in frame.columns) for frame in verdicts], how="diagonal_relaxed")
    if "cut" not in frame.columns:
        return
    cut = frame.filter(pl.col("cut").is_not_null())
    where = [f"{(cut['cut'] == name).sum():,} {words}" for name, words in _WHERE.items() if (cut["cut"] == name).any()]
    told = agreeing(cut.height, "{session|sessions} may have records outside this input")
    note(f"\n{told} ({', '.join(where)}); {int(cut['anomalous'].sum()):,} of them anomalous even so")
    if not reading.knows_ends:
        note("  this run has not learnt how sessions begin and end, so only those of the first and the last record count as cut")

    # What reaches the threshold, and is not called anomalous.
    doubtful = cut.filter(~pl.col("anomalous") & (pl.col("score") >= reading.threshold)).sort("score", descending=True)
    if doubtful.height:
        such = ", ".join(f"{session} ({score:.3f})" for session, score in doubtful.head(_SHOWN).select("session", "score").iter_rows())
        note(
            f"  {doubtful.height:,} more would be anomalous if that were all of {'it' if doubtful.height == 1 else 'them'}, such as {such}"
        )
