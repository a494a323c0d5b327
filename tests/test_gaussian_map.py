"""The Gaussian-map baseline: right about mean and covariance where the populations are Gaussian."""

import numpy as np
import pytest

from gensim.baselines.gaussian_map import GaussianMaps
from gensim.baselines.training_mean import TrainingMean
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition

CONTROL, A, B = Condition(()), Condition(("A",)), Condition(("B",))
CONDITIONS = (CONTROL, A)
N = 20_000
MIX = np.array([[1.5, 0.4], [0.0, 0.5]])
SHIFT = np.array([2.0, -1.0])


@pytest.fixture(scope="module")
def cells():
    """Genes are the scores themselves, so that genes and components agree."""
    rng = np.random.default_rng(0)
    control = rng.normal(size=(N, 2)) * [1.0, 2.0] + [1.0, 0.0]
    perturbed = rng.normal(size=(N, 2)) @ MIX + [1.0, 0.0] + SHIFT
    return np.concatenate([control, perturbed]).astype(np.float32), np.repeat([0, 1], N)


@pytest.fixture(scope="module")
def maps(cells):
    return GaussianMaps.fit(lambda rows: cells[0][rows], cells[1], CONDITIONS, np.arange(2 * N))


EFFECTS = MeanEffects((A,), SHIFT[None].astype(np.float32))


def moved(maps, x, condition):
    return maps.simulate(x, x, np.eye(2, dtype=np.float32), condition, EFFECTS)


def test_mean_and_covariance_arrive(cells, maps):
    end = moved(maps, cells[0][:N], A)
    # 20,000 cells know means to 0.02 and covariances to 2 %.
    np.testing.assert_allclose(end.mean(0), [3.0, -1.0], atol=0.06)
    np.testing.assert_allclose(np.cov(end.T), MIX.T @ MIX, atol=0.1)


def test_what_lies_outside_the_components_moves_by_the_mean(cells, maps):
    """A third gene that no component holds."""
    x = np.column_stack([cells[0][:5], np.arange(5, dtype=np.float32)])
    effects = MeanEffects((A,), np.array([[2.0, -1.0, 0.25]], np.float32))
    components = np.eye(2, 3, dtype=np.float32)
    end = maps.simulate(x, x[:, :2], components, A, effects)
    np.testing.assert_allclose(end[:, 2], np.arange(5) + 0.25)


def test_conditions_that_training_did_not_have_move_by_the_mean(cells, maps):
    x = cells[0][:10]
    np.testing.assert_array_equal(moved(maps, x, B), TrainingMean(EFFECTS).simulate(x, B))


def test_saving(tmp_path, cells, maps):
    maps.save(tmp_path / "maps.safetensors")
    x = cells[0][:10]
    np.testing.assert_array_equal(moved(GaussianMaps.load(tmp_path / "maps.safetensors"), x, A), moved(maps, x, A))


def test_no_conditions_are_no_maps(tmp_path, cells):
    empty = GaussianMaps.fit(lambda rows: cells[0][rows], cells[1], CONDITIONS, np.arange(N))
    assert empty.A.shape == (0, 2, 2)
    empty.save(tmp_path / "maps.safetensors")
    assert GaussianMaps.load(tmp_path / "maps.safetensors").conditions == ()
