"""Drain's templates in place of messages (He et al., ICWS 2017), to compare preprocessing."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.datasets.prepared import PARTS, Prepared, part_figures, write_prepared
from logllm.errors import DataError, RecipeError


class Templates(NamedTuple):
    """What became of some messages."""

    texts: list[str]
    """For each message its template's text, or the template's id as `E7`."""
    learnt: int
    """Templates learnt."""
    unmatched: int
    """Messages, not learnt from, that no template fits: they stay as they are, or are `E0`."""


def templates(messages: Sequence[str], learn: Sequence[bool], *, ids: bool) -> Templates:
    """Learn templates from some messages, and give every message its own.

    Drain with the settings of Drain3 (depth 4, similarity .4, words with a digit are variable),
    without masks of its own. It learns from each distinct message once, in order, and is frozen
    then. What it learnt from has the template of its group as it is in the end.

    >>> messages = ["send 1 to a", "send 2 to b", "send 3 to c", "stop"]
    >>> made = templates(messages, [True, True, False, False], ids=False)
    >>> made.texts, made.unmatched
    (['send <*> to <*>', 'send <*> to <*>', 'send <*> to <*>', 'stop'], 1)

    Args:
        messages: distinct messages.
        learn: for each whether it is learnt from.
        ids: give ids, not texts.

    Raises:
        RecipeError: drain3 is not installed.
    """
    try:
        from drain3.drain import Drain
    except ImportError as exc:
        raise RecipeError("Drain's templates need drain3: pip install 'logllm[study]'") from exc
    # Learnt first, all of them: a template becomes more general as messages join its group.
    drain = Drain()
    group_of = {}
    for text, is_learnt in zip(messages, learn, strict=True):
        if is_learnt:
            group_of[text] = drain.add_log_message(text)[0]
    texts: list[str] = []
    unmatched = 0
    for text in messages:
        group = group_of.get(text) or drain.match(text, full_search_strategy="fallback")
        unmatched += group is None
        if ids:
            texts.append(f"E{group.cluster_id}" if group else "E0")
        else:
            texts.append(group.get_template() if group else text)
    return Templates(texts, len(drain.clusters), unmatched)


def write_templates(data: Path, out: Path, *, ids: bool) -> None:
    """Write prepared data again with templates in place of messages.

    The templates are learnt from the train part alone.

    Args:
        data: data prepared without masks.
        out: the folder to make.
        ids: the template's id takes the message's place, not its text.

    Raises:
        DataError: data that are not prepared, or are masked, or the place to write to is not free.
    """
    prepared = Prepared.load(data)
    if prepared.settings.mask.rules != "off" or prepared.settings.mask.own:
        raise DataError(
            f"{data} is masked: templates are learnt from messages as they are (prepare with --mask"
            " off)"
        )
    parts = {name: prepared.part(name) for name in PARTS}
    learn = np.zeros(len(prepared.messages), dtype=np.bool_)
    learn[parts["train"]["messages"].explode().to_numpy()] = True
    made = templates(prepared.messages.to_list(), learn.tolist(), ids=ids)

    # Many messages have one template: it is one message of the new table.
    texts = pl.Series("message", made.texts)
    distinct = texts.unique(maintain_order=True).to_frame().with_row_index("place")
    joined = texts.to_frame().join(distinct, on="message", maintain_order="left")
    places = joined["place"]
    frames: dict[str, pl.DataFrame] = {}
    for name, part in parts.items():
        frames[name] = part.with_columns(messages=_renumbered(part["messages"], places))
    whole = pl.concat(list(frames.values()))
    about = {
        "learnt": made.learnt,
        "unmatched_messages": made.unmatched,
        "ids": ids,
        "of": prepared.manifest["fingerprint"],
    }
    manifest = {
        **prepared.manifest,
        "parts": {name: part_figures(frame) for name, frame in frames.items()},
        "distinct_messages": distinct.height,
        "distinct_sessions": part_figures(whole)["distinct_sessions"],
        "templates": about,
    }
    write_prepared(
        out, {**frames, "messages": distinct.select("message")}, manifest=manifest, force=True
    )


def _renumbered(messages: pl.Series, places: pl.Series) -> pl.Series:
    """Sessions' messages under their new numbers."""
    # Explode, look up, collect: no Python a message.
    lengths = messages.list.len().to_numpy()
    row = np.repeat(np.arange(len(messages)), lengths)
    flat = pl.DataFrame({"row": row, "message": messages.explode()})
    renumbered = places.gather(flat["message"]).cast(pl.UInt32)
    flat = flat.with_columns(message=renumbered)
    return flat.group_by("row", maintain_order=True).agg("message")["message"]
