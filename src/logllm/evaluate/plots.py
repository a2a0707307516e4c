"""Curves and distributions, as PNG for documents and as SVG inside a page."""

import re
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from logllm.extras import require
from logllm.metrics import Labels, Scores, f1_by_threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#808080"  # readable on white and on black; a page replaces it by its own colour
_NORMAL = "#4c8bd0"
_ANOMALOUS = "#e0693a"
_END = 9.5
_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_POINTS = 400


def blank(width: float, height: float) -> "Figure":
    """An empty picture of so many inches.

    Raises:
        RecipeError: matplotlib is missing.
    """
    require("report", to="draw plots")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def saved(figure: "Figure", format: Literal["png", "svg"], **options: Any) -> bytes:
    """A figure's bytes."""
    out = BytesIO()
    figure.savefig(out, format=format, **options)
    return out.getvalue()


def draw(report: Mapping[str, Any], *, scores: Scores, labels: Labels) -> dict[str, "Figure"]:
    """The figures of a report: `reliability` and `scores`.

    Where there is an anomaly there are `precision_recall` and `threshold`, too.
    """
    figures = {
        "scores": _distribution(scores, labels, threshold=report["threshold"]),
        "reliability": _reliability(report["calibration"]),
    }
    if labels.any():
        figures["precision_recall"] = _precision_recall(report, scores=scores, labels=labels)
        figures["threshold"] = _f1_by_threshold(report, scores=scores, labels=labels)
    return figures


def png(figure: "Figure") -> bytes:
    """A figure on white, as PNG."""
    return saved(figure, "png", dpi=160, facecolor="white")


def svg(figure: "Figure") -> str:
    """A figure as an element for a page.

    It is transparent, has the page's own text colour and fonts, and refers to no other address.
    """
    import matplotlib as mpl

    # Text stays text, for the page's own fonts; the salt makes the ids the same each time.
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "logllm", "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        text = saved(figure, "svg", transparent=True, metadata={"Date": None}).decode()
    # Within a page an element needs no head, no names of other places and no style of its own.
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL
    )
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", text)
    return text.replace(_INK, "currentColor").replace("\n", " ")


def _axes(x: str, y: str) -> tuple["Figure", "Axes"]:
    """An empty plot."""
    figure = blank(5, 3.4)
    axes = figure.subplots()
    axes.set_xlabel(x, color=_INK)
    axes.set_ylabel(y, color=_INK)
    _plain(axes)
    return figure, axes


def _plain(axes: "Axes") -> None:
    """Two sides and their ticks, in the page's own colour."""
    axes.tick_params(colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)


def _precision_recall(report: Mapping[str, Any], *, scores: Scores, labels: Labels) -> "Figure":
    """Precision over recall as steps, and where the threshold lies."""
    from sklearn.metrics import precision_recall_curve

    figure, axes = _axes("recall", "precision")
    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    # A curve of a hundred thousand points makes a page of megabytes that looks the same.
    shown = _thinned(len(recall))
    axes.step(recall[shown], precision[shown], where="post", color=_ANOMALOUS, clip_on=False)
    axes.axhline(labels.mean(), color=_INK, linestyle=":", label=f"chance {labels.mean():.3f}")
    point = f"at the threshold {report['threshold']:.3g}"
    axes.plot(report["recall"], report["precision"], "o", color=_NORMAL, clip_on=False, label=point)
    axes.set(xlim=(0, 1), ylim=(0, 1.03))
    _legend(figure)
    return figure


def _distribution(scores: Scores, labels: Labels, *, threshold: float) -> "Figure":
    """How many sessions of each label have which score."""
    figure, axes = _score_axes("sessions", threshold=threshold)
    # A logarithmic axis for the counts: a hundred anomalies among a million sessions would not
    # show.
    parts = {
        "normal": (_logits(scores[~labels]), _NORMAL),
        "anomalous": (_logits(scores[labels]), _ANOMALOUS),
    }
    edges = np.linspace(-_END, _END, 39).tolist()
    for name, (logits, colour) in parts.items():
        axes.hist(logits, edges, histtype="stepfilled", alpha=0.35, facecolor=colour)
        axes.hist(logits, edges, histtype="step", color=colour, label=f"{name} ({len(logits):,})")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0.7)
    axes.minorticks_off()
    _legend(figure)
    return figure


