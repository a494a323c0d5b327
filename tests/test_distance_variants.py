"""Variants of energy distance and MMD by hand, against plain means over pairs, and against other packages."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gensim.errors import NotComputable
from gensim.metrics import distance_variants as variants
from gensim.metrics.distances import energy_distance
from gensim.metrics.pairs import Sample

X = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
Y = np.array([[0.0, 0.0], [0.0, 4.0]], dtype=np.float32)


def pairs_of(x, y, metric, function=lambda d: d):
    """Means between, within x and within y over all ordered pairs, each cell with itself too."""
    return [function(cdist(np.float64(a), np.float64(b), metric)).mean() for a, b in ((x, y), (x, x), (y, y))]


def clouds(n=40, m=30):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)).astype(np.float32), rng.normal(0.5, 1.3, size=(m, 4)).astype(np.float32)


def test_energy_variants_by_hand():
    x, y = Sample(X), Sample(Y)
    # Between 0, 4, 5, 3 (mean 3); within, with zeros, 10 / 4 and 8 / 4.
    assert variants.energy_biased(x, y) == pytest.approx(6 - 2.5 - 2)
    assert variants.energy_sqrt(x, y) == pytest.approx(math.sqrt(1.5))
    # Means (1.5, 2) and (0, 2): 2 * 2.25. Squared between 0, 16, 25, 9 (12.5); within 25 and 16: 25 - 25 - 16.
    assert variants.energy_squared_biased(x, y) == pytest.approx(4.5)
    assert variants.energy_squared(x, y) == pytest.approx(-16.0)
    assert variants.mmd2_linear(x, y) == pytest.approx(-8.0)


def test_energy_variants_equal_means_over_pairs():
    x, y = clouds()
    between, own_x, own_y = pairs_of(x, y, "euclidean")
    assert variants.energy_biased(Sample(x), Sample(y)) == pytest.approx(2 * between - own_x - own_y)
    between, own_x, own_y = pairs_of(x, y, "sqeuclidean")
    assert variants.energy_squared_biased(Sample(x), Sample(y)) == pytest.approx(2 * between - own_x - own_y)
    unbiased = 2 * between - own_x * 40 / 39 - own_y * 30 / 29
    assert variants.energy_squared(Sample(x), Sample(y)) == pytest.approx(unbiased)


def test_squared_distances_are_blind_to_spread_and_plain_ones_are_not():
    rng = np.random.default_rng(1)
    x, y = (s * (z - z.mean(0)) for s, z in zip((1, 3), rng.normal(size=(2, 200, 3)), strict=True))
    assert variants.energy_squared_biased(Sample(x), Sample(y)) == pytest.approx(0.0, abs=1e-12)
    assert energy_distance(x, y) > 0.5


def test_kernels_equal_means_over_pairs():
    x, y = clouds()
    parts = [pairs_of(x, y, "sqeuclidean", lambda d, g=g: np.exp(-g * d)) for g in (2, 1, 0.5, 0.1, 0.01, 0.005)]
    expected = np.mean([own_x + own_y - 2 * between for between, own_x, own_y in parts])
    assert variants.mmd2_cellot(Sample(x), Sample(y)) == pytest.approx(expected, rel=1e-10)
    between, own_x, own_y = ((np.float64(a) @ np.float64(b).T) for a, b in ((x, y), (x, x), (y, y)))
    linear = [(own.sum() - own.trace()) / (len(own) * (len(own) - 1)) for own in (own_x, own_y)]
    assert variants.mmd2_linear(Sample(x), Sample(y)) == pytest.approx(sum(linear) - 2 * between.mean())


def test_single_cells():
    one, two = Sample(X[:1]), Sample(Y[1:])
    # Without pairs of different cells there is only what lies between: 4.
    assert variants.energy_biased(one, two) == pytest.approx(8.0)
    kernels = np.mean([math.exp(-16 * g) for g in variants.CELLOT_GAMMAS])
    assert variants.mmd2_cellot(one, two) == pytest.approx(2 - 2 * kernels)
    for metric in (variants.energy_squared, variants.mmd2_linear):
        with pytest.raises(NotComputable, match="first population has 1 cell"):
            metric(one, Sample(Y))


@pytest.mark.filterwarnings("ignore")
def test_agreement_with_scperturb():
    edist_to_control = pytest.importorskip(
        "scperturb", reason="scperturb is not installed: pip install gensim-cells[agreement]"
    ).edist_to_control
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    x, y = clouds()
    groups = pandas.DataFrame({"group": ["x"] * 40 + ["y"] * 30}, index=[str(i) for i in range(70)])
    cells = anndata.AnnData(np.concatenate([x, y]), obs=groups, obsm={"X_pca": np.float64(np.concatenate([x, y]))})
    ours = {"euclidean": energy_distance(x, y), "sqeuclidean": variants.energy_squared(Sample(x), Sample(y))}
    for distance, value in ours.items():
        options = {"obs_key": "group", "control": "x", "dist": distance, "n_jobs": 1, "verbose": False}
        theirs = edist_to_control(cells, **options).loc["y"].item()
        assert value == pytest.approx(theirs, rel=1e-6), distance


@pytest.mark.filterwarnings("ignore")
def test_agreement_with_pertpy():
    try:
        from pertpy.tools import Distance
    except ImportError as error:
        pytest.skip(f"pertpy cannot be imported: {error}")
    x, y = clouds()
    theirs = Distance(metric="edistance", obsm_key="X_pca")(np.float64(x), np.float64(y))
    assert variants.energy_biased(Sample(x), Sample(y)) == pytest.approx(theirs, rel=1e-6)
    kernels = Distance(metric="mmd", obsm_key="X_pca")
    theirs = [kernels(np.float64(x), np.float64(y), kernel="rbf", gamma=gamma) for gamma in variants.CELLOT_GAMMAS]
    assert variants.mmd2_cellot(Sample(x), Sample(y)) == pytest.approx(np.mean(theirs), rel=1e-6)
