"""Simulated time courses: what happens to a gene whose production stops, and where courses begin and end."""

import numpy as np
import pytest

from gensim.data.simulated_screen import SimulatedScreen
from gensim.errors import DataError


@pytest.fixture(scope="module")
def world():
    return SimulatedScreen(0, n_genes=30, n_regulators=4, n_cell_types=1, escape=0.0, noise=0.0)


@pytest.mark.parametrize("time", [0.1, 0.2, 0.5, 2.0])
def test_what_is_no_longer_produced_decays(world, time):
    name = world.regulators[0]
    gene = world.genes.index(name)
    before = world.molecules([], "type_1", 5)[:, gene]
    after = world.molecules([name], "type_1", 5, time=time)[:, gene]
    np.testing.assert_allclose(after, before * np.exp(-world.network.decay[gene] * time), rtol=1e-4)


def test_a_course_begins_at_control_and_ends_at_the_stationary_state(world):
    name = world.regulators[0]
    begin, end = (world.molecules([name], "type_1", 2, time=time) for time in (0.0, 60.0))
    np.testing.assert_allclose(begin, world.molecules([], "type_1", 2), rtol=1e-6)
    np.testing.assert_allclose(end, world.molecules([name], "type_1", 2), rtol=1e-3, atol=1e-3)


def test_screens_with_times():
    world = SimulatedScreen(0, n_genes=30, n_regulators=3, n_cell_types=2)
    cells = world.screen([[world.regulators[0]]], cells_per_condition=4, n_controls=6, times=[1.0, 2.0])
    sizes = cells.obs.groupby(["perturbation", "cell_type", "time"], observed=True).size()
    assert sizes.to_dict() == {
        (name, cell_type, time): 6 if name == "control" else 4
        for cell_type in world.cell_types
        for name, times in (("control", [0.0]), (world.regulators[0], [1.0, 2.0]))
        for time in times
    }
    assert "dose" not in cells.obs
    with pytest.raises(DataError, match="a time is finite and not negative"):
        world.screen([[world.regulators[0]]], times=[-1.0])
    with pytest.raises(DataError, match="is asked for twice"):
        world.screen([[world.regulators[0]]], times=[1.0, 1.0])
