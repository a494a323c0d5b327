"""What is kept of a condition for a page: bounded, drawn by seed, and right where it can be worked out."""

from dataclasses import fields

import numpy as np
import pytest
from scipy.stats import norm

from gensim.metrics.catalogue import Side
from gensim.metrics.marginals import GeneMarginals
from gensim.metrics.pictures import CELLS, GENES, LEVELS, POPULATIONS, noise_coverage, picture_condition, shown_genes


def side(x, controls, n_scores=3):
    x = np.asarray(x, dtype=np.float32)
    return Side(x, x[:, :n_scores], controls.mean(axis=0, dtype=np.float64), controls)


def populations(seed, n_genes=4, n=40, shift=0.0):
    rng = np.random.default_rng(seed)
    controls = rng.gamma(2.0, size=(n, n_genes)).astype(np.float32)
    real = rng.gamma(2.0, size=(n, n_genes)) + shift
    simulated = rng.gamma(2.0, size=(n + 5, n_genes)) + shift
    return side(controls, controls), side(real, controls), side(simulated, controls)


def test_numbers_of_genes_are_those_of_the_cells():
    controls, real, simulated = populations(0, shift=np.array([0.0, 3.0, -0.5, 1.0]))
    pictures = picture_condition(["a", "b", "c", "d"], controls, real, simulated, None, seed=1)
    assert pictures.genes[:2] == ("b", "d"), "the largest real effects first"
    columns = ["abcd".index(gene) for gene in pictures.genes]
    delta = real.x.mean(axis=0) - controls.x.mean(axis=0)
    np.testing.assert_allclose(pictures.of_genes["effect_real"], delta[columns], rtol=1e-3, atol=1e-3)
    variance = simulated.x.var(axis=0, ddof=1)
    np.testing.assert_allclose(pictures.of_genes["variance_simulated"], variance[columns], rtol=1e-3)
    for i, population in enumerate((controls, real, simulated)):
        median = np.median(population.x[:, columns], axis=0)
        np.testing.assert_allclose(pictures.distributions[:, i, 10], median, rtol=1e-3)
    assert set(pictures.coverage) == {"control", "simulated"}
    np.testing.assert_allclose(pictures.places["real"], real.x[:, :2], rtol=1e-3)


def test_pictures_do_not_grow_with_cells_or_genes():
    controls, real, simulated = populations(2, n_genes=400, n=300)
    pictures = picture_condition([f"g{i}" for i in range(400)], controls, real, simulated, (real, simulated), seed=1)
    assert {name: len(places) for name, places in pictures.places.items()} == dict.fromkeys(POPULATIONS, CELLS)
    assert len(pictures.genes) == len(set(pictures.genes)) == GENES
    arrays = [pictures.distributions]
    arrays += [a for f in fields(pictures) if f.name in ("places", "of_genes", "coverage")
               for a in getattr(pictures, f.name).values()]  # fmt: skip
    assert all(a.dtype == np.float16 for a in arrays)
    assert sum(a.nbytes for a in arrays) == 1800 + 4000 + 756 + 114


def test_a_single_simulated_cell_has_effects_but_no_spread():
    controls, real, _ = populations(3)
    single = side(real.x[:1], controls.x)
    pictures = picture_condition(["a", "b", "c", "d"], controls, real, single, None, seed=1)
    assert np.isfinite(pictures.of_genes["effect_simulated"]).all()
    assert np.isnan(pictures.of_genes["variance_simulated"]).all()
    assert np.isnan(pictures.coverage["simulated"]).all()
    assert (pictures.distributions[:, 2] == pictures.distributions[:, 2, :1]).all(), "one value at every probability"


def test_shown_genes_are_the_largest_of_either_side_and_a_draw():
    real, simulated = np.zeros(1000), np.zeros(1000)
    real[900:950], simulated[100:150] = np.arange(50, 0, -1), -1
    shown = shown_genes(real, simulated, seed=0)
    assert shown[:50].tolist() == list(range(900, 950))
    assert shown[50:100].tolist() == list(range(100, 150))
    assert len(set(shown.tolist())) == GENES
    assert shown.tolist() == shown_genes(real, simulated, seed=0).tolist()
    assert shown.tolist() != shown_genes(real, simulated, seed=1).tolist()


def test_coverage_equals_an_oracle_and_is_nominal_for_two_samples_of_one_population():
    rng = np.random.default_rng(4)
    x, y, moved = (rng.normal(3, 1, size=(200, 2000)).astype(np.float32) for _ in range(3))
    moved += 0.1
    of = GeneMarginals.of
    same = noise_coverage(of(x), of(y))
    # 2,000 independent genes: a share has a standard error of at most 0.011.
    np.testing.assert_allclose(same, LEVELS, atol=0.05)
    # A shift of 0.1 is one standard error of a difference, sqrt(2 / 200): P(|N(1, 1)| <= z).
    z = norm.ppf((1 + LEVELS) / 2)
    np.testing.assert_allclose(noise_coverage(of(x), of(moved)), norm.cdf(z - 1) - norm.cdf(-z - 1), atol=0.05)


@pytest.mark.parametrize("x", [np.zeros((5, 3), np.float32), np.ones((1, 3), np.float32)], ids=["silent", "one cell"])
def test_coverage_of_nothing_is_not_a_number(x):
    assert np.isnan(noise_coverage(GeneMarginals.of(x), GeneMarginals.of(np.ones((4, 3), np.float32)))).all()
