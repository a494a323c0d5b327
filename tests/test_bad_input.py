"""What a user can get wrong, tried by command line: exit code 2, one message with place and remedy, nothing written."""

import json
import re
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from small_runs import config, content, screen, trained_and_sampled

from gensim.cli import main
from gensim.training.run_folder import FORMAT_VERSION


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return trained_and_sampled(tmp_path_factory.mktemp("work"))


@pytest.fixture
def refused(work, tmp_path, capsys):
    """Run a command that must be refused; returns its message."""

    def check(*arguments: object) -> str:
        before = content(work, tmp_path)
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"gensim: error: [^\n]+\n", err), err
        assert content(work, tmp_path) == before, "something was written"
        return err

    return check


@pytest.fixture
def refused_training(work, tmp_path, refused):
    """The message of a training that must be refused: on the screen of `work`, or on a changed copy."""

    def check(*overrides: str, change=None, **sections: object) -> str:
        data = work / "screen.h5ad"
        if change is not None:
            data = tmp_path / "bad.h5ad"
            changed = screen()
            change(changed)
            changed.write_h5ad(data)
        path = config(tmp_path / "config.yaml", tmp_path / "run", data, **sections)
        message = refused("train", "--config", path, "--device", "cpu", *overrides)
        assert not (tmp_path / "run").exists()
        return message

    return check


def set_value(value: float):
    """A change of gene 2 of cell 3, which makes the matrix dense."""

    def change(adata: ad.AnnData) -> None:
        x = adata.X.toarray()
        x[3, 2] = value
        adata.X = x

    return change


def take_logs(adata: ad.AnnData) -> None:
    x = adata.X.toarray()
    adata.X = np.log1p(1e4 * x / x.sum(axis=1, keepdims=True)).astype(np.float32)


def empty_cell(adata: ad.AnnData) -> None:
    x = adata.X.toarray()
    x[3] = 0
    adata.X = x


def repeat_name(axis: str):
    def change(adata: ad.AnnData) -> None:
        names = list(getattr(adata, axis))
        setattr(adata, axis, [names[1], *names[1:]])

    return change


def relabel(adata: ad.AnnData) -> None:
    adata.obs["perturbation"] = adata.obs["perturbation"].replace({"control": "A"})


def no_controls_of_t(adata: ad.AnnData) -> None:
    """Controls of context T become B cells."""
    adata.obs.loc[adata.obs["perturbation"] == "control", "cell_type"] = "B cell"


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_value(-1), r"1 cells have negative values, first 'cell3' with -1; .*give counts or log1p CP10k"),
        (set_value(1.5), r"1 cells have values that are not integers, but data.scale=counts.*'cell3' with 1.5; "),
        (take_logs, r"480 cells have values that are not integers.*declare data.scale=log1p_cp10k"),
        (set_value(np.nan), r"1 cells have values that are not finite, first 'cell3' with nan; remove those cells"),
        (repeat_name("var_names"), r"1 genes repeat a name, first 'g1'; use adata.var_names_make_unique"),
        (repeat_name("obs_names"), r"1 cells repeat a name, first 'cell1'; use adata.obs_names_make_unique"),
        (empty_cell, r"1 cells have no counts, first 'cell3'; remove them \(scanpy.pp.filter_cells"),
        (relabel, r"no cell is labelled data.control_label='control' in column 'perturbation'.*'A', 'A\+B', 'B'"),
        (no_controls_of_t, r"no control cells in their context: 'A\+B \| T', .*add controls of that context"),
    ],
)  # fmt: skip
def test_cells_that_cannot_be_used(refused_training, change, message):
    assert re.search(message, refused_training(change=change))


def test_a_training_context_without_controls(refused_training):
    """What is held out has controls here, so that only training lacks them."""
    held_out = "split.test={hold_out: contexts, column: cell_type, values: [B cell]}"
    message = refused_training(held_out, change=no_controls_of_t)
    assert "3 training conditions have no control cells in their context: 'A+B | T', 'A | T', 'B | T'; add" in message


def test_counts_declared_as_logarithms(refused_training, work):
    message = refused_training("data.scale=log1p_cp10k")
    assert "every value is an integer" in message
    assert "declare data.scale=counts" in message
    assert str(work / "screen.h5ad") in message


