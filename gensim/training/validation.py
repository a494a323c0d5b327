"""Validation as the model will be used: held-back control cells in, energy distance to held-back target cells out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gensim.data.pairs import draw_population
from gensim.errors import SplitError
from gensim.metrics.distances import energy_distance
from gensim.seeding import numpy_generator, torch_generator
from gensim.solvers.base import Solver
from gensim.transport.base import Transport
from gensim.types import ConditionBatch, ControlBatch, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class ValidationTask:
    """One condition to simulate and compare.

    Args:
        condition: row of the run's conditions.
        sources, targets: rows of validation cells: controls of the context, and perturbed cells.
    """

    condition: int
    sources: IntArray
    targets: IntArray


def make_tasks(
    condition_of: IntArray, control_of: IntArray, rows: IntArray, controls: Sequence[int], most_cells: int
) -> list[ValidationTask]:
    """A task for every perturbed condition with two cells and two controls among the validation cells `rows`.

    Raises:
        SplitError: there is none, so nothing could decide when to stop.
    """
    tasks = []
    for condition in np.setdiff1d(np.unique(condition_of[rows]), np.array(controls)):
        targets = rows[condition_of[rows] == condition][:most_cells]
        sources = rows[condition_of[rows] == control_of[condition]][:most_cells]
        if min(len(sources), len(targets)) >= 2:
            tasks.append(ValidationTask(int(condition), sources, targets))
    if not tasks:
        raise SplitError(
            "no condition has two perturbed and two control cells held back for validation; "
            "raise split.validation_fraction"
        )
    return tasks


class Validation:
    """Mean energy distance over the tasks, in the latent space; each process takes every n-th task.

    Args:
        latents: (N, D) of all cells; conditions: (K,) codes; batch_codes: (N,) of all cells.
    """

    def __init__(
        self,
        tasks: list[ValidationTask],
        latents: torch.Tensor,
        conditions: ConditionBatch,
        batch_codes: torch.Tensor,
        solver: Solver,
        seed: int,
        population_cells: int = 0,
    ) -> None:
        self.tasks = tasks
        self.latents = latents
        self.conditions = conditions.to(latents.device)
        self.batch_codes = batch_codes.to(latents.device)
        self.solver = solver
        self.seed = seed
        self.population_cells = population_cells

    def total_distance(self, transport: Transport, part: slice = slice(None)) -> float:
        """Sum of the energy distances of the tasks in `part`."""
        return sum(energy_distance(self._target(task), self._simulated(transport, task)) for task in self.tasks[part])

    def no_change_distance(self) -> float:
        """Mean energy distance with the control cells as prediction."""
        distances = [energy_distance(self._target(task), self._cells(task.sources)) for task in self.tasks]
        return float(np.mean(distances))

    def _cells(self, rows: IntArray) -> FloatArray:
        cells: FloatArray = self.latents[torch.from_numpy(rows)].cpu().numpy()
        return cells

    def _target(self, task: ValidationTask) -> FloatArray:
        return self._cells(task.targets)

    @torch.no_grad()
    def _simulated(self, transport: Transport, task: ValidationTask) -> FloatArray:
        rows = torch.from_numpy(task.sources).to(self.latents.device)
        z_control = self.latents[rows]
        condition = self.conditions[torch.full_like(rows, task.condition)].with_batch(self.batch_codes[rows])
        controls = self._controls(task, z_control)

        def noise(*stream: object) -> torch.Tensor:
            generator = torch_generator(self.seed, "validation", task.condition, *stream)
            return torch.randn(z_control.shape, generator=generator).to(z_control.device)

        z_0 = transport.start(controls, condition, noise("start"))
        z_1 = self.solver.solve(transport.dynamics(controls, condition), z_0, noise)
        cells: FloatArray = z_1.float().cpu().numpy()
        return cells

    def _controls(self, task: ValidationTask, z_control: torch.Tensor) -> ControlBatch:
        """The control cells of a task, all of one population."""
        rng = numpy_generator(self.seed, "validation population", task.condition)
        drawn = torch.from_numpy(draw_population(task.sources, self.population_cells, rng))
        population = self.latents[drawn.to(self.latents.device)]
        return ControlBatch(z_control, population[None], torch.zeros_like(z_control[:, 0], dtype=torch.int64))
