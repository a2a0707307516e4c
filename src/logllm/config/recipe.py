"""A recipe: every setting of a run, from a TOML file or a packaged name."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from logllm.config.detect import DetectSection
from logllm.config.model import ModelSection
from logllm.config.prepare import SplitSection
from logllm.config.section import Section
from logllm.config.sessions import SessionSection
from logllm.config.target import TargetSection
from logllm.config.train import TrainSection
from logllm.errors import RecipeError, nearest

_INDEX = re.compile(r"\[(\d+)\]")
"""A list's index as Python writes it."""


class DataSection(Section):
    """The data settings a recipe was made for.

    `prepare --recipe` uses them, a run keeps what its data was prepared with.
    """

    sessions: SessionSection | None = None
    """Grouping; none: the format's own."""
    split: SplitSection | None = None
    """Division; none: the format's own, with a validation part."""


class Recipe(Section):
    """Model, training and detection settings of a run."""

    name: str
    """What the recipe is called."""
    title: str = ""
    """One line for people."""
    method: str = "logllm"
    """What scores: LogLLM, or a simpler method (`logllm show methods`)."""
    options: dict[str, Any] = Field(default={})
    """Settings of a method's own, handed to it as they are."""
    data: DataSection = DataSection()
    """Data settings it was made for."""
    model: ModelSection = ModelSection()
    """Encoder, projector, decoder, prompt."""
    train: TrainSection = TrainSection()
    """Stages and what they share; of these a simpler method reads the seed alone."""
    target: TargetSection = TargetSection()
    """What the threshold is to reach."""
    detect: DetectSection = DetectSection()
    """Scoring."""

    @classmethod
    def load(cls, name: str | Path, *, overrides: Sequence[str] = ()) -> Self:
        """Read a packaged recipe or a TOML file, then apply `key.path=value` overrides in order.

        A recipe may say `extends = "small"`: its tables are then laid over that recipe's, lists
        replaced whole. A stage is named by its number from 0: `train.stages.0.crop=false`, or
        `train.stages[0].crop=false`.

        Raises:
            RecipeError: no such recipe, not TOML, an unknown key, a value that does not fit, or a
                malformed override.
        """
        return cls._overridden(_settings(str(name), seen=()), overrides, source=f"recipe {name}")

    @classmethod
    def of_method(cls, name: str, *, overrides: Sequence[str] = ()) -> Self:
        """The recipe that says nothing but its method, then `key.path=value` overrides in order.

        Whether there is such a method is not known here (`logllm.methods.registry.recipe_for`).

        Raises:
            RecipeError: as `load`; or the method cannot do without settings.
        """
        settings = {"name": name, "method": name}
        return cls._overridden(settings, overrides, source=f"method {name}")

    @classmethod
    def _overridden(
        cls, settings: dict[str, Any], overrides: Sequence[str], *, source: str
    ) -> Self:
        """Plain settings with overrides, checked."""
        for override in overrides:
            _override(settings, override)
        return cls.read(settings, source=source)

    @model_validator(mode="after")
    def _stages_where_needed(self) -> Self:
        if self.method in {"logllm", "both"} and not self.train.stages:
            raise ValueError(
                f"method {self.method} needs stages: say extends = 'small', or write train.stages"
            )
        return self

    def toml(self) -> str:
        """The recipe as TOML that `load` reads back to the same recipe."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def packaged() -> list[str]:
    """Names of the recipes that come with logllm.

    >>> "small" in packaged()
    True
    """
    recipes: list[str] = []
    for entry in files("logllm.recipes").iterdir():
        if entry.name.endswith(".toml"):
            recipes.append(entry.name.removesuffix(".toml"))
    return sorted(recipes)


def _settings(name: str, *, seen: tuple[str, ...]) -> dict[str, Any]:
    """The plain settings of a recipe, what it extends resolved."""
    # `a` may extend `b`, which extends `a`: it would never end.
    if name in seen:
        circle = " -> ".join((*seen, name))
        raise RecipeError(f"recipe {name} extends itself: {circle}")
    settings = _parse(name)
    parent = settings.pop("extends", None)
    if parent is None:
        return settings
    if not isinstance(parent, str):
        raise RecipeError(f"recipe {name}: extends takes one recipe's name (found {parent!r})")
    # The furthest ancestor lies undermost.
    return _laid_over(_settings(parent, seen=(*seen, name)), settings)


def _parse(name: str) -> dict[str, Any]:
    """Read one TOML file."""
    path = Path(name)
    try:
        # `small.toml` is a file even where a recipe `small` comes with logllm; `small` is the
        # recipe even where a file has that name.
        if path.suffix == ".toml":
            text = path.read_text(encoding="utf-8")
        elif name in packaged():
            text = files("logllm.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
        elif path.is_file():
            text = path.read_text(encoding="utf-8")
        else:
            recipes = packaged()
            near, all_of_them = nearest(name, recipes), ", ".join(recipes)
            raise RecipeError(
                f"no recipe {name!r}: name a TOML file or one of {all_of_them} (nearest: {near})"
            )
        return tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as exc:
        raise RecipeError(f"recipe {name} cannot be read: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise RecipeError(f"recipe {name} is not TOML: {exc}") from exc


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged, everything else replaced.

    >>> _laid_over({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}, "b": [2]})
    {'a': {'x': 1, 'y': 3}, 'b': [2]}
    """
    merged = dict(under)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _laid_over(merged[key], value)
        else:
            merged[key] = value
    return merged