def test_files_that_are_not_cells(refused_training, work, tmp_path):
    message = refused_training(f"data.path={work / 'sceen.h5ad'}")
    assert "does not exist (did you mean 'screen.h5ad'?); check the path" in message
    (tmp_path / "table.h5ad").write_text("cell,gene\n")
    assert "adata.write_h5ad" in refused_training(f"data.path={tmp_path / 'table.h5ad'}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.perturbation_column=perturbatoin", r"no column 'perturbatoin' \(did you mean 'perturbation'\?\)"),
        ("data.context_columns=[celltype]", r"no column 'celltype' \(did you mean 'cell_type'\?\)"),
        ("data.control_label=contrl", r"data.control_label='contrl'.*did you mean 'control'\?.*the labels are 'A'"),
        ("training.max_cell=5", r"unknown key 'training.max_cell' \(did you mean 'max_cells'\?\)"),
        ("solver.n_steps=0", r"solver.n_steps: .*greater than 0 \(got 0\)"),
        ("solver={kind: torchdiffeq, method: dopri}", r"solver.method='dopri' is no method.*mean 'dopri\d'.*midpoint"),
        ("solver.kind=midpiont", r"solver.kind: .*'euler', 'midpoint', 'heun', 'torchdiffeq'.* \(got 'midpiont'\)"),
        ("split.test={hold_out: perturbations, values: [AB]}", r"no perturbation 'AB' \(did you mean '.'\?\)"),
        ("split.test={hold_out: perturbations, values: [B]}", r"no vector .*one_hot.*'B'; .*vectors.kind=table"),
        ("split.test={hold_out: cells, fraction: 0.99}", r"held back for validation; raise split.validation_fraction"),
        ("perturbation.vectors={kind: table, path: no.csv}", r"vectors 'no.csv': no such file"),
    ],
)
def test_settings_that_do_not_fit_the_screen(refused_training, override, message):
    assert re.search(message, refused_training(override))


def test_perturbations_without_a_vector_are_listed_up_to_ten(refused_training, tmp_path):
    def rename(adata: ad.AnnData) -> None:
        labels = adata.obs["perturbation"].to_numpy().copy()
        perturbed = np.flatnonzero(labels != "control")
        labels[perturbed] = [f"P{i % 12:02d}" for i in range(len(perturbed))]
        adata.obs["perturbation"] = labels

    pd.DataFrame({"name": ["other"], "v": [1.0]}).to_csv(tmp_path / "vectors.csv", index=False)
    message = refused_training(
        change=rename, perturbation={"vectors": {"kind": "table", "path": str(tmp_path / "vectors.csv")}}
    )
    assert "12 perturbations have no vector" in message
    assert "'P00', 'P01'" in message
    assert "'P09' and 2 more; add rows for them" in message


def test_files_with_other_genes_name_the_first_difference(refused_training, work, tmp_path):
    other = screen("other")
    other.var_names = [*other.var_names[:4], "new", *other.var_names[5:]]
    other.write_h5ad(tmp_path / "other.h5ad")
    message = refused_training(f"data.path=[{work / 'screen.h5ad'}, {tmp_path / 'other.h5ad'}]")
    assert "position 4 is 'g4' in the one and 'new' in the other" in message


def test_a_condition_with_one_cell_is_allowed_and_said(work, tmp_path, capsys):
    adata = screen()
    adata.obs.loc["cell479", "perturbation"] = "lonely"
    adata.write_h5ad(tmp_path / "single.h5ad")
    path = config(tmp_path / "config.yaml", tmp_path / "run", tmp_path / "single.h5ad")
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    assert "1 conditions have a single cell: 'lonely | B cell'" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["gpu0", "cuda:99"])
def test_a_device_that_is_not_there(refused, refused_training, work, tmp_path, device):
    assert f"--device {device}" in refused_training("--device", device).replace("'", "")
    out = tmp_path / "x.zarr"
    message = refused("sample", "--run", work / "run", "--out", out, "--device", device)
    assert "use auto" in message


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("A,NK,3", r"row 2: cell_type 'NK' is not a context of the run.*it knows 'B cell', 'T'"),
        ("A,T,3\nC,T,3", r"1 perturbations have no vector.*'C'"),
        ("A,T,3\nA,T,-3", r"row 3: n_cells '-3' is not a positive whole number"),
        ("A,T,3\nA,T", r"row 3 has 2 fields and the header 3"),
        ("A+A,T,3", r"row 2: perturbation 'A\+A' repeats a name"),
        ("", r"has a header but no row"),
    ],
)
def test_rows_of_a_request(refused, work, tmp_path, rows, message):
    (tmp_path / "request.csv").write_text(f"perturbation,cell_type,n_cells\n{rows}\n")
    sample = ("sample", "--run", work / "run", "--out", tmp_path / "x.zarr", "--device", "cpu")
    assert re.search(message, refused(*sample, "--request", tmp_path / "request.csv"))


def test_columns_of_a_request(refused, work, tmp_path):
    request = tmp_path / "request.csv"
    sample = ("sample", "--run", work / "run", "--out", tmp_path / "x.zarr", "--device", "cpu", "--request", request)
    assert "is not a file" in refused(*sample)
    request.write_text("perturbation,celltype,n_cells\nA,T,3\n")
    assert "no column 'cell_type' (did you mean 'celltype'?)" in refused(*sample)
    request.write_text("perturbation;cell_type;n_cells\nA;T;3\n")
    assert "separated by ';', not by commas" in refused(*sample)


def test_controls_that_do_not_fit_the_run(refused, work, tmp_path):
    path = tmp_path / "controls.h5ad"
    sample = ("sample", "--run", work / "run", "--out", tmp_path / "x.zarr", "--device", "cpu", "--controls", path)
    assert "does not exist" in refused(*sample)
    adata = screen()
    adata.var_names = [*adata.var_names[:4], "new", *adata.var_names[5:]]
    adata.write_h5ad(path)
    assert "position 4 is 'new' in the one and 'g4' in the other (control cells first" in refused(*sample)
    adata = screen()
    adata[adata.obs["perturbation"] != "control"].copy().write_h5ad(path)
    assert "no cell is labelled data.control_label='control'" in refused(*sample)
    adata[(adata.obs["perturbation"] == "control") & (adata.obs["cell_type"] == "T")].copy().write_h5ad(path)
    assert "no control cells to start from for 'control | B cell'" in refused(*sample)


