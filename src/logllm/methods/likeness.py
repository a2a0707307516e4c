"""How much alike messages are by the words that they share, without a network."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

Matrix = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float64]

_WORD = r"\p{L}+|<\*>"
"""A word, or what masking left of a number."""
_SIZE = 512
"""Components of a message's vector."""
_UNIT = 4.0
"""Weights of words are whole numbers of quarters: sums are exact in any order, and so are
scores."""
_LEAST = 0.3
"""Messages that are less alike have nothing to do with each other."""
_SHARPNESS = 4
_AT_ONCE = 1024


class Likeness:
    """Compares messages as bags of words, rare words counting for more.

    A word stands for one component of the vector, by its hash, and for a sign: two that meet by
    chance cancel as often as they add up.
    """

    def __init__(self, frequencies: Mapping[str, int], *, messages: int) -> None:
        """Begin with how many messages each word occurs in."""
        self.frequencies = dict(frequencies)
        self.messages = messages

    @classmethod
    def of(cls, messages: pl.Series) -> Self:
        """Count the words of some messages."""
        words = _words(messages)["word"]
        counted = words.value_counts(name="messages").sort("word")
        return cls(dict(counted.iter_rows()), messages=len(messages))

    def vectors(self, messages: pl.Series) -> Matrix:
        """Messages as vectors, (u, 512)."""
        # Each distinct word is hashed once, however many messages hold it.
        words = _words(messages)
        distinct = words["word"].unique(maintain_order=True)
        components = pl.DataFrame({"word": distinct, **self._components(distinct.to_list())})
        rows = words.join(components, on="word", maintain_order="left")

        # TF-IDF: the weight of a word, times 1 + log of how often it stands there.
        weight = rows["weight"] * (1 + rows["times"].log())
        signed = (weight * _UNIT).round() * rows["sign"]

        # Message and component as one number, to add up what falls together at once.
        row = rows["row"].to_numpy().astype(np.int64)
        component = rows["component"].to_numpy()
        place = row * _SIZE + component
        cells = len(messages) * _SIZE
        summed = np.bincount(place, weights=signed.to_numpy(), minlength=cells)
        return summed.astype(np.float32).reshape(len(messages), _SIZE)

    def _components(self, words: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """The component, the sign and the weight of each word."""
        # Python's own hash would differ from process to process.
        digests = [blake2b(word.encode(), digest_size=4).digest() for word in words]
        numbers = np.array([int.from_bytes(digest) for digest in digests], dtype=np.int64)

        # idf = log((1 + n) / (1 + df)) + 1, as scikit-learn smooths it: a word never seen has one.
        counts = [self.frequencies.get(word, 0) for word in words]
        frequencies = np.array(counts, dtype=np.float64)
        rarity = np.log((1 + self.messages) / (1 + frequencies)) + 1

        # The lowest bit is the sign, those above it the component.
        sign = np.where(numbers & 1, 1.0, -1.0)
        component = (numbers >> 1) % _SIZE
        return {"component": component, "sign": sign, "weight": rarity}


def alike(some: Matrix, others: Matrix, *, weights: Weights) -> Weights:
    """How much of others is like each of some vectors, (len(some),) or (len(some), k).

    It is the sum of the others' weights, each counted as far as the two are alike.

    Args:
        some: vectors.
        others: vectors that they are compared with.
        weights: of the others, whole numbers, (len(others),) or (len(others), k).
    """
    # Some at a time: 5,000 others and 100,000 messages would be 4 GB of cosines.
    norms = _norms(others)
    sums = [np.zeros((0, *weights.shape[1:]))]
    for start in range(0, len(some), _AT_ONCE):
        chunk = some[start : start + _AT_ONCE]
        products = (chunk @ others.T).astype(np.float64)
        lengths = _norms(chunk)[:, None] * norms
        cosines = products / lengths

        # 0 up to a cosine of .3, 1 at 1, and steep between: at .65 one sixteenth.
        nearness = ((cosines - _LEAST) / (1 - _LEAST)).clip(0, 1)
        kernel = nearness**_SHARPNESS
        # As whole numbers, for sums that are exact in any order.
        whole = np.round(kernel * 2**20)
        sums.append(whole @ weights / 2**20)
    return np.concatenate(sums)


def _norms(vectors: Matrix) -> Weights:
    """Lengths of vectors; 1 for a vector of zeros, so that it can be divided by."""
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    positive = np.where(squares > 0, squares, 1.0)
    return np.sqrt(positive)


def _words(messages: pl.Series) -> pl.DataFrame:
    """The words of messages, one row for each word of a message: `row`, `word`, `times`."""
    frame = messages.alias("message").to_frame().with_row_index("row")
    in_small_letters = pl.col("message").str.to_lowercase()
    words = in_small_letters.str.extract_all(_WORD)
    rows = frame.select("row", word=words).explode("word").drop_nulls("word")
    return rows.group_by("row", "word", maintain_order=True).agg(times=pl.len())
