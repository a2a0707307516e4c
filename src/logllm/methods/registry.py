"""Methods by name: those of logllm, and those that other packages bring by entry point."""

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, NamedTuple

from logllm.config.recipe import Recipe, packaged
from logllm.errors import LogLLMError, ModelError, RecipeError, first_line, nearest
from logllm.methods.contract import Method, Needs, Workplace

GROUP = "logllm.methods"
"""Group of the entry points: a method's name, and what makes it of a recipe and a workplace."""
_LATEST: dict[tuple[tuple[str, int], ...], EntryPoints] = {}
"""Methods of other packages, by where packages are and when one last came or went there."""


class Entry(NamedTuple):
    """One method, either logllm's own or one that another package brings."""

    what: str
    """What it is, in one line."""
    source: str
    """Where it comes from: a paper, or the package that brings it; empty for what is well known."""
    needs: Needs | None
    """Which labels it learns from; None: this is known once it is made."""
    place: str
    """What makes it, `module:name` as entry points write it; imported only when one is made."""


_BUILT_IN: dict[str, Entry] = {
    "logllm": Entry(
        "a sentence encoder and a language model, joined and fine-tuned",
        "LogLLM, Guan et al. 2024",
        Needs.SESSIONS,
        "logllm.methods.logllm:LogLLMMethod",
    ),
    "both": Entry(
        "the weighted mean of LogLLM, of words and, where labels are per line, of lines",
        "",
        Needs.SESSIONS,
        "logllm.methods.both:Both",
    ),
    "words": Entry(
        "boosted trees on how often each word occurs",
        "Chen and Guestrin 2016",
        Needs.SESSIONS,
        "logllm.methods.words:Words",
    ),
    "lines": Entry(
        "boosted trees on a line's words and those of the line before, by the labels of lines, a"
        " session being its most anomalous line",
        "Chen and Guestrin 2016",
        Needs.LINES,
        "logllm.methods.line_words:LineWords",
    ),
    "tree-counts": Entry(
        "decision tree on event counts",
        "",
        Needs.SESSIONS,
        "logllm.methods.classical:tree_counts",
    ),
    "logistic-counts": Entry(
        "logistic regression on event counts",
        "",
        Needs.SESSIONS,
        "logllm.methods.classical:logistic_counts",
    ),
    "forest-counts": Entry(
        "isolation forest on event counts, without labels",
        "Liu et al. 2008",
        Needs.NOTHING,
        "logllm.methods.isolated:forest_counts",
    ),
    "random-forest-counts": Entry(
        "random forest on event counts",
        "Breiman 2001",
        Needs.SESSIONS,
        "logllm.methods.classical:random_forest_counts",
    ),
    "tree-words": Entry(
        "decision tree on which words occur",
        "",
        Needs.SESSIONS,
        "logllm.methods.classical:tree_words",
    ),
    "logistic-words": Entry(
        "logistic regression on which words occur",
        "",
        Needs.SESSIONS,
        "logllm.methods.classical:logistic_words",
    ),
    "forest-words": Entry(
        "isolation forest on which words occur, without labels",
        "Liu et al. 2008",
        Needs.NOTHING,
        "logllm.methods.isolated:forest_words",
    ),
    "novelty": Entry(
        "surprise of the strangest message: never seen, words of trouble, repeated, or missing",
        "",
        Needs.NOTHING,
        "logllm.methods.novelty:Novelty",
    ),
    "grep": Entry(
        "messages with a word of trouble, such as error or failed; learns nothing",
        "",
        Needs.NOTHING,
        "logllm.methods.severity:Grep",
    ),
    "unseen": Entry(
        "share of messages that no normal session to learn from holds",
        "",
        Needs.NOTHING,
        "logllm.methods.unseen:Unseen",
    ),
    "logistic-vectors": Entry(
        "logistic regression on mean, maximum and minimum of the messages' frozen vectors",
        "",
        Needs.SESSIONS,
        "logllm.methods.classical:logistic_vectors",
    ),
    "logistic-extremes": Entry(
        "logistic regression on maximum and minimum of the messages' frozen vectors",
        "",
        Needs.SESSIONS,
        "logllm.methods.classical:logistic_extremes",
    ),
    "logistic-lines": Entry(
        "logistic regression on single messages' frozen vectors by the labels of lines, a session"
        " being its most alert message",
        "",
        Needs.LINES,
        "logllm.methods.lines:Lines",
    ),
    "rapid": Entry(
        "distance to the nearest normal message's frozen vector, no training",
        "RAPID, No et al. 2023",
        Needs.NOTHING,
        "logllm.methods.rapid:Rapid",
    ),
    "deeplog": Entry(
        "LSTM that predicts the next event of normal sessions",
        "DeepLog, Du et al. 2017",
        Needs.NOTHING,
        "logllm.methods.deeplog:DeepLog",
    ),
    "logrobust": Entry(
        "attention BiLSTM over frozen vectors",
        "LogRobust, Zhang et al. 2019",
        Needs.SESSIONS,
        "logllm.methods.logrobust:logrobust",
    ),
    "cnn": Entry(
        "convolutions over event numbers",
        "CNN, Lu et al. 2018",
        Needs.SESSIONS,
        "logllm.methods.cnn:cnn",
    ),
    "neurallog": Entry(
        "transformer over frozen vectors",
        "NeuralLog, Le and Zhang 2021",
        Needs.SESSIONS,
        "logllm.methods.neurallog:neurallog",
    ),
}


