"""Text to token ids by a model's `tokenizer.json` alone, as transformers' tokenizers give them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer

FILE = "tokenizer.json"
"""The file of the tokenizers library."""
_AS_THE_FILE_SAYS = ("TokenizersBackend", "PreTrainedTokenizerFast")
_BERTS = ("BertTokenizer", "BertTokenizerFast")
_BERTS_PIECES = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer", "post_processor": "TemplateProcessing"}
_BERTS_NAMES = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
_ALTERS = ("add_bos_token", "add_eos_token", "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")
"""Settings by which transformers may change what the file says."""


class FileTokenizer:
    """A tokenizer from its file.

    Attributes:
        pad_token_id: what pads, where the model has such a token.
        bos_token_id: what begins a text, where the model has such a token.
        eos_token_id: what ends a text, where the model has such a token.
    """

    def __init__(self, tokenizer: Tokenizer, *, pad: int | None, bos: int | None, eos: int | None) -> None:
        """Give a tokenizer of the library's the ids of its special tokens."""
        self._tokenizer = tokenizer
        self._cut: int | None = None
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.pad_token_id, self.bos_token_id, self.eos_token_id = pad, bos, eos

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """A folder's tokenizer; none where it is of a kind that transformers does not take from the file as it is."""
        config = _config(folder)
        if config is None or any(config.get(name) for name in _ALTERS):
            return None
        kind, names = config.get("tokenizer_class"), {}
        if kind in _BERTS and _as_written(folder, config):
            names = _BERTS_NAMES
        elif kind not in _AS_THE_FILE_SAYS:
            return None
        tokenizer = Tokenizer.from_file(str(folder / FILE))
        ids = {}
        for special in ("pad", "bos", "eos", "unk", "sep", "cls", "mask"):
            token = _content(config.get(f"{special}_token", names.get(f"{special}_token")))
            ids[special] = None if token is None else tokenizer.token_to_id(token)
            if token is not None and ids[special] is None:  # transformers would add it
                return None
        return cls(tokenizer, pad=ids["pad"], bos=ids["bos"], eos=ids["eos"])

    def __call__(
        self, text: str | Sequence[str], *, add_special_tokens: bool = True, truncation: bool = False, max_length: int | None = None
    ) -> dict[str, Any]:
        """Token ids of a text, or of several, as `input_ids`.

        Args:
            text: what is tokenised.
            add_special_tokens: with what the tokenizer itself puts before and after a text.
            truncation: cut after `max_length` ids.
            max_length: special tokens included.
        """
        cut = max_length if truncation else None
        if cut != self._cut:
            self._tokenizer.no_truncation() if cut is None else self._tokenizer.enable_truncation(cut)
            self._cut = cut
        if isinstance(text, str):
            return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}
        encoded = self._tokenizer.encode_batch_fast(list(text), add_special_tokens=add_special_tokens)
        return {"input_ids": [each.ids for each in encoded]}


def _config(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its tokenizer; none where it lacks a file."""
    try:
        config: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return None
    names = folder / "special_tokens_map.json"
    if names.is_file():
        config = {**json.loads(names.read_bytes()), **config}
    return config if (folder / FILE).is_file() else None


def _as_written(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether BERT's file holds what transformers builds anew from its settings."""
    written = json.loads((folder / FILE).read_bytes())
    if any((written.get(piece) or {}).get("type") != kind for piece, kind in _BERTS_PIECES.items()):
        return False
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        "strip_accents": config.get("strip_accents"),
        "lowercase": config.get("do_lower_case", True),
    }
    ends = [next(iter(piece)) for piece in written["post_processor"]["single"]]
    return bool(written["normalizer"] == normalizer and ends == ["SpecialToken", "Sequence", "SpecialToken"])


def _content(token: str | Mapping[str, Any] | None) -> str | None:
    """A special token's text."""
    return token["content"] if isinstance(token, Mapping) else token
