"""Correlations of genes: planted ones, an oracle gene by gene, and what is constant."""

import numpy as np
import pytest

from gensim.metrics.correlations import MOST_VARIABLE, correlation_error
from gensim.metrics.distances import NotComputable


def error(x, y):
    x, y = np.float32(x), np.float32(y)
    return correlation_error(x, y, np.float64(x).var(axis=0, ddof=1))


def oracle(x, y, genes):
    """Frobenius norm over the genes, pair by pair."""

    def r(cells, g, h):
        return np.corrcoef(cells[:, g], cells[:, h])[0, 1]

    x, y = np.float64(np.float32(x)), np.float64(np.float32(y))
    return np.sqrt(sum((r(x, g, h) - r(y, g, h)) ** 2 for g in genes for h in genes)) / len(genes)


def test_any_cells_give_the_oracle_whatever_shift_and_scale():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(30, 6)) @ rng.normal(size=(6, 6))).astype(np.float32)
    y = (rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))).astype(np.float32)
    expected = oracle(x, y, range(6))
    assert error(x, y) == pytest.approx(expected, rel=1e-10)
    # Powers of two and small integers: float32 rounds the moved cells by about 1e-7 of their size.
    assert error(x, 4 * y + 2) == pytest.approx(expected, rel=1e-5)
    assert error(x, x) == 0.0


def test_a_sign_that_is_turned_has_the_closed_form():
    z = np.random.default_rng(1).normal(size=20)
    x = np.stack([z, z, 2 * z], axis=1)
    y = np.stack([z, -z, 2 * z], axis=1)
    # Of the nine pairs four turn from 1 to -1: the norm is sqrt(4 * 2^2), and there are three genes.
    assert error(x, y) == pytest.approx(4 / 3, rel=1e-12)


def test_lost_correlation_does_not_depend_on_the_number_of_genes():
    rng = np.random.default_rng(2)
    for k in (10, 40):
        x = rng.normal(size=(4000, 1)) + rng.normal(size=(4000, k))  # any two genes correlate by 1/2
        y = rng.permuted(x, axis=0)  # the same genes, not at all
        # All pairs but the diagonal differ by 1/2; noise of 1/sqrt(4000) in each adds about 2 % of 1/2 in square.
        assert error(x, y) == pytest.approx(0.5 * np.sqrt(1 - 1 / k), rel=0.05)


def test_only_the_most_variable_genes_of_the_real_cells_count():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, MOST_VARIABLE + 5)) * np.linspace(3, 1, MOST_VARIABLE + 5)
    order = np.argsort(-x.var(axis=0))
    y = rng.normal(size=x.shape) * np.linspace(1, 30, MOST_VARIABLE + 5)
    assert error(x, y) == pytest.approx(oracle(x, y, order[:MOST_VARIABLE]), rel=1e-10)


def test_a_constant_gene_correlates_with_none():
    z = np.random.default_rng(4).normal(size=12)
    x, y = np.stack([z, z], axis=1), np.stack([z, np.full(12, 0.1)], axis=1)
    # Two off-diagonal entries of 1 against 0, of two genes.
    assert error(x, y) == pytest.approx(np.sqrt(2) / 2, rel=1e-12)
    never = np.stack([z, z, np.full(12, 0.1)], axis=1)  # constant in the real cells: not among the genes
    assert error(never, np.stack([z, z, z], axis=1)) == pytest.approx(0.0, abs=1e-12)


def test_what_cannot_be_computed_says_why():
    x = np.random.default_rng(5).normal(size=(5, 3))
    with pytest.raises(NotComputable, match="predicted population has 2 cells; a correlation needs 3"):
        error(x, x[:2])
    with pytest.raises(NotComputable, match="1 genes vary in the real cells"):
        error(x * [1, 0, 0], x)
