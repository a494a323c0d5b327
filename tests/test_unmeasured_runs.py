"""Runs on a screen with vectors and contexts: what is simulated of perturbations and contexts that nobody measured."""

import json
import shutil
from dataclasses import asdict, replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import small_runs
import torch
from safetensors.numpy import load_file
from screens import adata_of, counts

from gensim.autoencoder.shares import log_decoded_share
from gensim.cli import main
from gensim.data.splits import Role
from gensim.perturbations.choose_regression import choose_regressions
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.simulator import Simulator
from gensim.training.checkpoint import save_weights
from gensim.training.run_folder import IN_GENES, IN_LATENTS, REGRESSIONS, CellIndex, RunFolder, read_json
from gensim.types import Condition

GENES = ["A", "B", "C", "D", "E", "F"]
TYPES = ("x", "y", "z")
C_IN_X = Condition(("C",), (("cell_type", "x"),))


def run_with(folder, test, **sections):
    labels = [label for label in ["control", *GENES] for _ in range(60)]
    types = [TYPES[i % 3] for i in range(len(labels))]
    adata = adata_of(labels, counts(len(labels), 12), cell_type=types)
    # A, B and C double gene 0 in all contexts; the others gene 5.
    x = adata.X.toarray()
    for row, label in enumerate(labels):
        if label != "control":
            x[row, 0 if label in "ABC" else 5] += 6
    adata.X = x
    adata.write_h5ad(folder / "screen.h5ad")
    features = {"f": [1.0, 1.1, 0.9, -1.0, -1.1, -0.9], "k": [0.2, -0.2, 0.1, -0.2, 0.2, -0.1]}
    vectors = pd.DataFrame(features, index=pd.Index(GENES, name="gene"))
    vectors.to_parquet(folder / "vectors.parquet")
    more = pd.DataFrame({"g": [0.5, 0.2], "h": [1.0, 2.0]}, index=pd.Index(["A", "D"], name="gene"))
    more.to_parquet(folder / "more.parquet")
    paths = [str(folder / "vectors.parquet"), str(folder / "more.parquet")]
    config = small_runs.config(
        folder / "config.yaml", folder / "run", folder / "screen.h5ad",
        split={"test": test}, perturbation={"vectors": {"kind": "table", "path": paths}}, **sections,
    )  # fmt: skip
    assert main(["train", "--config", str(config), "--device", "cpu"]) == 0
    return folder


@pytest.fixture(scope="module")
def without_c(tmp_path_factory):
    folder = run_with(tmp_path_factory.mktemp("without_c"), {"hold_out": "perturbations", "values": ["C"]})
    out = folder / "cells.zarr"
    assert main(["sample", "--run", str(folder / "run"), "--out", str(out), "--device", "cpu"]) == 0
    assert main(["evaluate", str(out), "--run", str(folder / "run")]) == 0
    return folder


def test_an_unmeasured_perturbation_does_what_those_like_it_do(without_c):
    simulator = Simulator.load(without_c / "run", "cpu")
    cells = ad.read_zarr(without_c / "cells.zarr")
    assert set(cells.obs["perturbation"]) == {"C"}
    moved = np.log1p(cells.X.toarray() if hasattr(cells.X, "toarray") else cells.X).mean(axis=0)
    controls = np.log1p(simulator.held_back_controls.x[: len(cells)].toarray()).mean(axis=0)
    change = moved - controls
    assert change[0] > 0.4
    assert change[5] < 0.3 * change[0]


