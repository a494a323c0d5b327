"""What of a screen a run is fitted on: never a held-out cell, and batches that have perturbed training cells."""

import anndata as ad
import numpy as np
import pytest
from small_runs import config, screen, trained_and_sampled

from gensim.baselines.gaussian_map import GaussianMaps
from gensim.cli import main
from gensim.data.simulated_screen import SimulatedScreen
from gensim.data.splits import Role
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.penetrance import fit_penetrance
from gensim.simulator import Simulator
from gensim.training.run_folder import GAUSSIAN_MAPS, IN_GENES, IN_LATENTS, CellIndex, RunFolder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained_and_sampled(tmp_path_factory.mktemp("run"))


def effects_by_hand(x: np.ndarray, index: CellIndex, roles: list[Role], condition) -> np.ndarray:
    """Mean of the perturbed minus mean of the control cells of its context, over cells of the given roles."""
    k = {c: i for i, c in enumerate(index.conditions)}
    usable = np.isin(index.role, roles)
    perturbed, control = (x[usable & (index.condition_of == k[c])] for c in (condition, condition.control))
    return perturbed.mean(0) - control.mean(0)


def test_effects_in_genes_are_those_of_all_cells_that_are_not_held_out(folder):
    prepared = folder / "run" / "prepared"
    index, effects = CellIndex.load(prepared / "cells.safetensors"), MeanEffects.load(prepared / IN_GENES)
    counts = ad.read_h5ad(folder / "screen.h5ad").X
    counts = counts.toarray() if hasattr(counts, "toarray") else np.asarray(counts)
    x = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    for condition, delta in zip(effects.conditions, effects.delta, strict=True):
        by_hand = effects_by_hand(x, index, [Role.TRAIN, Role.VALIDATION], condition)
        np.testing.assert_allclose(delta, by_hand, atol=1e-4)
        assert not np.allclose(delta, effects_by_hand(x, index, list(Role), condition), atol=1e-3)


def test_validation_judges_with_training_cells_alone_and_simulation_has_more(folder):
    """By what was measured; how it is shrunk, other tests look at."""
    prepared = folder / "run" / "prepared"
    index, latents = CellIndex.load(prepared / "cells.safetensors"), np.load(prepared / "latents.npy")
    judging, simulating = Codebook.load(prepared).effects, MeanEffects.load(prepared / IN_LATENTS)
    used = Simulator.load(folder / "run", "cpu").engine.codebook.effects
    np.testing.assert_array_equal(used.delta, simulating.delta)
    of_roles = [(judging, [Role.TRAIN]), (simulating, [Role.TRAIN, Role.VALIDATION])]
    for (effects, roles), (others, _) in zip(of_roles, reversed(of_roles), strict=True):
        assert effects.conditions
        for condition, plain in zip(effects.conditions, effects.plain, strict=True):
            by_hand = effects_by_hand(latents, index, roles, condition)
            np.testing.assert_allclose(plain, by_hand, atol=1e-5)
            assert not np.allclose(others.plain[others.conditions.index(condition)], by_hand, atol=1e-3)


def test_gaussian_maps_know_every_training_condition(folder):
    prepared = folder / "run" / "prepared"
    assert set(GaussianMaps.load(prepared / GAUSSIAN_MAPS).conditions) == set(
        Codebook.load(prepared).effects.conditions
    )


def test_a_batch_without_perturbed_training_cells_is_an_unknown_one(tmp_path):
    """Its embedding would never be trained: cells that start from its controls get the code of an unknown batch."""
    cells = screen()
    is_control = (cells.obs["perturbation"] == "control").to_numpy()
    cells.obs["batch"] = np.where(is_control & (np.arange(len(cells)) % 2 == 0), "controls only", "both")
    cells.write_h5ad(tmp_path / "screen.h5ad")
    path = config(tmp_path / "config.yaml", tmp_path / "run", tmp_path / "screen.h5ad")
    assert main(["train", "--config", str(path), "--device", "cpu", "data.batch_column=batch"]) == 0
    codebook = Codebook.load(tmp_path / "run" / "prepared")
    assert codebook.batches == ("both",)
    assert codebook.batch_codes(["both", "controls only"]).tolist() == [1, 0]


@pytest.mark.parametrize("anchor", ["responders", "mean_effect"])
def test_a_run_knows_who_responds(tmp_path, anchor):
    """A screen in which 30 % of the cells escape: shares come from cells that may be seen, targets are told apart."""
    simulated = SimulatedScreen(seed=0, n_genes=80, n_cell_types=1, escape=0.3)
    screen = simulated.screen(simulated.regulators[:3], cells_per_condition=500, n_controls=800)
    screen.write_h5ad(tmp_path / "screen.h5ad")
    path = config(tmp_path / "config.yaml", tmp_path / "run", tmp_path / "screen.h5ad", anchor=anchor)
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    run = RunFolder(tmp_path / "run")
    index = CellIndex.load(run.prepared / "cells.safetensors")
    penetrance, latents = run.sampling_codebook().penetrance, np.load(run.prepared / "latents.npy")
    if anchor == "mean_effect":
        assert (index.response == 1).all()
        assert penetrance.of_all(index.conditions).min() == 1
        return

    def response_of(*roles: Role) -> np.ndarray:
        rows = np.flatnonzero(np.isin(index.role, roles))
        found = fit_penetrance(lambda rows: latents[rows], index.condition_of, index.conditions, rows)
        return found.drawn(index.condition_of, index.conditions, seed=0)

    np.testing.assert_array_equal(index.response, response_of(Role.TRAIN))
    training = index.role == Role.TRAIN
    for others in ([Role.TRAIN, Role.VALIDATION], [Role.TRAIN, Role.HELD_OUT]):
        assert (response_of(*others) != index.response)[training].any(), "alike, they prove nothing"
    assert 0.55 < penetrance.share.min() < 0.85
    assert (index.response[~training] == 1).all()
    assert index.response[training].mean() == pytest.approx(1, abs=0.1)
