"""Metrics of the Virtual Cell Challenge of 2026 by hand."""

import numpy as np
import pytest

from gensim.errors import NotComputable
from gensim.metrics.challenge_2026 import (
    Table2026,
    direction_fidelity,
    direction_reach,
    fold_change_nmae,
    significant_jaccard,
)
from gensim.metrics.discrimination import pds_2026
from gensim.metrics.panel import Panel
from gensim.metrics.rank_sum import rank_sum_p

NONE = np.empty(0, dtype=np.int64)


def table(fdr, change, *, p=None):
    return Table2026(np.array(fdr if p is None else p), np.array(fdr), np.array(change, dtype=float))


# Genes 0 to 3 are significant, the last not tested.
REAL = table([0.01, 0.01, 0.01, 0.01, 0.5, np.nan], [1, -1, 2, 0.0, 1, np.nan])


def test_fidelity_by_hand():
    # Called: 0 right, 1 wrong, 4 right; 3 has no direction in the real cells and 5 was not tested there.
    predicted = table([0.01, 0.01, 0.9, 0.01, 0.01, 0.01], [1, 1, 1, 1, 1, 1])
    assert direction_fidelity(REAL, predicted, NONE) == pytest.approx(2 / 4)
    # Without gene 1, which the condition perturbs, 2 of 3.
    assert direction_fidelity(REAL, predicted, np.array([1])) == pytest.approx(2 / 3)
    silent = table([0.9] * 6, [1] * 6)
    assert direction_fidelity(REAL, silent, NONE) == 0.0
    # Nothing is significant in the real cells: the bare share of right calls.
    assert direction_fidelity(table([0.9] * 6, [1, -1, 1, 1, 1, 1]), predicted, NONE) == pytest.approx(4 / 5)
    with pytest.raises(NotComputable, match="there is no direction"):
        direction_fidelity(silent, silent, NONE)


def test_reach_by_hand():
    real = table([0.01] * 20, [1.0] * 20)
    rates = np.linspace(0.001, 0.9, 20)
    # A wrong call at the 6th place: 5 of 5, then from 10 of which 9 are right on to 20 of 20 but one.
    wrong = np.where(np.arange(20) == 5, -1.0, 1.0)
    assert direction_reach(real, table(rates, wrong), NONE) == 1.0
    # Of the first twelve of these three are wrong, and none before: 5 right, then never 0.9 again.
    wrong = np.where(np.isin(np.arange(20), [5, 6, 7]), -1.0, 1.0)
    assert direction_reach(real, table(rates, wrong), NONE) == pytest.approx(5 / 20)
    # In the opposite order 12 right ones come first; 13 of which 12 are right are 0.92.
    assert direction_reach(real, table(rates[::-1], wrong), NONE) == pytest.approx(13 / 20)
    assert direction_reach(real, table(rates, -wrong), NONE) == 0.0


def test_reach_orders_by_rate_then_p_then_size_and_unseen_genes_last():
    real = table([0.01] * 4, [1.0] * 4)
    # Gene 1 has the least p of the first three, whose rates tie; of the other two 2 changes more. 3 is not tested.
    predicted = table([0.02, 0.02, 0.02, np.nan], [-1, 1, 2, np.nan], p=[0.01, 0.005, 0.01, np.nan])
    assert direction_reach(real, predicted, NONE) == pytest.approx(2 / 4)
    # Gene 3 has no direction but is one of the four.
    assert direction_reach(REAL, table([0.01] * 6, [1, -1, 1, 1, 1, 1]), NONE) == pytest.approx(3 / 4)
    with pytest.raises(NotComputable, match="no gene is significant"):
        direction_reach(table([0.9], [1]), predicted, NONE)


def test_jaccard_by_hand():
    predicted = table([0.01, 0.9, 0.01, 0.9, 0.01, 0.01], [1] * 6)
    assert significant_jaccard(REAL, predicted, NONE) == pytest.approx(2 / 6)
    assert significant_jaccard(REAL, predicted, np.array([0])) == pytest.approx(1 / 5)
    assert significant_jaccard(*[table([0.9, np.nan], [1, 1])] * 2, NONE) == 1.0


def test_fold_change_error_by_hand():
    real = table([0.01] * 10 + [0.9], [1.0] * 5 + [-2.0] * 5 + [9.0])
    # 15 in total; the errors are 5 of 1 and, for what was not tested, 5 of 2.
    predicted = table([0.01] * 11, [2.0] * 5 + [np.nan] * 5 + [-9.0])
    assert fold_change_nmae(real, predicted, NONE) == pytest.approx(1.0)
    assert fold_change_nmae(real, real, NONE) == 0.0
    assert fold_change_nmae(real, table([0.9] * 11, [0.0] * 11), NONE) == 1.0
    with pytest.raises(NotComputable, match="9 genes are significant"):
        fold_change_nmae(real, predicted, np.array([0]))
    with pytest.raises(NotComputable, match="fold changes of 0"):
        fold_change_nmae(table([0.01] * 11, [0.0] * 11), predicted, NONE)


def test_a_gene_below_five_counts_per_million_in_the_controls_is_not_tested():
    # 1.1 of 1e4 in one of 20 cells is 5.5 counts per million, and 0.9 is 4.5; gene 2 is in the perturbed cells alone.
    x, controls = np.zeros((20, 4), np.float32), np.zeros((20, 4), np.float32)
    controls[0, 0], controls[0, 1], x[:, 2] = np.log1p([1.1, 0.9, 3.0])
    x[:, 3], controls[:, 3] = np.log1p(4.0), np.log1p(1.0)
    p = rank_sum_p(x, controls)
    assert p[2] < 1e-6
    found = Table2026.of(p, x, controls)
    assert np.isnan(found.fdr).tolist() == np.isnan(found.log2_fold_change).tolist() == [False, True, True, False]
    assert found.log2_fold_change[3] == pytest.approx(2.0)
    assert found.log2_fold_change[0] == pytest.approx(np.log2(1e-9 / 5.5), rel=1e-6)
    # Two tests: the smallest p times 2.
    assert found.fdr[3] == pytest.approx(2 * p[3])
    assert found.significant(NONE).tolist() == [False, False, False, True]


def test_discrimination_by_hand():
    real = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])

    def score(predicted, k, targets=NONE):
        return pds_2026(Panel(real, np.array([predicted] * 3, dtype=float), [targets] * 3), k)

    assert [score([2.0, 0.1], k) for k in range(3)] == [1.0, 0.5, 0.0]
    assert [score([0.0, 0.0], k) for k in range(3)] == [0.5, 0.5, 0.5]
    # Without the first gene conditions 1 and 2 are alike, and 0 has no direction: distances 1, 0, 0.
    assert [score([0.0, 3.0], k, np.array([0])) for k in range(3)] == [0.0, 0.75, 0.75]
