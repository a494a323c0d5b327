"""Effect metrics by hand and against numpy's own correlation."""

import numpy as np
import pytest

from gensim.errors import DataError
from gensim.metrics.distances import NotComputable
from gensim.metrics.effects import l2_delta, pearson_delta


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


@pytest.mark.parametrize("metric", [l2_delta, pearson_delta])
def test_bad_effects_are_refused(metric):
    with pytest.raises(DataError, match=r"\(3,\) and \(2,\)"):
        metric(np.ones(3), np.ones(2))
    with pytest.raises(DataError, match="not finite"):
        metric(np.array([1.0, np.nan]), np.ones(2))
