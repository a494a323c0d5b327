"""Every transport and every field, by one line of the config: trained, sampled, resumed, in any chunks."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from small_runs import awaken, config, screen

from gensim.cli import main
from gensim.simulator import Simulator

CHOICES = {
    "flow from control cells": {},
    "flow from noise": {"transport": {"noise": 1}},
    "flow from both": {"transport": {"noise": 0.5}},
    "bridge": {"transport": {"kind": "schrodinger_bridge"}},
    "bridge, ODE": {"transport": {"kind": "schrodinger_bridge", "stochastic": False}},
    "diffusion": {"transport": {"kind": "latent_diffusion"}},
    "diffusion from noise": {"transport": {"kind": "latent_diffusion", "strength": 1}},
    "diffusion from noise, ancestral": {"transport": {"kind": "latent_diffusion", "stochastic": True, "strength": 1}},
    "latent transformer": {"field": {"kind": "latent_transformer", "width": 8, "n_blocks": 1}},
    "set transformer": {"field": {"kind": "set_transformer", "width": 8, "n_blocks": 1, "population_cells": 8}},
    "bridge, set transformer": {
        "transport": {"kind": "schrodinger_bridge"},
        "field": {"kind": "set_transformer", "width": 8, "n_blocks": 1, "population_cells": 8},
    },
}


@pytest.fixture(scope="module", params=list(CHOICES))
def trained(request, tmp_path_factory):
    """A run of a few steps, with everything that its config chose."""
    folder = tmp_path_factory.mktemp("run")
    screen().write_h5ad(folder / "screen.h5ad")
    path = config(
        folder / "config.yaml",
        folder / "run",
        folder / "screen.h5ad",
        solver={"precision": "float32"},
        **CHOICES[request.param],
    )
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    awaken(folder / "run")
    return folder


def simulated(run, n_cells: int, chunk_cells: int, **changes) -> ad.AnnData:
    table = pd.DataFrame({"perturbation": ["A", "A+B"], "cell_type": ["T", "B cell"], "n_cells": n_cells})
    return Simulator.load(run, "cpu", **changes).simulate(request=table, chunk_cells=chunk_cells).to_anndata()


def test_chunks_change_no_cell(trained):
    whole, parts = (simulated(trained / "run", 1100, chunk_cells) for chunk_cells in (4096, 1024))
    np.testing.assert_array_equal(_dense(whole), _dense(parts))
    assert np.isfinite(_dense(whole)).all()
    assert (_dense(whole) >= 0).all()


def test_a_longer_request_goes_on_with_the_same_cells(trained):
    """Cells belong to their condition and number: those of one that comes second may round otherwise, no more."""
    few, many = (_dense(simulated(trained / "run", n, 1024)) for n in (20, 30))
    np.testing.assert_array_equal(many[:20], few[:20])
    np.testing.assert_allclose(many[30:50], few[20:], rtol=1e-3, atol=1e-3)


def test_sampling_without_a_request_meets_every_held_out_condition(trained):
    out = trained / "cells.zarr"
    assert (
        main(["sample", "--run", str(trained / "run"), "--out", str(out), "--device", "cpu", "solver.n_steps=2"]) == 0
    )
    cells = ad.read_zarr(out)
    assert cells.obs.groupby(["perturbation", "cell_type"], observed=True).ngroups == 6
    assert '"n_steps": 2' in cells.uns["gensim"]


def _dense(cells: ad.AnnData) -> np.ndarray:
    return cells.X.toarray() if hasattr(cells.X, "toarray") else np.asarray(cells.X)
