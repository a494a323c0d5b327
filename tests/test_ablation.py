"""The ablation: which variants, fair means over them, shortcuts that change nothing, results that go stale."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_runs
import yaml

from gensim.config import load_config
from gensim.data.request import request_of
from gensim.jobs import evaluate_cells, train
from gensim.simulator import Simulator
from gensim.store import CellStore
from gensim.training.run_folder import RunFolder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import ablation
from ablation_design import BACKBONES, COUPLINGS, STARTS, Variant, all_variants, complete_blocks, marginal


def test_the_whole_product_and_its_two_arms():
    whole = {(*start, c, b) for start, c, b in itertools.product(STARTS, COUPLINGS, BACKBONES)}
    arms = {v for v in whole if v[3] == "residual_mlp"} | {v for v in whole if v[2] == "exact"}
    assert [len(all_variants(True)), len(all_variants(False))] == [len(whole), len(arms)] == [72, 36]
    assert {(v.transport, v.source, v.coupling, v.backbone) for v in all_variants(False)} == arms


@pytest.mark.parametrize("config", ["demo", "papalexi", "kang"])
def test_every_variant_is_a_config_that_says_so(config):
    path = Path(ablation.ROOT / "configs" / f"{config}.yaml")
    for variant in all_variants(True)[:: 1 if config == "demo" else 7]:
        found = load_config(path, variant.overrides)
        assert [found.transport.kind, found.field.kind] == [variant.transport, variant.backbone]
        assert found.coupling.kind == (
            variant.coupling
            if variant.coupling != "entropic"
            else "bridge"
            if variant.transport == "schrodinger_bridge"
            else "sinkhorn"
        )
        assert (found.field.width, found.field.n_blocks) == (64, 2)


def test_means_over_everything_else_are_over_the_same_blocks():
    """Values that are a sum of one effect per factor: a fair mean differs between levels by these effects alone."""
    effect = {"independent": 0.0, "exact": 1.0, "entropic": 2.0, "unbalanced": 4.0}
    effect |= {"residual_mlp": 0.0, "latent_transformer": 10.0, "set_transformer": 30.0}
    effect |= {"flow_matching": 0.0, "schrodinger_bridge": 100.0, "latent_diffusion": 200.0}
    effect |= {"control": 0.0, "noise": 3000.0, "mixed": 9000.0}

    def value(v: Variant, seed: int) -> float:
        return seed + sum(effect[part] for part in (v.transport, v.source, v.coupling, v.backbone))

    failed = Variant("flow_matching", "noise", "exact", "set_transformer")
    values = {v: [value(v, 0), value(v, 0.5)] for v in all_variants(False) if v != failed}

    def means(*fields: str) -> dict[str, list[float]]:
        blocks = complete_blocks(values, fields)
        return {level: marginal(blocks, level, values) for level in blocks[0]}

    coupling = means("coupling")
    assert {level: m[0] - coupling["independent"][0] for level, m in coupling.items()} == pytest.approx(
        {level: effect[level] for level in COUPLINGS}
    )
    backbone = means("backbone")
    assert {level: m[0] - backbone["residual_mlp"][0] for level, m in backbone.items()} == pytest.approx(
        {level: effect[level] for level in BACKBONES}
    )
    assert len(complete_blocks(values, ("backbone",))) == 5  # six starts, of which one lacks a backbone
    transport = means("transport")
    sources = {"flow_matching": 4000.0, "schrodinger_bridge": 0.0, "latent_diffusion": 6000.0}  # means of their sources
    first = transport["schrodinger_bridge"][0]
    assert {level: m[0] - first for level, m in transport.items()} == pytest.approx(
        {level: effect[level] - 100 + sources[level] for level in sources}
    )
    assert transport["flow_matching"][1] - transport["flow_matching"][0] == pytest.approx(0.5)


def test_a_mean_of_what_is_missing_is_missing():
    values = {v: [1.0, None] for v in all_variants(False)}
    assert marginal(complete_blocks(values, ("coupling",)), "exact", values) == [1.0, None]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A task on a small screen; its configs lie in a folder of their own."""
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "configs").mkdir()
    small_runs.screen().write_h5ad(folder / "screen.h5ad")
    small_runs.config(folder / "configs" / "demo.yaml", folder / "unused", folder / "screen.h5ad")
    variant = Variant("flow_matching", "mixed", "independent", "residual_mlp")
    return ablation.Task("simulated", 1, variant, ("seed=1",), folder / "work", "code", "cpu")


