"""What every section of the configuration shares: frozen, no unknown keys, errors in one line."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from logllm.errors import RecipeError, nearest

_KINDS = {
    "missing": "is missing",
    "int": "takes a whole number",
    "float": "takes a number",
    "finite_number": "takes a finite number",
    "string": "takes a text",
    "bool": "takes true or false",
    "tuple": "takes a list",
    "list": "takes a list",
    "dict": "is a section, and takes a table of settings",
    "mapping": "is a section, and takes a table of settings",
    "model": "is a section, and takes a table of settings",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "needs at least {min_length} of what it lists",
    "too_long": "takes at most {max_length} of what it lists",
    "string_too_short": "needs a text of at least {min_length} characters",
    "string_too_long": "takes a text of at most {max_length} characters",
    "literal_error": "takes {expected}",
    "value_error": "{error}",
}
"""What is wrong with a setting, by pydantic's name for it, or the name's first word where several
say the same."""


def _counted(value: Any) -> Any:
    """A whole number of 1 or more, or `auto`.

    Raises:
        ValueError: anything else; in one piece, where a union would give a problem for each of its
            members.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value == "auto" or (whole and value >= 1):
        return value
    raise ValueError("takes a whole number of 1 or more, or auto")


CountOrAuto = Annotated[int | Literal["auto"], PlainValidator(_counted)]
"""A count that the machine may settle."""


class Section(BaseModel):
    """One group of settings. Frozen; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="strings"
    )

    @classmethod
    def read(cls, settings: Mapping[str, Any], *, source: str) -> Self:
        """Check settings from a file or a command line.

        Raises:
            RecipeError: one line with the source, the key, what is wrong, and for an unknown key
                the nearest known.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as exc:
            # The first one is told; more at once would hide it.
            first, *others = exc.errors()
            more = f" (and {len(others)} more)" if others else ""
            raise RecipeError(f"{source}: {_explain(cls, first)}{more}") from exc


def _explain(section: type[BaseModel], problem: ErrorDetails) -> str:
    """One problem of pydantic's as a line for the person who wrote the setting."""
    # `train.stages.0.lr`: the way to the setting as a TOML file or `--set` writes it.
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] != "extra_forbidden":
        # What is wrong with a section as a whole, such as settings that exclude each other.
        if not key:
            return problem_in_words(problem)
        value = problem["input"]
        shown = "" if isinstance(value, Mapping) else f" (found {value!r:.80})"
        return f"{key}: {problem_in_words(problem)}{shown}"
    # A key that nobody knows is mostly a slip: name the one that was meant.
    fields = sorted(_fields_at(section, problem["loc"][:-1]))
    unknown = str(problem["loc"][-1])
    if not fields:
        return f"unknown key {key!r}"
    return f"unknown key {key!r}; the nearest known one is {nearest(unknown, fields)!r}"


def problem_in_words(problem: ErrorDetails) -> str:
    """What is wrong with a setting, or an option, in our words and not pydantic's.

    >>> problem = {"type": "greater_than_equal", "loc": ("seed",), "msg": "", "input": -1}
    >>> problem_in_words({**problem, "ctx": {"ge": 0}})
    'must be at least 0'
    """
    # pydantic says `int_parsing`, `int_type` and `int_from_float` where we say one thing.
    kind = problem["type"]
    first_word = kind.split("_")[0]
    words = _KINDS.get(kind) or _KINDS.get(first_word, "takes another kind of value")
    bounds = problem.get("ctx", {}).items()
    shown: dict[str, Any] = {}
    for name, bound in bounds:
        # Bounds of whole numbers come as floats: `at least 1`, not `at least 1.0`.
        is_whole = isinstance(bound, float) and bound.is_integer()
        shown[name] = int(bound) if is_whole else bound
    return words.format(**shown)


def _fields_at(section: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """Field names of the section that a path of keys leads to."""
    for key in path:
        # A number leads into a list, whose sections are all of one kind.
        if isinstance(key, int):
            continue
        field = section.model_fields.get(key)
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
        section = _section_in(inner)
        if section is not None:
            return section
    return None
