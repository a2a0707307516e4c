"""Why a reader should doubt a report, in plain words."""

from collections.abc import Iterator, Mapping
from typing import Any

from logllm.counting import agreeing
from logllm.metrics import chosen_on

Report = Mapping[str, Any]
"""What `logllm.evaluate.evaluation.judge` or `evaluate` gives; `baselines` and `calibration` where
they were asked for."""

FEW_ANOMALIES = 30
"""With fewer anomalies than this, one session more or less moves recall by more than three
hundredths."""
MUCH_SEEN = 0.5
"""Share of sessions from which on a figure is mostly about those that training has seen."""
FAR_OFF = 0.05
"""Mean distance of scores from observed shares beyond which they are no probabilities."""
_NAMES = {"f1": "F1", "average_precision": "average precision"}


def doubts(report: Report) -> list[str]:
    """All that should make a reader careful, the gravest first; empty where nothing does.

    >>> unseen = {"tp": 0, "fn": 0}
    >>> report = {"tp": 2, "fn": 1, "split": "test", "leakage": {"seen": 0.2}, "unseen": unseen}
    >>> doubts(report)
    ['only 3 of the sessions are anomalous: every figure is uncertain, see the intervals']
    """
    return [*_about_data(report), *_about_rivals(report), *_about_scores(report)]


def _about_data(report: Report) -> Iterator[str]:
    """What the figures were taken on."""
    if report["split"] == "train":
        yield (
            "these are the sessions that the model learnt from: the figures say nothing about new"
            " ones"
        )
    # A run knows where its threshold was chosen by words that hold the data's fingerprint; runs
    # from before that was so name only the part.
    how = report.get("threshold_chosen", "")
    split = report["split"]
    is_own_validation = split == "validation" and " on validation" in how
    of_training = report.get("data_of_training", True)
    is_named = "fingerprint" in report and chosen_on(split, report["fingerprint"]) in how
    if (is_own_validation and of_training) or is_named:
        yield "the threshold was chosen on these sessions: evaluate on others"
    if "data_of_training" in report and not report["data_of_training"]:
        if report["data_of_training"] is None:
            yield "what the run was trained on is not known"
        else:
            yield "these data are not the ones the run was trained on"
    if altered := report.get("altered"):
        yield (
            f"{altered['sessions']:,} of the sessions were altered ({altered['kind']}) and kept "
            "their labels, rightly or not: compare with the figures on the unaltered data"
        )
    anomalous = report["tp"] + report["fn"]
    if anomalous < FEW_ANOMALIES:
        few = agreeing(anomalous, "of the sessions {is|are} anomalous")
        yield (
            f"only {few}: every figure is uncertain, see the intervals"
            if anomalous
            else "no session is anomalous: whether anomalies are found is not measured"
        )
    # What train has seen can be known by heart: such sessions say little about the others.
    share = report["leakage"]["seen"]
    if report["split"] != "train" and share is not None and share > MUCH_SEEN:
        alone = (
            "there are no others"
            if report["unseen"] is None
            else ("look at the figures on the others")
        )
        yield (
            f"{share:.0%} of the sessions also occur in train, message for message, so that"
            f" remembering them is enough: {alone}"
        )
    early = report["leakage"].get("early")
    # Of another log there is no train session that ends later.
    in_time = report["split"] == "test" and not report.get("log")
    if in_time and early is not None and early > MUCH_SEEN:
        yield (
            f"{early:.0%} of the sessions begin before the last train session ends: how good it is"
            " on later sessions is not measured"
        )


def _about_rivals(report: Report) -> Iterator[str]:
    """Trivial baselines that do as well, and those that are missing."""
    for name, rival in report.get("baselines", {}).items():
        # A rival within the model's interval may be as good: chance could have it so.
        above: list[str] = []
        within: list[str] = []
        for key, written in _NAMES.items():
            ends = report["intervals"].get(key)
            if not ends or rival[key] is None or rival[key] < ends[0]:
                continue
            theirs = rival[key]
            ours = report[key]
            comparison = f"{written} {theirs:.3f} against {ours:.3f}"
            (above if theirs > ours else within).append(comparison)
        if above:
            besides = f"; within the model's interval: {', '.join(within)}" if within else ""
            yield f"the trivial baseline {name} is better: {', '.join(above)}{besides}"
        elif within:
            yield f"the trivial baseline {name} is within the model's interval: {', '.join(within)}"
    for name, reason in report.get("not_judged", {}).items():
        yield f"the trivial baseline {name} is missing: {reason}"


def _about_scores(report: Report) -> Iterator[str]:
    """Threshold and calibration."""
    if report.get("threshold_chosen", "").startswith("default"):
        yield (
            f"the threshold of {report['threshold']:g} was not chosen on data"
            f" ({report['threshold_chosen']})"
        )
    error = report.get("calibration", {}).get("error", 0.0)
    if error > FAR_OFF:
        yield (
            f"scores rank sessions but are not probabilities: on average they are {error:.2f} away"
            " from the observed shares"
        )
