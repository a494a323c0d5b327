"""Effects on what is transported: where that is genes, few that move stand out among thousands that do not."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from screens import adata_of, screen_of
from small_runs import config
from small_runs import screen as screen_of_cells

from gensim.autoencoder.base import encode_cells
from gensim.autoencoder.genes import GeneSpace
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.cli import main
from gensim.config import load_config
from gensim.data.screen import Screen, load_screen
from gensim.data.splits import Role
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.training.effects_in_latents import effects_in_gene_space, effects_in_latents
from gensim.training.run_folder import IN_LATENTS, CellIndex
from gensim.types import Condition

N, GENES = 120, 600
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


@pytest.mark.parametrize("n_axes", [1, 50])
def test_few_genes_that_move_are_found_and_so_is_what_all_share(measured, n_axes):
    """With as many axes as there are, or with so many that most are noise of the cells that are measured along them."""
    screen, x, few, along = measured
    space, axes, latents = fitted(x, n_axes)
    cells = np.arange(len(latents))
    as_whole = effects_in_latents(latents, screen, cells)
    found = effects_in_gene_space(screen, cells, x, space, axes)
    scale = float(space.scale)
    # Of 600 genes with noise 2 * 0.25 / 120 each, 3 that moved by 1 have a little more than half of the squares; how
    # cells lie along the axis by chance nobody can know.
    of_few = [error(beside(scale * effects.shift(FEW), along), beside(few, along)) for effects in (as_whole, found)]
    assert of_few[0] > 0.2
    assert of_few[1] < 0.6 * of_few[0]
    assert error(scale * found.shift(ALONG), along) < 0.9 * error(scale * as_whole.shift(ALONG), along)
    assert np.square(scale * found.shift(NOTHING)).sum() < 0.15


def test_what_was_measured_stays_beside_what_is_surely_there(measured):
    screen, x, *_ = measured
    space, axes, latents = fitted(x, 1)
    cells = np.arange(len(latents))
    as_whole, found = effects_in_latents(latents, screen, cells), effects_in_gene_space(screen, cells, x, space, axes)
    assert found.conditions == as_whole.conditions
    for same in ("plain", "variance", "noise"):
        np.testing.assert_allclose(getattr(found, same), getattr(as_whole, same), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_axes", [1, 40])
def test_it_is_halfway_between_two_ways_to_shrink(measured, n_axes):
    """Forty genes, by hand: each by its own; and along the axes by one factor with each by its own around them."""
    screen, x, *_ = measured
    some = x[:, :40]
    space, axes, _ = fitted(some, n_axes)
    w = axes.components.numpy().astype(float)
    found = effects_in_gene_space(screen, np.arange(len(screen.cells)), some, space, axes)
    most_around = 0.0
    for condition in (FEW, ALONG, NOTHING):
        treated, control = (some[screen.rows_of(of)].toarray().astype(float) for of in (condition, condition.control))

        def measured_in(turn, treated=treated, control=control):
            of = treated @ turn, control @ turn
            # Cells are as many as the controls, which steady variances by less than their own.
            return of[0].mean(axis=0) - of[1].mean(axis=0), sum(a.var(axis=0, ddof=1) / N for a in of)

        each = shrink_each(*measured_in(np.eye(40)))
        along, around = shrink_together(*measured_in(w.T)) @ w, shrink_each(*measured_in(np.eye(40) - w.T @ w))
        expected = (each + along + around) / 2
        np.testing.assert_allclose(float(space.scale) * found.shift(condition), expected, atol=0.01)
        most_around = max(most_around, np.abs(around).max())
    assert (most_around > 0.5) == (n_axes == 1)


def test_a_run_without_latents_starts_from_them(tmp_path):
    cells = screen_of_cells()
    cells.write_h5ad(tmp_path / "screen.h5ad")
    path = config(tmp_path / "genes.yaml", tmp_path / "run", tmp_path / "screen.h5ad", autoencoder={"kind": "genes"})
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    prepared = tmp_path / "run" / "prepared"
    screen = load_screen(load_config(path, []).data)
    role, x = CellIndex.load(prepared / "cells.safetensors").role, screen.log1p_cp10k()
    of_training = x[np.flatnonzero(role == Role.TRAIN)]
    space, axes = GeneSpace.fit(of_training), PCAAutoencoder.fit(of_training, 12)
    expected = effects_in_gene_space(screen, np.flatnonzero(role != Role.HELD_OUT), x, space, axes)
    found = MeanEffects.load(prepared / IN_LATENTS)
    assert found.conditions == expected.conditions
    assert np.abs(expected.delta).max() > 0
    np.testing.assert_allclose(found.delta, expected.delta, atol=1e-5)