def names() -> list[str]:
    """Names of all methods: logllm's own, then those of other packages by name."""
    others = {point.name for point in entry_points(group=GROUP)}
    return [*_BUILT_IN, *sorted(others - _BUILT_IN.keys())]


def entry(name: str) -> Entry:
    """A method by its name.

    A name means one method: where two packages bring the same name, or a package brings a name of
    logllm's own, it is an error.

    Raises:
        RecipeError: there is no such method (the message names the nearest and all), or there are
            several.
        ModelError: the package that brings it cannot be loaded.
    """
    # To read what each package brings takes milliseconds: it is done again only after something
    # was installed.
    places = [Path(place) for place in sys.path]
    installed = tuple((str(place), place.stat().st_mtime_ns) for place in places if place.exists())
    all_points = _LATEST.get(installed)
    if all_points is None:
        all_points = entry_points(group=GROUP)
        _LATEST.clear()
        _LATEST[installed] = all_points
    points = list(all_points.select(name=name))
    makers = ["logllm"] if name in _BUILT_IN else []
    makers += [_maker(point) for point in points]
    if not makers:
        near = nearest(name, names(), titles=_titles())
        raise RecipeError(f"no method {name!r}: the nearest is {near!r} of {', '.join(names())}")

    # Which of two is meant by a recipe would depend on what else is installed.
    if len(makers) > 1:
        packages = " and by ".join(makers)
        brought = f"method {name!r} is brought by {packages}"
        ask = ", or ask its makers for another name" if points else ""
        raise RecipeError(f"{brought}: uninstall one of them{ask}")
    if name in _BUILT_IN:
        return _BUILT_IN[name]

    # Another package says what its method is where that is defined, and may fail in any way.
    chosen = Entry("", makers[0], None, points[0].value)
    try:
        factory: Any = points[0].load()
    except Exception as exc:
        raise _failure(name, chosen, what=f"loaded: {chosen.place}: {first_line(exc)}") from exc
    if not callable(factory):
        raise _failure(name, chosen, what=f"made: {chosen.place} is no class and no function")
    title = (factory.__doc__ or "").strip().partition("\n")[0]
    return chosen._replace(what=title, needs=getattr(factory, "needs", None))


def _maker(point: EntryPoint) -> str:
    """The package that an entry point is of, with its version."""
    package = point.dist
    return "an unnamed package" if package is None else f"{package.name} {package.version}"


def make(name: str, recipe: Recipe, *, workplace: Workplace) -> Method:
    """A new method.

    Args:
        name: of the method.
        recipe: its settings; `recipe.options` are for methods that have some.
        workplace: what else it may use.

    Raises:
        RecipeError: there is no such method, or the recipe has settings that it does not know.
        ModelError: the package that brings it fails to make it.
    """
    chosen = entry(name)
    ours = name in _BUILT_IN
    if ours and recipe.options:
        options = ", ".join(recipe.options)
        raise RecipeError(f"method {name!r} has no options, recipe {recipe.name} sets {options}")

    # Ours are imported here and no earlier: who trains words must not wait for torch.
    factory = EntryPoint(name, chosen.place, GROUP).load()
    try:
        method: Method = factory(recipe, workplace)
    except Exception as exc:
        if ours or isinstance(exc, LogLLMError):
            raise
        raise _failure(name, chosen, what=f"made: {chosen.place}: {first_line(exc)}") from exc
    return method


def recipe_for(name: str, *, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a name means.

    It is a packaged recipe, a TOML file, or for a method's name that method with its defaults.

    Args:
        name: a recipe's or a method's name, or a path.
        overrides: `key.path=value`, in order.

    Raises:
        RecipeError: there is neither recipe nor method of the name, or as `Recipe.load`.
    """
    if name in packaged() or Path(name).suffix == ".toml" or Path(name).is_file():
        return Recipe.load(name, overrides=overrides)
    if name in names():
        return Recipe.of_method(name, overrides=overrides)
    # A person may have meant either: the nearest of both is named, and then all of them.
    near = nearest(name, [*packaged(), *names()], titles=_titles())
    raise RecipeError(
        f"no recipe or method {name!r}: the nearest is {near!r}; name a TOML file, "
        f"a recipe ({', '.join(packaged())}) or a method ({', '.join(names())})"
    )


def _titles() -> dict[str, str]:
    """What logllm's own methods are, in words that people may call them by."""
    return {name: f"{method.what} {method.source}" for name, method in _BUILT_IN.items()}


def _failure(name: str, chosen: Entry, *, what: str) -> ModelError:
    """The error for a method of another package that cannot be loaded or made."""
    remedy = "install another version of that package, or uninstall it"
    return ModelError(f"method {name!r} of {chosen.source} cannot be {what}; {remedy}")
