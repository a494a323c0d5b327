"""Differential expression as the Virtual Cell Challenge of 2026 tests and compares it.

Source of everything here: The vcc2026 metric suite (Arc Institute, 19 August 2026), sections 3 to 6. One thing differs:
real and predicted cells are tested against different controls where sharing them would correlate their noise. Cells
come as log1p CP10k, whose ranks and normalised means are those of counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.metrics.false_discovery import benjamini_hochberg
from gensim.types import CP10K, FloatArray, IntArray

FALSE_DISCOVERY_RATE = 0.05
LEAST_CPM = 5.0
PURITY = 0.9
FEWEST_GENES = 10
OFFSET = 1e-9
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Table2026:
    """Of perturbed against control cells.

    Args:
        p: (G,) of a rank-sum test; NaN for genes that are not above 5 counts per million in the controls, which are not
            tested.
        fdr: (G,) Benjamini-Hochberg over the tested genes; NaN for the others.
        log2_fold_change: (G,) of mean counts per million; NaN for the others.
    """

    p: Vector
    fdr: Vector
    log2_fold_change: Vector

    @classmethod
    def of(cls, p: Vector, x: FloatArray, controls: FloatArray) -> "Table2026":
        """From (G,) p of all genes, and (n, G) cells and (m, G) control cells, log1p CP10k."""
        cpm, control_cpm = (1e6 / CP10K * _mean_cp10k(cells) for cells in (x, controls))
        tested = control_cpm > LEAST_CPM
        fdr = np.full(len(p), np.nan)
        if tested.any():
            fdr[tested] = benjamini_hochberg(p[tested])
        change = np.log2((cpm + OFFSET) / (control_cpm + OFFSET))
        return cls(np.where(tested, p, np.nan), fdr, np.where(tested, change, np.nan))

    def significant(self, targets: IntArray) -> NDArray[np.bool_]:
        """(G,) below a rate of 0.05, without the genes that the condition perturbs."""
        found = self.fdr < FALSE_DISCOVERY_RATE
        found[targets] = False
        return found


def direction_fidelity(real: Table2026, predicted: Table2026, targets: IntArray) -> float:
    """F = k / max(n_pred, n_real): section 3.

    n_real: significant genes of the real cells. n_pred: those of the predicted cells that have a direction in the real
    cells, a log2 fold change other than 0. k: those of them with the same direction.

    Returns:
        Between 0 and 1.

    Raises:
        NotComputable: no gene is significant on either side.
    """
    n_real = int(real.significant(targets).sum())
    called = predicted.significant(targets) & _directed(real)
    fewest = max(int(called.sum()), n_real)
    if fewest == 0:
        raise NotComputable("no gene is significant in the real or in the predicted cells, so there is no direction")
    return float((called & _same_direction(real, predicted)).sum() / fewest)


def direction_reach(real: Table2026, predicted: Table2026, targets: IntArray) -> float:
    """R = k* / n_real: section 4.

    The n_real significant genes of the real cells that have a direction are put in the order of the prediction's
    confidence: its false discovery rate, its p, the size of its fold change, the order of genes; those it did not test
    last. k* is the largest k for which at least 0.9 of the first k have the right direction.

    Returns:
        Between 0 and 1.

    Raises:
        NotComputable: no gene is significant in the real cells.
    """
    pool = real.significant(targets)
    if not pool.any():
        raise NotComputable("no gene is significant in the real cells")
    genes = np.flatnonzero(pool & _directed(real))
    keys = (-np.abs(predicted.log2_fold_change[genes]), predicted.p[genes], predicted.fdr[genes])
    order = genes[np.lexsort(keys)]  # NaN is sorted last
    right = np.cumsum(_same_direction(real, predicted)[order])
    depth = np.arange(1, len(order) + 1)
    pure = depth[right >= PURITY * depth - 1e-9]
    return float(pure.max(initial=0) / pool.sum())


def significant_jaccard(real: Table2026, predicted: Table2026, targets: IntArray) -> float:
    """J = |R ∩ P| / |R ∪ P| of the significant genes, 1 where both are empty: section 5."""
    sides = real.significant(targets), predicted.significant(targets)
    union = (sides[0] | sides[1]).sum()
    return float((sides[0] & sides[1]).sum() / union) if union else 1.0


def fold_change_nmae(real: Table2026, predicted: Table2026, targets: IntArray) -> float:
    """sum_g |l̂_g - l_g| / sum_g |l_g| over the significant genes of the real cells: section 6.

    A gene that the prediction did not test counts as a predicted fold change of 0.

    Returns:
        0 or above; 1 for a prediction of no change.

    Raises:
        NotComputable: fewer than 10 genes, or fold changes that are all 0.
    """
    genes = real.significant(targets)
    if genes.sum() < FEWEST_GENES:
        raise NotComputable(f"{genes.sum()} genes are significant in the real cells; an error needs {FEWEST_GENES}")
    wanted, found = real.log2_fold_change[genes], np.nan_to_num(predicted.log2_fold_change[genes])
    if not wanted.any():
        raise NotComputable("the significant genes of the real cells have fold changes of 0")
    return float(np.abs(found - wanted).sum() / np.abs(wanted).sum())


def _mean_cp10k(x: FloatArray) -> Vector:
    mean: Vector = np.expm1(x).mean(axis=0, dtype=np.float64)
    return np.maximum(mean, 0.0)


def _directed(tested: Table2026) -> NDArray[np.bool_]:
    return np.asarray(np.nan_to_num(tested.log2_fold_change) != 0)


def _same_direction(real: Table2026, predicted: Table2026) -> NDArray[np.bool_]:
    signs = (np.sign(np.nan_to_num(tested.log2_fold_change)) for tested in (real, predicted))
    return np.asarray(np.multiply(*signs) > 0)
