"""Runs that hold whole conditions back: from what the gate is learned, and what it does to cells."""

import json
import shutil
from dataclasses import asdict, replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import small_runs
import torch
from screens import adata_of

from gensim.after_training import measure_trained
from gensim.cli import main
from gensim.data.splits import Role
from gensim.errors import CheckpointError, ConfigError
from gensim.perturbations.choose_regression import choose_regressions
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.gate import EXPECTED, Gate, learn_gate
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.perturbations.observed_shares import ObservedShares
from gensim.simulator import Simulator
from gensim.solvers.ode import Midpoint
from gensim.training.run_folder import (
    HELD_BACK,
    IN_GENES,
    IN_LATENTS,
    JUDGING,
    OBSERVED_SHARES,
    ON_LIBRARY_SIZE,
    ON_SHARES,
    OUTSIDE_LATENTS,
    CellIndex,
    RunFolder,
)
from gensim.training.validation import Validation
from gensim.types import Condition

NAMES = [f"G{i:02d}" for i in range(24)]
PCA, NB = {"n_latents": 4}, {"kind": "nb", "n_latents": 4, "max_epochs": 2}


def run_with(folder, autoencoder, test=None, more=(), **sections):
    """24 perturbations of 16 cells: the first dozen doubles gene 0, the other gene 5, which vectors tell."""
    labels = ["control"] * 120 + [name for name in [*NAMES, *more] for _ in range(16)]
    raised = np.array([[label < "G12", label >= "G12"] for label in labels]) & (np.array(labels) != "control")[:, None]
    mean = np.full((len(labels), 8), 30.0)
    mean[:, [0, 5]] += 30 * raised
    x = np.random.default_rng(0).poisson(mean).astype(np.float32)
    adata = adata_of(labels, x, cell_type=["x"] * len(labels))
    adata.write_h5ad(folder / "screen.h5ad")
    side = np.where(np.array(NAMES) < "G12", 1.0, -1.0)
    vectors = pd.DataFrame({"f": side, "g": np.cos(np.arange(24))}, index=pd.Index(NAMES, name="gene"))
    vectors.to_parquet(folder / "vectors.parquet")
    test = test or {"hold_out": "perturbations", "values": ["G00"]}
    path = small_runs.config(
        folder / "config.yaml", folder / "run", folder / "screen.h5ad",
        split={"test": test, "validation_fraction": 0.25},
        perturbation={"vectors": {"kind": "table", "path": str(folder / "vectors.parquet")}},
        **{"autoencoder": autoencoder} | sections,
    )  # fmt: skip
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    return RunFolder(folder / "run")


@pytest.fixture(scope="module")
def pca(tmp_path_factory):
    return run_with(tmp_path_factory.mktemp("pca"), PCA)


@pytest.fixture(scope="module")
def nb(tmp_path_factory):
    return run_with(tmp_path_factory.mktemp("nb"), NB)


@pytest.fixture(params=["pca", "nb"])
def run(request):
    return request.getfixturevalue(request.param)


def held_back(index: CellIndex) -> set[Condition]:
    rows = {role: set(index.condition_of[index.role == role].tolist()) for role in Role}
    return {index.conditions[k] for k in rows[Role.VALIDATION] - rows[Role.TRAIN]}


def expression(run: RunFolder) -> np.ndarray:
    counted = ad.read_h5ad(run.path.parent / "screen.h5ad").X.toarray()
    return np.log1p(counted / counted.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)


def learned_anew(run: RunFolder, monkeypatch, **config) -> tuple[np.ndarray, ...]:
    """What the gate is learned from, once more: simulated, expected and measured effects, and more."""
    seen = []

    def noted(*effects):
        seen.append(effects)
        return learn_gate(*effects)

    monkeypatch.setattr("gensim.training.learn_gate.learn_gate", noted)
    measure_trained(run.config().model_copy(update=config), run, torch.device("cpu"), Midpoint(8))
    return seen[0]


def test_the_gate_is_learned_from_all_that_was_held_back_whole(run):
    gate, index = run.learned_gate, CellIndex.load(run.prepared / "cells.safetensors")
    assert gate.n_units == len(held_back(index)) == 6
    assert json.loads(run.gate.read_text()) == asdict(gate)
    assert Simulator.load(run.path, "cpu").engine.decoder.gate == gate.share


