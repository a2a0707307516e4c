"""The rules of the source's shape, and that each of them can fail."""

import ast
import gc
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import readability
from tests.conftest import TORCH_FREE

ROOT = Path(__file__).resolve().parent.parent
RANKS = {
    "errors": 0,
    "counting": 0,
    "progress": 0,
    "extras": 1,
    "storage": 1,
    "config": 1,
    "metrics": 1,
    "logs": 2,
    "formats": 3,
    "sessions": 3,
    "datasets": 4,
    "runs": 5,
    "model": 6,
    "training": 7,
    "methods": 8,
    "detect": 9,
    "evaluate": 10,
    "bench": 11,
    "serve": 11,
    "cli": 12,
    "__main__": 13,
}
LIGHT = {
    "errors",
    "counting",
    "progress",
    "extras",
    "storage",
    "config",
    "metrics",
    "logs",
    "formats",
    "sessions",
    "datasets",
    "runs",
    "cli",
}
LISTS = {"logllm.cli", "logllm.methods"}
"""Folders that are lists of like things."""
HEAVY = {"torch", "transformers", "peft", "accelerate", "sklearn", "scipy"}
NETWORKS = {
    f"logllm.methods.{name}"
    for name in ("network", "inputs", "deeplog", "cnn", "logrobust", "neurallog", "logllm")
}
"""Methods that are networks. Every other one is found, made and loaded without a heavy library."""
MACHINE_PATH = re.compile(
    r"(^|[\s\"'=:(])(/(home|root|tmp|mnt|media|work|Users)(/|$)|[A-Za-z]:\\[^\\])"
)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Violations = Iterator[str]


class Module(NamedTuple):
    """One source file."""

    name: str
    tree: ast.Module
    lines: int
    package: bool


Modules = Mapping[str, Module]


def parse(sources: Mapping[str, str]) -> Modules:
    """Modules by dotted name, from paths relative to `src`."""
    modules = {}
    for path, text in sources.items():
        parts = Path(path).with_suffix("").parts
        package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if package else parts)
        modules[name] = Module(name, readability.parsed(text), text.count("\n"), package)
    return modules


def folder(name: str) -> str:
    """The part of the pipeline that a module belongs to; empty for the root."""
    return name.split(".")[1] if "." in name else ""


def imports(
    module: Module, modules: Modules, *, loading: bool, typing: bool
) -> Iterator[tuple[str, str]]:
    """Imported modules as `(module, name)`: only those of loading it, or all; with or without those
    for types alone."""
    for home, name in written_imports(module.tree, loading=loading, typing=typing):
        inner = f"{home}.{name}"
        yield (inner, "") if inner in modules else (home, name)


@cache
def written_imports(
    tree: ast.Module, *, loading: bool, typing: bool
) -> tuple[tuple[str, str], ...]:
    """Imports as they are written: a module and a name from it, the name empty where the module
    itself is meant."""
    written: list[tuple[str, str]] = []
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            written += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = "." * node.level + (node.module or "")
            written += [(home, alias.name) for alias in node.names]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += [*node.orelse, *(node.body if typing else [])]
        elif not (loading and isinstance(node, Function | ast.Lambda)):
            pending += ast.iter_child_nodes(node)
    return tuple(written)


def functions(module: Module) -> Iterator[tuple[Function, bool]]:
    """Every function, and whether it is a method."""
    return iter(written_functions(module.tree))


@cache
def written_functions(tree: ast.Module) -> tuple[tuple[Function, bool], ...]:
    """Every function of a tree, and whether it is a method."""
    written: list[tuple[Function, bool]] = []
    for parent in readability.nodes_of(tree):
        # Functions are statements: what holds none has none beneath it.
        for field in ("body", "orelse", "handlers", "finalbody", "cases"):
            block = getattr(parent, field, ())
            for node in block if isinstance(block, list) else ():
                if isinstance(node, Function):
                    written.append((node, isinstance(parent, ast.ClassDef)))
    return tuple(written)


def body(function: Function) -> list[ast.stmt]:
    """A function's statements after its docstring."""
    return function.body[1:] if ast.get_docstring(function) is not None else function.body


@cache
def statements(function: Function) -> int:
    """Statements of a function, those inside others counted, its docstring not."""
    return sum(
        isinstance(node, ast.stmt) for statement in body(function) for node in ast.walk(statement)
    )


