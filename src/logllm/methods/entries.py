"""What a registry knows of a method, be it one of logllm's or one that another package brings."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any, NamedTuple

from logllm.config.recipe import Recipe
from logllm.errors import LogLLMError, ModelError, first_line
from logllm.methods.contract import Method, Needs, Workplace

Make = Callable[[Recipe, Workplace], Method]


class Entry(NamedTuple):
    """One method."""

    what: str
    """What it is, in one line."""
    source: str
    """Where it comes from; empty for what everybody knows."""
    needs: Needs | None
    """Which labels it learns from; none: known once it is made."""
    make: Make
    """A new one."""


def at(place: str) -> Make:
    """What is imported only when a method is made, written as entry points write it."""
    module, _, name = place.partition(":")

    def make(recipe: Recipe, workplace: Workplace) -> Method:
        factory: Make = getattr(import_module(module), name)
        return factory(recipe, workplace)

    return make


def brought_by(point: EntryPoint) -> str:
    """The package that an entry point is of, as people say it."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"


def third_party(point: EntryPoint) -> Entry:
    """The method that an entry point names.

    Raises:
        ModelError: it cannot be loaded, or is nothing that makes a method.
    """
    package = brought_by(point)

    def failure(what: str) -> ModelError:
        return ModelError(f"method {point.name!r} of {package} {what}; install another version of that package, or uninstall it")

    try:
        factory: Any = point.load()
    except Exception as exc:
        raise failure(f"cannot be loaded: {point.value}: {first_line(exc)}") from exc
    if not callable(factory):
        raise failure(f"cannot be made: {point.value} is no class and no function")

    def make(recipe: Recipe, workplace: Workplace) -> Method:
        try:
            method: Method = factory(recipe, workplace)
        except LogLLMError:
            raise
        except Exception as exc:
            raise failure(f"cannot be made: {point.value}: {first_line(exc)}") from exc
        return method

    what = (factory.__doc__ or "").strip().partition("\n")[0]
    return Entry(what, package, getattr(factory, "needs", None), make)
