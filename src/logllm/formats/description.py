"""Descriptions of formats: the built-in ones, which are `known/*.toml`, and those of one's own."""

import os
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from logllm.config.format import FormatSection
from logllm.errors import RecipeError, nearest
from logllm.logs.fields import check_format

FOLDER = "LOGLLM_FORMATS"
"""The environment variable that names a folder with formats of one's own."""


def known() -> list[str]:
    """Names of the built-in formats.

    >>> {"bgl", "hdfs", "json", "plain", "syslog"} <= set(known())
    True
    """
    entries = files("logllm.formats").joinpath("known").iterdir()
    return sorted(
        entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml")
    )


def own_formats() -> dict[str, FormatSection]:
    """Formats of one's own by name.

    They are the TOML files of the folder that the environment variable `LOGLLM_FORMATS` names;
    where it is not set there are none.

    Raises:
        RecipeError: the folder is not there, or a file in it is wrong or has the name of another
            format.
    """
    chosen = os.environ.get(FOLDER)
    if not chosen:
        return {}
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise RecipeError(
            f"{FOLDER} names {folder}, which is no folder: name one with formats of your own, or"
            " unset it"
        )
    formats: dict[str, FormatSection] = {}
    for file in sorted(folder.glob("*.toml")):
        described = _as_it_is(file, file.stat().st_mtime_ns)
        # A name stands for one format, in --format as in a run.
        if described.name in formats or described.name in known():
            whose = "another file there" if described.name in formats else "a built-in one"
            raise RecipeError(
                f"format {file}: {whose} is called {described.name!r}, too: give it another name"
            )
        formats[described.name] = described
    return formats


@cache
def _as_it_is(file: Path, changed: int) -> FormatSection:
    """A format in a file, read once until it changes."""
    return load_format(file)


def load_format(name: str | Path) -> FormatSection:
    """A built-in format, one of one's own by its name, or one described in a TOML file.

    Raises:
        RecipeError: no such format, not TOML, an unknown key, or a pattern that is no regular
            expression.
    """
    source = f"format {name}"
    try:
        if str(name) in known():
            packaged = files("logllm.formats").joinpath("known", f"{name}.toml")
            text = packaged.read_text(encoding="utf-8")
        elif Path(name).suffix == ".toml" or Path(name).is_file():
            text = Path(name).read_text(encoding="utf-8")
        elif (own := own_formats().get(str(name))) is not None:
            return own
        else:
            names = [*own_formats(), *known()]
            titles = {other: load_format(other).title for other in names}
            near = nearest(str(name), names, titles=titles)
            raise RecipeError(
                f"no format {str(name)!r}: name a TOML file or one of {', '.join(names)} (nearest:"
                f" {near})"
            )
        settings = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as exc:
        raise RecipeError(f"{source} cannot be read: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise RecipeError(f"{source} is not TOML: {exc}") from exc
    described = FormatSection.read(settings, source=source)
    check_format(described)
    return described