def _reliability(calibration: Mapping[str, Any]) -> "Figure":
    """The share of anomalous sessions over the mean score, band by band.

    Below it stands how many sessions each band holds.
    """
    bands = calibration["bands"]
    figure = blank(5, 3.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (upper, lower):
        _plain(axes)
    upper.plot([0, 1], [0, 1], color=_INK, linestyle=":", label="probabilities")
    means = [band["mean"] for band in bands]
    shares = [band["anomalous"] for band in bands]
    error = f"scores, off by {calibration['error']:.3f} in the mean"
    upper.plot(means, shares, "o-", color=_ANOMALOUS, clip_on=False, label=error)
    upper.set(xlim=(0, 1), ylim=(0, 1.03))
    upper.set_ylabel("anomalous", color=_INK)

    # A band of three sessions says little, whatever their share.
    counts = [band["sessions"] for band in bands]
    middles = [(band["from"] + band["to"]) / 2 for band in bands]
    bars = lower.bar(middles, counts, width=0.09, color=_NORMAL)
    lower.bar_label(bars, labels=[f"{count:,}" for count in counts], color=_INK, fontsize=7)
    lower.set_yscale("log")
    lower.set_ylim(0.7, 12 * max(counts))
    lower.set_yticks([])
    lower.minorticks_off()
    lower.set_ylabel("sessions", color=_INK)
    lower.set_xlabel("score", color=_INK)
    _legend(figure)
    return figure


def _f1_by_threshold(report: Mapping[str, Any], *, scores: Scores, labels: Labels) -> "Figure":
    """F1 if another threshold had been chosen: how much hangs on the choice."""
    figure, axes = _score_axes("F1", threshold=report["threshold"])
    # Every threshold that gives other verdicts; a curve needs no more points than the eye sees.
    values, f1 = f1_by_threshold(_logits(scores), labels)
    shown = _thinned(len(values))
    axes.step(values[shown], f1[shown], where="pre", color=_ANOMALOUS)
    axes.set_ylim(0, 1.03)
    return figure


def _score_axes(y: str, *, threshold: float) -> tuple["Figure", "Axes"]:
    """A plot over scores on a logit axis, the threshold marked; its ends hold what lies beyond."""
    figure, axes = _axes("score (logit scale)", y)
    # `.5` and `.999`: the zeros before the points would run into one another.
    labels = [f"{tick:g}".removeprefix("0") for tick in _TICKS]
    axes.set_xticks(_logits(np.array(_TICKS)), labels)
    axes.set_xlim(-_END - 0.2, _END + 0.2)
    at_threshold = float(_logits(np.array([threshold]))[0])
    axes.axvline(at_threshold, color=_INK, linestyle="--", linewidth=1)
    return figure, axes


def _legend(figure: "Figure") -> None:
    """Names above the plot, where they cover nothing."""
    figure.legend(loc="outside upper center", ncols=2, frameon=False, labelcolor=_INK)


def _logits(scores: Scores) -> npt.NDArray[np.float64]:
    """Scores on the logit scale, what lies beyond its ends at them."""
    # logit(p) = ln p - ln (1 - p), which is infinite at 0 and at 1.
    least = 1 / (1 + np.exp(_END))
    inside = scores.clip(least, 1 - least)
    logits: npt.NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
    return logits


def _thinned(count: int) -> npt.NDArray[np.int64]:
    """Places of some of the points of a long curve, both ends among them."""
    places = np.linspace(0, count - 1, min(count, _POINTS))
    return np.unique(places.round().astype(np.int64))
