"""What is installed: packages that only an extra brings, asked for before they are needed, and releases."""

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
    """Make sure that an extra is installed before work begins that needs it.

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

    >>> str(lacking("peft", to="train"))
    "to train takes peft, which is not installed: pip install 'logllm[train]', or in the source's
    folder pip install '.[train]'"
    """
    extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
    missing = f"to {to} takes {package}, which is not installed: "
    if extra is None:
        return RecipeError(f"{missing}this installation is not whole; install logllm again")
    return RecipeError(
        f"{missing}pip install 'logllm[{extra}]', or in the source's folder pip install"
        f" '.[{extra}]'"
    )


def versions() -> dict[str, str]:
    """Releases of Python and of the libraries that are installed.

    None of them is imported for it.
    """
    releases = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            releases[library] = version(library)
        except PackageNotFoundError:
            continue
    return releases
