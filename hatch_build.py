"""The readme as a package index shows it: without the pictures and links that only a clone has."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?://)[^)]*\)\n+")
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?://)([^)]*)\)")


class IndexReadme(MetadataHookInterface):
    """Gives the project's description to whoever builds it."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, object]) -> None:
        """Set the readme; called once a build."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_index(text)}


def for_index(text: str) -> str:
    """A page without pictures and links to files beside it: of a link its words stay.

    >>> for_index("See [the guide](docs/guide.md) and [it](https://example.org).")
    'See the guide and [it](https://example.org).'
    """
    return _LINK.sub(r"\1", _PICTURE.sub("", text))
