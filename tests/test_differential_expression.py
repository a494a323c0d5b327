"""Differential expression: ranks by hand, planted genes, an overlap worked out, halves that share no cell."""

import math

import numpy as np
import pytest

from gensim.data.cell_source import ArrayCells
from gensim.metrics.comparison import Side
from gensim.metrics.differential_expression import (
    ControlCells,
    DifferentialExpression,
    des,
    differential_expression,
)
from gensim.metrics.distances import NotComputable
from gensim.types import Condition

CONTROL = Condition(())
MANY_GENES = 514


def rank_sum_p(a, b):
    """Two-sided, normal approximation with ties and continuity, from pairs and tie groups (Hollander and Wolfe)."""
    n, m = len(a), len(b)
    u = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b)
    both = [*a, *b]
    ties = sum(t**3 - t for t in (both.count(v) for v in set(both)))
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    if variance == 0:
        return 1.0
    z = (abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return min(1.0, math.erfc(z / math.sqrt(2)))


def corrected(p):
    """Benjamini and Hochberg: the smallest n p_(j) / j over j at or above the rank of each."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    found = [0.0] * len(p)
    for rank, i in enumerate(order):
        found[i] = min(1.0, min(len(p) * p[order[j]] / (j + 1) for j in range(rank, len(p))))
    return found


def planted(fdr, log2):
    return DifferentialExpression(np.array(fdr), np.array(log2, dtype=float))


def test_rates_are_those_of_ranks_counted_by_hand():
    rng = np.random.default_rng(0)
    x = (rng.poisson([0.1, 1, 3, 0, 2], size=(15, 5)) * 0.5).astype(np.float32)
    controls = (rng.poisson([0.1, 1, 1, 0, 6], size=(20, 5)) * 0.5).astype(np.float32)
    p = [rank_sum_p(x[:, g].tolist(), controls[:, g].tolist()) for g in range(5)]
    assert p[3] == 1.0  # a gene without counts
    np.testing.assert_allclose(differential_expression(x, controls).fdr, corrected(p), rtol=1e-10)


def test_correction_by_hand():
    # p = (.01, .02, .03, .5) -> 4/1 * .01, 4/2 * .02, 4/3 * .03 are all .04
    np.testing.assert_allclose(corrected([0.5, 0.01, 0.03, 0.02]), [0.5, 0.04, 0.04, 0.04])


def test_very_small_probabilities_survive_and_any_number_of_genes_is_tested():
    x = np.ones((400, MANY_GENES), dtype=np.float32)
    x[:, :-1] = np.random.default_rng(1).normal(size=(400, 1))
    controls = np.zeros_like(x)
    controls[:, :-1] = x[:, :-1]
    found = differential_expression(x, controls)
    # 400 ones against 400 zeros: z = (80000 - .5) / sqrt(400^3 * 400 / 4 / 799); float32 could not hold such a p.
    z = (80_000 - 0.5) / math.sqrt(400**2 / 12 * (801 - 2 * (400**3 - 400) / (800 * 799)))
    assert found.fdr[-1] == pytest.approx(len(found.fdr) * math.erfc(z / math.sqrt(2)), rel=1e-8)
    assert found.significant.tolist() == [MANY_GENES - 1]


def test_fold_change_is_of_mean_logarithms_carried_back():
    x = np.log1p(np.array([[1, 0, 3, 0], [7, 0, 3, 0]], dtype=np.float32))
    controls = np.log1p(np.array([[1, 5, 0, 0], [1, 5, 0, 0], [1, 5, 0, 0]], dtype=np.float32))
    # Gene 0: exp((log 2 + log 8) / 2) - 1 = 3 against 1. The others: 0 / 5, 3 / 0 and 0 / 0.
    expected = [math.log2(3), -np.inf, np.inf, 0.0]
    np.testing.assert_allclose(differential_expression(x, controls).log2_fold_change, expected, rtol=1e-6)
    # Cells moved below 0 are at nothing, not at the logarithm of a negative number.
    assert differential_expression(x - 5, controls).log2_fold_change[0] == -np.inf


def test_genes_that_were_planted_are_found():
    rng = np.random.default_rng(2)
    controls = rng.normal(2, 0.3, size=(80, 40)).astype(np.float32)
    x = rng.normal(2, 0.3, size=(60, 40)).astype(np.float32)
    x[:, :4] += np.float32([0.4, -1.5, 1.0, 0.6])
    found = differential_expression(x, controls)
    # By |log2 fold change|: a fall of 1.5 from 2 weighs most, since e^.5 - 1 is 1/10 of e^2 - 1.
    assert found.significant[:4].tolist() == [1, 2, 3, 0]
    assert len(found.significant) <= 6, "of 36 genes without effect at most a few pass"
    assert des(found, found) == 1.0
    assert des(found, differential_expression(controls, controls)) == 0.0


@pytest.mark.parametrize("n", [1, 2, 7])
def test_cells_differ_in_no_gene_from_themselves(n):
    cells = np.log1p(np.random.default_rng(n).poisson(1.0, (n, 30))).astype(np.float32)
    itself = Side(cells, cells, cells.mean(axis=0), cells)
    tested = Side(cells.copy(), cells, cells.mean(axis=0), cells)
    assert itself.rank_sum_p.tolist() == tested.rank_sum_p.tolist() == [1.0] * 30
    assert not len(itself.differential_expression.significant)


def test_cells_that_are_not_their_controls_are_tested():
    cells = np.log1p(np.random.default_rng(7).poisson(1.0, (7, 30))).astype(np.float32)
    larger = Side(cells + np.float32(9), cells, cells.mean(axis=0), cells)
    np.testing.assert_allclose(
        larger.rank_sum_p, [rank_sum_p((c + 9).tolist(), c.tolist()) for c in cells.T], rtol=1e-9
    )
    assert larger.rank_sum_p.max() < 0.01


def test_overlap_by_hand():
    real = planted([0.01, 0.01, 0.049, 0.05, 0.9], [1, -2, 0.1, 9, 9])  # significant: genes 0, 1, 2
    # Predicted: 4, 1, 3, 0 by size; the first three hold gene 1 alone.
    assert des(real, planted([0.01, 0.01, 0.5, 0.01, 0.01], [0.5, 3, 9, -2, -8])) == pytest.approx(1 / 3)
    # Two predicted of three wanted, both right, in the wrong direction.
    assert des(real, planted([0.01, 0.01, 0.5, 0.5, 0.5], [-1, 2, 9, 9, 9])) == pytest.approx(2 / 3)
    # Equal sizes are taken in the order of genes: 0, 1, 2 before 3, 4.
    assert des(real, planted([0.01] * 5, [1, -1, 1, -1, 1])) == 1.0
    assert des(real, planted([0.01] * 5, [0, 0, 0, np.inf, -np.inf])) == pytest.approx(1 / 3)
    assert des(real, planted([0.5] * 5, [9] * 5)) == 0.0


def test_without_real_genes_or_cells_there_is_no_value():
    nothing = planted([0.05, 1.0], [5, 5])
    with pytest.raises(NotComputable, match="no gene is differentially expressed in the real cells"):
        des(nothing, planted([0.01, 0.01], [5, 5]))
    with pytest.raises(NotComputable, match="3 cells against 0 control cells"):
        differential_expression(np.zeros((3, 2), np.float32), np.zeros((0, 2), np.float32))


def controls_of(n, seed=0, max_cells=100):
    cells = ArrayCells(("A",), (CONTROL,), np.zeros(n, dtype=np.int64), np.arange(n, dtype=np.float32)[:, None] / n)
    return ControlCells(cells, CONTROL, seed, max_cells)


def test_halves_share_no_cell_and_differ_between_repeats():
    controls = controls_of(9)
    assert len(controls.whole) == 9
    seen = set()
    for repeat in range(3):
        first, second = (half.tolist() for half in controls.halves(repeat))
        assert (len(first), len(second)) == (4, 5)
        assert sorted(first + second) == list(range(9))
        assert controls.halves(repeat)[0].tolist() == first
        seen.add(tuple(sorted(first)))
    assert len(seen) == 3


def test_no_more_controls_are_held_than_allowed():
    drawn = controls_of(300, max_cells=20).whole[:, 0]
    assert len(np.unique(drawn)) == 20
    assert drawn.max() > 0.5, "drawn from all cells, not from the first"
    assert set(controls_of(300, seed=1, max_cells=20).whole[:, 0]) != set(drawn)
    assert [len(half) for half in controls_of(1).halves(0)] == [0, 1]
