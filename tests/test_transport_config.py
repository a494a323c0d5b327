"""Choosing a transport takes one line; what does not fit together is refused before any work."""

import pytest

from gensim.config import Config, for_sampling, parse_config
from gensim.errors import ConfigError


def config(**sections) -> Config:
    return parse_config({"run": "run", "data": {"path": "x.h5ad", "scale": "counts"}, **sections}, "test")


@pytest.mark.parametrize(
    ("transport", "coupling", "solver", "n_steps"),
    [
        ({}, "exact", "midpoint", 8),
        ({"kind": "flow_matching", "noise": 1}, "exact", "midpoint", 8),
        ({"kind": "schrodinger_bridge"}, "bridge", "euler_maruyama", 32),
        ({"kind": "schrodinger_bridge", "stochastic": False}, "bridge", "midpoint", 8),
        ({"kind": "latent_diffusion"}, "exact", "dpm_2m", 16),
        ({"kind": "latent_diffusion", "stochastic": True}, "exact", "ancestral", 100),
    ],
)
def test_one_line_changes_the_transport_and_what_suits_it(transport, coupling, solver, n_steps):
    chosen = config(transport=transport)
    assert (chosen.coupling.kind, chosen.solver.kind, chosen.solver.n_steps) == (coupling, solver, n_steps)
    assert config(transport=transport, solver={"n_steps": 3}).solver.n_steps == 3
    assert config(transport=transport, solver={"n_steps": 3}).solver.kind == solver
    again = parse_config(chosen.model_dump(mode="json"), "saved")
    assert again == chosen


def test_steps_follow_the_kind_of_solver():
    assert config(solver={"kind": "euler"}).solver.n_steps == 32
    assert config(solver={"kind": "torchdiffeq"}).solver.n_steps == 1
    assert config(solver={"kind": "torchdiffeq", "method": "rk4"}).solver.n_steps == 32


def test_a_truth_value_may_be_written_as_text():
    chosen = config(transport={"kind": "schrodinger_bridge", "stochastic": "false"})
    assert (chosen.coupling.kind, chosen.solver.kind) == ("bridge", "midpoint")


def test_what_is_named_is_kept():
    chosen = config(
        transport={"kind": "latent_diffusion"}, coupling={"kind": "independent"}, solver={"kind": "heun", "n_steps": 7}
    )
    assert (chosen.coupling.kind, chosen.solver.kind, chosen.solver.n_steps) == ("independent", "heun", 7)


BRIDGE, DIFFUSION = {"kind": "schrodinger_bridge"}, {"kind": "latent_diffusion"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"transport": BRIDGE, "solver": {"kind": "heun"}},
            "stochastic differential equation here; use.*euler_maruyama",
        ),
        ({"transport": BRIDGE | {"stochastic": False}, "solver": {"kind": "euler_maruyama"}}, "ordinary differential"),
        ({"solver": {"kind": "euler_maruyama"}}, "flow_matching, which is an ordinary differential equation"),
        ({"solver": {"kind": "ddim"}}, "solver.kind=ddim cannot solve transport.kind=flow_matching"),
        ({"transport": BRIDGE, "solver": {"kind": "ancestral"}}, "cannot solve transport.kind=schrodinger_bridge"),
        ({"transport": DIFFUSION, "solver": {"kind": "ancestral"}}, "ordinary differential equation here"),
        ({"transport": BRIDGE | {"sigma": 0}}, r"transport.*sigma: .*greater than 0 \(got 0\)"),
        ({"transport": BRIDGE | {"t_min": 0}}, r"transport.*t_min: .*greater than 0"),
        ({"transport": BRIDGE | {"t_min": 0.5}}, r"transport.*t_min: .*less than 0.5"),
        ({"transport": DIFFUSION | {"t_min": -0.1}}, r"transport.*t_min: .*greater than 0"),
        ({"transport": DIFFUSION | {"strength": 0}}, r"transport.*strength: .*greater than 0"),
        ({"transport": DIFFUSION | {"prediction": "x"}}, r"transport.*prediction: .*'v', 'clean' or 'noise'"),
        ({"transport": {"kind": "bridge"}}, "'flow_matching', 'schrodinger_bridge', 'latent_diffusion'"),
        ({"transport": {"noise": 1.5}}, r"transport.*noise: .*less than or equal to 1"),
        ({"coupling": {"kind": "bridge"}}, "takes its sigma from a Schrödinger bridge, not from flow_matching"),
        ({"coupling": {"kind": "partial", "mass": 0}}, r"coupling.*mass: .*greater than 0"),
        ({"coupling": {"kind": "unbalanced", "reg_marginal": 0}}, r"coupling.*reg_marginal: .*greater than 0"),
        ({"guidance": 1.5}, r"guidance=1.5 needs.*training.condition_dropout=0.1"),
        ({"guidance": -1}, "guidance: .*greater than or equal to 0"),
        ({"guidance": float("inf")}, "guidance: .*finite"),
        ({"transport": BRIDGE, "training": {"reflow_cells": 10}}, "straightens transport.kind=flow_matching"),
        ({"field": {"kind": "latent_transformer", "width": 30, "n_heads": 4}}, "width=30.*multiple of field.n_heads=4"),
        ({"transport": 3}, "transport"),
        ({"transport": {"kind": ["a"]}}, "transport"),
        ({"transport": BRIDGE | {"stochastic": "maybe"}}, "stochastic: .*valid boolean"),
    ],
)
def test_what_does_not_fit_is_refused(sections, message):
    with pytest.raises(ConfigError, match=message):
        config(**sections)


def test_guidance_is_allowed_after_condition_dropout():
    assert config(guidance=2, training={"condition_dropout": 0.1}).guidance == 2


def test_sampling_may_change_solver_guidance_and_nothing_that_was_trained():
    trained = config(transport=DIFFUSION, training={"condition_dropout": 0.1})
    assert for_sampling(trained, [], "run") is trained
    changed = for_sampling(trained, ["solver.n_steps=3", "guidance=2", "transport.strength=0.25"], "run")
    assert (changed.solver.n_steps, changed.guidance, changed.transport.strength) == (3, 2, 0.25)
    stochastic = for_sampling(trained, ["transport.stochastic=true", "solver.kind=ancestral"], "run")
    assert (stochastic.solver.kind, stochastic.solver.n_steps) == ("ancestral", 100)
    both = for_sampling(trained, ["transport.stochastic=true", "solver={kind: ancestral, n_steps: 7}"], "run")
    assert both.solver.n_steps == 7
    for override in ("field.width=8", "transport.schedule=linear", "seed=1", "solvers.n_steps=3"):
        with pytest.raises(ConfigError, match="not of sampling"):
            for_sampling(trained, [override], "run")
    with pytest.raises(ConfigError, match="use one of"):
        for_sampling(trained, ["transport.stochastic=true"], "run")
    with pytest.raises(ConfigError, match="condition_dropout"):
        for_sampling(config(), ["guidance=2"], "run")
