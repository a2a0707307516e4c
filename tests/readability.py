"""How easily a module reads, in three figures, and the figures that each module of the package has.

    python -m tests.readability        writes down what has come to read better, and new modules

A module becomes no worse than the table says of it; a new one keeps to `NEW`.
"""

import ast
import io
import tokenize
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "logllm"
TABLE = Path(__file__).with_suffix(".toml")
LONG = 40
"""A simple statement of more nodes says too much at once."""
SMALL = 30
"""Statements; of a module with fewer a share says nothing."""


class Reading(NamedTuple):
    """A module's figures."""

    nodes: float
    """Nodes of the syntax tree a statement: how much one has to hold in mind at a time."""
    long: int
    """Simple statements of more than `LONG` nodes."""
    comments: float
    """Lines with a comment, for a hundred statements."""


GOAL = Reading(11.4, 1, 10.0)
"""What reads well: nobody is asked for more."""
NEW = Reading(13.0, 2, 5.0)
"""What is asked of a module that is not in the table."""
PLAY = Reading(0.3, 1, 1.5)
"""How far a module may be from its figures: a change of a few lines is not to be measured."""


@cache
def parsed(source: str) -> ast.Module:
    """A module's tree, which nobody changes: it is made once for all who look at it."""
    return ast.parse(source)


@cache
def nodes_of(tree: ast.Module) -> tuple[ast.AST, ...]:
    """All nodes of a tree."""
    return tuple(ast.walk(tree))


def statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """All statements but strings that stand alone: docstrings, and what is said of a field beneath
    it."""
    for node in nodes_of(tree):
        is_text = (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        )
        if isinstance(node, ast.stmt) and not is_text:
            yield node


def size(node: ast.AST) -> int:
    """Nodes of a tree."""
    return sum(1 for _ in ast.walk(node))


def reading(source: str) -> tuple[Reading, int]:
    """A module's figures, and how many statements it has.

    >>> reading("x = 1  # why\\n")
    (Reading(nodes=5.0, long=0, comments=100.0), 1)
    """
    tree = parsed(source)
    told = list(statements(tree))
    texts = [
        node
        for node in nodes_of(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    # A string that stands alone is two nodes, an expression and a constant; the module itself is
    # one.
    nodes = len(nodes_of(tree)) - sum(map(size, texts))
    simple = [node for node in told if not hasattr(node, "body")]
    long = sum(size(node) > LONG for node in simple)
    lines = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    count = max(1, len(told))
    return Reading(round(nodes / count, 1), long, round(100 * len(lines) / count, 1)), len(told)


def worse(now: Reading, asked: Reading) -> list[str]:
    """What of a module is worse than is asked, but for some play, in words."""
    faults = []
    if now.nodes > asked.nodes + PLAY.nodes:
        faults.append(
            f"{now.nodes} nodes a statement, not {asked.nodes}: give the steps of long lines names"
        )
    if now.long > asked.long + PLAY.long:
        faults.append(f"{now.long} statements of over {LONG} nodes, not {asked.long}: split them")
    if now.comments < asked.comments - PLAY.comments:
        faults.append(
            f"{now.comments} comments a hundred statements, not {asked.comments}: say why"
        )
    return faults


def breaches(sources: Mapping[str, str], table: Mapping[str, Reading]) -> Iterator[str]:
    """Modules that are worse than is asked of them."""
    for name, source in sources.items():
        now, count = reading(source)
        if count >= SMALL:
            asked = table.get(name, NEW)
            yield from (f"{name}: {fault}" for fault in worse(now, asked))


def kept() -> dict[str, Reading]:
    """The table: what each module keeps to."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8")) if TABLE.is_file() else {}
    return {name: Reading(*figures) for name, figures in rows.items()}


def package() -> dict[str, str]:
    """The package's sources, by their paths within it."""
    return {
        str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8")
        for path in sorted(SOURCE.rglob("*.py"))
    }


def written(sources: Mapping[str, str], table: Mapping[str, Reading]) -> str:
    """A table of some modules: what each has come to, where that is better than what it kept to."""
    lines = [
        "# Nodes a statement, long statements, comments a hundred statements: see readability.py.",
        "",
    ]
    for name, source in sources.items():
        now, count = reading(source)
        if count < SMALL:
            continue
        # Once better, a module stays so; and of none more is asked than reads well.
        before = table.get(name, now)
        nodes = max(min(now.nodes, before.nodes), GOAL.nodes)
        long = max(min(now.long, before.long), GOAL.long)
        comments = min(max(now.comments, before.comments), GOAL.comments)
        lines.append(f'"{name}" = [{nodes}, {long}, {comments}]')
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(written(package(), kept()), encoding="utf-8")
