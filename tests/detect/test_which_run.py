"""Which run judges which logs, and how they are read."""

import gzip
import os
import re
from datetime import date
from io import BytesIO

import pytest
from tests.installation import Installation

from logllm.config.prepare import PrepareSection
from logllm.detect.which_run import Task, task
from logllm.errors import DataError, ModelError, RecipeError
from logllm.formats.recognition import recognise
from logllm.logs.first_lines import first_lines
from logllm.logs.reader import Reader
from logllm.runs.manifest import shipped_run

LINE = (
    "2026-11-22 10:00:{:02d}.123 UTC [{}] app@shop LOG:  connection authorized: user=app"
    " database=shop\n"
)


@pytest.fixture
def postgres(tmp_path):
    path = tmp_path / "postgresql.log"
    path.write_text("".join(LINE.format(place % 60, 100 + place // 4) for place in range(80)))
    return path


def test_a_folder_is_the_run(tiny_run, postgres) -> None:
    asked = task([str(tiny_run), str(postgres), "-"])
    assert asked == Task(tiny_run, [str(postgres), "-"])


def test_without_one_the_shipped_run_reads_what_the_log_shows(postgres) -> None:
    found = task([str(postgres)])
    assert (found.run, found.logs, found.format.name) == (
        shipped_run(),
        [str(postgres)],
        "postgresql",
    )
    assert "100.0 % of the first 80 lines" in found.said
    assert task([str(postgres.parent / "post*.log")]).format == found.format


def test_the_shipped_run_refuses_a_log_of_another_kind_with_what_to_do(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "app.jsonl"
    other.write_text('{"message": "up"}\n' * 5)
    with pytest.raises(DataError) as caught:
        task(["postgres", str(other)])
    for part in (
        "format: json",
        "only PostgreSQL logs",
        f"`logllm prepare --raw {other} ",
        "`logllm train small ",
    ):
        assert part in str(caught.value)
    with pytest.raises(
        DataError, match="read as plain; the run that comes with logllm knows only PostgreSQL"
    ):
        task(["postgres", str(other)], format="plain")


def test_a_log_that_no_run_knows_is_ranked(tmp_path) -> None:
    other = tmp_path / "app.jsonl"
    other.write_text('{"message": "up"}\n' * 5)
    asked = task([str(other)])
    assert (asked.run, asked.logs, asked.good, asked.settings.format.name) == (
        None,
        [str(other)],
        (),
        "json",
    )
    assert "ranked, not judged; --against GOOD_LOG judges them" in asked.said
    assert (asked.settings.sessions.by, asked.settings.sessions.size) == ("count", 10)
    assert task([str(other)], format="plain").settings.format.name == "plain"
    assert (
        task([str(other)], grouping={"by": "count", "size": 7, "step": 7}).settings.sessions.size
        == 7
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_may_never_end_is_not_ranked(tmp_path, postgres) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="needs the whole log.*or name a good log with --against"):
        task([str(tmp_path / "pipe")], format="plain")
    assert task([str(tmp_path / "pipe")], good=[str(postgres)]).endless


def test_logs_against_good_ones_are_read_as_those(tmp_path, postgres) -> None:
    today = tmp_path / "today.log"
    today.write_text("x\n")
    asked = task([str(today)], good=[str(postgres)])
    assert (asked.run, asked.good, asked.settings.format.name) == (
        None,
        (str(postgres),),
        "postgresql",
    )
    assert (asked.logs, asked.endless) == ([str(today)], False)


def test_a_run_is_not_judged_against_a_log(tiny_run, postgres) -> None:
    with pytest.raises(
        DataError, match="already says how to judge: leave out --against, or the run"
    ):
        task([str(tiny_run), str(postgres)], good=[str(postgres)])
    with pytest.raises(DataError, match="leave out a grouping of sessions"):
        task([str(tiny_run), str(postgres)], grouping={"by": "file"})
    with pytest.raises(DataError, match="--against -: it can be read only once; name a file"):
        task([str(postgres)], good=["-"])


def test_a_format_in_place_of_the_run_s(tiny_run, postgres, tmp_path) -> None:
    (tmp_path / "own.toml").write_text('name = "own"\nkind = "plain"\n')
    assert task([str(tiny_run), str(postgres)], format="auto").format.name == "postgresql"
    assert (
        task([str(tiny_run), str(postgres)], format=str(tmp_path / "own.toml")).format.name == "own"
    )
    with pytest.raises(RecipeError, match="no format 'jsn'"):
        task([str(tiny_run), str(postgres)], format="jsn")


def test_what_is_not_there(tmp_path, tiny_run, tiny_data) -> None:
    with pytest.raises(DataError, match=r"there is no file or folder .*nothere: name a log"):
        task([str(tmp_path / "nothere")])
    with pytest.raises(DataError, match="is a run: name the logs to judge after it"):
        task([str(tiny_run)])
    with pytest.raises(ModelError, match="is no run: it has no manifest"):
        task([str(tmp_path), "-"])
    with pytest.raises(ModelError, match="of another kind"):
        task([str(tiny_data), "-"])


@pytest.mark.real
def test_no_shipped_run(postgres, tmp_path) -> None:
    done = Installation(tmp_path / "installed", run=None).logllm("detect", postgres)
    assert (done.returncode, done.stdout) == (2, b"")
    assert re.search(
        rb"comes without a trained run: .*`logllm prepare postgres --out DATA`", done.stderr
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_loses_no_line_by_being_looked_at(postgres, pack) -> None:
    whole = postgres.read_bytes() * 600  # more than is looked at
    text, stdin, _ = first_lines(["-"], stdin=BytesIO(pack(whole)))
    described = recognise(text, today=date(2026, 12, 1)).format
    assert (described.name, len(text)) == ("postgresql", 5_000)
    reader = Reader(
        PrepareSection(format=described, sessions=described.sessions),
        today=date(2026, 1, 1),
        stdin=stdin,
    )
    assert sum(frame.height for frame in reader.read(["-"])) == 48_000


def test_of_a_folder_of_logs_the_shipped_run_judges_postgres(postgres, tmp_path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    postgres.rename(folder / "postgresql.log")
    (folder / "app.jsonl").write_text('{"message": "up"}\n' * 5)
    (folder / "core").write_bytes(bytes(range(256)) * 20)
    asked = task([str(folder)])
    assert (asked.logs, asked.format.name) == ([str(folder / "postgresql.log")], "postgresql")
    for part in ("1 file passed over", "core (binary)", "skipped, since", "app.jsonl (json)"):
        assert part in asked.said
    (folder / "postgresql.log").write_text("up at last\nup again\n")
    others = task([str(folder)])
    assert (others.run, len(others.settings.services)) == (None, 2)
    assert "ranked, not judged" in others.said
