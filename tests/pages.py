"""What tests ask of a page: its elements, its text, and that it needs nothing else."""

import re
from html.parser import HTMLParser

OUTSIDE = {"link", "img", "iframe", "object", "embed", "base", "form"}
"""Elements that would load something, or send it somewhere."""


class Page(HTMLParser):
    """A page's elements, the numbers in its `data` elements, and its text; one whose elements do
    not nest is none."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.numbers, self.text, self.open = [], [], "", []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "data":
            self.numbers.append(float(dict(attrs)["value"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.text += data

    def of_class(self, name: str) -> list[dict]:
        """The attributes of the elements of a class."""
        return [attrs for _, attrs in self.elements if name in (attrs.get("class") or "").split()]


def check_alone(text: str) -> None:
    """A page loads nothing, sends nothing, and runs no script but the one that its policy names."""
    page = Page(text)
    assert not OUTSIDE & {tag for tag, _ in page.elements}
    attributes = [
        (name, value or "") for _, attrs in page.elements for name, value in attrs.items()
    ]
    assert not [name for name, _ in attributes if name == "src" or name.startswith(("on", "xmlns"))]
    assert all(value.startswith("#") for name, value in attributes if name == "href")
    assert not [value for _, value in attributes if "://" in value]
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    assert re.findall(r"url\((?!#)", text) == []  # a plot's clip paths are its own
    assert "default-src 'none'" in text
