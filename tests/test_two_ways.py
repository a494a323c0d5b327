"""Two ways to shrink effects on genes: each right where it should be, and the share of the way between them learned."""

import logging
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
from gensim.perturbations.gate import Gate
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.training.effects_of_cells import CellsOfScreen
from gensim.training.run_folder import GENE_BY_GENE, IN_GENES, IN_LATENTS, OUTSIDE_LATENTS, CellIndex, read_json
from gensim.training.two_ways import TwoWays, learn_share
from gensim.types import Condition

N, GENES = 120, 600
FEWS, ALONGS = (tuple(f"{label} {i}" for i in range(8)) for label in ("few", "along"))
FEW, ALONG, NOTHING = Condition(("few",)), Condition(("along",)), Condition(("nothing",))


def cells_of(folder: Path, *labels: str, seed: int = 0) -> tuple[Screen, sparse.csr_matrix, dict[str, np.ndarray]]:
    """`few` raises three genes by 1 (`few 1` three others), `along` moves all of them by 0.6 standard deviations of
    what all genes share.

    Returns:
        Screen, (n, G) logarithms, (G,) effects.
    """
    rng = np.random.default_rng(seed)
    label = np.repeat(["control", *labels], N)
    direction = rng.normal(0, 0.25, GENES)
    effects = {name: (0.6 if name.startswith("along") else 0.0) * direction for name in labels}
    for number, name in enumerate(name for name in labels if name.startswith("few")):
        effects[name] = np.where(np.arange(GENES) // 3 == number, 1.0, 0.0)
    x = 3 + rng.normal(0, 0.5, (len(label), GENES)) + rng.normal(size=(len(label), 1)) * direction
    for name in labels:
        x[label == name] += effects[name]
    screen = screen_of(folder, adata_of(list(label), np.ones((len(label), GENES), np.float32)))
    return screen, sparse.csr_matrix(x.astype(np.float32)), effects


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Screen, sparse.csr_matrix, dict[str, np.ndarray]]:
    return cells_of(tmp_path_factory.mktemp("two_ways"), "few", "along", "nothing")


def ways(screen: Screen, x: sparse.csr_matrix, n_axes: int, share: float = 0.5) -> TwoWays:
    return TwoWays.fit(screen, x, PCAAutoencoder.fit(x, n_axes), np.arange(x.shape[0]), share)


def parts(screen: Screen) -> tuple[np.ndarray, np.ndarray]:
    """Two thirds of the cells, and the rest."""
    rows = np.arange(len(screen.cells))
    return rows[rows % 3 > 0], rows[rows % 3 == 0]


def error(delta: np.ndarray, effect: np.ndarray) -> float:
    return float(np.square(delta - effect).sum() / np.square(effect).sum())