def test_folders_that_are_no_trained_run(refused, work, tmp_path):
    run, sample = tmp_path / "run", ("--out", tmp_path / "x.zarr", "--device", "cpu")
    for command in (("sample", *sample), ("evaluate", work / "cells.zarr")):
        assert "is not a run folder" in refused(*command, "--run", tmp_path / "nowhere")
    shutil.copytree(work / "run", run)
    for name in ("trained.json", "best.safetensors"):
        (run / name).unlink()
    assert "no trained weights yet; finish its training" in refused("sample", *sample, "--run", run)
    shutil.rmtree(run / "prepared")
    assert "not trained yet" in refused("evaluate", work / "cells.zarr", "--run", run)


def test_a_run_of_another_version(refused, work, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(work / "run", run)
    provenance = json.loads((run / "provenance.json").read_text())
    (run / "provenance.json").write_text(json.dumps({**provenance, "format_version": 99, "gensim": "7.0"}))
    for command in (
        ("sample", "--run", run, "--out", tmp_path / "x.zarr", "--device", "cpu"),
        ("evaluate", work / "cells.zarr", "--run", run),
        ("train", "--config", work / "config.yaml", "--device", "cpu", f"run={run}"),
    ):
        assert f"has format 99, written by gensim 7.0; this version reads format {FORMAT_VERSION}" in refused(*command)
    (run / "provenance.json").write_text("{")
    assert "cannot be read" in refused("sample", "--run", run, "--out", tmp_path / "x.zarr", "--device", "cpu")


def test_predictions_and_truths_that_cannot_be_scored(refused, work, tmp_path):
    evaluate = ("evaluate", tmp_path / "cells.h5ad", "--run", work / "run")
    assert "does not exist" in refused(*evaluate)
    cells = ad.read_zarr(work / "cells.zarr")
    names = list(cells.var_names)
    cells.var_names = [*names[:3], "new", *names[4:]]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    assert "position 3 is 'g3' in the one and 'new' in the other" in refused(*evaluate)
    cells.var_names = names
    cells.X = cells.X.astype(np.float32)
    cells.X[5, 1] = np.nan
    cells.write_h5ad(tmp_path / "cells.h5ad")
    assert "values that are not finite" in refused(*evaluate)
    truth = screen("new")
    truth.obs["perturbation"] = truth.obs["perturbation"].replace({"A": "X", "B": "Y", "A+B": "Z"})
    truth.write_h5ad(tmp_path / "truth.h5ad")
    message = refused("evaluate", work / "cells.zarr", "--run", work / "run", "--truth", tmp_path / "truth.h5ad")
    assert re.search(
        r"nothing to score: the truth has 6 .*'X \| B cell'.*the prediction has 6, 'A\+B \| B cell'", message
    )


def test_what_exists_is_not_replaced_unasked(refused, work, tmp_path):
    train = ("train", "--config", work / "config.yaml", "--device", "cpu")
    assert "trained already; use --overwrite" in refused(*train)
    shutil.copytree(work / "run", tmp_path / "run")
    (tmp_path / "run" / "trained.json").unlink()
    message = refused(*train, f"run={tmp_path / 'run'}", "training.max_cells=512")
    assert "training.max_cells was 256, is 512; use --overwrite" in message
    assert "exists and is not a run" in refused(*train, f"run={work}", "--overwrite")
    assert "is a file" in refused(*train, f"run={work / 'config.yaml'}")
    sample = ("sample", "--run", work / "run", "--device", "cpu", "--out")
    assert "use --overwrite" in refused(*sample, work / "cells.zarr")
    assert "no AnnData Zarr store" in refused(*sample, work / "run", "--overwrite")
    assert "use --out" in refused(*sample, tmp_path / "cells.h5ad")
    assert "use --overwrite" in refused("simulate-screen", "--out", work / "screen.h5ad")


def test_a_mistake_with_overwrite_leaves_the_old_run(refused, work):
    train = ("train", "--config", work / "config.yaml", "--device", "cpu", "--overwrite")
    assert "does not exist" in refused(*train, f"data.path={work / 'nothing.h5ad'}")
    assert "no vector" in refused(*train, "split.test={hold_out: perturbations, values: [B]}")


def test_overwriting_replaces_a_run_and_keeps_what_is_not_of_it(work, tmp_path):
    shutil.copytree(work / "run", tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train = ["train", "--config", str(work / "config.yaml"), "--device", "cpu", f"run={tmp_path / 'run'}"]
    assert main([*train, "--overwrite", "seed=5"]) == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["seed"] == 5
    assert (tmp_path / "run" / "best.safetensors").read_bytes() != (work / "run" / "best.safetensors").read_bytes()
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
