"""A run on a screen whose combinations have members at doses of their own: trained, asked for others, evaluated."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import small_runs
from screens import adata_of, counts

from gensim.cli import main
from gensim.data.conditions import conditions_of
from gensim.perturbations.codebook import Codebook
from gensim.simulator import Simulator
from gensim.training.run_folder import CellIndex, RunFolder
from gensim.types import Condition

AB = ("A", "B")
MEASURED = [("A", "1"), ("A", "4"), ("B", "1"), ("B", "4"), ("A+B", "1"), ("A+B", "4+1"), ("B+A", "2+4")]
ASKED = [Condition(AB, dose=(1.0, 4.0)), Condition(AB, dose=(4.0, 1.0)), Condition(("B",), dose=4.0), Condition(())]
REQUEST = "perturbation,dose,n_cells\nB+A,4+1,60\nA+B,4+1,60\nA+B,0+4,60\ncontrol,,60\n"


def screen(conditions, prefix="cell", n=60) -> ad.AnnData:
    """A raises gene 0 and B gene 5, by three counts a unit of dose, and they add up."""
    labels, doses = zip(*conditions, strict=True)
    adata = adata_of(np.repeat(labels, n), counts(n * len(labels), 12), prefix, dose=np.repeat(doses, n))
    x = 5 + 5 * adata.X.toarray()
    for row, (label, dose) in enumerate(zip(adata.obs["perturbation"], adata.obs["dose"], strict=True)):
        names = label.split("+") if label != "control" else []
        numbers = dose.split("+") if "+" in dose else [dose] * len(names)
        for name, number in zip(names, numbers, strict=True):
            x[row, 0 if name == "A" else 5] += 3 * float(number)
    adata.X = x
    return adata


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("member_doses")
    screen([("control", "")] * 4 + MEASURED).write_h5ad(folder / "screen.h5ad")
    path = small_runs.config(folder / "config.yaml", folder / "run", folder / "screen.h5ad")
    columns = ["data.context_columns=[]", "data.dose_column=dose"]
    assert main(["train", "--config", str(path), *columns, "--device", "cpu"]) == 0
    (folder / "request.csv").write_text(REQUEST)
    arguments = ["--run", str(folder / "run"), "--request", str(folder / "request.csv"), "--device", "cpu"]
    assert main(["sample", *arguments, "--out", str(folder / "cells.zarr")]) == 0
    return folder


def read(obs: pd.DataFrame, folder) -> list[Condition]:
    found, codes = conditions_of(obs, RunFolder(folder / "run").config().data)
    return [found[k] for k in codes]


def test_training_knows_the_doses_of_every_member(trained):
    index = CellIndex.load(trained / "run" / "prepared" / "cells.safetensors")
    expected = {Condition(("A",), dose=1.0), Condition(AB, dose=(4.0, 1.0)), Condition(AB, dose=(4.0, 2.0))}
    assert expected < set(index.conditions)
    assert Codebook.load(trained / "run" / "prepared").member_doses


def test_cells_have_what_each_member_does_at_its_dose(trained):
    cells, real = ad.read_zarr(trained / "cells.zarr"), ad.read_h5ad(trained / "screen.h5ad")
    assert cells.obs["dose"].astype(str).tolist() == np.repeat(["1+4", "4+1", "4", "nan"], 60).tolist()
    assert read(cells.obs, trained) == [condition for condition in ASKED for _ in range(60)]
    assert dict(zip(cells.obs["condition"], cells.obs["novelty"], strict=True)) == {
        "A+B | dose 1+4": "recombined", "A+B | dose 4+1": "measured", "B | dose 4": "measured", "control": "control",
    }  # fmt: skip
    singles = {(p, float(d)): real[(real.obs["perturbation"] == p) & (real.obs["dose"] == d)] for p, d in MEASURED[:4]}

    def mean(of, gene):
        x = np.asarray(of.X.toarray() if hasattr(of.X, "toarray") else of.X)
        return np.log1p(1e4 * x[:, gene] / x.sum(axis=1)).mean()

    for condition in ASKED[:2]:
        of = cells[cells.obs["condition"] == condition.label]
        for gene, name, dose in zip((0, 5), AB, condition.doses, strict=True):
            near, other = (abs(mean(of, gene) - mean(singles[name, d], gene)) for d in (dose, 5 - dose))
            assert near < other / 2


def test_every_file_of_a_store_holds_the_same_conditions(trained, tmp_path):
    simulator = Simulator.load(trained / "run", "cpu")
    simulation = simulator.simulate(request=trained / "request.csv")
    assert read(simulation.to_anndata().obs, trained) == [condition for condition in ASKED for _ in range(60)]
    assert read(ad.read_h5ad(trained / "cells.pseudobulk.h5ad").obs, trained) == ASKED
    for name, kind in (("cells.h5ad", "h5ad"), ("copy.zarr", "zarr")):
        assert main(["export", str(trained / "cells.zarr"), "--out", str(tmp_path / name), "--format", kind]) == 0
    for cells in (ad.read_h5ad(tmp_path / "cells.h5ad"), ad.read_zarr(tmp_path / "copy.zarr")):
        assert read(cells.obs, trained) == [condition for condition in ASKED for _ in range(60)]
        cells.obs.to_csv(tmp_path / "obs.csv")
        assert read(pd.read_csv(tmp_path / "obs.csv", index_col=0), trained) == read(cells.obs, trained)


def test_doses_stay_numbers_where_each_condition_has_one(trained):
    request = pd.DataFrame({"perturbation": ["A+B", "A", "control"], "dose": ["2+2", "1", ""], "n_cells": 5})
    obs = Simulator.load(trained / "run", "cpu").simulate(request=request).to_anndata().obs
    np.testing.assert_array_equal(obs["dose"].to_numpy(float), np.repeat([2.0, 1.0, np.nan], 5))


def scored(out) -> set[Condition]:
    table = pd.read_csv(out.with_suffix(".evaluation") / "metrics.csv")
    return {Condition.from_key(key) for key in table.loc[table["row"] == "model", "condition_key"]}


def test_what_was_asked_for_is_what_is_scored(trained, tmp_path):
    """Against real cells that were labelled the other way round, and against the run's own held-out cells."""
    screen([("B+A", "4+1"), ("B", "4")], "other").write_h5ad(trained / "truth.h5ad")
    run, out = ["--run", str(trained / "run")], tmp_path / "held_out.zarr"
    assert main(["evaluate", str(trained / "cells.zarr"), *run, "--truth", str(trained / "truth.h5ad")]) == 0
    assert scored(trained / "cells.zarr") == {ASKED[0], ASKED[2]}
    assert main(["sample", *run, "--out", str(out), "--device", "cpu"]) == 0
    assert main(["evaluate", str(out), *run]) == 0
    assert scored(out) == {
        *(Condition((name,), dose=dose) for name in AB for dose in (1.0, 4.0)),
        *(Condition(AB, dose=dose) for dose in (1.0, (4.0, 1.0), (4.0, 2.0))),
    }
