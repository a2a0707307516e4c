"""What many tests need: one thread, tiny models, tiny prepared data."""

import gc
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import settings

IN_MEMORY = Path("/dev/shm")
"""Where files are that never reach a disk, on Linux."""
ROOM = 4 << 30  # bytes that must be free there; all tests together write half a gigabyte

if "PYTEST_XDIST_WORKER" in os.environ:
    # A process a core: threads of each would only wait for one another.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")

settings.register_profile("default", deadline=None, max_examples=20)  # a busy machine is no failure
settings.load_profile("default")

ODD = re.compile(r"[^ -~]|\\[xuU][0-9a-fA-F]{2}|0x[0-9a-f]{6}")
"""What has no place in a test's id: bytes, escapes of them, an object's address."""
EVERY_ID = pytest.StashKey[list[str]]()

TORCH_FREE = {"logs", "formats", "sessions", "datasets", "cases"}
"""Folders of tests that do not import torch."""

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Where tests run side by side their files stay in memory, if it has room: each fsync waits for
    a disk, and there are thousands."""
    side_by_side = bool(getattr(config.option, "numprocesses", None))
    if side_by_side and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes, and text that cannot be typed, are called by their argument: an archive's bytes hold
    the time it was made at."""
    odd = isinstance(val, bytes) or (isinstance(val, str) and ODD.search(repr(val)))
    return argname if odd else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is loaded for the tests stays to the end, modules above all: nobody looks for garbage
    while it is loaded, nor in it later. That was a fifteenth of the time of all tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the ids of all tests, and say of which parameters the tier real has the tests."""
    config.stash[EVERY_ID] = [item.nodeid for item in items]
    alike: Counter[str] = Counter()
    for item in items:
        sampled = item.get_closest_marker("sampled")
        if sampled is None or item.get_closest_marker("real"):
            continue
        (every,) = sampled.args
        test = item.nodeid.partition("[")[0]
        # The first of them stays, and the one after each `every` others.
        if alike[test] % every:
            item.add_marker(pytest.mark.real)
        alike[test] += 1


@pytest.fixture(scope="session", autouse=True)
def _one_thread(request: pytest.FixtureRequest) -> None:
    """One thread for torch, unless only tests run that know nothing of it."""
    if all(item.path.parent.name in TORCH_FREE for item in request.session.items):
        return
    import torch

    torch.set_num_threads(1)  # two make tiny models 5 to 100 times slower


@pytest.fixture(scope="session", autouse=True)
def _no_network(request: pytest.FixtureRequest) -> None:
    """No package is fetched, unless tests run that need real weights: a test that does so by
    mistake fails."""
    if not any(item.get_closest_marker("real") for item in request.session.items):
        os.environ["PIP_NO_INDEX"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests cache is forgotten with them, unless tests run that need real weights, which are
    in the user's cache: hashes of thousands of tiny models would stay there."""
    if not any(item.get_closest_marker("real") for item in request.session.items):
        os.environ["LOGLLM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """The model section of tiny random models in a folder."""
    from tests.tiny import make_models

    return make_models(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def _untouched(tiny_models):
    """A tiny LogLLM, its tokenizer, and what chance had come to when they were made."""
    import torch

    from logllm.model.logllm import assemble

    torch.manual_seed(0)
    model, tokenizer = assemble(tiny_models)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model, tokenizer, torch.get_rng_state()


@pytest.fixture
def tiny(_untouched):
    """A tiny LogLLM and its tokenizer, adapters and projector not at zero, for one test alone."""
    import torch

    # A copy costs a sixth of what it takes to read the models.
    model, tokenizer, chance = _untouched
    torch.set_rng_state(chance)
    return deepcopy((model, tokenizer))


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """The real logs beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the real logs in ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """Prepared data of 120 small sessions of a made log, 30 of them anomalous."""
    from tests.tiny import make_data

    return make_data(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def tiny_recipe(tiny_models):
    """The recipe `tiny` on the tiny models."""
    from logllm.config.recipe import Recipe

    recipe = Recipe.load("tiny")
    return recipe.model_copy(update={"model": tiny_models})


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe, tiny_data, tmp_path_factory):
    """A run of the recipe `tiny`, trained."""
    from logllm.methods.train import train

    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny_recipe, tiny_data, out=out)
    return out


@pytest.fixture(scope="session")
def plain_run(tiny_run, tiny_data, tmp_path_factory):
    """The run of the recipe `tiny` for lines that a pattern reads, as the published way wants them,
    and the made log in such lines."""
    folder = tmp_path_factory.mktemp("plain")
    run, log = shutil.copytree(tiny_run, folder / "tiny"), folder / "app.log"
    manifest = json.loads((run / "manifest.json").read_text())
    pattern = {"kind": "pattern", "pattern": "(?<time>[0-9]+) (?<job>[^ ]+) (?<message>.*)"}
    manifest["data"]["prepare"]["format"] |= pattern
    (run / "manifest.json").write_text(json.dumps(manifest))
    rows = [json.loads(line) for line in (tiny_data.parent / "app.jsonl").read_text().splitlines()]
    log.write_text("".join(f"{row['time']} {row['job']} {row['message']}\n" for row in rows))
    return run, log


@pytest.fixture
def by_line(tmp_path):
    """Prepared data of small sessions of a made log, the lines labelled that are chosen."""
    from logllm.datasets.prepare import prepare
    from logllm.datasets.settings import choose
    from tests.tiny import make_log

    def make(chosen: Callable[[str], bool], *, sessions: int = 40) -> Path:
        lines, _ = make_log(sessions=sessions, seed=3)
        (tmp_path / "app.jsonl").write_text("\n".join(lines))
        (tmp_path / "labels.csv").write_text(
            "line,label\n"
            + "".join(f"{at},bad\n" for at, line in enumerate(lines, 1) if chosen(line))
        )
        overrides = {
            "format": {},
            "sessions": {"by": "key", "key_field": "job"},
            "split": {"by": "random", "validation": 0.3},
            "mask": {},
        }
        settings = choose("json", recipe=None, overrides=overrides)
        prepare(
            [tmp_path / "app.jsonl"],
            tmp_path / "data",
            settings=settings,
            labels=tmp_path / "labels.csv",
        )
        return tmp_path / "data"

    return make


@pytest.fixture
def labelled_by_line(by_line) -> Path:
    """Prepared data of 40 small sessions whose retries are labelled."""
    return by_line(lambda line: "retry" in line)


@pytest.fixture
def authors(tiny_models, tmp_path):
    """A folder in the layout of the paper's released adapters, and the model it was made from."""
    from tests.tiny import make_released

    (tmp_path / "ft_model_bgl").mkdir()
    return tmp_path / "ft_model_bgl", make_released(tmp_path / "ft_model_bgl", tiny_models)


@pytest.fixture
def small_products(monkeypatch) -> None:
    """The machine's peak is measured with small matrices: a tiny model is not worth the seconds
    that large ones take."""
    monkeypatch.setattr("logllm.bench.work.GEMM_SIZE", 64)


@pytest.fixture
def program(monkeypatch):
    """Sets what a program in this process was called with."""
    return lambda *words: monkeypatch.setattr("sys.argv", [str(word) for word in words])


@pytest.fixture
def site(monkeypatch):
    """A server on this machine that answers as it is told."""
    from tests.site import serving

    monkeypatch.setenv("no_proxy", "*")
    with serving() as found:
        yield found


@pytest.fixture
def cached(tmp_path, monkeypatch) -> Path:
    """An empty cache; the folder where data sets will be."""
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LOGLLM_DATASETS", raising=False)
    return tmp_path / "cache" / "datasets"
