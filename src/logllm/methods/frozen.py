"""Thresholds and weights from kinds of fault held out, where a validation part says too little."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from logllm.config.train import TrainSection
from logllm.counting import plural
from logllm.methods.contract import Method
from logllm.methods.held_out import (
    Fold,
    Kinds,
    folds,
    known_by,
    labels_of,
    renamed,
    taken,
    weights_of,
)
from logllm.methods.judgements import (
    Judged,
    Judgement,
    line_threshold,
    place_of,
    session_threshold,
)
from logllm.methods.mixture import Learner, Minds, Mixture, Weights
from logllm.methods.prepared_part import Part
from logllm.methods.translations import Translation, with_copies
from logllm.metrics import (
    FEW_ANOMALIES,
    Labels,
    Scores,
    Threshold,
    on_scale,
)
from logllm.progress import Report
from logllm.sessions.message_table import lengths

_FEWEST_KINDS = 6
"""With fewer kinds of fault than this, none is held out."""
_DRAWS, _DRAWN_FOLDS = 3, 3
"""How often minds that learn in seconds judge every kind of fault, a third of them at a time."""
_BETTER = 0.005
"""By how much the average precision of weights must exceed that of the first for them to be
taken."""
_ONE = ""
"""The only mind of a method that is no mixture."""


@dataclass(frozen=True)
class Frozen:
    """What was chosen on kinds of fault that were held out."""

    sessions: Threshold
    """The threshold of sessions."""
    lines: Threshold | None
    """The threshold of lines, each of which scores no higher than its session; None: lines have no
    labels."""
    weights: Weights | None = None
    """How much each of several minds counts; None: the method is a single one."""
    about: dict[str, Any] = field(default_factory=dict)
    """What a manifest says besides: `weights` of several minds, and `line_threshold`."""


def frozen_thresholds(
    fresh: Callable[[], Method],
    part: Part,
    *,
    section: TrainSection,
    translations: Mapping[str, Translation] | None = None,
    report: Report | None = None,
) -> Frozen | None:
    """Thresholds of best F1 on sessions whose kinds of fault, or whose messages, were held out.

    Fold after fold a method learns from the train part, except for a share of the kinds of fault, a
    share of what normal sessions are known by, and a share of the rest. Then it judges what was
    held out, as it is and with the names of the application in other words; where sessions are
    copied into other languages, also in one of these. Every kind of fault counts as much as any
    other, and all together as much as their share of the train part. The same holds for lines. The
    threshold is taken from all these judgements together (`logllm.metrics.even_threshold`); that of
    lines has the best F1 where only lines of anomalous sessions are called anomalous.

    For several minds it is first chosen how much each counts (`weighed`). The minds that learn in
    seconds then judge every kind of fault three times. This moves their own threshold from where it
    is on the folds, and the common threshold is moved with it, in the share that these minds have.
    So it depends less on which kinds of fault those few folds hold out.

    Args:
        fresh: makes the method, new and not fitted.
        part: the train part.
        section: says how many folds, and their seed, also of what is fitted to them.
        translations: into the languages that sessions are copied into; None: they are not.
        report: told which fold is under way.

    Returns:
        None where there are too few kinds of fault, or too few anomalies, to hold some out.

    Raises:
        DataError: the sessions have no labels.
        ModelError, RecipeError: as the method's `fit`.
    """
    # Of few kinds a third would be one or two: what those say is chance.
    labels, kinds = labels_of(part), known_by(part)
    if len(np.unique(kinds[labels])) < _FEWEST_KINDS:
        return None

    # Learn and judge, fold after fold.
    count, seed = section.folds, section.seed
    trial = _Trial(part, labels, kinds, seed, translations or {})
    judgements: list[Judgement] = []
    method = fresh()
    for number, fold in enumerate(folds(labels, kinds, count=count, seed=seed)):
        if report is not None:
            report("learning without some kinds of fault, for the threshold", number / count)
        method = fresh()
        trial.fit(method, fold)
        judgements += trial.judged_by(method, fold, number=number)
    anomalies = sum(int(judgement.labels.sum()) for judgement in judgements)
    if anomalies < FEW_ANOMALIES * trial.forms:
        return None

    # How much each mind counts, and where the threshold lies then.
    is_mixture = isinstance(method, Mixture)
    weights, moved = {_ONE: 1.0}, 0.0
    about: dict[str, Any] = {}
    if isinstance(method, Mixture):
        weights, about = weighed(judgements, method.weighings())
        moved = _moved(method, judgements, weights=weights, trial=trial)
        about["weights"]["moved"] = round(moved, 3)

    # One threshold of all judgements together: a fold has too few kinds of fault for one of its
    # own.
    folded = plural(count, "fold")
    forms = "as they are and with other names"
    if translations:
        forms = "as they are, with other names and in another language"
    how = f"best F1 on kinds of fault held out, {folded}, {forms}"
    sessions = [judgement.sessions(weights) for judgement in judgements]
    of_sessions = session_threshold(sessions, scale=method.scale, how=how, moved=moved)
    # Then lines: only those of sessions that this threshold calls anomalous can be called so.
    (called_from,) = on_scale(np.array([of_sessions.value]), method.scale)
    by_lines = [judgement.of_lines(weights, called_from=called_from) for judgement in judgements]
    lines = [judged for judged in by_lines if judged is not None]
    of_lines = line_threshold(lines, scale=method.scale, how=how)
    if of_lines is not None:
        fields = asdict(of_lines)
        about["line_threshold"] = {"lines": fields.pop("sessions"), **fields}
    return Frozen(of_sessions, of_lines, weights if is_mixture else None, about)


@dataclass(frozen=True)
class _Trial:
    """A train part of which some is held out again and again."""

    part: Part
    labels: Labels
    kinds: Kinds
    """What each of its sessions is known by, (b,)."""
    seed: int
    translations: Mapping[str, Translation]
    """Into the languages that sessions are copied into; empty: they are not."""

    @property
    def forms(self) -> int:
        """In how many forms each session is judged."""
        return 3 if self.translations else 2

    def fit(self, method: Learner, fold: Fold) -> None:
        """Have it learn what a fold does not hold out.

        Args:
            method: new and not fitted.
            fold: what is held out.
        """
        learnt = taken(self.part, fold.learnt)
        own = len(learnt.sessions)
        if self.translations:
            learnt = with_copies(learnt, self.translations, seed=self.seed)
        method.copies = len(learnt.sessions) - own
        method.fit(
            learnt.sessions,
            learnt.messages,
            labels=learnt.labels,
            line_labels=learnt.line_labels,
            seed=self.seed,
        )

    def judged_by(self, method: Method, fold: Fold, *, number: int) -> Iterator[Judgement]:
        """What a method that has learnt says of what fold `number` holds out, in every form."""
        held = taken(self.part, fold.held)
        for messages in self._forms(number):
            if isinstance(method, Mixture):
                minds: Mapping[str, Scores] = method.minds(held.sessions, messages)
            else:
                # As logits where the method has them: those can be averaged and moved.
                scores = method.score(held.sessions, messages)
                minds = {_ONE: on_scale(scores, method.scale)}
            judgement = self._judgement(minds, fold)
            if held.line_labels is None:
                yield judgement
                continue
            lines = np.concatenate(method.score_lines(held.sessions, messages))
            values = on_scale(lines, method.scale)
            yield replace(judgement, lines=self._lines(values, fold))

    def judged_quickly(self, minds: Minds, fold: Fold, *, number: int) -> Iterator[Judgement]:
        """The same by minds that are no method, for sessions only."""
        held = taken(self.part, fold.held)
        for messages in self._forms(number):
            yield self._judgement(minds.minds(held.sessions, messages), fold)

    def _forms(self, number: int) -> list[pl.Series]:
        """The messages as they are, with other names, and in one of the languages, each in turn."""
        forms = [self.part.messages, renamed(self.part.messages)]
        if self.translations:
            into = list(self.translations.values())[number % len(self.translations)]
            forms.append(into.translated(self.part.messages))
        return forms

    def _judgement(self, minds: Mapping[str, Scores], fold: Fold) -> Judgement:
        # Which sessions are held out is chance: they are weighed so that anomalies are as frequent
        # as in the whole part.
        labels, kinds = self.labels[fold.held], self.kinds[fold.held]
        weights = weights_of(labels, kinds=kinds, share=float(self.labels.mean()))
        sizes = lengths([self.part.sessions[row] for row in fold.held])
        return Judgement(minds, labels, weights, sizes)

    def _lines(self, values: Scores, fold: Fold) -> Judged:
        """The judgement of lines, each of which is known by what its session is known by."""
        guilty = np.concatenate(self.part.line_labels or [])
        share = float(guilty.mean())
        held = taken(self.part, fold.held)
        labels = np.concatenate(held.line_labels or [])
        kinds = np.repeat(self.kinds[fold.held], lengths(held.sessions))
        weights = weights_of(labels, kinds=kinds, share=share)
        return Judged(values, labels, weights)


def weighed(
    judgements: Sequence[Judgement],
    weighings: Sequence[Weights],
) -> tuple[dict[str, float], dict[str, Any]]:
    """How much each mind counts, and what a manifest says of it.

    The first weights stay unless others have a mean average precision that is clearly higher: a
    smaller difference is chance, and would differ with each seed.

    Args:
        judgements: of what was held out.
        weighings: the weights to choose from.
    """
    # Average precision, not F1: it needs no threshold, which is chosen afterwards.
    precision: list[float] = []
    for weights in weighings:
        of_folds = [judgement.sessions(weights).average_precision() for judgement in judgements]
        precision.append(float(np.mean(of_folds)))
    best = int(np.argmax(precision))
    clearly = precision[best] >= precision[0] + _BETTER
    chosen = weighings[best if clearly else 0]

    # All that was tried is told: whoever reads the manifest sees by how much it was better.
    tried = []
    for weights, value in zip(weighings, precision, strict=True):
        tried.append({**weights, "average_precision": round(value, 4)})
    how = "average precision on kinds of fault held out"
    told = {**chosen, "how": how, "tried": tried}
    return dict(chosen), {"weights": told}


def _moved(
    method: Mixture,
    judgements: Sequence[Judgement],
    *,
    weights: Weights,
    trial: _Trial,
) -> float:
    """By how many logits the threshold moves where quick minds judge every kind of fault."""
    many: list[Judged] = []
    equal: dict[str, float] = {}
    for draw in range(_DRAWS):
        seed = _DRAWS * trial.seed + draw
        drawn = folds(trial.labels, trial.kinds, count=_DRAWN_FOLDS, seed=seed)
        for number, fold in enumerate(drawn):
            quick = method.quick()
            trial.fit(quick, fold)
            by_quick = list(trial.judged_quickly(quick, fold, number=number))
            equal = dict.fromkeys(by_quick[0].minds, 1.0)
            many += [judgement.sessions(equal) for judgement in by_quick]

    # The same minds on the few folds and on the many: how far apart their thresholds are is due to
    # which kinds of fault those folds hold out. The mixture moves by the share that they have in
    # it.
    few = [judgement.sessions(equal) for judgement in judgements]
    share = sum(weights[name] for name in equal) / sum(weights.values())
    return share * (place_of(many) - place_of(few))