def test_regressions_are_judged_in_latents_and_on_genes_by_cells_that_are_not_held_out(without_c):
    run = RunFolder(without_c / "run")
    index, codebook = CellIndex.load(run.prepared / "cells.safetensors"), Codebook.load(run.prepared)
    counted = np.asarray(ad.read_h5ad(without_c / "screen.h5ad").X)
    x = np.log1p(counted / counted.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
    contexts = codebook.likeness.contexts.table
    simulating = MeanEffects.load(run.prepared / IN_LATENTS)
    for effects, roles in ((codebook.effects, [Role.TRAIN]), (simulating, [Role.TRAIN, Role.VALIDATION])):
        rows = np.flatnonzero(np.isin(index.role, roles))
        genes = fit_mean_effects(lambda of: x[of], index.condition_of, index.conditions, rows)
        assert genes.conditions == effects.conditions
        expected = choose_regressions(effects, codebook.table, contexts, judged_also_on=genes).perturbations
        assert expected.spaces == 2
        if effects is codebook.effects:
            assert codebook.likeness.perturbations.regression == expected.regression
        else:
            found = read_json(run.prepared / REGRESSIONS)["latents"]["perturbations"]
            assert found["regression"] == asdict(expected.regression)
            assert found["unexplained"] == pytest.approx(expected.unexplained, rel=1e-4)


def test_the_mean_on_genes_is_brought_to_the_regression_that_left_out_effects_on_genes_choose(without_c):
    run = RunFolder(without_c / "run")
    simulator = Simulator.load(run.path, "cpu")
    told, table = simulator.engine.decoder.on_genes, simulator.engine.codebook.table
    contexts = simulator.engine.codebook.likeness.contexts.table
    chosen = choose_regressions(MeanEffects.load(run.prepared / IN_GENES), table, contexts)
    assert told.likeness.perturbations.regression == chosen.perturbations.regression
    assert told.likeness.variance == told.variances
    # All the way instead of none of it: cells have the mean that the regression expects.
    x = {}
    for share in (0.0, 1.0):
        request = pd.DataFrame({"perturbation": "C", "cell_type": ["x"], "n_cells": 1024})
        simulation = Simulator.load(run.path, "cpu", [f"gate={share}"]).simulate(request=request)
        (chunk,) = simulation
        # Means are kept at the library size of the control cell.
        sizes = simulation.controls.library_size[chunk.source][:, None]
        x[share] = np.log1p(1e4 * chunk.counts / sizes).mean(axis=0)
    before = simulation.controls.x[chunk.source].toarray().mean(axis=0)
    expected = np.maximum(before + told.shift(C_IN_X), 0)
    off = {share: float(np.linalg.norm(mean - expected)) for share, mean in x.items()}
    assert off[1.0] < 0.3 < off[0.0]


@pytest.mark.parametrize("file", [IN_GENES, REGRESSIONS])
def test_cells_are_those_of_what_they_were_told_of_genes(without_c, tmp_path, file):
    """A store is not gone on with when the effects on genes, or the regressions of these, have become others."""
    run = RunFolder(shutil.copytree(without_c / "run", tmp_path / "run"))
    before = Simulator.load(run.path, "cpu").weights_digest
    path = run.prepared / file
    if file == REGRESSIONS:
        path.write_text(path.read_text().replace('"expression"', ' "expression"'))
    else:
        effects = MeanEffects.load(path)
        replace(effects, delta=effects.delta + 1).save(path)
    assert Simulator.load(run.path, "cpu").weights_digest != before


def test_without_an_anchor_no_regression_is_followed(without_c, tmp_path):
    run = RunFolder(shutil.copytree(without_c / "run", tmp_path / "run"))
    config = run.config()
    assert Simulator.load(run.path, "cpu").engine.decoder.on_genes is not None
    transport = Simulator.load(run.path, "cpu").engine.transport
    run.write_config(config.model_copy(update={"anchor": "none"}))
    save_weights(run.best, transport.inner)
    decoder = Simulator.load(run.path, "cpu").engine.decoder
    assert (decoder.on_genes, decoder.outside) == (None, None)


def test_simulated_cells_say_how_far_they_are_from_what_was_measured(without_c):
    obs = ad.read_zarr(without_c / "cells.zarr").obs
    assert obs["novelty"].unique().tolist() == ["near"]
    assert (obs["novelty_distance"] > 0).all()
    request = pd.DataFrame({"perturbation": ["A", "A+B", "control", "A+B+D"], "cell_type": "x", "n_cells": 2})
    simulated = Simulator.load(without_c / "run", "cpu").simulate(request=request).to_anndata().obs
    found = simulated.groupby("condition", observed=True)["novelty"].first().to_dict()
    assert found == {"A | x": "measured", "A+B | x": "far", "control | x": "control", "A+B+D | x": "far"}


def test_the_report_has_the_regressions_and_what_they_are(without_c):
    report = (without_c / "cells.evaluation" / "report.txt").read_text()
    metrics = json.loads((without_c / "cells.evaluation" / "metrics.json").read_text())
    assert {"nearest", "ridge", "kernel_ridge", "model"} <= set(metrics["groups"][0]["averages"])
    assert "C | x: near, distance" in report
    assert "C was not measured alone (nearest: " in report
    assert "ridge: unmeasured perturbations: ridge regression on" in report
    assert "of these regressions, training conditions choose " in report


def test_every_file_of_the_report_says_how_far_conditions_are_from_what_was_measured(without_c):
    folder, obs = without_c / "cells.evaluation", ad.read_zarr(without_c / "cells.zarr").obs
    distance = {label: float(d) for label, d in zip(obs["condition"], obs["novelty_distance"], strict=True)}
    said = json.loads((folder / "metrics.json").read_text())["conditions"]
    assert {c["condition"]: (c["novelty"], pytest.approx(c["novelty_distance"])) for c in said} == {
        label: ("near", d) for label, d in distance.items()
    }
    lines = pd.read_csv(folder / "metrics.csv").dropna(subset=["condition", "value"])
    assert set(lines["novelty"]) == {"near"}
    np.testing.assert_allclose(lines["novelty_distance"], lines["condition"].map(distance))
    annotated = ad.read_h5ad(folder / "metrics.h5ad").obs
    assert set(annotated["novelty"]) == {"near"}
    np.testing.assert_allclose(annotated["novelty_distance"], annotated.index.map(distance))
    page = (folder / "report.html").read_text()
    assert '"novelty": "near"' in page or '"novelty":"near"' in page
    assert "<dt>novelty</dt>" in page


def test_what_contexts_are_like_is_of_their_training_controls_alone(without_c):
    run = RunFolder(without_c / "run")
    index, latents = CellIndex.load(run.prepared / "cells.safetensors"), np.load(run.prepared / "latents.npy")
    populations = Codebook.load(run.prepared).populations
    assert populations.measured == tuple(sorted(populations.encoded))
    for k in index.controls:
        of_context = index.condition_of == k
        training = latents[of_context & (index.role == Role.TRAIN)].mean(axis=0)
        np.testing.assert_allclose(populations.encoded[index.conditions[k].key], training, rtol=1e-4, atol=1e-5)
        assert np.abs(latents[of_context].mean(axis=0) - training).max() > 1e-3, "held-out cells would tell"


def test_a_context_that_the_run_does_not_know_is_simulated_from_its_controls(without_c):
    """New control cells that look like those of y: the context is none of the run's, and borrows from those like it."""
    simulator = Simulator.load(without_c / "run", "cpu")
    controls = ad.read_h5ad(without_c / "screen.h5ad")
    controls = controls[(controls.obs["perturbation"] == "control") & (controls.obs["cell_type"] == "y")].copy()
    controls.obs["cell_type"] = "new"
    controls.obs_names = [f"new_{name}" for name in controls.obs_names]
    request = pd.DataFrame({"perturbation": ["A", "C"], "cell_type": "new", "n_cells": 30})
    simulation = simulator.simulate(controls, request)
    table = simulation.engine.codebook.likeness.contexts.table
    assert [name for name in table.names if '"new"' in name]
    # The network is told of it by its cells alone, as it has no name there.
    new = Condition(("A",), (("cell_type", "new"),))
    told, untold = (of.engine.codebook.encode([new]) for of in (simulation, simulator))
    assert told.contexts.item() == untold.contexts.item() == 0
    assert told.population.any()
    assert not untold.population.any()
    cells = simulation.to_anndata()
    assert set(cells.obs["novelty"]) <= {"near", "far"}
    gained = np.log1p(np.asarray(cells.X)).mean(axis=0) - np.log1p(np.asarray(controls.X)).mean(axis=0)
    assert gained[0] > 0.4
    known = simulator.simulate(controls, request).schema.digest
    assert known == simulation.schema.digest


def test_of_a_context_that_the_run_does_not_know_the_report_leaves_novelty_to_the_cells(without_c, tmp_path):
    """Only what simulated the cells was told of the context; a known one beside it has its novelty."""
    screen = ad.read_h5ad(without_c / "screen.h5ad")
    screen.obs_names = [f"other_{name}" for name in screen.obs_names]
    screen.obs["cell_type"] = screen.obs["cell_type"].astype(str).replace("y", "new")
    screen = screen[
        screen.obs["perturbation"].isin(["control", "C"]) & screen.obs["cell_type"].isin(["x", "new"])
    ].copy()
    screen.write_h5ad(tmp_path / "real.h5ad")
    real = str(tmp_path / "real.h5ad")
    command = ["evaluate", real, "--run", str(without_c / "run"), "--truth", real, "--controls", real]
    assert main([*command, "--out", str(tmp_path / "report")]) == 0
    said = json.loads((tmp_path / "report" / "metrics.json").read_text())["conditions"]
    assert {c["condition"]: c["novelty"] for c in said} == {"C | x": "near", "C | new": None}
    text = (tmp_path / "report" / "report.txt").read_text()
    assert "C | new: in a context that the run has no control cells of; obs of the simulated cells has" in text
    assert "C | x: near, distance" in text


def test_a_held_out_context_is_scored_beside_regressions_over_contexts(tmp_path):
    folder = run_with(tmp_path, {"hold_out": "contexts", "column": "cell_type", "values": ["z"]})
    out = folder / "cells.zarr"
    assert main(["sample", "--run", str(folder / "run"), "--out", str(out), "--device", "cpu"]) == 0
    assert main(["evaluate", str(out), "--run", str(folder / "run")]) == 0
    report = (folder / "cells.evaluation" / "report.txt").read_text()
    assert "z has no perturbed training cells (nearest: " in report
    regressions = json.loads((folder / "run" / "prepared" / "regressions.json").read_text())
    assert all(chosen["contexts"]["unexplained"] < 1 for chosen in regressions.values())


def test_counts_in_a_held_out_context_have_the_shares_expected_wherever_the_network_leads(tmp_path):
    """Random weights lead latents anywhere; what is requested beside a condition changes none of its cells."""
    test = {"hold_out": "contexts", "column": "cell_type", "values": ["z"]}
    folder = run_with(tmp_path, test, autoencoder={"kind": "nb", "n_latents": 4})
    small_runs.awaken(folder / "run")
    simulator = Simulator.load(folder / "run", "cpu", ["autoencoder.noise=sampled", "gate=0"])
    request = pd.DataFrame({"perturbation": ["B", "A"], "cell_type": "z", "n_cells": [400, 2000]})
    both = simulator.simulate(request=request).to_anndata()
    simulation = simulator.simulate(request=request[1:])
    alone = np.asarray(simulation.to_anndata().X)
    np.testing.assert_array_equal(np.asarray(both[both.obs["perturbation"] == "A"].X), alone)
    engine, controls, rows = simulation.engine, simulation.controls, simulation.plan.sources[0]
    with torch.no_grad():
        z = engine.autoencoder.encode(torch.from_numpy(controls.x[rows].toarray())).numpy()
    sizes = controls.library_size[rows]
    share = alone.mean(axis=0) / sizes.mean(dtype=np.float64)
    change = np.log(share) - log_decoded_share(engine.autoencoder, z, sizes)
    expected = engine.decoder.share_effects.shift(Condition(("A",), (("cell_type", "z"),)))
    assert expected[0] > 1
    # Hundreds of counts of a gene, whose cells scatter, know their logarithm to about 0.07.
    np.testing.assert_allclose(change, expected, atol=0.25)


def test_every_perturbation_needs_a_vector_before_an_earlier_run_is_touched(without_c, tmp_path, capsys):
    """Also one that training does not see."""
    table = pd.read_parquet(without_c / "vectors.parquet").drop(index="C")
    table.to_parquet(tmp_path / "vectors.parquet")
    before = small_runs.content(without_c / "run")
    config = without_c / "config.yaml"
    override = f"perturbation.vectors.path={tmp_path / 'vectors.parquet'}"
    assert main(["train", "--config", str(config), override, "--overwrite", "--device", "cpu"]) == 2
    assert "1 perturbations have no vector" in capsys.readouterr().err
    assert small_runs.content(without_c / "run") == before


@pytest.mark.parametrize(("fusion", "weights"), [("deep_sets", "project.up.weight"), ("attention", "project.summary")])
def test_other_fusions_of_tables_and_members(without_c, tmp_path, fusion, weights):
    config, run = str(without_c / "config.yaml"), tmp_path / "run"
    overrides = [f"run={run}", f"perturbation.fusion={fusion}"]
    assert main(["train", "--config", config, *overrides, "--device", "cpu"]) == 0
    assert any(weights in name for name in load_file(run / "best.safetensors"))
    small_runs.awaken(run)
    request = pd.DataFrame({"perturbation": ["A+D", "D+A"], "cell_type": "x", "n_cells": 20})
    cells = Simulator.load(run, "cpu").simulate(request=request).to_anndata()
    assert set(cells.obs["condition"]) == {"A+D | x"}
