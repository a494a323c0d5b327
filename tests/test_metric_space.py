"""The metric space is a principal component projection that survives its file."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import sparse

from gensim.errors import CheckpointError, DataError
from gensim.metrics.space import MetricSpace
from gensim.pca import PrincipalComponents

GENES = ("A", "B", "C", "D")


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    x = rng.gamma(1.0, size=(30, 4)) * np.array([4.0, 2.0, 1.0, 0.5]) * (rng.random((30, 4)) < 0.7)
    return x.astype(np.float32)


def test_scores_are_those_of_a_singular_value_decomposition(cells):
    space = MetricSpace.fit(sparse.csr_matrix(cells), GENES, n=2)
    centred = cells.astype(np.float64) - cells.mean(axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    scores = space.project(cells)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(np.abs(scores), np.abs(u[:, :2] * s[:2]), atol=1e-4)


def test_sparse_and_dense_cells_land_on_the_same_place(cells):
    space = MetricSpace.fit(sparse.csr_matrix(cells), GENES, n=3)
    np.testing.assert_allclose(space.project(sparse.csr_matrix(cells)), space.project(cells), atol=1e-5)


def test_all_components_keep_distances(cells):
    space = MetricSpace.fit(sparse.csr_matrix(cells), GENES, n=50)
    scores = space.project(cells)
    assert scores.shape == (30, 4)
    np.testing.assert_allclose(np.linalg.norm(scores[0] - scores[1]), np.linalg.norm(cells[0] - cells[1]), rtol=1e-5)


def test_file_gives_back_the_space(cells, tmp_path):
    space = MetricSpace.fit(sparse.csr_matrix(cells), GENES, n=3)
    path = tmp_path / "metric_space.safetensors"
    space.save(path)
    loaded = MetricSpace.load(path)
    assert loaded.genes == GENES
    np.testing.assert_array_equal(loaded.project(cells), space.project(cells))
    np.testing.assert_array_equal(loaded.components.variance, space.components.variance)


def test_mismatches_are_refused(cells, tmp_path):
    space = MetricSpace.fit(sparse.csr_matrix(cells), GENES, n=3)
    with pytest.raises(DataError, match=r"\(30, 3\); 4 genes"):
        space.project(cells[:, :3])
    with pytest.raises(DataError, match="3 genes do not fit"):
        MetricSpace(GENES[:3], space.components)
    with pytest.raises(CheckpointError, match="no metric space at"):
        MetricSpace.load(tmp_path / "missing.safetensors")
    save_file({"mean": np.zeros(4, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not a metric space"):
        MetricSpace.load(tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors at all")
    with pytest.raises(CheckpointError, match="not a metric space"):
        MetricSpace.load(tmp_path / "text.safetensors")


def test_constant_cells_project_to_zero():
    components = PrincipalComponents(np.ones(2, np.float32), np.eye(2, dtype=np.float32), np.ones(2, np.float32))
    np.testing.assert_array_equal(MetricSpace(("A", "B"), components).project(np.ones((1, 2), np.float32)), [[0, 0]])