def imports_up(modules: Modules) -> Violations:
    """Imports point down only, siblings are imported by full path, the root is asked for its
    version alone."""
    for module in modules.values():
        own = folder(module.name)
        if own and own not in RANKS:
            yield f"{module.name}: no folder {own!r} in the map"
        for target, name in imports(module, modules, loading=False, typing=own != ""):
            if target.startswith("."):
                yield f"{module.name}: relative import of {target}"
            elif target == "logllm" and name != "__version__":
                yield f"{module.name}: imports {name or 'all'} from the root"
            elif (
                target.startswith("logllm.")
                and folder(target) != own
                and RANKS.get(folder(target), 99) >= RANKS.get(own, -1)
            ):
                yield f"{module.name}: imports {target}, which is not below it"


def cycles(modules: Modules) -> Violations:
    """No module needs itself in order to load."""
    for start in modules:
        for target in loaded_by(start, modules):
            if target == start:
                yield f"{start}: imports itself through others"


def loaded_by(start: str, modules: Modules) -> set[str]:
    """Modules that are loaded when one is, directly or through others."""
    reached: set[str] = set()
    pending = [start]
    while pending:
        for target, _ in imports(modules[pending.pop()], modules, loading=True, typing=False):
            if target in modules and target not in reached:
                reached.add(target)
                pending.append(target)
    return reached


def code_in_init(modules: Modules) -> Violations:
    """A package's `__init__` holds a docstring and nothing else, the root's lazy names aside."""
    for module in modules.values():
        if (
            module.package
            and folder(module.name)
            and (len(module.tree.body) != 1 or ast.get_docstring(module.tree) is None)
        ):
            yield f"{module.name}: its __init__ is not a docstring alone"


def heavy_when_loaded(modules: Modules) -> Violations:
    """Nothing that must start quickly loads a heavy library, nor a module of ours that does."""
    for module in modules.values():
        own = folder(module.name)
        if (
            module.name == "logllm"
            or own in LIGHT
            or (own == "methods" and module.name not in NETWORKS)
        ):
            for name in sorted({module.name} | loaded_by(module.name, modules)):
                loaded = {
                    target.split(".")[0]
                    for target, _ in imports(modules[name], modules, loading=True, typing=False)
                }
                yield from (
                    f"{module.name}: loads {heavy} through {name}"
                    for heavy in sorted(loaded & HEAVY)
                )


def long_modules(modules: Modules) -> Violations:
    """A module has at most 400 lines."""
    yield from (
        f"{module.name}: {module.lines} lines" for module in modules.values() if module.lines > 400
    )


def wide_folders(modules: Modules) -> Violations:
    """A folder holds at most 14 modules; the command line and the methods, lists of like things,
    may hold more."""
    rooms = Counter(
        module.name.rpartition(".")[0] for module in modules.values() if not module.package
    )
    yield from (
        f"{room}: {count} modules"
        for room, count in rooms.items()
        if count > 14 and room not in LISTS
    )


def names_twice(modules: Modules) -> Violations:
    """Within a folder of the package, those inside it included, no two files have one name."""
    homes: dict[tuple[str, str], str] = {}
    for module in modules.values():
        name = module.name.rpartition(".")[2]
        first = homes.setdefault((folder(module.name), name), module.name)
        if folder(module.name) and not module.package and first is not module.name:
            yield f"{module.name}: {first} has the same name"


def long_functions(modules: Modules) -> Violations:
    """A function has at most 40 statements, in the command line 15."""
    for module in modules.values():
        most = 15 if folder(module.name) == "cli" else 40
        for function, _ in functions(module):
            if statements(function) > most:
                yield f"{module.name}.{function.name}: {statements(function)} statements"


FRONT_DOORS = {
    "logllm.datasets.prepare.prepare",
    "logllm.methods.train.train",
    "logllm.detect.detector.load",
    "logllm.detect.detector.read",
}
"""The library's calls that take everything a verb of the command line takes."""


