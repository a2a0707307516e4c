"""`logllm retrain`: a run learns from answers, and is promoted where that makes nothing worse."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logllm.cli.console import emit, note, result
from logllm.counting import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logllm.serve.feedback.attempt import Outcome
    from logllm.serve.store.verdict_store import Store


_Run = Annotated[
    Path, typer.Argument(help="Folder of the run, as you name it to detect, watch and serve.")
]
_Store = Annotated[
    str | None,
    typer.Option(help="The store with the answers: a file, sqlite:///PATH, or postgresql://..."),
]
_Data = Annotated[
    Path | None,
    typer.Option(
        help="The prepared data that the run was trained on; needed once, then remembered."
    ),
]
_Back = Annotated[bool, typer.Option("--roll-back", help="Go back to the previous run.")]
_Show = Annotated[
    bool,
    typer.Option(
        "--show", help="Show which run judges now, which did before, and what was measured."
    ),
]
_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: shares=4, fewest=20. Repeatable."),
]
_AsJson = Annotated[
    bool, typer.Option("--json", help="Print the outcome as JSON on standard output.")
]


def retrain(
    run: _Run,
    store: _Store = None,
    data: _Data = None,
    back: _Back = False,
    show: _Show = False,
    settings: _Settings = None,
    as_json: _AsJson = False,
) -> None:
    """Train a run again, with the answers people gave.

    The new run takes over only if it passes a test.
    """
    if show:
        _show(run, as_json=as_json)
    elif back:
        _roll_back(run)
    else:
        _retrain(run, store, data=data, settings=settings or [], as_json=as_json)


def _retrain(
    run: Path, store: str | None, *, data: Path | None, settings: list[str], as_json: bool
) -> None:
    """Retrain, and say what came of it."""
    from contextlib import closing

    from logllm.config.train import RetrainSection
    from logllm.serve.feedback.learning import feedback_on
    from logllm.serve.feedback.retraining import retrain as learn

    how = RetrainSection.read(_settings(settings), source="--set")
    with closing(_opened(store)) as opened:
        # Answers, and as many quiet sessions as are to be learnt from or judged.
        feedback = feedback_on(run, opened, most=how.quiet)
        outcome = learn(run, feedback, data=data, how=how, told=note)
    if as_json:
        emit(outcome.as_object(datetime.now(UTC)))
    _tell(run, outcome)


def _opened(store: str | None) -> "Store":
    """The store with the answers.

    Raises:
        DataError: none is named, or it is not there.
    """
    from logllm.errors import DataError
    from logllm.extras import require
    from logllm.serve.store.verdict_store import Store

    # Both before anything is read: training would else fail after minutes.
    require("watch", to="read answers")
    require("train", to="retrain")
    if store is None:
        raise DataError(
            "name the store with the answers: --store app.db, as `logllm watch` writes it"
        )
    return Store.open(store, create=False)


def _settings(written: list[str]) -> dict[str, Any]:
    """Settings as the command line has them: `name=value`, the value TOML or plain text.

    >>> _settings(["harm=0.01", "fewest=20"])
    {'harm': 0.01, 'fewest': 20}
    """
    from logllm.config.recipe import written_value
    from logllm.errors import RecipeError

    settings: dict[str, Any] = {}
    for setting in written:
        name, sign, value = setting.partition("=")
        if not sign:
            raise RecipeError(f"--set {setting}: write name=number, such as shares=4")
        settings[name.strip()] = written_value(value)
    return settings


def _tell(run: Path, outcome: "Outcome") -> None:
    """Say what came of a retraining."""
    counts = outcome.counts
    answers = plural(counts["given"], "answer")
    before = f"{counts['known']:,} learnt before"
    overruled = f"{counts['overruled']:,} overruled by later ones"
    note(f"{answers}: {counts['new']:,} new, {before}, {overruled}")
    for answer in outcome.contradicting:
        note(f"  answer {answer.number} ({answer.session}: {answer.answer}): {answer.against}")
    _tell_figures(outcome.gate.figures, aside=True)
    # What happens next, and how it is undone.
    if outcome.gate.passed:
        note(
            f"promoted: {outcome.newer} judges where {run} is named, and a watch takes it up by"
            " itself"
        )
        note(f"back to {outcome.current}: logllm retrain {run} --roll-back")
        return
    for reason in outcome.gate.refused:
        note(f"refused: {reason}")
    note(f"{outcome.current} continues to judge")


def _tell_figures(figures: "Mapping[str, Any]", *, aside: bool) -> None:
    """Say each figure of both runs, and the difference with its interval.

    `aside` is as `result` takes it.
    """
    titles = {
        "before": "labelled before",
        "answers": "answers not learnt",
        "quiet": "judged normal and never disputed",
        "alarms": "alarms, nobody answered",
    }
    for of, title in titles.items():
        for name, figure in figures.get(of, {}).items():
            # Beside figures of both runs stand counts, such as of sessions.
            if not isinstance(figure, dict):
                continue
            estimate, lower, upper = figure["difference"]
            what = name.replace("_", " ")
            both = f"{what} {figure['current']:.3f} before, {figure['newer']:.3f} now"
            interval = f"95 %: {lower:+.3f} to {upper:+.3f}"
            sessions = plural(figures[of]["sessions"], "session")
            result(f"  {title} ({sessions}): {both}, {estimate:+.3f} ({interval})", aside=aside)


def _roll_back(run: Path) -> None:
    """Go back to the former run, and say so."""
    from logllm.serve.feedback.retraining import roll_back

    back = roll_back(run)
    note(f"{back.current} judges where {run} is named; a watch takes it up by itself")


def _show(run: Path, *, as_json: bool) -> None:
    """Say which run judges, and how that came about."""
    from dataclasses import asdict

    from logllm.runs.promotion import Promotion, read_promotion

    promotion = read_promotion(run) or Promotion(run.absolute().name)
    if as_json:
        emit(asdict(promotion))
    earlier = ", ".join(promotion.earlier) or "none"
    current = f"{promotion.current} judges where {run} is named"
    result(f"{current}; before it: {earlier}", aside=as_json)
    for gate in promotion.gates:
        _tell_gate(gate, aside=as_json)


def _tell_gate(gate: "Mapping[str, Any]", *, aside: bool) -> None:
    """Tell of one gate in the past; `aside` as `result` takes it."""
    reasons = "; ".join(gate.get("reasons", []))
    what = "promoted" if gate.get("promoted") else f"refused: {reasons}"
    newer = gate.get("newer") or "nothing trained"
    result(f"{gate.get('made')} {newer}: {what}", aside=aside)
    _tell_figures(gate.get("figures", {}), aside=aside)
