"""A run on knock-outs and activations of the same world: what is simulated of genes that were knocked out alone."""

import anndata as ad
import numpy as np
import pytest
import small_runs

from gensim.cli import main
from gensim.data.simulated_screen import SimulatedScreen
from gensim.training.run_folder import OUTSIDE_LATENTS, REGRESSIONS, RunFolder, read_json
from gensim.types import Condition

WORLDS = {
    modality: SimulatedScreen(
        0, n_genes=60, n_regulators=16, n_cell_types=1, modality=modality, escape=0.0, counts_per_gene=20.0
    )
    for modality in ("knock_out", "activation")
}
HELD_OUT = ("G001", "G005", "G009", "G013")
MANY = 1000
"""Cells, whose mean has no noise to speak of."""


def mean_logs(cells: ad.AnnData) -> np.ndarray:
    x = np.asarray(cells.X.todense() if hasattr(cells.X, "todense") else cells.X)
    return np.log1p(1e4 * x / x.sum(axis=1, keepdims=True)).mean(axis=0)


def true_effect(name: str, modality: str) -> np.ndarray:
    of = [WORLDS[modality].population(p, "type_1", MANY, replicate=9) for p in ((name,), ())]
    return mean_logs(of[0]) - mean_logs(of[1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modality")
    screens = {}
    for replicate, (modality, world) in enumerate(WORLDS.items()):
        # Another replicate each: control cells of two modalities are not the same cells.
        asked = [((), 300), *(((name,), 80) for name in world.regulators)]
        screens[modality] = ad.concat([world.population(p, "type_1", n, replicate=replicate) for p, n in asked])
    ad.concat(screens, label="modality", index_unique="_").write_h5ad(folder / "screen.h5ad")
    pairs = [{"context": "activation", "perturbation": name} for name in HELD_OUT]
    config = small_runs.config(
        folder / "config.yaml", folder / "run", folder / "screen.h5ad",
        autoencoder={"n_latents": 16},
        split={"test": {"hold_out": "grid", "column": "modality", "values": pairs}},
    )  # fmt: skip
    columns = 'data.context_columns=["cell_type", "modality"]'
    assert main(["train", "--config", str(config), "--device", "cpu", columns]) == 0
    out = folder / "cells.zarr"
    assert main(["sample", "--run", str(folder / "run"), "--out", str(out), "--device", "cpu"]) == 0
    return folder


def test_an_activation_is_simulated_by_what_others_do_beside_their_knock_outs(run):
    cells, held_out = ad.read_zarr(run / "cells.zarr"), ad.read_h5ad(run / "run" / "held_out.h5ad")
    assert set(cells.obs["modality"]) == {"activation"}
    assert set(cells.obs["perturbation"]) == set(HELD_OUT)
    of_controls = (held_out.obs["perturbation"] == "control") & (held_out.obs["modality"] == "activation")
    controls = mean_logs(held_out[of_controls])
    found = np.concatenate([mean_logs(cells[cells.obs["perturbation"] == name]) - controls for name in HELD_OUT])
    true, knock_out = (np.concatenate([true_effect(name, m) for name in HELD_OUT]) for m in ("activation", "knock_out"))
    assert np.corrcoef(knock_out, true)[0, 1] < 0
    assert np.corrcoef(found, true)[0, 1] > 0.3
    assert np.linalg.norm(found - true) < 0.95 * np.linalg.norm(true) < np.linalg.norm(knock_out - true)


def test_each_space_chooses_for_itself_and_what_it_chose_is_read_again(run):
    folder = RunFolder(run / "run")
    chosen, codebook = read_json(folder.prepared / REGRESSIONS), folder.sampling_codebook()
    effects = {
        "latents": codebook.effects,
        "genes": folder.on_genes.around_latents(OUTSIDE_LATENTS, codebook),
        "expression": folder.on_genes.on_expression(codebook),
    }
    assert chosen["latents"]["between"] is not None
    for space, of in effects.items():
        between = chosen[space]["between"]
        if between is None:
            assert of.likeness.between is None
            continue
        assert of.likeness.between.regression.noise == between["regression"]["noise"]
        table = of.likeness.between.table
        assert list(table.names) == list(between["places"])
        np.testing.assert_allclose(table.vectors, list(between["places"].values()), rtol=1e-6)
        variance = of.likeness.between.variance
        assert variance == (of.variances if space == "genes" else None)


def test_only_what_was_not_activated_is_borrowed(run):
    effects = RunFolder(run / "run").sampling_codebook().effects
    here = (("cell_type", "type_1"), ("modality", "activation"))
    assert effects.are_borrowed(Condition((HELD_OUT[0],), here))
    assert not effects.are_borrowed(Condition(("G002",), here))
