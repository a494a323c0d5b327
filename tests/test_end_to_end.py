"""The main job on a simulated screen by command line: train, sample, evaluate; killed, resumed, in parallel."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_runs import awaken

from gensim.cli import main
from gensim.data.simulated_screen import SimulatedScreen
from gensim.simulator import Simulator

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def truth() -> SimulatedScreen:
    return SimulatedScreen(seed=3, n_genes=60, n_regulators=8, n_cell_types=2, n_batches=2)


@pytest.fixture(scope="module")
def work(tmp_path_factory, truth) -> Path:
    folder = tmp_path_factory.mktemp("work")
    truth.screen(cells_per_condition=120, n_controls=400).write_h5ad(folder / "screen.h5ad")
    return folder


def config(work: Path, run: str, **sections) -> Path:
    settings = {
        "run": str(work / run),
        "data": {
            "path": str(work / "screen.h5ad"), "scale": "counts",
            "context_columns": ["cell_type"], "batch_column": "batch",
        },
        "autoencoder": {"kind": "nb", "n_latents": 10},
        "field": {"width": 32, "n_blocks": 2},
        "training": {"max_cells": 40_960, "cells_per_validation": 10_240, "warmup_cells": 2_000},
        **sections,
    }  # fmt: skip
    path = work / f"{run}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def run_command(*arguments) -> None:
    assert main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="module")
def trained(work) -> Path:
    run_command("train", "--config", config(work, "trained"), "--device", "cpu")
    return work / "trained"


@pytest.fixture(scope="module")
def awake(work, trained) -> Path:
    """The trained run with a network that is not 0, whatever validation chose: what it is given must show."""
    shutil.copytree(trained, work / "awake")
    awaken(work / "awake")
    return work / "awake"


@pytest.fixture(scope="module")
def cells(work, awake) -> Path:
    run_command("sample", "--run", awake, "--out", work / "cells.zarr", "--device", "cpu")
    return work / "cells.zarr"


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All that training left: weights, average, optimiser and the best average."""
    (checkpoint,) = (run / "checkpoints").iterdir()
    files = [*sorted(checkpoint.glob("*.safetensors")), run / "best.safetensors"]
    return {f"{file.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def assert_same(one: Path, other: Path, tolerance: float = 0.0) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(
            a[name], b[name], rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_held_out_populations_of_seen_perturbations_are_recovered(work, seed):
    """Normalised energy score above 0.8, where no change is 0 and repeating the experiment 1."""
    run, out = work / f"seed_{seed}", work / f"seed_{seed}.zarr"
    run_command("train", "--config", config(work, run.name), "--device", "cpu", f"seed={seed}")
    run_command("sample", "--run", run, "--out", out, "--device", "cpu")
    run_command("evaluate", out, "--truth", run / "held_out.h5ad", "--run", run)
    metrics = json.loads((work / f"seed_{seed}.evaluation" / "metrics.json").read_text())
    everything = next(group for group in metrics["groups"] if group["name"] == "all")
    assert everything["scores"]["model"]["energy_distance_pca"]["value"] > 0.8


def test_the_store_is_an_anndata_that_says_where_cells_come_from(work, awake, cells):
    adata = ad.read_zarr(cells)
    held_out = ad.read_h5ad(awake / "held_out.h5ad")
    perturbed = held_out[held_out.obs["perturbation"] != "control"]
    measured = perturbed.obs.groupby(["perturbation", "cell_type"], observed=True).size()
    made = adata.obs.groupby(["perturbation", "cell_type"], observed=True).size()
    assert made.sort_index().to_dict() == measured.sort_index().to_dict()
    assert list(adata.var_names) == list(held_out.var_names)
    source = held_out.obs.loc[adata.obs["source_cell"].astype(str)]
    assert (source["perturbation"] == "control").all()
    assert (source["cell_type"].astype(str).to_numpy() == adata.obs["cell_type"].astype(str).to_numpy()).all()
    assert (source["batch"].astype(str).to_numpy() == adata.obs["batch"].astype(str).to_numpy()).all()
    provenance = json.loads(adata.uns["gensim"])
    assert provenance["scale"] == "counts"
    assert provenance["split_digest"] == json.loads((awake / "split.json").read_text())["digest"]


def test_pseudobulk_lies_beside_the_cells(work, cells):
    adata, bulk = ad.read_zarr(cells), ad.read_h5ad(work / "cells.pseudobulk.h5ad")
    label = bulk.obs_names[0]
    here = adata[adata.obs["condition"] == label].X
    np.testing.assert_allclose(bulk[label].X.ravel(), np.asarray(here, np.float64).sum(0), rtol=1e-6)
    assert bulk.obs["n_cells"].sum() == adata.n_obs


def test_python_and_command_line_make_the_same_cells(awake, cells):
    simulation = Simulator.load(awake, device="cpu").simulate()
    stored = ad.read_zarr(cells)
    np.testing.assert_array_equal(simulation.to_anndata().X, stored.X)
    chunks = list(simulation)
    assert sum(len(chunk) for chunk in chunks) == stored.n_obs


def test_chunk_size_changes_no_cell(awake):
    simulator = Simulator.load(awake, device="cpu")
    one, many = (simulator.simulate(chunk_cells=n).to_anndata() for n in (1024, 4096))
    np.testing.assert_array_equal(one.X, many.X)
    pd.testing.assert_frame_equal(one.obs, many.obs)


def test_other_conditions_in_the_request_change_no_source(awake):
    """What a condition's cells start from belongs to the condition, wherever it stands in a request."""
    simulator = Simulator.load(awake, device="cpu")
    name = next(c for c in simulator.index.conditions if not c.is_control).perturbations[0]
    row = {"perturbation": name, "cell_type": simulator.index.conditions[0].context[0][1], "n_cells": 300}
    alone = simulator.simulate(request=pd.DataFrame([row])).to_anndata()
    control = {**row, "perturbation": "control", "n_cells": 777}
    behind = simulator.simulate(request=pd.DataFrame([control, row])).to_anndata()[777:]
    assert list(alone.obs["source_cell"].astype(str)) == list(behind.obs["source_cell"].astype(str))
    # The same arithmetic at another place in a block of 1,024 rows.
    np.testing.assert_allclose(alone.X, behind.X, rtol=1e-4, atol=1e-4)


def test_a_request_by_csv_with_other_controls_and_further_columns(work, awake, truth):
    fresh = truth.population((), truth.cell_types[0], n_cells=50, replicate=9)
    fresh.obs_names = [f"fresh_{i}" for i in range(50)]
    fresh.write_h5ad(work / "fresh.h5ad")
    first, second = (truth.regulators[i] for i in (0, 1))
    pd.DataFrame({
        "perturbation": [f"{second}+{first}", first], "cell_type": truth.cell_types[0], "n_cells": [30, 20],
        "plate": ["p1", "p2"],
    }).to_csv(work / "request.csv", index=False)  # fmt: skip
    out = work / "requested.zarr"
    run_command(
        "sample",
        "--run",
        awake,
        "--request",
        work / "request.csv",
        "--controls",
        work / "fresh.h5ad",
        "--out",
        out,
        "--device",
        "cpu",
    )
    adata = ad.read_zarr(out)
    assert adata.obs["plate"].value_counts().to_dict() == {"p1": 30, "p2": 20}
    assert set(adata.obs["perturbation"]) == {"+".join(sorted([first, second])), first}
    # 50 controls serve 30 cells once each; no control is used again before all have been used.
    assert adata.obs["source_cell"][:30].nunique() == 30
    assert adata.obs["source_cell"].astype(str).str.startswith("fresh_").all()


def test_control_conditions_come_out_as_the_control_cells(awake):
    simulator = Simulator.load(awake, device="cpu")
    context = simulator.index.conditions[0].context[0][1]
    request = pd.DataFrame({"perturbation": ["control"], "cell_type": [context], "n_cells": [40]})
    made = simulator.simulate(request=request).to_anndata()
    real = ad.read_h5ad(awake / "held_out.h5ad")[made.obs["source_cell"].astype(str)]
    np.testing.assert_allclose(made.X, real.X.toarray(), rtol=1e-4, atol=1e-4)


def test_a_killed_training_resumes_to_the_same_weights(work, trained):
    """Killed without warning after its first checkpoint, then started by the same command."""
    path = config(work, "killed")
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(path), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: any((work / "killed" / "checkpoints").glob("step-*")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (work / "killed" / "trained.json").exists(), "it finished before it was killed"
    run_command("train", "--config", path, "--device", "cpu")
    assert_same(work / "killed", trained)
    lines = [(run / "history.jsonl").read_text() for run in (work / "killed", trained)]
    assert lines[0] == lines[1]


def test_a_killed_sampling_resumes_to_the_same_cells(work, awake, cells):
    simulator = Simulator.load(awake, device="cpu")
    per_chunk, out = 1024, work / "killed.zarr"
    request = work / "large.csv"
    conditions = [c for c in simulator.index.conditions if not c.is_control][:3]
    pd.DataFrame({
        "perturbation": ["+".join(c.perturbations) for c in conditions],
        "cell_type": [c.context[0][1] for c in conditions], "n_cells": 4000,
    }).to_csv(request, index=False)  # fmt: skip
    code = (
        "import sys; from pathlib import Path; from gensim.jobs import sample; "
        f"sample(Path({str(awake)!r}), Path({str(out)!r}), request=Path({str(request)!r}), device='cpu', "
        f"chunk_cells={per_chunk})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    marks = out.with_name(out.name + ".partial") / "marks"
    wait_for(lambda: marks.is_dir() and len(list(marks.glob("*.npz"))) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    whole = simulator.simulate(request=request, chunk_cells=per_chunk).to_anndata()
    resumed = ad.read_zarr(out)
    np.testing.assert_array_equal(resumed.X, whole.X)
    pd.testing.assert_frame_equal(resumed.obs, whole.obs)


LAUNCH = [str(Path(sys.executable).parent / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2"]
"""Two local processes by Accelerate's own name for several; `--device cpu` keeps them on the CPU."""


def run_in_two_processes(*arguments: object) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*LAUNCH, *map(str, arguments)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("begun_by_one", [False, True], ids=["from_the_start", "after_one_was_killed"])
def test_two_processes_train_the_same_weights(work, trained, begun_by_one):
    name = f"double_{begun_by_one}"
    path = config(work, name)
    if begun_by_one:
        command = [sys.executable, str(ROOT / "train.py"), "--config", str(path), "--device", "cpu"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: any((work / name / "checkpoints").glob("step-*")), process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    run_in_two_processes(ROOT / "train.py", "--config", path, "--device", "cpu")
    assert json.loads((work / name / "trained.json").read_text())["n_processes"] == 2
    # Gradients of two halves are averaged in another order; 80 steps of AdamW carry that rounding along.
    assert_same(work / name, trained, tolerance=1e-4)


def test_two_processes_sample_the_same_cells(work, awake, cells):
    run_in_two_processes(ROOT / "sample.py", "--run", awake, "--out", work / "double.zarr", "--device", "cpu")
    stored, double = ad.read_zarr(cells), ad.read_zarr(work / "double.zarr")
    np.testing.assert_array_equal(double.X, stored.X)
    pd.testing.assert_frame_equal(double.obs, stored.obs)


def test_the_run_says_what_it_was_made_of(trained):
    provenance = json.loads((trained / "provenance.json").read_text())
    assert len(provenance["data_digest"]) == len(provenance["split_digest"]) == 32
    assert provenance["gensim"]
    resolved = yaml.safe_load((trained / "config.yaml").read_text())
    assert resolved["training"]["learning_rate"] > 0, "defaults are written out"
    reconstruction = json.loads((trained / "prepared" / "reconstruction.json").read_text())
    assert reconstruction["decoded"]["model"]["energy_score"] > 0.8


def wait_for(ready, process, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "the process ended before it could be killed"
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


@pytest.mark.parametrize(
    "choices",
    [
        ["autoencoder={kind: mlp, n_latents: 8, width: 32, max_epochs: 3}", "solver.kind=heun"],
        ["coupling={kind: sinkhorn, reg: 0.05}", "transport.sigma=0.1", "training.mixed_precision=bf16"],
        [
            "coupling={kind: independent}",
            "anchor=none",
            "solver={kind: torchdiffeq, method: rk4}",
            "training.learning_rate=3e-3",
        ],
        ["data.n_highly_variable_genes=30", "data.batch_column=null", "solver.kind=euler"],
    ],
    ids=["mlp", "sinkhorn_bf16", "independent_unanchored", "variable_genes"],
)
def test_every_other_choice_trains_samples_and_evaluates(work, tmp_path, choices):
    """Nearer to the truth than no change, by a margin that an untrained network without an anchor does not have."""
    path, run, out = config(work, "choices"), tmp_path / "run", tmp_path / "cells.zarr"
    run_command("train", "--config", path, "--device", "cpu", f"run={run}", *choices)
    run_command("sample", "--run", run, "--out", out, "--device", "cpu")
    run_command("evaluate", out, "--run", run)
    assert all(torch.isfinite(tensor).all() for tensor in weights(run).values())
    scores = json.loads((tmp_path / "cells.evaluation" / "metrics.json").read_text())["groups"][0]["scores"]
    assert scores["model"]["energy_distance_pca"]["value"] > 0.3
    page = (tmp_path / "cells.evaluation" / "report.html").read_text()
    assert '"pictures":{' in page
    assert str(run) in page


def test_unseen_perturbations_are_simulated_from_a_table_of_vectors(work, tmp_path, truth):
    """The true network's vectors; a held-out regulator reaches no training or validation cell."""
    held_out = truth.regulators[2]
    truth.save_vectors(work / "vectors.parquet")
    path, run, out = config(work, "unseen"), tmp_path / "run", tmp_path / "cells.zarr"
    split = f"split.test={{hold_out: perturbations, values: [{held_out}]}}"
    vectors = f"perturbation.vectors={{kind: table, path: {work / 'vectors.parquet'}}}"
    run_command("train", "--config", path, "--device", "cpu", f"run={run}", split, vectors)
    roles = pd.read_parquet(run / "split_cells.parquet").set_index("cell")["role"]
    perturbation = ad.read_h5ad(work / "screen.h5ad").obs["perturbation"].astype(str)
    contains = perturbation.str.split("+").map(lambda names: held_out in names)
    assert set(roles[contains[contains].index]) == {"held_out"}
    run_command("sample", "--run", run, "--out", out, "--device", "cpu")
    made = ad.read_zarr(out).obs["perturbation"].astype(str)
    assert made.str.split("+").map(lambda names: held_out in names).all()
    run_command("evaluate", out, "--run", run)
