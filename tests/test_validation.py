"""Validation simulates several conditions at once, and no condition notices."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gensim.metrics.distances import energy_distance
from gensim.nn.blocks import initialise
from gensim.nn.set_transformer import SetTransformer
from gensim.solvers.ode import Euler
from gensim.solvers.sde import EulerMaruyama
from gensim.training.validation import CELLS_PER_BATCH, Validation, ValidationTask, make_tasks
from gensim.transport.anchored import Anchored
from gensim.transport.flow_matching import FlowMatching
from gensim.transport.schrodinger_bridge import SchrodingerBridge
from gensim.types import ConditionBatch

N_TASKS, PER_TASK, D = 9, 1000, 3


class OneFeature(torch.nn.Module):
    """An encoder that says the perturbation's code."""

    def forward(self, condition):
        return condition.perturbations.float()


def validation(tasks) -> Validation:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(3 * PER_TASK, D, generator=generator)
    k = torch.arange(N_TASKS)
    conditions = ConditionBatch(
        k[:, None], k[:, None], k * 0, k[:, None].float(), torch.zeros(N_TASKS, D), torch.ones(N_TASKS)
    )
    return Validation(tasks, latents, conditions, torch.zeros(3 * PER_TASK, dtype=torch.int64), EulerMaruyama(3), 0, 16)


@pytest.fixture(scope="module")
def tasks():
    rng = np.random.default_rng(0)
    return [
        ValidationTask(k, rng.permutation(2 * PER_TASK)[: PER_TASK - k], 2 * PER_TASK + rng.permutation(PER_TASK)[:200])
        for k in range(N_TASKS)
    ]


@pytest.fixture(scope="module")
def bridge():
    """It draws noise at every step and looks at populations, so that nothing may get mixed up."""
    generator = torch.Generator().manual_seed(1)
    field = SetTransformer(D, 1, 2 * D, sees_control=False, width=8, n_blocks=1, generator=generator)
    initialise(field, generator)
    return SchrodingerBridge(field, OneFeature(), 0.5, 0.01, stochastic=True)


def test_a_task_is_the_same_alone_and_among_others(tasks, bridge):
    together = validation(tasks).distances(bridge)
    alone = [validation([task]).distances(bridge)[0] for task in tasks]
    assert len({round(distance, 4) for distance in alone}) > 5, "tasks that are all alike prove nothing"
    # Other shapes round differently.
    np.testing.assert_allclose(together, alone, rtol=1e-3)


def test_every_condition_has_noise_of_its_own():
    """The same controls under two conditions that no network tells apart: only the noise of the steps differs."""

    class NoFeature(torch.nn.Module):
        def forward(self, condition):
            return torch.zeros(len(condition), 1)

    generator = torch.Generator().manual_seed(2)
    field = SetTransformer(D, 1, 2 * D, sees_control=False, width=8, n_blocks=1, generator=generator)
    bridge = SchrodingerBridge(field, NoFeature(), 0.5, 0.01, stochastic=True)
    sources, targets = np.arange(50), np.arange(2 * PER_TASK, 2 * PER_TASK + 50)
    one, other = (validation([ValidationTask(k, sources, targets)]).distances(bridge) for k in (0, 1))
    assert one != other


def test_batches_hold_every_task_once_up_to_their_size_and_can_be_shared_out(tasks, bridge):
    whole = validation(tasks)
    assert [task for batch in whole.batches for task in batch] == tasks
    assert [len(batch) for batch in whole.batches] == [4, 4, 1]
    assert all(sum(len(task.sources) for task in batch) <= CELLS_PER_BATCH for batch in whole.batches)
    shares = [whole.distances(bridge, slice(process, None, 4)) for process in range(4)]
    np.testing.assert_allclose(np.sum(shares, axis=0), whole.distances(bridge), rtol=1e-12)
    assert not shares[3].any()


def test_large_conditions_are_judged_by_cells_from_all_over_the_screen():
    condition_of = np.repeat([0, 1], 1000)
    (task,) = make_tasks(condition_of, np.array([0, 0]), np.arange(2000), [0], most_cells=10)
    assert (len(task.sources), len(task.targets)) == (10, 10)
    assert (task.sources[0], task.sources[-1]) == (0, 999)
    assert (task.targets[0], task.targets[-1]) == (1000, 1999)
    assert np.ptp(np.diff(task.targets)) <= 1


def test_no_change_is_the_distance_of_the_controls_themselves(tasks):
    one = validation(tasks[:1])
    x, y = one.latents[tasks[0].targets].numpy(), one.latents[tasks[0].sources].numpy()
    assert one.no_change_distance() == pytest.approx(energy_distance(x, y))


def test_as_many_simulated_cells_respond_as_the_penetrance_says(tasks):
    judging = validation(tasks)
    judging.conditions = replace(judging.conditions, penetrance=torch.linspace(0.2, 1, N_TASKS))
    for task, share in zip(tasks, np.linspace(0.2, 1, N_TASKS), strict=True):
        response = judging.response(task)
        assert abs((response > 0).sum() - share * len(response)) <= 1
        assert response.mean() == pytest.approx(1, abs=0.01)
        np.testing.assert_array_equal(response, judging.response(task))
    assert (judging.response(tasks[-1]) == 1).all()
    runs = np.diff(np.flatnonzero(judging.response(tasks[0])))
    assert runs.max() > 10, "responders are spread over the sources by chance"


def test_simulated_cells_are_moved_by_what_they_get_of_the_mean_effect(tasks):
    """An untrained anchored flow: by shift / penetrance in responders, by nothing in others."""

    class Still(torch.nn.Module):
        sees_control = False

        def context(self, features, controls):
            return features

        def forward(self, z, t, context):
            return torch.zeros_like(z)

    judging = validation(tasks[:2])
    judging.solver = Euler(4)
    shares = torch.linspace(0.25, 1, N_TASKS)
    judging.conditions = replace(judging.conditions, shift=torch.full((N_TASKS, D), 3.0), penetrance=shares)
    moved = judging.simulated(Anchored(FlowMatching(Still(), OneFeature())), tasks[:2])
    for task, cells in zip(tasks[:2], moved, strict=True):
        gained = cells - judging.latents[torch.from_numpy(task.sources)].numpy()
        expected = 3.0 * judging.response(task)
        np.testing.assert_allclose(np.unique(expected), [0, 3 / float(shares[task.condition])], rtol=1e-5)
        np.testing.assert_allclose(gained, np.tile(expected[:, None], (1, D)), atol=1e-4)
