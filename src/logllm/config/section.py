"""What every section of the configuration shares: frozen, no unknown keys, errors in one line."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from logllm.errors import RecipeError


class Section(BaseModel):
    """One group of settings. Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="strings")

    @classmethod
    def read(cls, settings: Mapping[str, Any], *, source: str) -> Self:
        """Check settings from a file or a command line.

        Raises:
            RecipeError: one line with the source, the key, what is wrong, and for an unknown key the nearest known.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as exc:
            problems = exc.errors()
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise RecipeError(f"{source}: {_explain(cls, problems[0])}{more}") from exc


def _explain(section: type[BaseModel], problem: ErrorDetails) -> str:
    """One problem of pydantic's as a line for the person who wrote the setting."""
    key = ".".join(str(part) for part in problem["loc"]) or "settings"
    if problem["type"] != "extra_forbidden":
        return f"{key}: {problem['msg']} (found {problem['input']!r:.80})"
    known = sorted(_fields_at(section, problem["loc"][:-1]))
    unknown = str(problem["loc"][-1])
    near = get_close_matches(unknown, known, n=1, cutoff=0.0)
    return f"unknown key {key!r}; the nearest known one is {near[0]!r}" if near else f"unknown key {key!r}"


def _fields_at(section: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """Field names of the section that a path of keys leads to."""
    for part in path:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part)
        if field is None:  # a union's own tag in the path
            continue
        inner = _section_in(field.annotation)
        if inner is None:
            return set()
        section = inner
    return set(section.model_fields)


def _section_in(annotation: object) -> type[BaseModel] | None:
    """The first section inside an annotation such as `tuple[StageSection, ...]` or `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_in(inner)
        if found is not None:
            return found
    return None
