"""Where a cell's data lies, what they are, and how they are made where they are not given."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from logllm.config.prepare import PrepareSection
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import Manifest, Prepared
from logllm.errors import DataError, ModelError, RecipeError
from logllm.evaluate.tables.process import Runner
from logllm.evaluate.tables.published import SETS
from logllm.evaluate.templates import write_templates
from logllm.storage import MANIFEST


class CellData(NamedTuple):
    """One folder of prepared data."""

    name: str
    """What the tables call the data set."""
    folder: Path
    identity: str
    """The fingerprint of what is there, or of what it will be made of and how."""
    paper: str | None = None
    """The paper's data set that this is, or is a part of."""
    make: Callable[[Runner], None] | None = None
    """Fills the folder; none: it was given."""
    source: "CellData | None" = None
    """Data that must be there first, in order to make these."""

    def made(self) -> bool:
        """Whether the data are there."""
        return (self.folder / MANIFEST).is_file()

    def provide(self, runner: Runner, *, watch: Callable[[str], None]) -> None:
        """Make the data, and what they are made from, unless they are there."""
        # The source's source first: folds of altered data are made from data that are there.
        if self.make is None or self.made():
            return
        if self.source is not None:
            self.source.provide(runner, watch=watch)
        watch(f"making {self.folder.name}")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.make(runner)

    def manifest(self) -> Manifest:
        """What the data's manifest says."""
        manifest: Manifest = json.loads((self.folder / MANIFEST).read_bytes())
        return manifest


def given_data(text: str) -> CellData:
    """Data as the command line names them: `NAME=DIR`, or a folder whose own name is taken.

    The paper's data set is known by the name of the data, such as `bgl` of `bgl-6135`, or by their
    format's.

    Raises:
        DataError: not prepared data, or without labels.
    """
    name, sign, rest = text.partition("=")
    folder = Path(rest if sign else text)
    prepared = Prepared.load(folder)
    prepared.labelled("test")
    name = name if sign else folder.resolve().name
    of_format = prepared.settings.format.name
    # `hdfs`, `HDFS-part` or any data in HDFS's format are compared with the paper's HDFS.
    papers = (paper for paper in SETS if name.lower().startswith(paper) or of_format == paper)
    fingerprint = prepared.manifest["fingerprint"]
    return CellData(name, folder.resolve(), fingerprint, next(papers, None))


class Alteration(NamedTuple):
    """How a test part is altered."""

    kind: str
    """Of `logllm perturb`."""
    ratio: float
    """Share of the sessions altered."""
    strength: float
    """Share of their messages altered."""


def altered(source: CellData, under: Path, *, by: Alteration, seed: int) -> CellData:
    """Data with an altered test part (`logllm perturb`)."""
    how = f"{by.kind}-{by.ratio:g}-{by.strength:g}-{seed}"
    # A folder for each alteration of each state of the source: nothing old is taken for new.
    folder = under / f"{source.name}-{source.identity[:8]}-{how}"
    options = {
        "out": folder,
        "kind": by.kind,
        "ratio": by.ratio,
        "strength": by.strength,
        "seed": seed,
    }
    command = ["perturb", str(source.folder)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    make = partial(_run, command=command, out=folder)
    return source._replace(folder=folder, identity=f"{source.identity} {how}", make=make)


def folded(source: CellData, under: Path, *, parts: int) -> list[CellData]:
    """Data cut into parts of equal size, in order of time (`logllm folds`).

    Each part but the first is a test part, with all parts before it to train on.
    """
    out = under / f"{source.name}-{source.identity[:8]}-{parts}-parts"
    command = ["folds", str(source.folder), "--parts", str(parts), "--out", str(out)]
    make = partial(_run, command=command, out=out)
    made: list[CellData] = []
    # The first part has nothing before it to train on.
    for number in range(1, parts):
        identity = f"{source.identity} fold {number} of {parts}"
        made.append(source._replace(folder=out / f"fold-{number}", identity=identity, make=make))
    return made


def prepared_anew(
    source: CellData, under: Path, *, raw: list[str], labels: Path | None
) -> dict[str, CellData]:
    """The same log with its messages made in four ways.

    They are the raw text, the text with the masking rules' placeholders (the data given), Drain's
    templates, and the ids of these templates.

    Raises:
        DataError: the data's test part is another log.
    """
    given = Prepared.load(source.folder)
    if "test_raw" in given.manifest:
        raise DataError(
            f"the test part of {source.folder} is another log: prepare one log, whole, for the"
            " table of preprocessing"
        )
    no_masks = given.settings.mask.model_copy(update={"rules": "off", "own": ()})
    settings = given.settings.model_copy(update={"mask": no_masks})

    def variant(
        name: str, make: Callable[[Path], object], *, first: CellData | None = None
    ) -> CellData:
        folder = under / f"{source.name}-{source.identity[:8]}-{name}"
        make_here = partial(_made_here, make=make, folder=folder)
        identity = f"{source.identity} {name}"
        return source._replace(folder=folder, identity=identity, make=make_here, source=first)

    # Templates are learnt from the messages as they are, which therefore are made first.
    plain = variant("raw", partial(_unmasked, raw, labels=labels, settings=settings, given=given))
    template = partial(write_templates, plain.folder, ids=False)
    template_id = partial(write_templates, plain.folder, ids=True)
    return {
        "raw text": plain,
        "regex": source,
        "Drain template": variant("template", template, first=plain),
        "template id": variant("id", template_id, first=plain),
    }


def _made_here(_: Runner, *, make: Callable[[Path], object], folder: Path) -> None:
    """Make data without another process."""
    make(folder)


def _unmasked(
    raw: list[str], out: Path, *, labels: Path | None, settings: PrepareSection, given: Prepared
) -> None:
    """Prepare the log again, and make sure that it is the one the given data come from."""
    if settings.format.label is None and labels is None:
        raise RecipeError("the log's lines carry no label: name the labels' file with --labels")
    manifest = prepare(raw, out, settings=settings, labels=labels, force=True)
    # Masks do not change which sessions there are: other counts mean another log.
    here = _counts(manifest)
    there = _counts(given.manifest)
    if here != there:
        (out / MANIFEST).unlink()
        raise DataError(
            f"--raw is not the log that {given.folder} was prepared from: sessions, anomalous and"
            f" parts are {here}, there {there}"
        )


def _counts(manifest: Manifest) -> list[int]:
    """How many sessions there are, how many of them anomalous, and how many in each part."""
    of_parts = [part["sessions"] for part in manifest["parts"].values()]
    return [manifest["sessions"], manifest["anomalous"], *of_parts]


def _run(runner: Runner, *, command: list[str], out: Path) -> None:
    """Make data with a verb of ours."""
    out.parent.mkdir(parents=True, exist_ok=True)
    spent = runner(command, out.parent / f"{out.name}.log")
    if spent.code:
        raise ModelError(f"logllm {command[0]} ended with {spent.code}: {spent.said}")
