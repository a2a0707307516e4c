"""How good a run is at naming the guilty lines, where lines are labelled."""

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.methods.prepared_part import Part
from logllm.metrics import Labels, Scores, choose_threshold, chosen_on, measure, within_verdicts


class _Judged(NamedTuple):
    """A part's sessions and lines, scored."""

    sessions: Scores
    """Scores of sessions, (b,)."""
    lines: list[Scores]
    """What each line says by itself, an array a session."""
    labels: list[Labels]
    """Which lines are anomalous, an array a session."""

    @property
    def within(self) -> Scores:
        """What each line says, and no more than its session's verdict, (lines,)."""
        return within_verdicts(self.lines, self.sessions)

    def called(self, threshold: float) -> Scores:
        """The same, and nothing where a session is called normal: -1, (lines,)."""
        is_called = np.repeat(self.sessions >= threshold, [len(lines) for lines in self.lines])
        return np.where(is_called, self.within, -1.0)

    @property
    def anomalous(self) -> Labels:
        """Which lines are anomalous, (lines,)."""
        return np.concatenate(self.labels)


def line_figures(
    detector: Detector,
    prepared: Prepared,
    *,
    split: str,
    scores: Scores,
) -> dict[str, Any] | None:
    """Figures of all lines of a part's sessions.

    A line's score is what the run says of it, and no more than its session's verdict; average
    precision is that of these scores. A line is called anomalous if its session is, and from a
    threshold on that the run's training chose on kinds of fault that were held out, else from one
    that is chosen on the lines of the validation part.

    Args:
        detector: a loaded run.
        prepared: whose part is judged.
        split: `test`, `validation` or `train`.
        scores: of the part's sessions.

    Returns:
        `precision, recall, f1, average_precision, threshold, tp, fp, tn, fn` of lines,
        `threshold_chosen`, how; of the sessions that are rightly called anomalous and hold an
        anomalous line `true_alarms`, how many they are, and `top`, in which share of them the line
        that says most is anomalous. None where lines are not labelled.
    """
    part = Part.of(prepared, split)
    if part.line_labels is None or not any(map(len, part.sessions)):
        return None
    lines = detector.score_lines(part.sessions, part.messages)
    judged = _Judged(scores, lines, part.line_labels)
    threshold, how = _threshold(detector, prepared)
    calls = measure(judged.called(detector.threshold), judged.anomalous, threshold=threshold)
    ranked = measure(judged.within, judged.anomalous, threshold=threshold)
    return {
        **asdict(calls),
        "average_precision": ranked.average_precision,
        "threshold_chosen": how,
        **_top(judged, threshold=detector.threshold),
    }


def _threshold(detector: Detector, prepared: Prepared) -> tuple[float, str]:
    """From where on lines are called anomalous, and how that was chosen."""
    # Training may have chosen it on kinds of fault that were held out: that is the better place.
    frozen = detector.manifest.get("line_threshold")
    if frozen is not None:
        return frozen["value"], frozen["how"]
    part = Part.of(prepared, "validation")
    if part.line_labels is None or not part.sessions:
        return 0.5, "default: the validation part has no lines to choose on"
    scores = detector.score(part.sessions, part.messages)
    lines = detector.score_lines(part.sessions, part.messages)
    judged = _Judged(scores, lines, part.line_labels)
    called = judged.called(detector.threshold)
    chosen = choose_threshold(called, judged.anomalous, scale=detector.method.scale)

    # Without a best F1 the choice itself says how it was made.
    if chosen.f1 is None:
        return chosen.value, chosen.how
    where = chosen_on("validation", prepared.manifest["fingerprint"])
    return chosen.value, f"best F1 on the lines of {where}"


def _top(judged: _Judged, *, threshold: float) -> dict[str, Any]:
    """How often the line that says most is a guilty one."""
    # Of right alarms alone: a missed session shows no line, a false one has no guilty line.
    called = judged.sessions >= threshold
    right: list[bool] = []
    for alarm, lines, labels in zip(called, judged.lines, judged.labels, strict=True):
        if alarm and labels.any():
            top_line = lines.argmax()
            right.append(bool(labels[top_line]))
    top = None
    if right:
        top = float(np.mean(right))
    return {"true_alarms": len(right), "top": top}
