"""The server's messages in other languages, as logllm learns them (`train.languages`).

Of PostgreSQL's own catalogues it takes the messages that a log holds.

    python datasets/postgres/catalogues.py de es fr it sv --data PREPARED --out translations.json

PREPARED is a folder that `logllm prepare` wrote of an English log. The catalogues come with
Debian's package postgresql-15.
"""

import argparse
import json
import sys
from pathlib import Path

from faults import CATALOGUE, Messages

from logllm.datasets.prepared import Prepared
from logllm.methods.translations import Translation, is_head


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("languages", nargs="+", help="as the catalogues' folders are called")
    parser.add_argument("--data", type=Path, required=True, help="prepared data, in English")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()

    prepared = Prepared.load(asked.data)
    catalogues = {}
    for language in asked.languages:
        catalogue = Messages.read(CATALOGUE.format(language))
        catalogue = {text: other for text, other in catalogue.items() if text and other}
        held = used(catalogue, prepared)
        # A log may hold other severities than this one.
        catalogues[language] = {
            text: other for text, other in catalogue.items() if text in held or is_head(text)
        }
        print(f"{language}: {len(catalogues[language])} messages", file=sys.stderr)
    told = {
        "source": "message catalogues of PostgreSQL 15",
        "licence": "PostgreSQL Licence, (c) 1996-2023 The PostgreSQL Global Development Group",
        "languages": catalogues,
    }
    text = json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True)
    asked.out.write_text(text + "\n", encoding="utf-8")


def used(catalogue: dict[str, str], prepared: Prepared) -> set[str]:
    """The English messages of a catalogue that a log holds."""
    # Translated into a mark of its own, each says where it was used. Marks are of letters alone,
    # which masking leaves, and have as many lines as the message.
    marks = {text: f"Mark{_in_letters(number)}Mark" for number, text in enumerate(catalogue)}
    marked = {text: "\n".join([mark] * _lines(text)) for text, mark in marks.items()}
    translation = Translation.of(marked, prepared.settings.mask)
    told = "\n".join(translation.translated(prepared.messages))
    return {text for text, mark in marks.items() if mark in told}


def _lines(text: str) -> int:
    return text.strip("\n").count("\n") + 1


def _in_letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


if __name__ == "__main__":
    main()
