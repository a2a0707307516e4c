"""docs/api.md: the library's public names and the service's paths, from their docstrings."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from fastapi import FastAPI

import logllm
import logllm.serve.web.routes

INTRODUCTION = """# API

Made from the source by `make docs`: the five names of the library, then the paths of
`logllm serve`.

## The library

    from logllm import Detector, Recipe, Verdict, prepare, train

All exceptions are subclasses of `logllm.errors.LogLLMError`; their text says what is wrong and what
to do. [Extend](extend/stream.md) shows a whole program.
"""
SERVICE = """## The service

Paths of `logllm serve`, with what each gives; `/openapi.json` of a running service has every
parameter and field. [Serve](serve.md) says how to reach it, and what its answers mean.

| method | path | gives |
| --- | --- | --- |"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for name in logllm.__all__:
        parts.extend(_public(name, getattr(logllm, name)))
    parts.append(SERVICE)
    parts.extend(_paths())
    return "\n".join([*parts, ""])


def _public(name: str, thing: Any) -> Iterator[str]:
    """A public name: its signature, its docstring, and its own methods."""
    yield f"### {name}\n"
    if not inspect.isclass(thing):
        yield f"{_code(name, thing)}\n\n{_prose(thing)}\n"
        return
    yield f"{_prose(thing)}\n"
    fields = getattr(thing, "_fields", None) or getattr(thing, "__dataclass_fields__", {})
    if fields:
        yield "Fields: " + ", ".join(f"`{field}`" for field in fields) + ".\n"
    for key, member in vars(thing).items():
        if key.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, property):
            yield f"**`{name}.{key}`**\n\n{_prose(member)}\n"
        elif isinstance(member, (classmethod, staticmethod)) or inspect.isfunction(member):
            yield f"{_code(f'{name}.{key}', getattr(thing, key))}\n\n{_prose(member)}\n"


def _code(name: str, function: Any) -> str:
    """A signature as a block of code, a parameter a line where it is long."""
    signature = inspect.signature(function)
    shown = f"{name}({', '.join(_parameters(signature))})"
    if len(shown) > 80:
        inner = "".join(f"    {one},\n" for one in _parameters(signature))
        shown = f"{name}(\n{inner})"
    return f"```python\n{shown}\n```"


def _parameters(signature: inspect.Signature) -> list[str]:
    """The parameters without their types, which the text says, in words."""
    shown, starred = [], False
    for key, parameter in signature.parameters.items():
        if key in {"self", "cls"}:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            shown.append(f"**{key}")
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        given = parameter.default is not parameter.empty
        shown.append(f"{key}={parameter.default!r}" if given else key)
    return shown


def _prose(thing: Any) -> str:
    """A docstring in Markdown: a Google section becomes a list."""
    lines = (inspect.getdoc(thing) or "").splitlines()
    shown: list[str] = []
    within = False
    for line in lines:
        if line in {"Args:", "Returns:", "Raises:", "Attributes:", "Yields:"}:
            shown.extend(["", f"*{line.removesuffix(':')}*", ""])
            within = True
        elif within and line.startswith("    ") and not line.startswith("     "):
            name, colon, text = line.strip().partition(": ")
            is_name = bool(colon) and name.isidentifier()
            shown.append(f"- `{name}`: {text}" if is_name else f"  {line.strip()}")
        elif within and line.strip():
            shown.append(f"  {line.strip()}")
        elif line.startswith(">>>") or (shown and shown[-1].startswith("    >>>")):
            shown.append(f"    {line}")
        else:
            within = within and not line.strip()
            shown.append(line)
    return "\n".join(shown)


def _paths() -> Iterator[str]:
    """A row for each path and method of the service."""
    service = FastAPI()
    names = sorted(module.name for module in pkgutil.iter_modules(logllm.serve.web.routes.__path__))
    for name in names:
        module = import_module(f"logllm.serve.web.routes.{name}")
        if hasattr(module, "router"):
            service.include_router(module.router)
    for path, methods in service.openapi()["paths"].items():
        for method, described in methods.items():
            yield f"| {method.upper()} | `{path}` | {described['summary']} |"
