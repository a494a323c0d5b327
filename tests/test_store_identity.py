"""What makes two requests the same: the fitted files and the control cells, not where the run lies."""

import shutil

import anndata as ad
import pytest
from small_runs import awaken, trained_and_sampled

from gensim.simulator import Simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained_and_sampled(tmp_path_factory.mktemp("run"))


def request_digest(run, controls=None) -> str:
    return Simulator.load(run, "cpu").simulate(controls).schema.digest


def test_a_run_that_was_moved_is_the_same_run(folder, tmp_path):
    moved = shutil.copytree(folder / "run", tmp_path / "elsewhere")
    assert request_digest(moved) == request_digest(folder / "run")


def test_other_weights_are_another_request(folder, tmp_path):
    """Cells of two models are not put into one store, as they would be when a run is trained on between samplings."""
    trained_on = shutil.copytree(folder / "run", tmp_path / "run")
    awaken(trained_on)
    assert request_digest(trained_on) != request_digest(folder / "run")


def test_other_control_cells_of_the_same_names_are_another_request(folder):
    cells = ad.read_h5ad(folder / "screen.h5ad")
    controls = cells[cells.obs["perturbation"] == "control"].copy()
    changed = controls.copy()
    changed.X[0, 0] += 1
    digests = [request_digest(folder / "run", given) for given in (controls, controls.copy(), changed)]
    assert digests[0] == digests[1] != digests[2]


def test_other_settings_of_sampling_are_another_request(folder):
    few = Simulator.load(folder / "run", "cpu", ["solver.n_steps=2"]).simulate().schema.digest
    assert few != request_digest(folder / "run")
