"""Runs whose cells are counts, by command line: what comes out, what may change in sampling, what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from small_runs import awaken, config, screen

from gensim.build_decoder import build_decoder
from gensim.cli import main
from gensim.data.request import request_of
from gensim.perturbations.measured import Predictor
from gensim.perturbations.regression import Regression
from gensim.perturbations.vectors import one_hot_table
from gensim.simulator import Simulator
from gensim.training.reconstruction import what_latents_hold

KINDS = {
    "pca": {"kind": "pca", "n_latents": 4},
    "genes": {"kind": "genes"},
    "nb": {"kind": "nb", "n_latents": 4, "width": 16, "max_epochs": 4, "kl_warmup_epochs": 2},
    "zinb": {
        "kind": "zinb", "n_latents": 4, "width": 16, "max_epochs": 4, "variational": False,
        "dispersion": "gene_condition", "library_size": "predicted", "noise": "sampled",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("counts")
    screen().write_h5ad(folder / "screen.h5ad")
    return folder


@pytest.fixture(scope="module", params=KINDS)
def run(work, request) -> Path:
    """A trained run of each kind, with a network that is not 0."""
    path = config(
        work / f"{request.param}.yaml", work / request.param, work / "screen.h5ad", autoencoder=KINDS[request.param]
    )
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    awaken(work / request.param)
    return work / request.param


@pytest.fixture(scope="module")
def nb(work) -> Path:
    path = config(work / "only_nb.yaml", work / "only_nb", work / "screen.h5ad", autoencoder=KINDS["nb"])
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    return work / "only_nb"


def cells(run: Path, *overrides: str, **request) -> ad.AnnData:
    return Simulator.load(run, device="cpu", overrides=overrides).simulate(**request).to_anndata()


def test_cells_are_whole_counts_in_int32_whose_library_size_is_their_sum(run):
    simulated = cells(run)
    assert simulated.X.dtype == np.int32
    assert simulated.X.min() == 0
    assert simulated.X.max() > 1
    np.testing.assert_array_equal(simulated.X.sum(1).clip(1), simulated.obs["library_size"])


def test_control_conditions_are_the_control_cells(run):
    held_out = ad.read_h5ad(run / "held_out.h5ad")
    request = {"perturbation": ["control"], "cell_type": ["T"], "n_cells": [40]}
    simulated = cells(run, request=pd.DataFrame(request))
    sources = held_out[simulated.obs["source_cell"].astype(str)]
    np.testing.assert_array_equal(simulated.X, sources.X.toarray())


def test_logarithms_are_those_of_the_counts(run):
    counts, logs = cells(run), cells(run, "cells=log1p_cp10k")
    assert logs.X.dtype == np.float32
    sizes = counts.obs["library_size"].to_numpy()[:, None]
    np.testing.assert_allclose(logs.X, np.log1p(1e4 * counts.X / sizes), rtol=1e-5)
    assert json.loads(logs.uns["gensim"])["scale"] == "log1p_cp10k"


def test_cells_do_not_depend_on_the_size_of_chunks(run):
    simulator = Simulator.load(run, device="cpu")
    request = simulator.held_out_request()
    conditions = list(request.conditions)
    many = request_of(conditions, [700] * len(conditions))
    small, large = (simulator.simulate(request=many, chunk_cells=n).to_anndata() for n in (1024, 4096))
    np.testing.assert_array_equal(small.X, large.X)


def test_both_scales_are_evaluated_alike(nb, tmp_path):
    """The same cells, stored as counts and as logarithms, have the same distances."""
    found = []
    for scale in ("counts", "log1p_cp10k"):
        out = tmp_path / f"{scale}.zarr"
        assert main(["sample", "--run", str(nb), "--out", str(out), "--device", "cpu", f"cells={scale}"]) == 0
        assert main(["evaluate", str(out), "--run", str(nb), "--out", str(tmp_path / scale)]) == 0
        metrics = json.loads((tmp_path / scale / "metrics.json").read_text())
        (everything,) = [group for group in metrics["groups"] if group["name"] == "all"]
        found.append(everything["averages"]["model"]["energy_distance_genes"]["value"])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_what_latents_hold_is_said_beside_pca(run):
    found = json.loads((run / "prepared" / "reconstruction.json").read_text())
    assert found["decoded"]["pca"]["n_conditions"] == 6
    assert ("model" in found["decoded"]) == (run.name != "pca")
    assert ("active_units" in found) == ("latents" in found["decoded"]) == (run.name in ("nb", "zinb"))


def test_what_latents_hold_alone_is_told_from_what_is_measured_beside_them(tmp_path):
    """Half of the conditions have eight times as much of one gene, which four epochs do not teach the latents."""
    adata = screen()
    times = np.where(adata.obs["perturbation"].str.contains("A"), 8.0, 1.0)[:, None] ** (np.arange(12) == 3)
    adata.X = adata.X.multiply(times).tocsr()
    adata.write_h5ad(tmp_path / "screen.h5ad")
    path = config(tmp_path / "nb.yaml", tmp_path / "nb", tmp_path / "screen.h5ad", autoencoder=KINDS["nb"])
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    decoded = json.loads((tmp_path / "nb" / "prepared" / "reconstruction.json").read_text())["decoded"]
    assert decoded["latents"]["n_conditions"] == decoded["model"]["n_conditions"]
    assert decoded["latents"]["energy_distance"] > 1.2 * decoded["model"]["energy_distance"]
    for same in ("energy_distance_no_change", "energy_distance_replicate"):
        assert decoded["latents"][same] == decoded["model"][same]
    said = what_latents_hold(4, decoded)
    assert "the autoencoder's, with what its conditions do to single genes: " in said
    assert "its latents alone: " in said
    assert "single genes" not in what_latents_hold(4, {"model": decoded["model"]})


def test_noise_and_library_size_may_change_in_sampling(nb):
    carried, sampled = cells(nb), cells(nb, "autoencoder.noise=sampled")
    predicted = cells(nb, "autoencoder.library_size=predicted")
    assert (carried.X != sampled.X).any()
    assert (carried.X != predicted.X).any()
    # Fresh draws owe nothing to the control cell; carried quantiles do.
    control = ad.read_h5ad(nb / "held_out.h5ad")[carried.obs["source_cell"].astype(str)].X.toarray()
    own, fresh = (np.corrcoef(x.X.ravel(), control.ravel())[0, 1] for x in (carried, sampled))
    assert own > fresh + 0.2


def test_library_sizes_do_not_go_along_as_latents_do(nb):
    """An activation may be the opposite of a knock-out and cost as many counts as that does."""
    simulator = Simulator.load(nb, "cpu", ["autoencoder.library_size=predicted"])
    engine, told = simulator.engine, Predictor(Regression("ridge", as_given=True), one_hot_table(["x"]))
    likeness = replace(engine.codebook.likeness, between=told)
    codebook = engine.codebook.knowing(engine.codebook.effects, likeness)
    effects, missing = simulator.run.on_genes, engine.decoder.gene_effects
    decoder = build_decoder(simulator.config, effects, codebook, engine.autoencoder, missing, 0.0, measures_all=True)
    assert decoder.gene_effects.likeness.between == told
    assert decoder.library_effects.likeness.between is None
    assert decoder.library_effects.likeness.variance == codebook.likeness.variance


def test_a_run_that_is_still_training_says_that_genes_are_not_calibrated(nb, tmp_path, caplog):
    shutil.copytree(nb, tmp_path / "run")
    (tmp_path / "run" / "gene_effects.safetensors").unlink()
    with caplog.at_level("WARNING", logger="gensim"):
        Simulator.load(tmp_path / "run", device="cpu")
    assert "still in training" in caplog.text


def test_what_was_trained_may_not_change_in_sampling(nb, capsys):
    command = ["sample", "--run", str(nb), "--out", str(nb.parent / "no.zarr"), "--device", "cpu"]
    assert main([*command, "autoencoder.n_latents=3"]) == 2
    assert "override 'autoencoder.n_latents=3' is not of sampling" in capsys.readouterr().err


def test_count_decoders_need_counts(work, capsys):
    logs = screen()
    logs.X = np.log1p(logs.X.toarray() / logs.X.sum(1).A1[:, None] * 1e4).astype(np.float32)
    logs.write_h5ad(work / "logs.h5ad")
    path = config(work / "logs.yaml", work / "logs", work / "logs.h5ad", autoencoder=KINDS["nb"])
    assert main(["train", "--config", str(path), "--device", "cpu", "data.scale=log1p_cp10k"]) == 2
    assert "autoencoder.kind=nb is a distribution of counts and needs data.scale=counts" in capsys.readouterr().err
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 2
    assert "values look like log1p; declare data.scale=log1p_cp10k" in capsys.readouterr().err
    path = config(work / "logs.yaml", work / "logs", work / "logs.h5ad", autoencoder=KINDS["pca"], cells="counts")
    assert main(["train", "--config", str(path), "--device", "cpu", "data.scale=log1p_cp10k"]) == 2
    assert "cells=counts needs data.scale=counts" in capsys.readouterr().err
    assert not (work / "logs").exists()


def test_a_gene_without_counts_is_warned_of_and_stays_zero(work, caplog):
    silent = screen()
    x = silent.X.tolil()
    x[:, 4] = 0
    silent.X = x.tocsr()
    silent = silent[np.asarray(silent.X.sum(1)).ravel() > 0].copy()
    silent.write_h5ad(work / "silent.h5ad")
    path = config(work / "silent.yaml", work / "silent", work / "silent.h5ad", autoencoder=KINDS["nb"])
    with caplog.at_level("WARNING", logger="gensim"):
        assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    assert "1 genes are 0 in all training cells and nothing can be learned of them: 'g4'" in caplog.text
    assert cells(work / "silent").X[:, 4].max() == 0