def beside(effect: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """What is not along the direction."""
    unit = direction / np.linalg.norm(direction)
    return effect - (effect @ unit) * unit


@pytest.mark.parametrize("n_axes", [1, 50])
def test_few_genes_that_move_are_found_and_so_is_what_all_share(measured, n_axes):
    """With as many axes as there are, or with so many that most are noise of the cells that are measured along them."""
    screen, x, effects = measured
    as_whole = CellsOfScreen(screen, x, x.toarray(), GeneSpace(GENES), PCAAutoencoder(1, GENES))._as_a_whole(
        np.arange(x.shape[0])
    )
    found = ways(screen, x, n_axes)
    # Of 600 genes with noise 2 * 0.25 / 120 each, 3 that moved by 1 have a little more than half of the squares; how
    # cells lie along the axis by chance nobody can know.
    few, along = effects["few"], effects["along"]
    of_few = [error(beside(of.shift(FEW), along), beside(few, along)) for of in (as_whole, found.on_genes)]
    assert of_few[0] > 0.2
    assert of_few[1] < 0.6 * of_few[0]
    assert error(found.on_genes.shift(ALONG), along) < 0.9 * error(as_whole.shift(ALONG), along)
    assert np.square(found.on_genes.shift(NOTHING)).sum() < 0.15


@pytest.mark.parametrize(("labels", "least", "most"), [(FEWS, 0.55, 1.0), (ALONGS, 0.0, 0.2)])
def test_the_share_is_large_where_few_genes_move_and_small_where_all_move_together(tmp_path, labels, least, most):
    screen, x, effects = cells_of(tmp_path, *labels)
    training, validation, axes = *parts(screen), PCAAutoencoder.fit(x, 20)
    gate = learn_share(screen, x, axes, training, validation)
    assert gate.n_units == len(labels)
    assert least <= gate.share <= most

    def off(share: float) -> float:
        found = TwoWays.fit(screen, x, axes, training, share).on_genes
        return sum(np.square(found.shift(c) - effects[c.perturbations[0]]).sum() for c in found.conditions)

    # Eight conditions tell it to about a third: nearer to the better way than halfway is, and far from the worse one.
    better, worse = sorted([off(0.0), off(1.0)])
    assert off(gate.share) < 0.7 * worse
    assert off(gate.share) < off(0.5)
    assert 1.5 * better < worse


def test_the_share_is_learned_from_conditions_that_both_have_against_the_controls_of_validation(measured):
    """By hand, with one condition in training alone."""
    screen, x, _ = measured
    training, validation = parts(screen)
    only = screen.rows_of(NOTHING)
    training, validation = np.union1d(training, only), np.setdiff1d(validation, only)
    axes = PCAAutoencoder.fit(x[training], 5)
    told = [TwoWays.fit(screen, x, axes, training, share).on_genes for share in (0.0, 1.0)]
    controls = np.intersect1d(validation, screen.rows_of(NOTHING.control))
    a = b = 0.0
    per_condition = []
    for condition in (FEW, ALONG):
        first, second = (of.shift(condition).astype(float) for of in told)
        of_cells = np.intersect1d(validation, screen.rows_of(condition))
        seen = np.asarray(x[of_cells].mean(axis=0) - x[controls].mean(axis=0)).ravel()
        per_condition.append(((seen - first) @ (second - first), (second - first) @ (second - first)))
        a, b = a + per_condition[-1][0], b + per_condition[-1][1]
    gate = learn_share(screen, x, axes, training, validation)
    assert (gate.n_units, gate.best) == (2, pytest.approx(a / b, rel=1e-4))
    # Leaving out one of two leaves the other: the jackknife's variance, and a little by the controls they share.
    apart = [one / whole for one, whole in per_condition]
    jackknife = 0.5 * np.square(np.array(apart) - np.mean(apart)).sum()
    assert gate.error**2 > jackknife * (1 - 1e-6)
    assert learn_share(screen, x, axes, only, validation) == Gate()
    assert learn_share(screen, x, axes, training, controls) == Gate()


@pytest.mark.parametrize(("n_axes", "share"), [(1, 0.5), (40, 0.5), (1, 0.0), (1, 1.0), (40, 0.25)])
def test_it_is_on_the_way_between_two_ways_to_shrink(measured, n_axes, share):
    """Forty genes, by hand: each by its own; and along the axes by one factor with each by its own around them."""
    screen, x, _ = measured
    some = x[:, :40]
    found = ways(screen, some, n_axes, share)
    w, scale = found.axes.components.numpy().astype(float), float(found.axes.scale)
    most_around = 0.0
    for condition in (FEW, ALONG, NOTHING):
        treated, control = (some[screen.rows_of(of)].toarray().astype(float) for of in (condition, condition.control))

        def measured_in(turn, treated=treated, control=control):
            of = treated @ turn, control @ turn
            # Cells are as many as the controls, which steady variances by less than their own.
            return of[0].mean(axis=0) - of[1].mean(axis=0), sum(a.var(axis=0, ddof=1) / N for a in of)

        each = shrink_each(*measured_in(np.eye(40)))
        along, around = shrink_together(*measured_in(w.T)), shrink_each(*measured_in(np.eye(40) - w.T @ w))
        expected = share * each + (1 - share) * (along @ w + around)
        np.testing.assert_allclose(found.on_genes.shift(condition), expected, atol=0.01)
        on_axes, beside_them = scale * found.along_axes.shift(condition), found.around_axes.shift(condition)
        # What is at the edge of being shrunk to nothing is decided by rounding.
        np.testing.assert_allclose(on_axes, share * each @ w.T + (1 - share) * along, atol=0.06)
        np.testing.assert_allclose(on_axes @ w + beside_them, found.on_genes.shift(condition), atol=1e-5)
        np.testing.assert_allclose(found.plain.shift(condition), measured_in(np.eye(40))[0], atol=1e-5)
        most_around = max(most_around, np.abs(around).max())
    assert (most_around > 0.5) == (n_axes < 40)


def test_what_was_measured_stays_beside_what_is_surely_there(measured):
    screen, x, _ = measured
    space, rows = GeneSpace.fit(x), np.arange(x.shape[0])
    latents = np.empty(x.shape, np.float32)
    encode_cells(space, x, latents)
    cells = CellsOfScreen(screen, x, latents, space, PCAAutoencoder.fit(x, 1))
    as_whole, found = cells._as_a_whole(rows), cells.effects(rows, 0.5).in_latents
    assert found.conditions == as_whole.conditions
    for same in ("plain", "variance", "noise"):
        np.testing.assert_allclose(getattr(found, same), getattr(as_whole, same), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["pca", "genes", "nb", "mlp"])
def test_a_run_starts_from_them(tmp_path, caplog, kind):
    """The share is learned from training cells, and what is simulated has the effects of all that are not held out."""
    screen_of_cells().write_h5ad(tmp_path / "screen.h5ad")
    settings = {"kind": kind} if kind == "genes" else {"kind": kind, "n_latents": 4}
    path = config(tmp_path / "c.yaml", tmp_path / "run", tmp_path / "screen.h5ad", autoencoder=settings)
    with caplog.at_level(logging.INFO, "gensim"):
        assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    prepared = tmp_path / "run" / "prepared"
    screen = load_screen(load_config(path, []).data)
    role, x = CellIndex.load(prepared / "cells.safetensors").role, screen.log1p_cp10k()
    training, validation, known = (np.flatnonzero(of) for of in (role == Role.TRAIN, role == Role.VALIDATION, role < 2))
    axes = PCAAutoencoder.fit(x[training], 12 if kind == "genes" else 4)
    gate = learn_share(screen, x, axes, training, validation)
    assert gate.n_units == 6
    told = f"effects on genes: {gate.share:.2f} of the way to those shrunk gene by gene; 6 held-back units say"
    assert (told in caplog.text) == (prepared / GENE_BY_GENE).is_file() == (kind != "mlp")
    expected, in_latents = TwoWays.fit(screen, x, axes, known, gate.share), MeanEffects.load(prepared / IN_LATENTS)
    assert np.abs(expected.on_genes.delta).max() > 0
    np.testing.assert_allclose(MeanEffects.load(prepared / IN_GENES).delta, expected.plain.delta, atol=1e-5)
    if kind != "mlp":
        assert read_json(prepared / GENE_BY_GENE)["share"] == pytest.approx(gate.share, abs=1e-4)
    if kind != "nb":
        outside = MeanEffects.load(prepared / OUTSIDE_LATENTS)
    if kind == "pca":
        on_genes = float(axes.scale) * in_latents.delta @ axes.components.numpy() + outside.delta
        np.testing.assert_allclose(on_genes, expected.on_genes.delta, atol=1e-4)
        np.testing.assert_allclose(outside.delta, expected.around_axes.delta, atol=1e-4)
    elif kind == "genes":
        scale = float(GeneSpace.fit(x[training]).scale)
        np.testing.assert_allclose(scale * in_latents.delta, expected.on_genes.delta, atol=1e-4)
        assert np.abs(outside.delta).max() < 1e-5
