"""Features of sessions as a matrix, to learn from with scikit-learn and to score without it."""

from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from logllm.metrics import Labels, Scores
from logllm.sessions.message_table import Rows

Table = npt.NDArray[np.float32]


class Matrix(Protocol):
    """A matrix with one row for each session, (b, columns)."""

    def learnable(self) -> Any:
        """The form that scikit-learn learns from."""

    def table(self) -> Table:
        """All cells, (b, columns), in the precision in which scikit-learn's trees compare."""

    def times(self, weights: Scores) -> Scores:
        """Its product with one weight for each column, (b,).

        The product of a row does not depend on other rows.
        """


class Sparse(NamedTuple):
    """A matrix by its cells that are not 0, row after row and in each row from left to right."""

    rows: Rows
    columns: Rows
    values: Scores
    shape: tuple[int, int]

    @classmethod
    def counted(
        cls,
        rows: Rows,
        columns: Rows,
        *,
        shape: tuple[int, int],
        times: Scores | None = None,
    ) -> "Sparse":
        """The matrix of how often each cell is named; `times` says what each naming counts, (n,).

        >>> Sparse.counted(np.array([1, 0, 1]), np.array([2, 1, 2]), shape=(2, 3)).table().tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]
        """
        # Row and column as one number, to count equal cells at once.
        width = max(1, shape[1])
        cells, of = np.unique(rows * width + columns, return_inverse=True)
        counts = np.bincount(of, weights=times, minlength=len(cells))
        return cls(cells // width, cells % width, counts.astype(np.float64), shape)

    def beside(self, right: "Sparse") -> "Sparse":
        """One matrix with this one's columns and then the other's; both have the same rows.

        >>> zero = np.array([0])
        >>> left = Sparse.counted(zero, zero, shape=(1, 2))
        >>> left.beside(Sparse.counted(zero, zero, shape=(1, 1))).table().tolist()
        [[1.0, 0.0, 1.0]]
        """
        # Cells stand row after row: both are mixed, and put in that order again.
        rows = np.concatenate([self.rows, right.rows])
        columns = np.concatenate([self.columns, right.columns + self.shape[1]])
        order = np.lexsort((columns, rows))
        values = np.concatenate([self.values, right.values])
        shape = self.shape[0], self.shape[1] + right.shape[1]
        return Sparse(rows[order], columns[order], values[order], shape)

    def learnable(self) -> Any:
        """A sparse array of SciPy's."""
        from scipy.sparse import csr_array

        # Trees read no matrix whose indexes have 64 bits. Row r has the cells from starts[r] to
        # starts[r + 1].
        rows = np.arange(self.shape[0] + 1)
        starts = np.searchsorted(self.rows, rows).astype(np.int32)
        columns = self.columns.astype(np.int32)
        return csr_array((self.values, columns, starts), shape=self.shape)

    def table(self) -> Table:
        """All cells, (b, columns)."""
        table = np.zeros(self.shape, dtype=np.float32)
        table[self.rows, self.columns] = self.values
        return table

    def times(self, weights: Scores) -> Scores:
        """Its product with one weight for each column, (b,)."""
        products = self.values * weights[self.columns]
        # Without a cell numpy counts in whole numbers.
        return np.bincount(self.rows, weights=products, minlength=self.shape[0]).astype(np.float64)


class Dense(NamedTuple):
    """A matrix by all of its cells."""

    cells: Table

    def learnable(self) -> Any:
        """The cells."""
        return self.cells

    def table(self) -> Table:
        """The cells."""
        return self.cells

    def times(self, weights: Scores) -> Scores:
        """Its product with one weight for each column, (b,)."""
        products: Scores = self.cells * weights
        return np.asarray(products.sum(axis=1))


class ByKind(NamedTuple):
    """Distinct sessions or lines, separated by their kind.

    One that is labelled normal here and anomalous there comes twice.
    """

    anomalous: Labels
    """The kind of each."""
    places: Rows
    """Which of the distinct ones each is."""
    counts: Rows
    """How many are equal to it and of its kind."""

    @classmethod
    def of(cls, places: Rows, labels: Labels, *, distinct: int) -> Self:
        """Count sessions or lines by the distinct one that each is, and by their labels.

        >>> labels = np.array([False, False, True, False])
        >>> ByKind.of(np.array([0, 1, 0, 0]), labels, distinct=2).counts.tolist()
        [2, 1, 1]
        """
        is_bad = labels.astype(np.bool_)
        normal = np.bincount(places[~is_bad], minlength=distinct)
        anomalous = np.bincount(places[is_bad], minlength=distinct)
        counts = np.stack([normal, anomalous])
        kinds, rows = np.nonzero(counts)
        return cls(kinds == 1, rows, counts[kinds, rows])
