"""Counts per cell, by which the cells of an evaluation weigh in sums of counts."""

from dataclasses import dataclass
from typing import Self

from gensim.data.cell_source import CellSource
from gensim.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class LibrarySizes:
    """Of the cells of a condition that are used; None for all where some are no counts, or no metric asks.

    Args:
        real: (n,) of the real cells. predicted: (m,).
        drawn: of the control cells that baselines move.
        tested: of the control cells that differential expression is tested against.
    """

    real: FloatArray | None = None
    predicted: FloatArray | None = None
    drawn: FloatArray | None = None
    tested: FloatArray | None = None

    @classmethod
    def of(cls, *cells: tuple[CellSource, IntArray]) -> Self:
        """Of these rows of these sources, in the order of the arguments above."""
        found = [source.counts_per_cell(rows) for source, rows in cells]
        return cls() if any(sizes is None for sizes in found) else cls(*found)


def part(sizes: FloatArray | None, rows: IntArray) -> FloatArray | None:
    """Those at `rows`; None where they are not known."""
    return None if sizes is None else sizes[rows]