def test_it_is_learned_without_a_cell_that_it_is_judged_by(run, monkeypatch):
    """Measured: validation cells against validation controls. Expected: by a regression on training cells alone."""
    index, x = CellIndex.load(run.prepared / "cells.safetensors"), expression(run)
    gone, row = held_back(index), {c: k for k, c in enumerate(index.conditions)}
    simulated, expected, measured, unit, _, control_variance = learned_anew(run, monkeypatch)
    assert sorted(unit.tolist()) == list(range(6))
    controls = x[(index.role == Role.VALIDATION) & (index.condition_of == row[index.conditions[index.controls[0]]])]
    np.testing.assert_allclose(control_variance[0], controls.var(axis=0, ddof=1) / len(controls), rtol=1e-3)
    training = fit_mean_effects(
        lambda of: x[of], index.condition_of, index.conditions, np.flatnonzero(index.role == Role.TRAIN)
    )
    assert not gone & set(training.conditions)
    codebook = Codebook.load(run.prepared)
    chosen = choose_regressions(training, codebook.table, None)
    told = training.informed(replace(chosen.likeness(codebook.table, None), variance=training.variances))
    for m, r, t, condition in zip(simulated, expected, measured, sorted(gone, key=row.__getitem__), strict=True):
        here = index.role == Role.VALIDATION
        of, controls = (x[here & (index.condition_of == row[c])] for c in (condition, condition.control))
        np.testing.assert_allclose(t, of.mean(axis=0) - controls.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(r, told.shift(condition), atol=1e-3)
        raised, other = (0, 5) if condition.perturbations < ("G12",) else (5, 0)
        assert m[raised] - m[other] > 0.3


def test_it_is_learned_from_training_cells_that_are_moved(run, monkeypatch):
    index, simulated, moved = CellIndex.load(run.prepared / "cells.safetensors"), Validation.simulated, []

    def noted(self, transport, tasks):
        moved.extend(tasks)
        return simulated(self, transport, tasks)

    monkeypatch.setattr(Validation, "simulated", noted)
    learned_anew(run, monkeypatch)
    # The last ones: what is missed of counts is found before, by all cells that are not held out.
    of_gate = [task for task in moved if index.conditions[task.condition] in held_back(index)][-6:]
    assert {index.conditions[task.condition] for task in of_gate} == held_back(index)
    for task in of_gate:
        assert set(index.role[task.sources]) == {Role.TRAIN}
        assert {index.conditions[k] for k in index.condition_of[task.sources]} == {
            index.conditions[task.condition].control
        }


def test_what_is_simulated_for_it_knows_nothing_of_what_was_held_back(run, tmp_path, monkeypatch):
    """Whatever all cells that are not held out tell of effects, and however strong the guidance of sampling is."""
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    before = learned_anew(copy, monkeypatch)
    for name in (IN_LATENTS, IN_GENES, OUTSIDE_LATENTS, ON_SHARES, ON_LIBRARY_SIZE):
        if (copy.prepared / name).is_file():
            effects = MeanEffects.load(copy.prepared / name)
            replace(effects, delta=7 * effects.delta, plain=None).save(copy.prepared / name)
    if (copy.prepared / OBSERVED_SHARES).is_file():
        shares = ObservedShares.load(copy.prepared / OBSERVED_SHARES)
        replace(shares, log_share=7 * shares.log_share).save(copy.prepared / OBSERVED_SHARES)
    for changed in ({}, {"guidance": 3.0}):
        for found, expected in zip(learned_anew(copy, monkeypatch, **changed), before, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_run_that_was_killed_before_it_learned_its_gate_learns_it_afterwards(run, tmp_path):
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    for file in (copy.gate, copy.summary):
        file.unlink()
    shutil.copytree(run.path.parent, tmp_path / "beside", ignore=shutil.ignore_patterns("run"))
    config = str(run.path.parent / "config.yaml")
    assert main(["train", "--config", config, f"run={copy.path}", "--device", "cpu"]) == 0
    assert copy.gate.read_bytes() == run.gate.read_bytes()


def test_effects_to_judge_by_are_those_of_training_conditions(run):
    index = CellIndex.load(run.prepared / "cells.safetensors")
    gone, judging = held_back(index), run.prepared / JUDGING
    assert set(MeanEffects.load(judging / HELD_BACK).conditions) == gone
    assert gone < set(MeanEffects.load(run.prepared / IN_GENES).conditions)
    for name in (IN_GENES, OUTSIDE_LATENTS):
        if (judging / name).is_file():
            assert not gone & set(MeanEffects.load(judging / name).conditions)


def test_simulated_effects_are_those_of_cells_that_come_out(run, monkeypatch):
    """Without a gate, by what training knows of a measured perturbation: cells have the mean effect that is said."""
    simulator = Simulator.load(run.path, "cpu", ["gate=0"])
    request = pd.DataFrame({"perturbation": ["G01"], "cell_type": ["x"], "n_cells": [60]})
    decoder, said = simulator.engine.decoder, []
    monkeypatch.setattr(type(decoder), "population", _noting(type(decoder).population, said), raising=True)
    simulation = simulator.simulate(request=request)
    (chunk,) = simulation
    x = np.log1p(chunk.counts * (1e4 / simulation.controls.library_size[chunk.source])[:, None])
    came_out = x.mean(axis=0) - simulation.controls.x[chunk.source].toarray().mean(axis=0)
    np.testing.assert_allclose(came_out, said[0], atol=0.15)
    assert np.abs(said[0]).max() > 0.5


def _noting(population, said):
    def noted(self, condition, first):
        said.append(self.mean_effect(first()).numpy())
        return population(self, condition, first)

    return noted


@pytest.mark.parametrize(("value", "gate"), [("off", 0.0), ("0.7", 0.7), ("on", 1.0)])
def test_a_gate_of_ones_own_is_used_instead(run, value, gate):
    assert Simulator.load(run.path, "cpu", [f"gate={value}"]).engine.decoder.gate == gate


def test_the_gate_decides_where_the_mean_of_counts_of_what_was_not_measured_lies(nb):
    request = pd.DataFrame({"perturbation": ["G00"], "cell_type": ["x"], "n_cells": [1024]})
    mean = {}
    for gate in (0.0, 0.5, 1.0):
        simulation = Simulator.load(nb.path, "cpu", [f"gate={gate}"]).simulate(request=request)
        (chunk,) = simulation
        sizes = simulation.controls.library_size[chunk.source][:, None]
        mean[gate] = np.log1p(1e4 * chunk.counts / sizes).mean(axis=0)
    before = simulation.controls.x[chunk.source].toarray().mean(axis=0)
    expected = before + simulation.engine.decoder.on_genes.shift(Condition(("G00",), (("cell_type", "x"),)))
    off = {gate: float(np.linalg.norm(found - np.maximum(expected, 0))) for gate, found in mean.items()}
    assert off[1.0] < 0.35 * off[0.0]
    assert off[0.5] == pytest.approx((off[0.0] + off[1.0]) / 2, abs=0.3 * off[0.0])


def test_cells_of_another_gate_are_other_cells(run, tmp_path):
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    before = Simulator.load(copy.path, "cpu").weights_digest
    copy.gate.write_text(json.dumps(asdict(Gate(0.9))))
    simulator = Simulator.load(copy.path, "cpu")
    assert simulator.weights_digest != before
    assert simulator.engine.decoder.gate == 0.9


@pytest.mark.parametrize("sections", [
    {"test": {"hold_out": "cells"}},
    {"anchor": "none"},
    {"test": {"hold_out": "perturbations", "values": NAMES[:16]}},
], ids=["cells held out", "no anchor", "too few left"])  # fmt: skip
def test_without_whole_conditions_or_an_anchor_nothing_is_learned(tmp_path, sections):
    run = run_with(tmp_path, PCA, **sections)
    assert not run.gate.exists()
    assert not (run.prepared / JUDGING).exists()
    simulator = Simulator.load(run.path, "cpu")
    assert simulator.engine.decoder.gate == EXPECTED
    used = simulator.simulate().schema.provenance["gate"]
    assert used is None if sections.get("anchor") == "none" else used == EXPECTED


@pytest.mark.parametrize("value", ["1.2", "-0.1", "much", ".nan", "[]"])
def test_a_gate_is_a_share(pca, value, capsys, tmp_path):
    arguments = ["sample", "--run", str(pca.path), "--out", str(tmp_path / "c.zarr"), f"gate={value}"]
    assert main(arguments) == 2
    assert "gate: a share from 0 (off) to 1 (on), or learned, is needed" in capsys.readouterr().err


def test_a_gate_needs_predictions_to_lie_between(tmp_path):
    run = run_with(tmp_path, PCA, anchor="none")
    with pytest.raises(ConfigError, match=r"gate=0.5 lies between two .*anchor=none makes none"):
        Simulator.load(run.path, "cpu", ["gate=0.5"])


def test_a_damaged_gate_is_said_to_be_one(pca, tmp_path):
    copy = RunFolder(shutil.copytree(pca.path, tmp_path / "run"))
    for content in ('{"shre": 0.5}', '{"share": "x"}', '{"share": 7}'):
        copy.gate.write_text(content)
        with pytest.raises(CheckpointError, match=r"holds no gate"):
            Simulator.load(copy.path, "cpu")


def test_cells_say_with_which_gate_they_were_made(pca):
    for overrides, gate in (([], pca.learned_gate.share), (["gate=0.25"], 0.25)):
        simulation = Simulator.load(pca.path, "cpu", overrides).simulate()
        assert simulation.schema.provenance["gate"] == gate


def test_a_perturbation_that_was_held_back_is_one_unit_wherever_it_is(tmp_path):
    """Pairs of the first dozen with the second, of which a pair goes where either does."""
    run = run_with(tmp_path, PCA, more=[f"{a}+{b}" for a, b in zip(NAMES[:12], NAMES[12:], strict=True)])
    index = CellIndex.load(run.prepared / "cells.safetensors")
    alone = {c for c in held_back(index) if len(c.perturbations) == 1}
    assert len(held_back(index)) > len(alone) == run.learned_gate.n_units


def test_library_sizes_that_are_predicted_need_what_predicts_them(nb, tmp_path):
    copy = RunFolder(shutil.copytree(nb.path, tmp_path / "run"))
    (copy.prepared / ON_LIBRARY_SIZE).unlink()
    Simulator.load(copy.path, "cpu")
    with pytest.raises(FileNotFoundError):
        Simulator.load(copy.path, "cpu", ["autoencoder.library_size=predicted"])
