"""Two ways to shrink effects on genes: each right where it should be, and the share of the way between them learned."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from screens import adata_of, screen_of
from small_runs import config
from small_runs import screen as screen_of_cells

from gensim.after_training import measure_trained
from gensim.autoencoder.base import encoded
from gensim.autoencoder.genes import GeneSpace
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.build import build_solver
from gensim.cli import main
from gensim.config import load_config
from gensim.data.screen import Screen, load_screen
from gensim.data.splits import Role
from gensim.errors import CheckpointError
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.gate import Gate
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.training import two_ways
from gensim.training.effects_of_cells import EffectsOfCells, EncodedScreen
from gensim.training.run_folder import GENE_BY_GENE, IN_GENES, IN_LATENTS, OUTSIDE_LATENTS, CellIndex, RunFolder
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
    return TwoWays(screen, x, PCAAutoencoder.fit(x, n_axes), np.arange(x.shape[0]), share)


def as_a_whole(screen: Screen, x: sparse.csr_matrix) -> MeanEffects:
    of_screen = screen.condition_of, screen.conditions, np.arange(x.shape[0])
    return fit_mean_effects(lambda of: x[of].toarray(), *of_screen, shrink=shrink_together)


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
    as_whole, found = as_a_whole(screen, x), ways(screen, x, n_axes)
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
    rows = np.arange(x.shape[0])
    gate = learn_share(screen, x, 20, rows)
    assert gate.n_units == len(labels)
    assert least <= gate.share <= most

    def off(share: float) -> float:
        found = ways(screen, x, 20, share).on_genes
        return sum(np.square(found.shift(c) - effects[c.perturbations[0]]).sum() for c in found.conditions)

    # Nearer to the better way than halfway is, and far from the worse one.
    better, worse = sorted([off(0.0), off(1.0)])
    assert off(gate.share) < 0.7 * worse
    assert off(gate.share) < off(0.5)
    assert 1.5 * better < worse


def test_every_fourth_cell_is_held_back_in_turn_and_axes_are_fitted_to_the_rest(tmp_path):
    """By hand, in two contexts of unequal controls; conditions of three cells tell nothing."""
    rng = np.random.default_rng(4)
    groups = [("control", "T", 13), ("A", "T", 61), ("B", "T", 52), ("C", "T", 3), ("A", "K", 37), ("control", "K", 22)]
    label = np.concatenate([[name] * n for name, _, n in groups])
    cell_type = np.concatenate([[context] * n for _, context, n in groups])
    shuffled = rng.permutation(len(label))
    label, cell_type = label[shuffled], cell_type[shuffled]
    values = 2 + rng.normal(0, 0.5, (len(label), 9)) + 0.5 * np.isin(label, ["A", "B"])[:, None] * np.eye(9)[2]
    x = sparse.csr_matrix(values.astype(np.float32))
    adata = adata_of(list(label), np.ones(values.shape, np.float32), cell_type=list(cell_type))
    screen = screen_of(tmp_path, adata, context_columns=["cell_type"])
    training = np.flatnonzero(rng.random(len(label)) < 0.9)
    rank = np.array(
        [np.sum(screen.condition_of[training[:i]] == screen.condition_of[r]) for i, r in enumerate(training)]
    )
    told = [c for c in screen.conditions if not c.is_control and c.perturbations != ("C",)]
    rows_of = {c: training[screen.condition_of[training] == k] for k, c in enumerate(screen.conditions)}
    used = np.sort(np.concatenate([rows_of[c] for c in {*told, *(c.control for c in told)}]))
    products, towards, noise = {c: np.zeros(2) for c in told}, {}, {}
    for fold in range(4):
        held_back = training[rank % 4 == fold]
        rest = np.setdiff1d(used, held_back)
        estimates = [TwoWays(screen, x, PCAAutoencoder.fit(x[rest], 2), rest, s).on_genes for s in (0.0, 1.0)]
        for condition in told:
            first, second = (of.shift(condition).astype(float) for of in estimates)
            shown = [x[np.intersect1d(rows_of[c], held_back)].toarray() for c in (condition, condition.control)]
            seen = shown[0].mean(axis=0) - shown[1].mean(axis=0)
            products[condition] += (seen - first) @ (second - first), np.square(second - first).sum()
            towards[condition, fold] = second - first
            noise[condition.control, fold] = shown[1].var(axis=0, ddof=1) / len(shown[1])
    a, b = np.array(list(products.values())).T
    gate = learn_share(screen, x, 2, training)
    assert (gate.n_units, gate.best) == (3, pytest.approx(a.sum() / b.sum(), rel=1e-3))
    # Leaving out one condition after another, and what A and B share by the control cells that they were held against.
    left_out = (a.sum() - a) / (b.sum() - b)
    variance = 2 / 3 * np.square(left_out - left_out.mean()).sum()
    in_t = [c for c in told if dict(c.context)["cell_type"] == "T"]
    assert len(in_t) == 2
    shared = 0.0
    for fold in range(4):
        one, other = (towards[c, fold] for c in in_t)
        shared += 2 * (noise[in_t[0].control, fold] * one * other).sum() / b.sum() ** 2
    assert shared > 0.02 * variance
    variance += shared
    assert gate.error == pytest.approx(variance**0.5, rel=1e-3)


def test_cells_that_are_not_given_and_conditions_without_controls_tell_nothing(measured):
    screen, x, _ = measured
    rows = np.arange(x.shape[0])
    controls = screen.rows_of(NOTHING.control)
    assert learn_share(screen, x, 3, controls) == Gate()
    assert learn_share(screen, x, 3, np.setdiff1d(rows, controls)) == Gate()
    assert learn_share(screen, x, 3, rows[:0]) == Gate()
    some = np.setdiff1d(rows, rows[::5])
    spoiled = x.toarray()
    spoiled[::5] = 1e6
    assert learn_share(screen, sparse.csr_matrix(spoiled), 3, some) == learn_share(screen, x, 3, some)


def test_many_conditions_tell_as_some_of_them_do(measured, monkeypatch):
    screen, x, _ = measured
    monkeypatch.setattr(two_ways, "MOST_CONDITIONS", 2)
    # The first and the last as they stand in the screen, with all controls.
    first, _, last = (c for c in screen.conditions if not c.is_control)
    some = np.concatenate([screen.rows_of(c) for c in (first, last, NOTHING.control)])
    assert learn_share(screen, x, 3, np.arange(x.shape[0])) == learn_share(screen, x, 3, np.sort(some))


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
    space, rows, axes = GeneSpace.fit(x), np.arange(x.shape[0]), PCAAutoencoder.fit(x, 5)
    for autoencoder in (space, axes):
        latents = encoded(autoencoder, x)
        of_screen = screen.condition_of, screen.conditions, rows
        as_whole = fit_mean_effects(lambda of, z=latents: z[of], *of_screen, shrink=shrink_together)
        found = EffectsOfCells(EncodedScreen(screen, x, latents, autoencoder, axes), rows, 0.5).in_latents
        assert found.conditions == as_whole.conditions
        for same in ("plain", "variance", "noise"):
            np.testing.assert_allclose(getattr(found, same), getattr(as_whole, same), rtol=1e-3, atol=1e-4)


def write_screen(path: Path) -> None:
    """A has four times as much of two genes, B a third of one, so that effects are not shrunk to nothing."""
    adata = screen_of_cells()
    values = np.asarray(adata.X.toarray() if sparse.issparse(adata.X) else adata.X).copy()
    has = {name: adata.obs["perturbation"].str.contains(name).to_numpy() for name in ("A", "B")}
    values[np.ix_(has["A"], [3, 7])] *= 4
    values[has["B"], 5] //= 3
    adata.X = values
    adata.write_h5ad(path)


@pytest.mark.parametrize("kind", ["pca", "genes", "nb", "mlp"])
def test_a_run_starts_from_them(tmp_path, caplog, kind):
    """The share is learned from training cells, and what is simulated has the effects of all that are not held out."""
    write_screen(tmp_path / "screen.h5ad")
    settings = {"kind": kind} if kind == "genes" else {"kind": kind, "n_latents": 4}
    path = config(tmp_path / "c.yaml", tmp_path / "run", tmp_path / "screen.h5ad", autoencoder=settings)
    with caplog.at_level(logging.INFO, "gensim"):
        assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    prepared = tmp_path / "run" / "prepared"
    screen = load_screen(load_config(path, []).data)
    role, x = CellIndex.load(prepared / "cells.safetensors").role, screen.log1p_cp10k()
    training, known = np.flatnonzero(role == Role.TRAIN), np.flatnonzero(role != Role.HELD_OUT)
    axes = PCAAutoencoder.fit(x[training], 12 if kind == "genes" else 4)
    gate = learn_share(screen, x, axes.n_latents, training)
    assert gate.n_units == 6
    told = f"effects on genes: {gate.share:.2f} of the way to those shrunk gene by gene; 6 conditions say"
    assert (told in caplog.text) == (prepared / GENE_BY_GENE).is_file() == (kind != "mlp")
    expected, in_latents = TwoWays(screen, x, axes, known, gate.share), MeanEffects.load(prepared / IN_LATENTS)
    assert np.abs(expected.on_genes.delta).max() > 0.3
    # Neither way alone, in the latents or around them.
    assert np.abs(expected.along_axes.delta - expected._along.delta).max() > 0.01
    assert kind == "genes" or np.abs(expected.around_axes.delta - expected._around.delta).max() > 0.01
    np.testing.assert_allclose(MeanEffects.load(prepared / IN_GENES).delta, expected.plain.delta, atol=1e-5)
    if kind != "mlp":
        assert RunFolder(tmp_path / "run").gene_by_gene == pytest.approx(gate.share, abs=1e-4)
    if kind in ("nb", "mlp"):
        of_screen = screen.condition_of, screen.conditions, known
        latents = np.load(prepared / "latents.npy")
        as_whole = fit_mean_effects(lambda of: latents[of], *of_screen, shrink=shrink_together)
        np.testing.assert_allclose(in_latents.delta, as_whole.delta, atol=1e-5)
    if kind != "nb":
        outside = MeanEffects.load(prepared / OUTSIDE_LATENTS)
    if kind == "mlp":
        assert np.abs(outside.delta).max() < np.abs(outside.plain).max()
    if kind == "pca":
        on_genes = float(axes.scale) * in_latents.delta @ axes.components.numpy() + outside.delta
        np.testing.assert_allclose(on_genes, expected.on_genes.delta, atol=1e-4)
        np.testing.assert_allclose(outside.delta, expected.around_axes.delta, atol=1e-4)
    elif kind == "genes":
        scale = float(GeneSpace.fit(x[training]).scale)
        np.testing.assert_allclose(scale * in_latents.delta, expected.on_genes.delta, atol=1e-4)
        assert np.abs(outside.delta).max() < 1e-5


def test_what_judges_goes_the_same_share_by_training_cells_alone(tmp_path):
    write_screen(tmp_path / "screen.h5ad")
    path = config(tmp_path / "c.yaml", tmp_path / "run", tmp_path / "screen.h5ad")
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    run = RunFolder(tmp_path / "run")
    screen = load_screen(load_config(path, []).data)
    training = np.flatnonzero(CellIndex.load(run.prepared / "cells.safetensors").role == Role.TRAIN)
    x = screen.log1p_cp10k()
    expected = TwoWays(screen, x, PCAAutoencoder.fit(x[training], 4), training, run.gene_by_gene).along_axes
    found = Codebook.load(run.prepared).effects
    assert found.conditions == expected.conditions
    np.testing.assert_allclose(found.delta, expected.delta, atol=1e-4)
    assert np.abs(found.delta - replace(expected, delta=found.plain).delta).max() > 0.01


def test_without_an_anchor_nothing_is_learned(tmp_path, caplog):
    write_screen(tmp_path / "screen.h5ad")
    path = config(tmp_path / "c.yaml", tmp_path / "run", tmp_path / "screen.h5ad", anchor="none")
    with caplog.at_level(logging.INFO, "gensim"):
        assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    assert "gene by gene" not in caplog.text
    assert not (tmp_path / "run" / "prepared" / GENE_BY_GENE).exists()


@pytest.mark.parametrize("content", ["{}", '{"share": 7}', '{"shares": 0.5}', "[]", "no JSON"])
def test_a_damaged_share_is_refused(tmp_path, content):
    run = RunFolder(tmp_path)
    run.prepared.mkdir()
    (run.prepared / GENE_BY_GENE).write_text(content)
    if content == "{}":
        # A gate that nothing was learned for.
        assert run.gene_by_gene == Gate().share
        return
    with pytest.raises(CheckpointError, match=r"gene_by_gene\.json.*train the run again"):
        _ = run.gene_by_gene


def test_counts_are_calibrated_with_the_share_of_the_run(tmp_path):
    write_screen(tmp_path / "screen.h5ad")
    settings = {"kind": "nb", "n_latents": 4}
    path = config(tmp_path / "c.yaml", tmp_path / "run", tmp_path / "screen.h5ad", autoencoder=settings)
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    run, loaded = RunFolder(tmp_path / "run"), load_config(path, [])
    cpu = torch.device("cpu")
    share, of_run = run.gene_by_gene, MeanEffects.load(run.gene_effects).delta
    assert 0.05 < share < 0.95
    ends = []
    for end in (0.0, 1.0):
        (run.prepared / GENE_BY_GENE).write_text(json.dumps({"share": end}))
        measure_trained(loaded, run, cpu, build_solver(loaded.solver, cpu))
        ends.append(MeanEffects.load(run.gene_effects).delta)
    np.testing.assert_allclose(of_run, (1 - share) * ends[0] + share * ends[1], atol=1e-4)
    assert np.abs(ends[1] - ends[0]).max() > 0.01
