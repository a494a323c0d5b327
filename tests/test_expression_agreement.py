"""Agreement of differentially expressed genes by hand."""

import numpy as np
import pytest

from gensim.errors import NotComputable
from gensim.metrics.differential_expression import DifferentialExpression
from gensim.metrics.expression_agreement import (
    auprc_of_fold_changes,
    auprc_of_rates,
    direction_match,
    precision_at_recall,
    significant_recall,
    spearman_fold_changes,
)

# Genes 0, 1 and 2 of five are significant.
REAL_RATES, REAL_CHANGES = [0.01, 0.02, 0.03, 0.5, 0.9], [2.0, -1.0, 0.5, 3.0, 0.0]


def table(fdr, change):
    return DifferentialExpression(np.array(fdr), np.array(change, dtype=float))


REAL = table(REAL_RATES, REAL_CHANGES)
# By size: gene 0, then 3, 1, 4, 2. By rate: 1, 3, then 0, 2 and 4 tie.
PREDICTED = table([0.5, 0.001, 0.5, 0.01, 0.5], [4.0, -2.0, -0.1, 3.0, 1.0])


def test_recall_and_direction_by_hand():
    assert significant_recall(REAL, PREDICTED) == pytest.approx(1 / 3)
    assert direction_match(REAL, PREDICTED) == pytest.approx(2 / 3)
    # Ranks of 2, -1, .5 are 3, 1, 2 and of 4, -2, -.1 the same.
    assert spearman_fold_changes(REAL, PREDICTED) == pytest.approx(1.0)
    # And of 1, 2, .5 they are 2, 3, 1: 1 - 6 (1 + 4 + 1) / 24.
    assert spearman_fold_changes(REAL, table(REAL_RATES, [1, 2, 0.5, 0, 0])) == pytest.approx(-0.5)


def test_precision_and_recall_by_hand():
    # Hits at positions 1, 3 and 5: precisions 1, 2/3, 3/5 at recalls 1/3, 2/3, 1.
    assert auprc_of_fold_changes(REAL, PREDICTED) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert [precision_at_recall(REAL, PREDICTED, r) for r in (0.25, 0.5, 0.75)] == pytest.approx([1, 2 / 3, 3 / 5])
    # A hit, a miss, then two hits and a miss at once: precisions 1 and 3/5 with 1/3 and 2/3 of the recall.
    assert auprc_of_rates(REAL, PREDICTED) == pytest.approx(1 / 3 + 2 / 3 * 3 / 5)


def test_no_change_finds_genes_at_the_rate_of_chance():
    nothing = table([1.0] * 5, [0.0] * 5)
    assert auprc_of_fold_changes(REAL, nothing) == auprc_of_rates(REAL, nothing) == pytest.approx(3 / 5)
    assert significant_recall(REAL, nothing) == direction_match(REAL, nothing) == 0.0


def test_infinite_changes_and_rates_of_zero_come_first():
    assert auprc_of_fold_changes(REAL, table([1.0] * 5, [np.inf, -np.inf, 5.0, 4.0, 3.0])) == 1.0
    assert auprc_of_rates(REAL, table([0.0, 1e-12, 1e-11, 0.5, 0.5], [0.0] * 5)) == 1.0


def test_what_has_no_value_says_why():
    nothing, everything = table([0.5] * 5, REAL_CHANGES), table([0.01] * 5, REAL_CHANGES)
    for metric in (significant_recall, direction_match, spearman_fold_changes):
        with pytest.raises(NotComputable, match="no gene is differentially expressed"):
            metric(nothing, PREDICTED)
    with pytest.raises(NotComputable, match="0 of 5 genes are"):
        auprc_of_fold_changes(nothing, PREDICTED)
    with pytest.raises(NotComputable, match="5 of 5 genes are"):
        auprc_of_rates(everything, PREDICTED)
    with pytest.raises(NotComputable, match="the same for all"):
        spearman_fold_changes(REAL, table(REAL_RATES, [0.0] * 5))
