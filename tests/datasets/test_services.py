"""Logs of several kinds read together."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from logllm.datasets.options import session_options
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import PARTS, Prepared
from logllm.datasets.services import assigned
from logllm.datasets.settings import choose, suited
from logllm.errors import DataError, RecipeError

TODAY = date(2024, 8, 1)
NOTHING: dict[str, dict[str, object]] = {
    "format": {},
    "sessions": {},
    "split": {"by": "random", "test": 0, "validation": 0},
    "mask": {},
}


@pytest.fixture
def logs(tmp_path):
    """Three services over ten minutes: a database by process, an interface by request, and a cache
    without a key."""
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = {"postgresql-2024-07-03.log": [], "api.jsonl": [], "cache.log": []}
    for place in range(300):
        at = datetime(2024, 7, 3, 9, tzinfo=UTC) + timedelta(seconds=2 * place)
        said = (
            "connection received: host=h port=5",
            "connection authorized: user=u",
            "disconnection: session time: 0:00:01",
        )[place % 3]
        lines["postgresql-2024-07-03.log"].append(
            f"{at:%Y-%m-%d %H:%M:%S}.123 UTC [{4100 + place // 3}] LOG:  {said}"
        )
        step = ("request begins", "request works", "request ends")[place % 3]
        lines["api.jsonl"].append(
            json.dumps(
                {"time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "msg": step, "req_id": f"r{place // 3}"}
            )
        )
        lines["cache.log"].append(
            f"{at:%Y-%m-%d %H:%M:%S},500 INFO [main] shop.Cache - entry {place} stored"
        )
    for name, written in lines.items():
        (folder / name).write_text("\n".join(written) + "\n")
    return folder


def prepared(sources, out, **sessions):
    log = suited(sources, today=TODAY)
    settings = choose(log.format, overrides=NOTHING | {"sessions": sessions}, services=log.services)
    manifest = prepare(sources, out, settings=settings)
    return log, manifest, Prepared.load(out).part("train")


@pytest.mark.real
def test_each_file_is_read_by_its_format_and_grouped_by_its_key(logs, tmp_path):
    sources = [logs / "postgresql-2024-07-03.log", logs / "api.jsonl"]
    log, manifest, train = prepared(sources, tmp_path / "out")
    assert [(service.name, service.format.name) for service in log.services] == [
        ("postgresql", "postgresql"),
        ("api", "json"),
    ]
    assert any(note.startswith("api.jsonl: format: json") for note in log.notes)
    assert (manifest["lines"], manifest["rejected"], manifest["sessions"]) == (600, 0, 200)
    assert {"postgresql/4100", "api/r0"} < set(train["session"])
    assert set(train["messages"].list.len()) == {3}


def test_without_a_key_for_all_windows_hold_what_all_said(logs, tmp_path):
    log, manifest, train = prepared([logs], tmp_path / "out")
    assert "their records merged by time" in log.sessions
    assert (manifest["lines"], manifest.get("late")) == (900, 0)
    assert set(train["files"].list.n_unique()) == {3}
    assert train["start"].is_sorted()


def test_windows_of_lines_are_of_the_timeline_too(logs, tmp_path):
    _, _, train = prepared(
        [logs],
        tmp_path / "out",
        **session_options(window="30", step=None, key=None, key_field=None),
    )
    assert (train.height, set(train["files"].list.n_unique())) == (30, {3})


def test_a_log_without_times_keeps_files_apart(logs, tmp_path):
    (logs / "notes.txt").write_text("".join(f"thing {place} happened\n" for place in range(50)))
    log, manifest, train = prepared([logs / "cache.log", logs / "notes.txt"], tmp_path / "out")
    assert "no time was found in notes.txt, so that files cannot be merged" in log.sessions
    assert (manifest["lines"], set(train["files"].list.n_unique())) == (350, {1})
    with pytest.raises(RecipeError, match="no time was found in the files of notes"):
        prepared([logs / "cache.log", logs / "notes.txt"], tmp_path / "no", by="time", size=60)


def test_a_key_of_one_s_own_joins_services(logs, tmp_path):
    other = (
        (logs / "api.jsonl").read_text().replace('"msg"', '"message"').replace("request", "query")
    )
    (logs / "store.json").write_text(other)
    sources = [logs / "api.jsonl", logs / "store.json"]
    _, _, train = prepared(sources, tmp_path / "out", by="key", key_field="req_id")
    assert (train.height, set(train["session"].str.slice(0, 1))) == (100, {"r"})
    assert train["files"][0].to_list() == [0, 1, 0, 1, 0, 1]


def test_an_option_of_one_format_is_refused(logs):
    log = suited([logs], today=TODAY)
    with pytest.raises(RecipeError, match="--message is about one format"):
        choose(
            log.format, overrides=NOTHING | {"format": {"message": "msg"}}, services=log.services
        )


def test_another_day_s_files_are_read_by_their_service_s_format(logs, tmp_path):
    services = suited([logs], today=TODAY).services
    tomorrow = logs / "postgresql-2024-07-04.log"
    (logs / "postgresql-2024-07-03.log").rename(tomorrow)
    (logs / "api.jsonl").rename(logs / "renamed.log")
    chosen = assigned([str(tomorrow), str(logs / "renamed.log")], services, today=TODAY)
    assert [service.name for service in chosen.values()] == ["postgresql", "api"]
    (tmp_path / "other.xml").write_text("<a>\n" * 20)
    with pytest.raises(DataError, match="in the format of none of the services"):
        assigned([str(tmp_path / "other.xml")], services, today=TODAY)


def test_files_of_one_kind_are_one_log(logs, tmp_path):
    text = (logs / "cache.log").read_text().splitlines(keepends=True)
    (tmp_path / "cache.log.1").write_text("".join(text[:150]))
    (tmp_path / "cache.log").write_text("".join(text[150:]))
    log, manifest, train = prepared(
        [tmp_path / "cache.log.1", tmp_path / "cache.log"], tmp_path / "out"
    )
    assert (log.services, manifest["lines"]) == ((), 300)
    assert [set(files) for files in train["files"].to_list()] == [{0}] * 2 + [{1}] * 2


def test_parts_are_found_again(logs, tmp_path):
    _, manifest, _ = prepared([logs], tmp_path / "out")
    data = Prepared.load(tmp_path / "out")
    assert [service.name for service in data.settings.services] == ["api", "cache", "postgresql"]
    assert sum(data.part(part).height for part in PARTS) == manifest["sessions"]