def many_parameters(modules: Modules) -> Violations:
    """A function has at most 5 parameters, keyword-only after two; Python fixes those of `__exit__`
    and its like."""
    for module in modules.values():
        for function, method in functions(module):
            fixed = function.name.startswith("__") and function.name != "__init__"
            if folder(module.name) == "cli" or fixed:
                continue
            static = any(
                isinstance(name, ast.Name) and name.id == "staticmethod"
                for name in function.decorator_list
            )
            positional = (
                len(function.args.posonlyargs) + len(function.args.args) - (method and not static)
            )
            if positional > 2:
                yield f"{module.name}.{function.name}: {positional} positional parameters"
            if (
                positional + len(function.args.kwonlyargs) > 5
                and f"{module.name}.{function.name}" not in FRONT_DOORS
            ):
                yield (
                    f"{module.name}.{function.name}: {positional + len(function.args.kwonlyargs)}"
                    " parameters"
                )


def twins(modules: Modules) -> Violations:
    """No two functions of five statements or more are alike but for their names."""
    alike: dict[tuple[type, ...], list[tuple[str, Function]]] = {}
    for module in modules.values():
        for function, _ in functions(module):
            if statements(function) >= 5:
                place = (f"{module.name}.{function.name}", function)
                alike.setdefault(kinds(function), []).append(place)
    # Only functions with the same statements can be twins: few are written out.
    for places in alike.values():
        seen: dict[str, str] = {}
        for name, function in places if len(places) > 1 else ():
            first = seen.setdefault(normal_form(function), name)
            if first is not name:
                yield f"{name} is like {first}"


def kinds(function: Function) -> tuple[type, ...]:
    """What kinds of statements a function has, in their order, its docstring not."""
    return tuple(
        type(node)
        for statement in body(function)
        for node in ast.walk(statement)
        if isinstance(node, ast.stmt)
    )


