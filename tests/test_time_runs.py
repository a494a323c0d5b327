"""Runs on time courses: which cells a leg couples, what lies between two times, and screens that no time course is."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import small_runs
import torch
from screens import adata_of, counts, screen_of

from gensim.cli import main
from gensim.config import SplitConfig
from gensim.data.hold_out import held_out_conditions
from gensim.data.pairs import make_groups
from gensim.data.request import read_request, request_of
from gensim.data.splits import Role
from gensim.errors import DataError
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.encoder import ConditionEncoder
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness
from gensim.perturbations.novelty import MeasuredRange
from gensim.perturbations.penetrance import ALL_RESPOND
from gensim.perturbations.time_points import TimePoints
from gensim.perturbations.vectors import one_hot_table
from gensim.simulate import Controls, Inputs, make_plan, part_of_the_way
from gensim.simulator import Simulator
from gensim.training.run_folder import CellIndex
from gensim.types import Condition

TIMES = (1.0, 2.0, 4.0)
LABELS, HOURS = zip(*[("control", 0.0)] + [(label, t) for label in ("control", "A", "B") for t in TIMES], strict=True)

COURSE = ["data.context_columns=[]", "data.time_column=hours"]


def course(labels=LABELS, hours=HOURS, n=60) -> ad.AnnData:
    """A raises gene 0 as time goes on, B gene 5, and time by itself gene 9."""
    adata = adata_of(np.repeat(labels, n), counts(n * len(labels), 12), hours=np.repeat(hours, n))
    x = 20 + 10 * adata.X.toarray()
    for row, (label, t) in enumerate(zip(adata.obs["perturbation"], adata.obs["hours"].fillna(0), strict=True)):
        x[row, 9] += round(5 * t)
        if label != "control":
            x[row, 0 if label == "A" else 5] += round(10 * t)
    adata.X = x
    return adata


def run_of(folder, adata, values, **sections):
    adata.write_h5ad(folder / "screen.h5ad")
    sections = {"split": {"test": {"hold_out": "times", "values": values}}, **sections}
    config = small_runs.config(folder / "config.yaml", folder / "run", folder / "screen.h5ad", **sections)
    assert main(["train", "--config", str(config), *COURSE, "--device", "cpu"]) == 0
    return folder


@pytest.fixture(scope="module")
def without_2(tmp_path_factory):
    """A run that never saw what happens at 2 hours; evaluated as trained, then with random weights."""
    folder = run_of(tmp_path_factory.mktemp("without_2"), course(), [2.0])
    out = folder / "cells.zarr"
    assert main(["sample", "--run", str(folder / "run"), "--out", str(out), "--device", "cpu"]) == 0
    assert main(["evaluate", str(out), "--run", str(folder / "run")]) == 0
    small_runs.awaken(folder / "run")
    return folder


def change(cells: ad.AnnData, gene: int) -> float:
    x = dense(cells)
    return float(np.log1p(1e4 * x[:, gene] / x.sum(axis=1)).mean())


def dense(cells: ad.AnnData) -> np.ndarray:
    return np.asarray(cells.X.toarray() if hasattr(cells.X, "toarray") else cells.X)


def test_a_time_that_was_held_out_lies_between_its_neighbours(without_2):
    cells, real = ad.read_zarr(without_2 / "cells.zarr"), ad.read_h5ad(without_2 / "screen.h5ad")
    assert set(zip(cells.obs["perturbation"], cells.obs["hours"], strict=True)) == {
        (p, 2.0) for p in ("A", "B", "control")
    }
    assert set(cells.obs["novelty"]) == {"recombined"}
    assert set(cells.obs["condition"]) == {"A | time 2", "B | time 2", "control | time 2"}
    for label, gene in (("A", 0), ("B", 5), ("control", 9)):
        of = real[real.obs["perturbation"] == label]
        before, after = (change(of[of.obs["hours"] == t], gene) for t in (1.0, 4.0))
        assert before < change(cells[cells.obs["perturbation"] == label], gene) < after
    assert "A | time 2" in (without_2 / "cells.evaluation" / "report.txt").read_text()


def test_a_leg_couples_cells_with_those_of_the_time_before(without_2):
    index = CellIndex.load(without_2 / "run" / "prepared" / "cells.safetensors")
    rows = np.flatnonzero(index.role == Role.TRAIN)
    times = TimePoints([index.conditions[k] for k in np.unique(index.condition_of[rows])])
    groups = make_groups(index.condition_of, index.source_of(times), index.batch_of, rows, index.controls)
    come_from = {
        index.conditions[g.condition]: {index.conditions[k] for k in index.condition_of[g.sources]} for g in groups
    }
    control = Condition(())
    # 2 hours are held out.
    assert come_from == {
        **{Condition(names, time=1.0): {control} for names in ((), ("A",), ("B",))},
        **{Condition(names, time=4.0): {Condition(names, time=1.0)} for names in ((), ("A",), ("B",))},
    }


def moved(simulator: Simulator, conditions, n=8):
    controls = Controls.of(simulator.held_back_controls, simulator.genes, simulator.all_genes)
    plan = make_plan(request_of(conditions, n), controls, seed=0)
    return Inputs(simulator.engine, plan, controls).moved(np.arange(n * len(conditions)), 64)


def test_an_untrained_network_moves_cells_by_the_mean_effect_at_their_time(without_2):
    simulator = Simulator.load(without_2 / "run", "cpu")
    with torch.no_grad():
        for weights in simulator.engine.transport.parameters():
            weights.zero_()
    conditions = [Condition(("A",), time=time) for time in (0.0, 0.5, 1.0, 2.0, 4.0, 9.0)]
    cells = moved(simulator, conditions)
    effects = simulator.engine.codebook.effects
    shifts = np.repeat([effects.shift(condition) for condition in conditions], 8, axis=0)
    torch.testing.assert_close(cells.z_1 - cells.z_control, torch.from_numpy(shifts), atol=1e-4, rtol=1e-4)
    at = dict(zip((0.0, 0.5, 1.0, 2.0, 4.0, 9.0), shifts[::8], strict=True))
    np.testing.assert_array_equal(at[0.0], 0)
    np.testing.assert_allclose(at[0.5], at[1.0] / 2, rtol=1e-5)
    np.testing.assert_allclose(at[2.0], 2 / 3 * at[1.0] + at[4.0] / 3, rtol=1e-5)
    np.testing.assert_array_equal(at[9.0], at[4.0])


def test_cells_of_later_times_do_not_depend_on_chunks_or_on_who_is_with_them(without_2):
    simulator = Simulator.load(without_2 / "run", "cpu")
    late = [Condition(("A",), time=2.0), Condition((), time=4.0)]
    together = request_of([Condition(("B",), time=1.0), *late, Condition(())], 700)
    alone = [dense(simulator.simulate(request=request_of([condition], 700)).to_anndata()) for condition in late]
    for chunk_cells in (1024, 4096):
        cells = dense(simulator.simulate(request=together, chunk_cells=chunk_cells).to_anndata())
        for k, expected in enumerate(alone):
            np.testing.assert_array_equal(cells[700 * (k + 1) : 700 * (k + 2)], expected)


def test_each_leg_has_noise_of_its_own_and_starts_where_the_last_one_ended(without_2, monkeypatch):
    simulator = Simulator.load(without_2 / "run", "cpu")
    seen = []

    def record(self, sources, condition, noise):
        seen.append((sources.z.clone(), noise("start"), condition.time[0].tolist()))
        return sources.z + 1

    monkeypatch.setattr(type(simulator.engine), "moved", record)
    cells = moved(simulator, [Condition(("A",), time=2.0)])
    (z_0, first, at_first), (z_1, second, at_second) = seen
    assert (at_first, at_second) == ([0.0, 1.0], [1.0, 4.0])
    torch.testing.assert_close(z_1, z_0 + 1)
    assert not torch.equal(first, second)
    torch.testing.assert_close(cells.z_1 - cells.z_control, torch.full_like(cells.z_1, 1 + 1 / 3))


def test_part_of_the_way():
    z_0, z_1 = torch.zeros(3, 1), torch.tensor([[4.0], [4.0], [torch.nan]])
    share = torch.tensor([[0.25], [1.0], [0.0]])
    torch.testing.assert_close(part_of_the_way(z_0, z_1, share), torch.tensor([[1.0], [4.0], [0.0]]))


def test_a_time_after_the_last_one_is_warned_of(without_2, caplog):
    simulator = Simulator.load(without_2 / "run", "cpu")
    with caplog.at_level(logging.WARNING, logger="gensim"):
        simulation = simulator.simulate(request=request_of([Condition(("A",), time=9.0)], 10))
    assert "time 9 is after the last one, 4, and taken as that" in caplog.text
    cells = simulation.to_anndata()
    assert set(cells.obs["novelty"]) == {"far"}
    assert set(cells.obs["hours"]) == {9.0}


def test_requests_name_times(without_2):
    config = Simulator.load(without_2 / "run", "cpu").config.data
    table = pd.DataFrame({"perturbation": ["A", "control", "control"], "time": ["1.5", "", "2"], "n_cells": [1, 1, 1]})
    conditions = read_request(table, config, {}).conditions
    assert conditions == (Condition(("A",), time=1.5), Condition(()), Condition((), time=2.0))
    with pytest.raises(DataError, match="row 2: time '-1' of 'A' is not a finite number, 0 or more"):
        read_request(table.assign(time=["-1", "", "2"]), config, {})
    with pytest.raises(DataError, match="has no column 'time'"):
        read_request(table.drop(columns="time"), config, {})
    with pytest.raises(DataError, match="has a column 'time', but the run has no times"):
        read_request(table, config.model_copy(update={"time_column": None}), {})


def test_development_without_any_perturbation_is_a_time_course(tmp_path):
    adata = course(["control"] * 4, [0.0, *TIMES])
    folder = run_of(tmp_path, adata, [2.0])
    out = folder / "cells.zarr"
    assert main(["sample", "--run", str(folder / "run"), "--out", str(out), "--device", "cpu"]) == 0
    assert set(ad.read_zarr(out).obs["condition"]) == {"control | time 2"}
    assert main(["evaluate", str(out), "--run", str(folder / "run")]) == 0


def test_counts_are_calibrated_where_a_leg_begins_at_cells(tmp_path):
    """Also with a combination that the screen has at one time alone, and that is held out: it has nothing to start at.

    What is simulated has what was counted, gene by gene.
    """
    adata = course([*LABELS, "A+B"], [*HOURS, 4.0], n=100)
    split = {"test": {"hold_out": "combinations", "values": ["A+B"]}}
    folder = run_of(tmp_path, adata, None, split=split, autoencoder={"kind": "nb", "n_latents": 4, "max_epochs": 2})
    effects = MeanEffects.load(folder / "run" / "gene_effects.safetensors")
    assert len(effects.conditions) == 9
    assert np.isfinite(effects.delta).all()
    simulator = Simulator.load(folder / "run", "cpu")
    late = [Condition(("A",), time=4.0), Condition(("A", "B"), time=4.0)]
    cells = simulator.simulate(request=request_of(late, 300)).to_anndata()
    of_a = dense(cells[cells.obs["perturbation"] == "A"])
    real = dense(adata[(adata.obs["perturbation"] == "A") & (adata.obs["hours"] == 4.0)])
    shares = [x.sum(axis=0) / x.sum() for x in (of_a, real)]
    np.testing.assert_allclose(np.log(shares[0] / shares[1]), 0, atol=0.25)


def test_responders_are_not_looked_for_in_time_courses(without_2):
    codebook = Simulator.load(without_2 / "run", "cpu").engine.codebook
    assert codebook.penetrance.conditions == ()


def test_the_network_sees_both_times_in_units_of_training(without_2):
    """Whatever further times the effects know that cells are simulated with."""
    codebook = Simulator.load(without_2 / "run", "cpu").engine.codebook
    assert codebook.first_and_last_time == (1.0, 4.0)
    further = MeanEffects((Condition(("A",), time=64.0),), np.zeros((1, 4), np.float32))
    encoder = ConditionEncoder(codebook.knowing(further, Likeness()), 8, torch.Generator().manual_seed(0))
    ends, starts = [Condition(("A",), time=4.0)] * 2, [Condition(()), Condition(("A",), time=1.0)]
    features = encoder(codebook.encode(ends, starts))[:, 8 + 1 : 8 + 1 + 4].detach()
    logs = np.log1p([0.0, 1.0, 4.0]) / np.log1p(4)
    np.testing.assert_allclose(features, [[0, 1, logs[0], logs[2]], [0.25, 1, logs[1], logs[2]]], rtol=1e-6)
    hidden = codebook.encode(ends, starts).hidden(torch.tensor([True, False]))
    assert hidden.time.tolist() == [[0, 0], [1, 4]]


def test_what_other_contexts_tell_is_a_gain_over_the_source_too():
    contexts = [(("cell_type", name),) for name in "xy"]
    conditions = [Condition(("A",), context, None, time) for context in contexts for time in (1.0, 2.0)]
    effects = MeanEffects(tuple(conditions), np.array([[1], [3], [10], [30]], np.float32))
    codebook = Codebook.fit(conditions, ["cell_type"], [], one_hot_table(["A"]), effects, ALL_RESPOND)
    coded = codebook.encode([conditions[1]], [conditions[0]], elsewhere=True)
    assert (coded.shift.item(), coded.elsewhere.item()) == (2, 20)


def test_conditions_of_the_other_kind_are_refused(without_2, tmp_path):
    simulator = Simulator.load(without_2 / "run", "cpu")
    with pytest.raises(DataError, match=r"1 conditions lack a time, and the run is of a time course .*: 'A'"):
        simulator.simulate(request=request_of([Condition(("A",))], 10))
    effects = MeanEffects((Condition(("A",)),), np.zeros((1, 1), np.float32))
    codebook = Codebook.fit([Condition(("A",))], [], [], one_hot_table(["A"]), effects, ALL_RESPOND)
    with pytest.raises(DataError, match=r"1 conditions have a time, and the run has none .*: 'A \| time 2'"):
        codebook.encode([Condition(("A",), time=2.0)])


def test_what_nobody_measured_of_time_is_far():
    perturbed = MeasuredRange([Condition(("A",), time=t) for t in (2.0, 24.0)], Likeness())
    found = perturbed.novelty(Condition((), time=24.0))
    assert (found.level, found.reasons) == ("far", ("unperturbed cells were not measured at any later time",))
    late = perturbed.novelty(Condition(("A",), time=25.0))
    assert (late.level, late.reasons) == ("far", ("time 25 is after the last one, 24, and taken as that",))
    assert perturbed.novelty(Condition(("A",), time=3.0)).level == "recombined"


def test_own_control_cells_need_no_column_of_times(without_2, tmp_path):
    controls = adata_of(["control"] * 40, 20 + 10 * counts(40, 12), prefix="own")
    request = request_of([Condition(("A",), time=4.0)], 10)
    cells = Simulator.load(without_2 / "run", "cpu").simulate(controls, request).to_anndata()
    assert all(name.startswith("own") for name in cells.obs["source_cell"])


def test_a_fraction_of_times_never_draws_time_0(tmp_path):
    screen = screen_of(tmp_path, course(["control", "A", "A"], [0.0, 0.0, 2.0], n=4), time_column="hours")
    for seed in range(6):
        split = SplitConfig.model_validate({"test": {"hold_out": "times", "fraction": 0.5}})
        assert held_out_conditions(screen, split, seed)[0] == [Condition(("A",), time=2.0)]


def test_control_cells_need_no_time(tmp_path):
    for nothing in (np.nan, "", "nan"):
        adata = course(n=4)
        hours = adata.obs["hours"].astype(object)
        adata.obs["hours"] = hours.where(adata.obs["perturbation"] != "control", nothing).astype(type(nothing))
        screen = screen_of(tmp_path, adata, time_column="hours")
        assert {c for c in screen.conditions if not c.perturbations} == {Condition(())}


@pytest.mark.parametrize(
    ("label", "hours", "message"),
    [
        ("A", -1.0, "time column 'hours' is missing, negative or not a number in 4 cells, first"),
        ("A", np.nan, "time column 'hours' is missing, negative or not a number in 4 cells, first"),
        ("control", -1.0, "time column 'hours' is missing, negative or not a number in 4 cells, first"),
        ("control", 1.0, "no cell labelled 'control' has time 0, or none, in column 'hours'"),
    ],
)
def test_what_no_time_course_is_is_refused(tmp_path, label, hours, message):
    other = ("control", 0.0) if label == "A" else ("A", 2.0)
    with pytest.raises(DataError, match=message):
        screen_of(tmp_path, course([label, other[0]], [hours, other[1]], n=4), time_column="hours")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.time_column=null"], "split.test.hold_out=times needs data.time_column"),
        (["transport.noise=1"], "needs a transport that starts at cells"),
        (["transport.kind=latent_diffusion", "transport.strength=1"], "needs a transport that starts at cells"),
        (
            ["field.kind=set_transformer"],
            "field.kind=set_transformer looks at",
        ),
        (["data.time_column=perturbation"], "one obs column is named for two purposes"),
        (
            ["data.context_columns=[time]"],
            "data.context_columns has 'time', which a request needs",
        ),
        (["split.test.values=[3]"], "the screen has no time '3.0'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(without_2, tmp_path, capsys, overrides, message):
    config, run = str(without_2 / "config.yaml"), f"run={tmp_path / 'run'}"
    assert main(["train", "--config", config, run, *COURSE, *overrides, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err
