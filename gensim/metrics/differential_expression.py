"""Which genes differ from control cells, and how many of them a prediction finds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gensim.computed_once import computed_once
from gensim.data.cell_source import CellSource, draw_rows, read_dense
from gensim.errors import NotComputable
from gensim.metrics.false_discovery import benjamini_hochberg
from gensim.metrics.rank_sum import rank_sum_p
from gensim.seeding import numpy_generator
from gensim.types import Condition, FloatArray, IntArray

FALSE_DISCOVERY_RATE = 0.05
NO_GENE = "no gene is differentially expressed in the real cells"


@dataclass(frozen=True, slots=True)
class DifferentialExpression:
    """Of perturbed against control cells: (G,) false discovery rate, and (G,) log2 fold change, which may be ±inf."""

    fdr: NDArray[np.float64]
    log2_fold_change: NDArray[np.float64]

    @property
    def significant(self) -> NDArray[np.int64]:
        """Genes with a false discovery rate below 0.05, the largest |log2 fold change| first, then in their order."""
        genes = np.flatnonzero(self.fdr < FALSE_DISCOVERY_RATE)
        return genes[np.argsort(-np.abs(self.log2_fold_change[genes]), kind="stable")]

    def top(self, n: int) -> NDArray[np.int64]:
        """At most n of the significant genes: the smallest false discovery rate first, then as in `significant`.

        Raises:
            NotComputable: no gene is significant.
        """
        genes = self.significant
        if not len(genes):
            raise NotComputable(NO_GENE)
        return genes[np.argsort(self.fdr[genes], kind="stable")][:n]


def differential_expression(x: FloatArray, controls: FloatArray) -> DifferentialExpression:
    """Wilcoxon rank-sum test per gene, corrected over all genes, and fold changes.

    p_g two-sided, from the normal approximation with corrections for ties and continuity; fdr = Benjamini-Hochberg(p)
    log2 FC_g = log2( expm1(mean log1p x_g) / expm1(mean log1p c_g) ), 0 where both are 0, ±inf where one is

    That is the convention of pdex (0.3.0 by its defaults, as cell-eval 0.8.2 calls it): the mean is taken of the
    logarithms, then carried back to CP10k. A mean below 0, which no real cells have, counts as 0.

    Args:
        x: (n, G) cells, log1p CP10k.
        controls: (m, G) control cells.

    Raises:
        NotComputable: no cells on a side.

    Source: Virtual Cell Challenge 2025 (Roohani et al. 2025, Cell 188); Benjamini and Hochberg 1995, JRSS B 57.
    """
    return corrected(rank_sum_p(x, controls), *(cells.mean(axis=0, dtype=np.float64) for cells in (x, controls)))


def corrected(
    p: NDArray[np.float64], x_mean: NDArray[np.float64], controls_mean: NDArray[np.float64]
) -> DifferentialExpression:
    """What `differential_expression` makes of p and of the means of the cells."""
    mean, control_mean = (np.maximum(np.expm1(m), 0.0) for m in (x_mean, controls_mean))
    with np.errstate(divide="ignore", invalid="ignore"):
        fold_change = np.where((mean == 0) & (control_mean == 0), 0.0, np.log2(mean / control_mean))
    return DifferentialExpression(benjamini_hochberg(p), fold_change)


def des(real: DifferentialExpression, predicted: DifferentialExpression) -> float:
    """|real ∩ top-n(predicted)| / n: the share of the n differentially expressed genes that the prediction finds.

    top-n: of the genes that are significant in the prediction, the n with the largest |log2 fold change|. The
    direction of a change does not count. A prediction without such genes finds none (0).

    Returns:
        Between 0 and 1.

    Raises:
        NotComputable: no gene is differentially expressed in the real cells. The challenge counts 0 there, which
            would judge the perturbation and not the prediction.

    Source: differential expression score of the Virtual Cell Challenge 2025, `overlap_at_N` of cell-eval.
    """
    wanted = real.significant
    if not len(wanted):
        raise NotComputable(NO_GENE)
    return len(np.intersect1d(wanted, predicted.significant[: len(wanted)])) / len(wanted)


class ControlCells:
    """Control cells of one context that populations are tested against, whole and in pairs of disjoint halves.

    Args:
        source: where the controls are.
        control: their condition.
        seed: of draw and halves, which depend on nothing else but the context and its number of controls.
        max_cells: at most so many are drawn and held.
    """

    def __init__(self, source: CellSource, control: Condition, seed: int, max_cells: int) -> None:
        self.source, self.seed, self.key = source, seed, control.key
        self.rows = draw_rows(source.rows(control), max_cells, numpy_generator(seed, "control cells", control.key))
        self.whole = read_dense(source, self.rows, f"controls {control.label!r}")

    @computed_once
    def library_size(self) -> FloatArray | None:
        """(m,) counts per cell of the whole; None where the cells are no counts."""
        return self.source.counts_per_cell(self.rows)

    def halves(self, repeat: int) -> tuple[IntArray, IntArray]:
        """Where two disjoint halves are in the whole; none in the first where the context has a single control cell."""
        order = numpy_generator(self.seed, "halves of control cells", self.key, repeat).permutation(len(self.whole))
        n_first = len(self.whole) // 2
        return order[:n_first], order[n_first:]
