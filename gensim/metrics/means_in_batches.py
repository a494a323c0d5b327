"""The mean cell of every experimental batch."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gensim.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class MeansInBatches:
    """Of the batches that have cells.

    Args:
        codes: (B,) batches, rising.
        means: (B, G) mean of the cells of each, log1p CP10k.
    """

    codes: IntArray
    means: NDArray[np.float64]

    @classmethod
    def of(cls, x: FloatArray, batch_of: IntArray) -> Self:
        """From (n, G) cells and their (n,) batches."""
        codes = np.unique(batch_of)
        means = [x[batch_of == code].mean(axis=0, dtype=np.float64) for code in codes]
        return cls(codes, np.stack(means))

    @classmethod
    def of_sums(cls, codes: IntArray, sums: NDArray[np.float64], n: NDArray[np.float64]) -> Self:
        """From (B, G) sums over the (B,) n cells of the batches; those without cells are left out."""
        has = n > 0
        return cls(codes[has], sums[has] / n[has, None])
