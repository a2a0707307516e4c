"""Data sets that come with the package: logs, labels a line, and what may be done with them."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from logllm.errors import DataError


@dataclass(frozen=True)
class PackagedSet:
    """Logs of separate runs of one system.

    Its folder, `datasets/sets/<name>`, holds `<log>.log.xz` and `<log>.labels.csv` for each.
    """

    name: str
    """What it is called on the command line."""
    title: str
    """One line for people."""
    format: str
    """The built-in format of the first log."""
    logs: tuple[str, ...]
    """Its logs: the first to train on, the second to test on unless another is named."""
    terms: str
    """Licence."""
    cite: str
    """Whom to cite."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(str(files("logllm.datasets"))) / "sets" / self.name

    def log(self, name: str) -> Path:
        """The file of one log.

        Raises:
            DataError: this installation lacks it.
        """
        return self._file(f"{name}.log.xz")

    def labels(self, name: str) -> Path:
        """The file of one log's labels.

        Raises:
            DataError: this installation lacks it.
        """
        return self._file(f"{name}.labels.csv")

    @property
    def translations(self) -> Path:
        """The system's messages in other languages (`logllm.methods.translations`).

        Raises:
            DataError: this installation lacks them.
        """
        return self._file("translations.json")

    def about(self) -> dict[str, Any]:
        """What a manifest says of where its log came from."""
        return {"name": self.name, "terms": self.terms, "cite": self.cite}

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise DataError(
                f"this installation of logllm lacks {name} of the data set {self.name}: install it"
                " again"
            )
        return path


PACKAGED = {
    data_set.name: data_set
    for data_set in (
        PackagedSet(
            name="postgres",
            title="a PostgreSQL server under a mixed load, faults injected and recorded",
            format="postgresql",
            logs=("train", "test", "changed", "german"),
            terms="CC-BY-4.0",
            cite=(
                "logllm's PostgreSQL log data set with injected faults; its data card lies"
                " beside it"
            ),
        ),
    )
}