@pytest.fixture(autouse=True)
def root(monkeypatch, request):
    if "task" in request.fixturenames:
        monkeypatch.setattr(ablation, "ROOT", request.getfixturevalue("task").work.parent)


def test_a_prepared_copy_trains_to_the_weights_of_a_run_from_scratch_and_scores_as_the_command(task, monkeypatch):
    straight = train(task.config().model_copy(update={"run": str(task.work.parent / "straight")}), device="cpu")
    kept = {}
    scored = ablation.scored
    monkeypatch.setattr(
        ablation, "scored", lambda run, *rest: kept.update(best=run.best.read_bytes()) or scored(run, *rest)
    )
    monkeypatch.setattr(ablation, "SCORING", {"n_repeats": 5, "max_cells": 2_000})
    ablation.prepare_once(task)
    result = ablation.run_variant(task)
    assert kept["best"] == (straight / "best.safetensors").read_bytes()

    simulator = Simulator.load(straight, "cpu")
    conditions = simulator.held_out_request().conditions
    n_controls = np.count_nonzero([c.is_control for c in simulator.held_back_controls.conditions])
    assert n_controls == 2  # one per context, so the counts below are per context
    simulation = simulator.simulate(request=request_of(conditions, [30] * len(conditions)))
    store = CellStore.create(task.work.parent / "cells.zarr", simulation.schema)
    assert sum(simulation.write_chunks(store, range(simulation.n_chunks))) == result["n_cells"]
    store.finish()
    evaluation, _ = evaluate_cells(task.work.parent / "cells.zarr", straight, seed=1)
    expected = {place: e.value for place, e in evaluation.group("all").averages.items()}
    found = {(row, metric): value for row, metrics in result["values"].items() for metric, value in metrics.items()}
    without = {place for place, value in expected.items() if value is None}
    no_gene_differs = {(row, "des_wilcoxon") for row, _ in expected}
    assert without == {place for place, value in found.items() if value is None}
    assert without == {("no_change", "pearson_delta"), *no_gene_differs}
    for place in expected.keys() - without:  # logarithms of counts, taken once and taken again from the store
        assert found[place] == pytest.approx(expected[place], rel=1e-4, abs=1e-5), place


def test_a_result_counts_for_what_made_it_only(task):
    ablation.prepare_once(task)
    made = ablation.run_variant(task)
    assert task.kept() == made
    assert replace(task, work=task.work / "elsewhere").kept() is None
    assert replace(task, code="other code").kept() is None
    assert replace(task, base=("seed=1", "training.max_cells=128")).kept() is None
    file = task.work.parent / "configs" / "demo.yaml"
    before = file.read_text()
    file.write_text(yaml.safe_dump(yaml.safe_load(before) | {"solver": {"n_steps": 3}}))
    assert task.kept() is None
    file.write_text(before)
    assert task.kept() == made


def test_a_prepared_run_is_not_made_again_for_another_variant(task):
    ablation.prepare_once(task)
    stamp = (RunFolder(task.prepared).prepared / "latents.npy").stat().st_mtime_ns
    ablation.prepare_once(replace(task, variant=replace(task.variant, coupling="exact")))
    assert (RunFolder(task.prepared).prepared / "latents.npy").stat().st_mtime_ns == stamp
