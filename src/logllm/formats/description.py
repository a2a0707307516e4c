"""Descriptions of formats: the built-in ones, which are `known/*.toml`, and those of one's own."""

import tomllib
from importlib.resources import files
from pathlib import Path

from logllm.config.format import FormatSection
from logllm.errors import RecipeError, nearest
from logllm.logs.fields import check_format


def known() -> list[str]:
    """Names of the built-in formats.

    >>> {"bgl", "hdfs", "json", "plain", "syslog"} <= set(known())
    True
    """
    entries = files("logllm.formats").joinpath("known").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


def load_format(name: str | Path) -> FormatSection:
    """A built-in format, or one described in a TOML file.

    Raises:
        RecipeError: no such format, not TOML, an unknown key, or a pattern that is no regular expression.
    """
    source = f"format {name}"
    try:
        if str(name) in known():
            text = files("logllm.formats").joinpath("known", f"{name}.toml").read_text(encoding="utf-8")
        elif Path(name).suffix == ".toml" or Path(name).is_file():
            text = Path(name).read_text(encoding="utf-8")
        else:
            near = nearest(str(name), known(), titles={other: load_format(other).title for other in known()})
            raise RecipeError(f"no format {str(name)!r}: name a TOML file or one of {', '.join(known())} (nearest: {near})")
        settings = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as exc:
        raise RecipeError(f"{source} cannot be read: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise RecipeError(f"{source} is not TOML: {exc}") from exc
    described = FormatSection.read(settings, source=source)
    check_format(described)
    return described
