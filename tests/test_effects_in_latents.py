"""Effects on what is transported: where that is genes, few that move stand out among thousands that do not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from screens import adata_of, screen_of

from gensim.autoencoder.base import encode_cells
from gensim.autoencoder.genes import GeneSpace
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.data.screen import Screen
from gensim.training.effects_in_latents import effects_in_gene_space, effects_in_latents
from gensim.types import Condition

N, GENES, AXES = 120, 600, 1
FEW, ALONG, NOTHING = Condition(("few",)), Condition(("along",)), Condition(("nothing",))


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Screen, sparse.csr_matrix, np.ndarray, np.ndarray]:
    """`few` raises three genes by 1, `along` moves all of them by 0.6 standard deviations of what all genes share.

    Returns:
        Screen, (n, G) logarithms, (G,) effects of `few` and of `along`.
    """
    rng = np.random.default_rng(0)
    labels = np.repeat(["control", "few", "along", "nothing"], N)
    direction = rng.normal(0, 0.25, GENES)
    few = np.where(np.arange(GENES) < 3, 1.0, 0.0)
    x = 3 + rng.normal(0, 0.5, (len(labels), GENES)) + rng.normal(size=(len(labels), 1)) * direction
    x[labels == "few"] += few
    x[labels == "along"] += 0.6 * direction
    folder: Path = tmp_path_factory.mktemp("gene_space")
    screen = screen_of(folder, adata_of(list(labels), np.ones((len(labels), GENES), np.float32)))
    return screen, sparse.csr_matrix(x.astype(np.float32)), few, 0.6 * direction


def fitted(x: sparse.csr_matrix, n_axes: int) -> tuple[GeneSpace, PCAAutoencoder, np.ndarray]:
    space = GeneSpace.fit(x)
    latents = np.empty(x.shape, np.float32)
    encode_cells(space, x, latents)
    return space, PCAAutoencoder.fit(x, n_axes), latents


def error(delta: np.ndarray, effect: np.ndarray) -> float:
    return float(np.square(delta - effect).sum() / np.square(effect).sum())


def beside(effect: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """What is not along the direction."""
    unit = direction / np.linalg.norm(direction)
    return effect - (effect @ unit) * unit


def test_few_genes_that_move_are_found_and_so_is_what_all_share(measured):
    screen, x, few, along = measured
    space, axes, latents = fitted(x, AXES)
    cells = np.arange(len(latents))
    as_whole = effects_in_latents(latents, screen, cells)
    found = effects_in_gene_space(latents, screen, cells, x, space, axes)
    scale = float(space.scale)
    # Of 600 genes with noise 2 * 0.25 / 120 each, 3 that moved by 1 have a little more than half of the squares; how
    # cells lie along the axis by chance nobody can know.
    of_few = [beside(scale * effects.shift(FEW), along) for effects in (as_whole, found)]
    assert error(of_few[0], beside(few, along)) > 0.2
    assert error(of_few[1], beside(few, along)) < 0.1
    assert error(scale * found.shift(ALONG), along) < 0.9 * error(scale * as_whole.shift(ALONG), along)
    assert np.square(scale * found.shift(NOTHING)).sum() < 0.1


def test_what_was_measured_stays_beside_what_is_surely_there(measured):
    screen, x, *_ = measured
    space, axes, latents = fitted(x, AXES)
    cells = np.arange(len(latents))
    as_whole = effects_in_latents(latents, screen, cells)
    found = effects_in_gene_space(latents, screen, cells, x, space, axes)
    assert found.conditions == as_whole.conditions
    for same in ("plain", "variance", "noise"):
        np.testing.assert_array_equal(getattr(found, same), getattr(as_whole, same))
    rows = np.flatnonzero(screen.condition_of == screen.conditions.index(FEW))
    controls = np.flatnonzero(screen.condition_of == screen.conditions.index(FEW.control))
    plain = latents[rows].mean(axis=0) - latents[controls].mean(axis=0)
    np.testing.assert_allclose(found.plain[found.conditions.index(FEW)], plain, atol=1e-4)


def test_axes_that_hold_all_leave_nothing_to_single_genes(measured):
    """As many axes as genes: turned coordinates, in which the one factor is that of the genes themselves."""
    screen, x, *_ = measured
    few_genes = x[:, :5]
    space, axes, latents = fitted(few_genes, 5)
    cells = np.arange(len(latents))
    assert axes.n_latents == 5
    as_whole = effects_in_latents(latents, screen, cells)
    found = effects_in_gene_space(latents, screen, cells, few_genes, space, axes)
    assert torch.count_nonzero(torch.from_numpy(found.delta))
    np.testing.assert_allclose(found.delta, as_whole.delta, atol=1e-4)
