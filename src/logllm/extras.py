"""What is installed: packages that only an extra brings, and the libraries' releases."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from logllm.errors import RecipeError

_LIBRARIES = (
    "logllm",
    "numpy",
    "polars",
    "scikit-learn",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "xgboost-cpu",
)
"""What figures may depend on."""

_EXTRAS = {
    "train": ("accelerate", "peft", "sklearn", "transformers", "xgboost"),
    "qlora": ("bitsandbytes",),
    "report": ("matplotlib",),
    "study": ("drain3",),
    "watch": ("alembic", "prometheus_client", "sqlalchemy"),
    "serve": ("fastapi", "uvicorn"),
    "mcp": ("mcp",),
    "postgresql": ("psycopg",),
    "kafka": ("confluent_kafka",),
    "ray": ("ray",),
    "otlp": ("h11", "opentelemetry", "google"),
}
"""Packages that not every installation has, as they are imported, by the extra that brings them."""


def require(extra: str, *, to: str) -> None:
    """Make sure that an extra is installed, before work begins that needs it.

    Args:
        extra: its name in `pip install 'logllm[...]'`.
        to: what it is needed for: "train".

    Raises:
        RecipeError: it is not; the message names what to install.
    """
    for package in _EXTRAS[extra]:
        if find_spec(package) is None:
            raise lacking(package, to=to)


def lacking(package: str, *, to: str = "do this") -> RecipeError:
    """The error of a package that is not installed.

    >>> by_name, from_source = str(lacking("peft", to="train")).split(", or ")
    >>> print(by_name)
    to train takes peft, which is not installed: pip install 'logllm[train]'
    >>> print(from_source)
    in the source's folder pip install '.[train]'
    """
    missing = f"to {to} takes {package}, which is not installed"
    for extra, packages in _EXTRAS.items():
        if package in packages:
            # By its name from an index, or where the source lies, as it is not on every index.
            named = f"pip install 'logllm[{extra}]'"
            from_source = f"in the source's folder pip install '.[{extra}]'"
            return RecipeError(f"{missing}: {named}, or {from_source}")
    # What every installation has is missing.
    return RecipeError(f"{missing}: this installation is not whole; install logllm again")


def versions() -> dict[str, str]:
    """Releases of Python and of the installed libraries, none of which is imported for this."""
    releases = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            releases[library] = version(library)
        except PackageNotFoundError:
            continue
    return releases
