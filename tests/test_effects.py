"""Effect metrics by hand and against numpy's own correlation."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import r2_score

from gensim.errors import DataError
from gensim.metrics.catalogue import choose
from gensim.metrics.comparison import Comparison, Side
from gensim.metrics.distances import NotComputable
from gensim.metrics.effects import (
    l2_delta,
    mae_delta,
    mse_delta,
    pearson_delta,
    pearson_squared_delta,
    r2_delta,
    spearman_delta,
)


def test_l2_by_hand():
    assert l2_delta(np.array([1.0, 2.0, 3.0]), np.array([1.0, 5.0, 7.0])) == pytest.approx(5.0)


def test_pearson_by_hand_and_against_numpy():
    # centred (-1, 0, 1) and (-1, 1, 0): 1 / (sqrt 2 sqrt 2)
    assert pearson_delta(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 1.0])) == pytest.approx(0.5)
    a, b = np.random.default_rng(0).normal(size=(2, 40))
    assert pearson_delta(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert pearson_delta(a, 3 * a + 1) == pytest.approx(1.0)
    assert pearson_delta(a, -a) == pytest.approx(-1.0)


def test_no_effect_has_no_correlation():
    a = np.array([1.0, 2.0, 3.0])
    with pytest.raises(NotComputable, match="predicted effect is 0 on all genes"):
        pearson_delta(a, np.zeros(3))
    with pytest.raises(NotComputable, match="measured effect is the same on all genes"):
        pearson_delta(np.full(3, 0.1), a)
    with pytest.raises(NotComputable, match="at least 2 genes, got 1"):
        pearson_delta(a[:1], a[:1])


def test_errors_by_hand():
    # Differences 0, 3, 4.
    pair = np.array([1.0, 2.0, 3.0]), np.array([1.0, 5.0, 7.0])
    assert mse_delta(*pair) == pytest.approx(25 / 3)
    assert mae_delta(*pair) == pytest.approx(7 / 3)


def test_both_kinds_of_r2_by_hand():
    measured = np.array([1.0, 2.0, 3.0])
    # Residuals 1, 0, 2 around a total of 2; the correlation is 1/2.
    guess = np.array([0.0, 2.0, 1.0])
    assert r2_delta(measured, guess) == pytest.approx(1 - 5 / 2)
    assert pearson_squared_delta(measured, guess) == pytest.approx(0.25)
    assert r2_delta(measured, np.full(3, 2.0)) == 0.0
    # Scale and sign cost the one and not the other.
    assert (r2_delta(measured, -measured), pearson_squared_delta(measured, -measured)) == pytest.approx((-27.0, 1.0))
    a, b = np.random.default_rng(1).normal(size=(2, 40))
    assert r2_delta(a, b) == pytest.approx(r2_score(a, b))


def test_spearman_by_hand_and_against_scipy():
    # Ranks 1, 2, 3 and 2.5, 2.5, 1: centred products -1 * .5 + 1 * -1 over sqrt 2 sqrt 1.5.
    assert spearman_delta(np.array([0.0, 5.0, 6.0]), np.array([4.0, 4.0, -9.0])) == pytest.approx(-1.5 / np.sqrt(3))
    a, b = np.random.default_rng(2).normal(size=(2, 40))
    assert spearman_delta(a, np.round(b)) == pytest.approx(spearmanr(a, np.round(b)).statistic)
    assert spearman_delta(a, np.exp(a)) == pytest.approx(1.0)


def test_a_constant_effect_has_neither():
    a = np.array([1.0, 2.0, 3.0])
    for metric in (spearman_delta, pearson_squared_delta, r2_delta):
        with pytest.raises(NotComputable, match="measured effect is 0 on all genes"):
            metric(np.zeros(3), a)
    with pytest.raises(NotComputable, match="predicted effect is the same"):
        spearman_delta(a, np.ones(3))
    assert r2_delta(a, np.zeros(3)) == pytest.approx(1 - 14 / 2)


def planted(seed, shift, n=60, genes=40):
    """Cells around 2 whose first genes are shifted, and controls that are not."""
    rng = np.random.default_rng(seed)
    x, controls = rng.normal(2, 0.3, size=(2, n, genes)).astype(np.float32)
    x[:, : len(shift)] += np.float32(shift)
    return Side(x, x, controls.mean(axis=0, dtype=np.float64), controls)


def value(key, comparison):
    (metric,) = choose([key])
    return metric.function(comparison)


def test_top_genes_are_those_of_the_real_cells():
    real = planted(0, [1.0, -1.5, 0.8, 2.0] + [0.7] * 21)
    predicted = planted(1, [2.0, -0.5, 1.8, 3.0] + [1.7] * 21)
    comparison = Comparison(real, predicted, None, 0)
    # All significant genes are 1 off, up to noise of 0.3 sqrt(2 / 60), 0.05.
    assert value("mae_delta_top20", comparison) == pytest.approx(1.0, abs=0.1)
    assert value("mse_delta_top20", comparison) == pytest.approx(1.0, abs=0.2)
    assert value("l2_delta_top20", comparison) == pytest.approx(np.sqrt(20), abs=0.4)
    assert value("pearson_delta_top20", comparison) > 0.95
    # No more than 25 genes and a few by chance are significant, and of 40 the others are right.
    assert value("mae_delta_top100", comparison) > 0.8 > value("mae_delta", comparison)
    genes = real.differential_expression.top(20)
    assert value("mae_delta_top20", comparison) == mae_delta(real.mean[genes], predicted.mean[genes])
    for key, metric in (("pearson_delta_top20", pearson_delta), ("spearman_delta_top20", spearman_delta)):
        assert value(key, comparison) == metric(real.delta[genes], predicted.delta[genes])


def test_without_significant_genes_there_are_no_top_ones():
    nothing = planted(2, [])
    with pytest.raises(NotComputable, match="no gene is differentially expressed"):
        value("mse_delta_top50", Comparison(nothing, planted(3, [1.0]), None, 0))


def test_systema_takes_what_perturbations_have_in_common_for_nothing():
    common, own = np.array([3.0, 3.0, 0.0]), np.array([0.0, 0.0, 1.0])

    def side(effect):
        x = np.float32([effect + 1, effect + 1])
        return Side(x, x, np.ones(3), x[:0])

    # Against the centroid 1 + common the real one differs by (0, 0, 1), the predictions by (0, 0, -1) and (-1, 0, 0).
    real = side(common + own)
    opposite, other = side(common - own), side(common - [1, 0, 0])
    assert value("pearson_delta", Comparison(real, opposite, None, 0)) > 0.6
    centroid = 1 + common
    assert value("pearson_systema", Comparison(real, opposite, None, 0, training_centroid=centroid)) == pytest.approx(
        -1
    )
    # Centred (-1, -1, 2) / 3 and (-2, 1, 1) / 3: 3 / 6.
    assert value("pearson_systema", Comparison(real, other, None, 0, training_centroid=centroid)) == pytest.approx(0.5)
    with pytest.raises(NotComputable, match="no effects of training conditions"):
        value("pearson_systema", Comparison(real, real, None, 0))


@pytest.mark.parametrize("metric", [l2_delta, mse_delta, mae_delta, pearson_delta, spearman_delta, r2_delta])
def test_bad_effects_are_refused(metric):
    with pytest.raises(DataError, match=r"\(3,\) and \(2,\)"):
        metric(np.ones(3), np.ones(2))
    with pytest.raises(DataError, match="not finite"):
        metric(np.array([1.0, np.nan]), np.ones(2))
