"""Sessions in other languages."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.config.recipe import Recipe
from logllm.config.train import TrainSection
from logllm.datasets.prepared import Prepared
from logllm.errors import RecipeError
from logllm.methods.contract import Workplace
from logllm.methods.frozen import frozen_thresholds
from logllm.methods.translations import Translation, translations_of, with_copies
from logllm.methods.words import Words
from tests.methods.test_frozen import fresh
from tests.methods.test_held_out import FAULTS, part

GERMAN = {
    "ERROR": "FEHLER",
    "DETAIL:  ": "DETAIL:  ",
    "STATEMENT:  ": "ANWEISUNG:  ",
    'relation "%s" does not exist': "Relation »%s« existiert nicht",
    " at character %d": " bei Zeichen %d",
    'table "%s" has %d columns available but %d columns specified': (
        "Tabelle »%1$s« hat %2$d Spalten, aber %3$d Spalten wurden angegeben"
    ),
    'permission denied for "%s" of "%s"': "in »%2$s« keine Berechtigung für »%1$s«",
    "Process %d waits for %s.\nHave a look.": "Prozess %d wartet auf %s.\nSehen Sie nach.",
    "connection authorized: user=%s": "Verbindung autorisiert: Benutzer=%s",
    " database=%s": " Datenbank=%s",
    "duration: %s ms": "Dauer: %s ms",
    "%s: %m": "%s: %m",
}
GERMAN_FAULTS = {fault.removeprefix("ERROR: "): "kaputt" for fault in FAULTS}


def german(*messages: str) -> list[str]:
    """Masked messages in German."""
    translation = Translation.of(GERMAN, MaskSection())
    return translation.translated(pl.Series(messages, dtype=pl.String)).to_list()


@pytest.mark.parametrize(
    ("english", "translated"),
    [
        (
            'ERROR:  relation "carts" does not exist at character <*>',
            "FEHLER:  Relation »carts« existiert nicht bei Zeichen <*>",
        ),
        (
            'ERROR:  <*> relation "carts" does not exist',
            "FEHLER:  <*> Relation »carts« existiert nicht",
        ),
        (
            'ERROR:  42P01: relation "carts" does not exist',
            "FEHLER:  42P01: Relation »carts« existiert nicht",
        ),
        (
            'table "a b" has <*> columns available but <*> columns specified',
            "Tabelle »a b« hat <*> Spalten, aber <*> Spalten wurden angegeben",
        ),
        ('permission denied for "x" of "y"', "in »y« keine Berechtigung für »x«"),
        (
            "DETAIL:  Process <*> waits for ShareLock.\nProcess <*> waits for nothing.",
            "DETAIL:  Prozess <*> wartet auf ShareLock.\nProzess <*> wartet auf nothing.",
        ),
        (
            "LOG:  connection authorized: user=anna database=shop",
            "LOG:  Verbindung autorisiert: Benutzer=anna Datenbank=shop",
        ),
        ("LOG:  duration: <*> ms", "LOG:  Dauer: <*> ms"),
    ],
    ids=[
        "ending",
        "masked-code",
        "code",
        "numbers",
        "order",
        "lines",
        "database",
        "head",
    ],
)
def test_a_message_is_what_the_program_writes_in_the_language(
    english: str, translated: str
) -> None:
    assert german(english) == [translated]


def test_what_the_user_wrote_and_what_no_catalogue_has_stay() -> None:
    written = 'STATEMENT:  relation "carts" does not exist'
    unknown = "LOG:  some extension says hello"
    assert german(written, unknown) == [written.replace("STATEMENT", "ANWEISUNG"), unknown]


def test_copies_have_the_labels_of_what_they_are_copies_of() -> None:
    data = part()
    copied = with_copies(data, {"de": Translation.of(GERMAN_FAULTS, MaskSection())}, seed=0)
    assert copied.sessions[: len(data.sessions)] == [pytest.approx(s) for s in data.sessions]
    assert len(data.sessions) * 1.3 < len(copied.sessions) < len(data.sessions) * 1.7
    assert copied.messages.n_unique() == len(copied.messages)

    # Of messages that the catalogue lacks a copy holds the same rows as its original.
    assert copied.labels is not None
    assert copied.line_labels is not None
    for number in range(len(data.sessions), len(copied.sessions)):
        texts = copied.messages[copied.sessions[number]].to_list()
        faulty = ["kaputt" in text for text in texts]
        assert copied.labels[number] == any(faulty)
        assert copied.line_labels[number].tolist() == faulty
    assert set(copied.messages[len(data.messages) :]) == {"ERROR: kaputt"}


def test_each_session_is_copied_into_one_of_several_languages_as_often() -> None:
    data = part()
    catalogues = {name: {text: name for text in GERMAN_FAULTS} for name in ("aaaa", "bbbb")}
    into = {name: Translation.of(texts, MaskSection()) for name, texts in catalogues.items()}
    copied = with_copies(data, into, seed=0)
    assert len(data.sessions) * 1.3 < len(copied.sessions) < len(data.sessions) * 1.7
    texts = [copied.messages[session].str.join(" ").item() for session in copied.sessions]
    for name in catalogues:
        assert sum(f"ERROR: {name}" in text for text in texts) > 3


def test_the_same_seed_gives_the_same_copies() -> None:
    into = {"de": Translation.of(GERMAN_FAULTS, MaskSection())}
    first, again, other = (with_copies(part(), into, seed=seed) for seed in (1, 1, 2))
    assert [s.tolist() for s in first.sessions] == [s.tolist() for s in again.sessions]
    assert [s.tolist() for s in first.sessions] != [s.tolist() for s in other.sessions]


def test_each_fold_learns_all_languages_and_judges_in_one_of_them() -> None:
    learnt: list[set[str]] = []
    judged: list[set[str]] = []
    make = fresh("logistic-words")

    class Watched:
        """A method that tells which languages it meets."""

        needs, scale = make().needs, "scores"

        def __init__(self) -> None:
            self.inner = make()

        def fit(self, sessions: list[np.ndarray], messages: pl.Series, **labels: object) -> None:
            learnt.append(languages(sessions, messages))
            self.inner.fit(sessions, messages, **labels)  # type: ignore[arg-type]

        def score(self, sessions: list[np.ndarray], messages: pl.Series) -> object:
            judged.append(languages(sessions, messages))
            return self.inner.score(sessions, messages)

        def score_lines(self, sessions: list[np.ndarray], messages: pl.Series) -> object:
            return self.inner.score_lines(sessions, messages)

    def languages(sessions: list[np.ndarray], messages: pl.Series) -> set[str]:
        texts = " ".join(messages[np.unique(np.concatenate(sessions))])
        return {name for name in ("aaaa", "bbbb") if name in texts}

    catalogues = {name: {text: name for text in GERMAN_FAULTS} for name in ("aaaa", "bbbb")}
    into = {name: Translation.of(texts, MaskSection()) for name, texts in catalogues.items()}
    section = TrainSection(folds=2, languages=("aaaa", "bbbb"))
    chosen = frozen_thresholds(Watched, part(), section=section, translations=into)  # type: ignore[arg-type]
    assert learnt == [{"aaaa", "bbbb"}, {"aaaa", "bbbb"}]
    assert judged == [set(), set(), {"aaaa"}, set(), set(), {"bbbb"}]
    assert chosen is not None
    assert chosen.sessions.how.endswith("in another language")


def test_half_of_the_trees_learn_without_copies() -> None:
    into = {"de": Translation.of(GERMAN_FAULTS, MaskSection())}
    words = Words(Recipe.of_method("words"), Workplace())
    learnt = with_copies(part(), into, seed=0)
    words.copies = len(learnt.sessions) - len(part().sessions)
    labels = {"labels": learnt.labels, "line_labels": learnt.line_labels}
    words.fit(learnt.sessions, learnt.messages, **labels, seed=0)
    assert words.copies > 0
    trees = words._trees._trees
    foreign = words._counts._numbers["kaputt"]
    # Those that are grown on all sessions come first.
    halfway = trees.roots[len(trees.roots) // 2]
    assert foreign in trees.feature[:halfway]
    assert foreign not in trees.feature[halfway:]


def test_the_set_that_comes_with_logllm_has_translations(tiny_data: Path) -> None:
    section = TrainSection(languages=("de", "sv"))
    by_language = translations_of(Prepared.load(tiny_data), section)
    english = pl.Series(['FATAL:  database "shop" does not exist'])
    assert (
        by_language["de"].translated(english).item() == "FATAL:  Datenbank »shop« existiert nicht"
    )
    assert (
        by_language["sv"].translated(english).item() == 'FATALT:  databasen "shop" existerar inte'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file or directory; train.translations is a JSON file"),
        ("{", "cannot be read"),
        ('{"languages": []}', "cannot be read|has no translations"),
        (json.dumps({"languages": {"de": {}}}), "no translations into 'nl', but into de"),
    ],
    ids=["missing", "damaged", "other", "lacking"],
)
def test_translations_that_are_not_there_are_refused(
    tmp_path: Path, tiny_data: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "words.json"
    if text is not None:
        path.write_text(text)
    section = TrainSection(languages=("nl",), translations=str(path))
    with pytest.raises(RecipeError, match=message):
        translations_of(Prepared.load(tiny_data), section)
