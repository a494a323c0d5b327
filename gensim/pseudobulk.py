"""Pseudobulk: what is left of the cells of each condition, in sums that can be merged in any order.

Memory is one row of G genes per condition that is present; it does not grow with the number of cells.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gensim.errors import DataError
from gensim.types import SCALES, FloatArray, IntArray, blocks

Float64Array = NDArray[np.float64]

ARRAYS = ("condition", "n", "count_sum", "mean", "m2", "detected")

GENES_AT_ONCE = 1024
"""Bounds the float64 working copy of a population; the sums are per gene, so the answer does not depend on it."""


class _Row(NamedTuple):
    """One condition: number of cells and (G,) sums."""

    n: int
    count_sum: Float64Array
    mean: Float64Array
    m2: Float64Array
    detected: IntArray


@dataclass(frozen=True, eq=False, slots=True)
class Pseudobulk:
    """Mergeable sums over cells, for the P conditions that are present.

    Args:
        scale: what `count_sum` adds up: ``counts``, or CP10k for ``log1p_cp10k``.
        condition: (P,) int64 rows of the run's table of conditions, strictly rising.
        n: (P,) int64 cells, at least 1.
        count_sum: (P, G) float64.
        mean: (P, G) float64 mean of log1p CP10k.
        m2: (P, G) float64 sum of squared deviations of log1p CP10k from `mean`.
        detected: (P, G) int64 cells in which the gene is above 0.

    Raises:
        ValueError: fields that do not fit together.
    """

    scale: str
    condition: IntArray
    n: IntArray
    count_sum: Float64Array
    mean: Float64Array
    m2: Float64Array
    detected: IntArray

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"scale {self.scale!r} is unknown; it is one of {SCALES}")
        shapes = {a.shape for a in (self.count_sum, self.mean, self.m2, self.detected)}
        if len(shapes) != 1 or self.mean.ndim != 2 or {len(self.condition), len(self.n)} != {len(self.mean)}:
            raise ValueError(f"a Pseudobulk needs one row per condition in every field, got shapes {sorted(shapes)}")
        if (np.diff(self.condition) <= 0).any() or (self.n < 1).any():
            raise ValueError("a Pseudobulk needs rising conditions with at least one cell each")

    @property
    def n_genes(self) -> int:
        return int(self.mean.shape[1])

    @property
    def variance(self) -> Float64Array:
        """(P, G) unbiased variance of log1p CP10k; NaN for a condition of one cell, whose variance is not defined."""
        freedom = np.where(self.n > 1, self.n - 1, np.nan)
        return self.m2 / freedom[:, None]

    @property
    def detection_rate(self) -> Float64Array:
        """(P, G) share of cells in which the gene is above 0."""
        return self.detected / self.n[:, None]

    @classmethod
    def empty(cls, n_genes: int, scale: str) -> Self:
        """No cells of no condition: the neutral element of `merge`."""
        return cls._from_rows({}, n_genes, scale)

    @classmethod
    def of(cls, x_log: FloatArray, x_counts: FloatArray | IntArray | None, condition: IntArray) -> Self:
        """Reduce cells.

        Args:
            x_log: (n, G) log1p CP10k, not negative.
            x_counts: (n, G) counts of the same cells; None where there are none: then CP10k is summed.
            condition: (n,) rows of the run's table of conditions.

        Raises:
            ValueError: arrays of different lengths or shapes.
            DataError: a value that is not finite.
        """
        if x_log.ndim != 2 or len(condition) != len(x_log) or (x_counts is not None and x_counts.shape != x_log.shape):
            came = (x_log.shape, None if x_counts is None else x_counts.shape, condition.shape)
            raise ValueError(f"x_log, x_counts and condition must describe the same cells and genes, got shapes {came}")
        order = np.argsort(condition, kind="stable")
        codes, starts = np.unique(condition[order], return_index=True)
        rows = {
            int(code): _reduce(x_log, x_counts, cells)
            for code, cells in zip(codes, np.split(order, starts[1:]), strict=True)
        }
        return cls._from_rows(rows, x_log.shape[1], "log1p_cp10k" if x_counts is None else "counts")

    def merge(self, other: "Pseudobulk") -> "Pseudobulk":
        """The pseudobulk of the cells of both.

        Raises:
            DataError: another number of genes or another scale.
        """
        return merge_pseudobulks([self, other], self.n_genes, self.scale)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays (no objects) for `numpy.savez`."""
        return {"scale": np.array(self.scale), **{name: getattr(self, name) for name in ARRAYS}}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Inverse of `to_arrays`.

        Raises:
            DataError: an array is missing.
        """
        missing = [name for name in ("scale", *ARRAYS) if name not in arrays]
        if missing:
            raise DataError(f"arrays of a pseudobulk lack {missing}")
        return cls(str(arrays["scale"]), *(np.asarray(arrays[name]) for name in ARRAYS))

    @classmethod
    def _from_rows(cls, rows: Mapping[int, _Row], n_genes: int, scale: str) -> Self:
        codes = sorted(rows)
        sums = np.empty((3, len(codes), n_genes))
        detected = np.empty((len(codes), n_genes), np.int64)
        for i, code in enumerate(codes):
            row = rows[code]
            sums[:, i] = row.count_sum, row.mean, row.m2
            detected[i] = row.detected
        n = np.array([rows[code].n for code in codes], np.int64)
        return cls(scale, np.array(codes, np.int64), n, sums[0], sums[1], sums[2], detected)

    def _rows(self) -> dict[int, _Row]:
        return {
            int(code): _Row(int(self.n[i]), self.count_sum[i], self.mean[i], self.m2[i], self.detected[i])
            for i, code in enumerate(self.condition)
        }


def merge_pseudobulks(parts: Iterable[Pseudobulk], n_genes: int, scale: str) -> Pseudobulk:
    """Fold `parts` from the left; they may come from a generator, and one is held at a time.

    The same parts in the same order give the same bits; another order or chunking agrees to rounding (1e-12).

    Raises:
        DataError: a part has another number of genes or another scale than asked.
    """
    rows: dict[int, _Row] = {}
    for part in parts:
        if (part.n_genes, part.scale) != (n_genes, scale):
            raise DataError(
                f"pseudobulk of {part.n_genes} genes in {part.scale!r} cannot be merged into one of {n_genes} genes"
                f" in {scale!r}; both must come from the same request"
            )
        for code, row in part._rows().items():
            rows[code] = _merge_rows(rows[code], row) if code in rows else row
    return Pseudobulk._from_rows(rows, n_genes, scale)


def _reduce(x_log: FloatArray, x_counts: FloatArray | IntArray | None, cells: IntArray) -> _Row:
    """Two-pass moments of the rows `cells`, a block of genes at a time."""
    n_genes = x_log.shape[1]
    count_sum, mean, m2 = (np.empty(n_genes) for _ in range(3))
    detected = np.empty(n_genes, np.int64)
    for genes in blocks(n_genes, GENES_AT_ONCE):
        x = x_log[cells, genes].astype(np.float64)
        detected[genes] = (x > 0).sum(axis=0)
        counts = np.expm1(x) if x_counts is None else x_counts[cells, genes]
        count_sum[genes] = counts.sum(axis=0, dtype=np.float64)
        mean[genes] = x.mean(axis=0)
        x -= mean[genes]
        m2[genes] = np.square(x, out=x).sum(axis=0)
    if not (np.isfinite(m2).all() and np.isfinite(count_sum).all()):
        gene = int(np.argmin(np.isfinite(m2) & np.isfinite(count_sum)))
        raise DataError(
            f"cells have values that are not finite in gene {gene}; a pseudobulk of them would mean nothing"
        )
    return _Row(len(cells), count_sum, mean, m2, detected)


def _merge_rows(a: _Row, b: _Row) -> _Row:
    """Pairwise update of mean and squared deviations (Chan, Golub and LeVeque, 1979, equations 2.1a and 2.1b)."""
    n = a.n + b.n
    delta = b.mean - a.mean
    return _Row(
        n=n,
        count_sum=a.count_sum + b.count_sum,
        mean=a.mean + delta * (b.n / n),
        m2=a.m2 + b.m2 + delta**2 * (a.n * b.n / n),
        detected=a.detected + b.detected,
    )