def normal_form(function: Function) -> str:
    """A function's parameters and body with its own names numbered, and without docstring,
    annotations and places."""
    # The tree itself stays as it is: it is read again by other rules.
    function = ast.parse(ast.unparse(function)).body[0]  # type: ignore[assignment]
    function.body = body(function)
    numbers: dict[str, str] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            numbers.setdefault(node.arg, f"_{len(numbers)}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            numbers.setdefault(node.id, f"_{len(numbers)}")
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            node.arg, node.annotation = numbers[node.arg], None
        elif isinstance(node, ast.Name):
            node.id = numbers.get(node.id, node.id)
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return "\n".join(ast.dump(part) for part in (function.args, *function.body))


def machine_paths(modules: Modules) -> Violations:
    """No text in the source names a place on somebody's machine."""
    for module in modules.values():
        for node in readability.nodes_of(module.tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and MACHINE_PATH.search(node.value)
            ):
                yield f"{module.name}:{node.lineno}: {node.value!r:.60}"


RULES: tuple[Callable[[Modules], Violations], ...] = (
    imports_up,
    cycles,
    code_in_init,
    heavy_when_loaded,
    long_modules,
    wide_folders,
    names_twice,
    long_functions,
    many_parameters,
    twins,
    machine_paths,
)


@cache
def source_of(*folders: str, base: Path) -> Modules:
    paths = sorted(chain.from_iterable((ROOT / base / name).rglob("*.py") for name in folders))
    assert paths
    return parse(
        {str(path.relative_to(ROOT / base)): path.read_text(encoding="utf-8") for path in paths}
    )


@pytest.fixture(scope="module", autouse=True)
def _trees() -> Iterator[None]:
    """The trees of all modules are a million objects: nobody looks through them for garbage, and
    they are gone when these tests are."""
    gc.disable()
    yield
    remembering = (source_of, written_imports, written_functions, statements)
    for remembered in (*remembering, readability.parsed, readability.nodes_of):
        remembered.cache_clear()
    gc.enable()


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps(rule: Callable[[Modules], Violations]) -> None:
    assert list(rule(source_of("logllm", base=Path("src")))) == []


@pytest.mark.parametrize("rule", [long_functions, many_parameters, twins, machine_paths])
def test_demo_and_benchmarks_keep(rule: Callable[[Modules], Violations]) -> None:
    assert list(rule(source_of("demo", "benchmarks", base=Path()))) == []


LONG = "\n".join(f"    x{n} = {n}" for n in range(41))
SAME = (
    "def {0}({1}: int, b: int) -> int:\n    '''Doc {0}.'''\n    {2} = {1} + b\n    {2} += 1\n   "
    " {2} += 2\n    {2} += 3\n    return {2}\n"
)


@pytest.mark.parametrize(
    ("rule", "sources"),
    [
        (imports_up, {"logllm/logs/a.py": "from logllm.model.b import c"}),
        (imports_up, {"logllm/logs/a.py": "import logllm.model"}),
        (
            imports_up,
            {"logllm/logs/a.py": "from logllm import model", "logllm/model/__init__.py": ""},
        ),
        (imports_up, {"logllm/logs/a.py": "def f():\n    from logllm.model.b import c"}),
        (imports_up, {"logllm/logs/a.py": "if TYPE_CHECKING:\n    from logllm.model.b import c"}),
        (imports_up, {"logllm/serve/a.py": "import logllm.bench.b"}),
        (imports_up, {"logllm/errors.py": "import logllm.config.recipe"}),
        (imports_up, {"logllm/cli/a.py": "from logllm import Detector"}),
        (imports_up, {"logllm/cli/a.py": "from .b import c"}),
        (imports_up, {"logllm/__init__.py": "from logllm.logs.a import b"}),
        (imports_up, {"logllm/utils/a.py": ""}),
        (
            cycles,
            {
                "logllm/logs/a.py": "import logllm.logs.b",
                "logllm/logs/b.py": "from logllm.logs.a import c",
            },
        ),
        (
            cycles,
            {
                "logllm/logs/a.py": (
                    "try:\n    from logllm.logs import a\nexcept ImportError:\n    pass"
                )
            },
        ),
        (code_in_init, {"logllm/logs/__init__.py": '"""Doc."""\nx = 1'}),
        (code_in_init, {"logllm/logs/__init__.py": ""}),
        (heavy_when_loaded, {"logllm/logs/a.py": "import torch"}),
        (
            heavy_when_loaded,
            {
                "logllm/config/a.py": (
                    "try:\n    from transformers import x\nexcept ImportError:\n    x = None"
                )
            },
        ),
        (heavy_when_loaded, {"logllm/errors.py": "import sklearn.metrics"}),
        (
            heavy_when_loaded,
            {
                "logllm/cli/a.py": "from logllm.model.b import c",
                "logllm/model/b.py": "import torch",
            },
        ),
        (heavy_when_loaded, {"logllm/methods/registry.py": "from scipy.sparse import csr_array"}),
        (
            heavy_when_loaded,
            {
                "logllm/methods/unseen.py": "import logllm.methods.network",
                "logllm/methods/network.py": "import torch",
            },
        ),
        (long_modules, {"logllm/logs/a.py": "\n" * 401}),
        (wide_folders, {f"logllm/logs/a{number}.py": "" for number in range(15)}),
        (wide_folders, {f"logllm/model/fast/a{number}.py": "" for number in range(15)}),
        (names_twice, {"logllm/model/weights.py": "", "logllm/model/base/weights.py": ""}),
        (long_functions, {"logllm/logs/a.py": f"def f():\n{LONG}"}),
        (long_functions, {"logllm/cli/a.py": "def f():\n    if x:\n" + "        y()\n" * 15}),
        (many_parameters, {"logllm/logs/a.py": "def f(a, b, c): ..."}),
        (many_parameters, {"logllm/logs/a.py": "class A:\n    def f(self, a, b, c): ..."}),
        (
            many_parameters,
            {"logllm/logs/a.py": "class A:\n    @staticmethod\n    def f(a, b, c): ..."},
        ),
        (
            many_parameters,
            {"logllm/logs/a.py": "class A:\n    def __init__(self, a, *, b, c, d, e, f): ..."},
        ),
        (many_parameters, {"logllm/logs/a.py": "def f(a, *, b, c, d, e, f): ..."}),
        (
            twins,
            {
                "logllm/logs/a.py": SAME.format("f", "a", "c"),
                "logllm/model/b.py": SAME.format("g", "x", "total"),
            },
        ),
        (machine_paths, {"logllm/logs/a.py": "x = '/{}/somebody/logs'".format("home")}),
        (machine_paths, {"logllm/logs/a.py": "def f():\n    return f'--cache=/tmp/{x}'"}),
        (machine_paths, {"logllm/logs/a.py": r"x = 'C:\\logs'"}),
    ],
)
def test_a_breach_is_found(rule: Callable[[Modules], Violations], sources: dict[str, str]) -> None:
    assert list(rule(parse(sources)))


@pytest.mark.parametrize(
    ("rule", "sources"),
    [
        (
            imports_up,
            {
                "logllm/model/a.py": (
                    "from logllm import __version__\nfrom logllm.logs.b import c\nimport"
                    " logllm.errors"
                )
            },
        ),
        (imports_up, {"logllm/__init__.py": "if TYPE_CHECKING:\n    from logllm.logs.a import b"}),
        (
            cycles,
            {
                "logllm/logs/a.py": "import logllm.logs.b",
                "logllm/logs/b.py": "def f():\n    import logllm.logs.a",
            },
        ),
        (heavy_when_loaded, {"logllm/cli/a.py": "def f():\n    import torch"}),
        (
            heavy_when_loaded,
            {
                "logllm/methods/cnn.py": "import torch",
                "logllm/methods/registry.py": "def f():\n    import logllm.methods.cnn",
            },
        ),
        (heavy_when_loaded, {"logllm/logs/a.py": "if TYPE_CHECKING:\n    import torch"}),
        (
            many_parameters,
            {
                "logllm/logs/a.py": (
                    "class A:\n    def __exit__(self, kind, error, trace): ...\n    def f(self, a,"
                    " b, *, c): ..."
                )
            },
        ),
        (many_parameters, {"logllm/cli/a.py": "def f(a, b, c, d, e, f): ..."}),
        (wide_folders, {f"logllm/methods/a{number}.py": "" for number in range(15)}),
        (
            names_twice,
            {
                "logllm/model/a.py": "",
                "logllm/cli/a.py": "",
                "logllm/model/fast/__init__.py": "",
                "logllm/model/__init__.py": "",
            },
        ),
        (
            twins,
            {
                "logllm/logs/a.py": SAME.format("f", "a", "c"),
                "logllm/logs/b.py": SAME.format("g", "a", "c").replace("3", "4"),
            },
        ),
        (
            machine_paths,
            {
                "logllm/logs/a.py": (
                    "x = ['/v1/score', '/var/log/x', 'a/tmp/b', '/vol1/obj', 'a: \\\\n']"
                )
            },
        ),
    ],
)
def test_what_is_allowed_passes(
    rule: Callable[[Modules], Violations], sources: dict[str, str]
) -> None:
    assert list(rule(parse(sources))) == []


def test_help_loads_no_heavy_library() -> None:
    program = (
        "import sys; sys.argv = ['logllm', '--help']\n"
        "from logllm.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "detect" in result.stdout
    assert result.stderr.strip() == "[]"


def test_tests_of_reading_and_grouping_load_no_heavy_library() -> None:
    """Who works on reading and grouping does not wait for torch: neither tests nor their fixtures
    ask for it."""
    for path in chain.from_iterable((ROOT / "tests" / name).glob("*.py") for name in TORCH_FREE):
        module = Module(path.stem, ast.parse(path.read_text(encoding="utf-8")), 0, package=False)
        names = {name for name, _ in imports(module, {}, loading=False, typing=True)}
        assert not {name.split(".")[0] for name in names} & HEAVY, path.name
        assert "tests.tiny" not in names, path.name
        fixtures = {
            argument.arg for function, _ in functions(module) for argument in function.args.args
        }
        assert not {name for name in fixtures if name.startswith("tiny")}, path.name


def test_no_module_reads_worse_than_its_figures() -> None:
    """`python -m tests.readability` writes down what has come to read better, and new modules."""
    assert list(readability.breaches(readability.package(), readability.kept())) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("x = a(b(c, d), e(f, g), h)", "nodes a statement"),
        ("x = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t]", "of over 40 nodes"),
        ("x = 1", "comments a hundred"),
    ],
)
def test_a_module_that_reads_badly_is_found(line: str, fault: str) -> None:
    """Of 40 lines all but the one that is at fault keep to the limits."""
    said = "x = 1  # why\n" if fault != "comments a hundred" else ""
    source = said * 4 + f"{line}\n" * 40
    assert any(fault in breach for breach in readability.breaches({"logs/a.py": source}, {}))


def test_a_small_module_and_a_known_one_pass() -> None:
    """Shares of a few statements say nothing, and what was dense before may stay so, but not become
    denser."""
    source = "x = a(b(c, d), e(f, g), h)\n" * 40
    known = {"logs/a.py": readability.reading(source)[0]}
    assert list(readability.breaches({"logs/a.py": "x = a(b(c, d), e(f, g), h)\n"}, {})) == []
    assert list(readability.breaches({"logs/a.py": source}, known)) == []
    assert list(readability.breaches({"logs/a.py": source.replace("h)", "h, i)")}, known))