def written_value(text: str) -> Any:
    """What stands behind `--set NAME=`: a value of TOML, or plain text where it is none.

    >>> written_value("0.01"), written_value("[1, 2]"), written_value("nf4")
    (0.01, [1, 2], 'nf4')
    """
    # Quotes are for TOML, not for a shell: `method=count` means the text `count`.
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _override(settings: dict[str, Any], override: str) -> None:
    """Set one `key.path=value`; the value is TOML, or a plain string where it is none."""
    # `detect.options.query=a=b`: what follows the first `=` is the value.
    path, sign, text = override.partition("=")
    if not sign or not path:
        raise RecipeError(f"--set {override}: write key.path=value, such as train.seed=7")
    value = written_value(text)
    # Python's way to write an index, `stages[0]`, is the same as `stages.0`.
    *parents, last = _INDEX.sub(r".\1", path).split(".")
    place: Any = settings
    for depth, key in enumerate(parents):
        place = _step_into(place, key, override=override, before=parents[:depth])
    if isinstance(place, list):
        place[_index(place, last, override=override, before=parents)] = value
    else:
        place[last] = value


def _step_into(place: Any, key: str, *, override: str, before: Sequence[str]) -> Any:
    """The table or list one step further along an override's path, `before` being the steps so far.

    A table that is not there is made.

    Raises:
        RecipeError: there is a value where the path goes on, or a list has no such number.
    """
    if isinstance(place, list):
        inner = place[_index(place, key, override=override, before=before)]
    else:
        inner = place.setdefault(key, {})
    if not isinstance(inner, dict | list):
        raise RecipeError(f"--set {override}: {key} is a value, not a section")
    return inner


def _index(place: list[Any], key: str, *, override: str, before: Sequence[str]) -> int:
    """A list's index as an override writes it.

    Raises:
        RecipeError: it is no number, or the list has none such.
    """
    if key.isdecimal() and int(key) < len(place):
        return int(key)
    # Show how it is written with the user's own key and value: `train.stages.lr=1e-4` is meant to
    # be `train.stages.0.lr=1e-4`.
    path, sign, value = override.partition("=")
    name = ".".join(before)
    further = path.removeprefix(f"{name}.").removeprefix(key).lstrip(".")
    field = further or ("" if key.isdecimal() else key)
    example = ".".join(filter(None, (name, "0", field)))
    last = len(place) - 1
    numbers = f"0 to {last}" if last else "0 alone"
    raise RecipeError(
        f"--set {override}: {name} is a list with the numbers {numbers}: write, for example, --set"
        f" {example}{sign}{value}"
    )
