"""Validation as the model will be used: held-back control cells in, energy distance to held-back target cells out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gensim.data.pairs import draw_population
from gensim.errors import SplitError
from gensim.metrics.distances import energy_distance
from gensim.perturbations.penetrance import response
from gensim.seeding import numpy_generator, torch_generator
from gensim.solvers.base import Solver
from gensim.transport.base import Transport
from gensim.types import ConditionBatch, ControlBatch, FloatArray, IntArray, spread

CELLS_PER_BATCH = 4096


@dataclass(frozen=True, slots=True)
class ValidationTask:
    """One condition to simulate and compare.

    Args:
        condition: row of the run's conditions.
        sources, targets: rows of validation cells: what is transported (controls of the context, or the same at the
            time before), and perturbed cells.
    """

    condition: int
    sources: IntArray
    targets: IntArray


def make_tasks(
    condition_of: IntArray, source_of: IntArray, rows: IntArray, controls: Sequence[int], most_cells: int
) -> list[ValidationTask]:
    """A task for every perturbed condition with two cells and two source cells among the validation cells `rows`.

    Args:
        source_of: (K,) condition that the cells of each come from, see `CellIndex.source_of`.

    Raises:
        SplitError: there is none, so nothing could decide when to stop.
    """
    tasks = []
    for condition in np.setdiff1d(np.unique(condition_of[rows]), np.array(controls)):
        targets = spread(rows[condition_of[rows] == condition], most_cells)
        sources = spread(rows[condition_of[rows] == source_of[condition]], most_cells)
        if min(len(sources), len(targets)) >= 2:
            tasks.append(ValidationTask(int(condition), sources, targets))
    if not tasks:
        raise SplitError(
            "no condition has two perturbed and two control cells held back for validation; "
            "raise split.validation_fraction"
        )
    return tasks


class Validation:
    """Energy distances of the tasks, in the latent space.

    Tasks are simulated several at once, always the same ones together, and each process takes every n-th such batch.

    Args:
        latents: (N, D) of all cells; conditions: (K,) codes; batch_codes: (N,) of all cells.
        of_new: whether the tasks' conditions were held back whole, so that training has none of their cells.
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
        of_new: bool = False,
    ) -> None:
        self.of_new = of_new
        self.tasks = tasks
        self.latents = latents
        self.conditions = conditions.to(latents.device)
        self.batch_codes = batch_codes.to(latents.device)
        self.solver = solver
        self.seed = seed
        self.population_cells = population_cells
        self.batches = batches_of(tasks)

    def distances(self, transport: Transport, part: slice = slice(None)) -> NDArray[np.float64]:
        """(T,) energy distances of the tasks in the batches of `part`; 0 for the others."""
        found = {
            task.condition: energy_distance(self._cells(task.targets), simulated)
            for tasks in self.batches[part]
            for task, simulated in zip(tasks, self.simulated(transport, tasks), strict=True)
        }
        return np.array([found.get(task.condition, 0.0) for task in self.tasks])

    def no_change_distance(self) -> float:
        """Mean energy distance with the control cells as prediction."""
        distances = [energy_distance(self._cells(task.targets), self._cells(task.sources)) for task in self.tasks]
        return float(np.mean(distances))

    def _cells(self, rows: IntArray) -> FloatArray:
        cells: FloatArray = self.latents[torch.from_numpy(rows)].cpu().numpy()
        return cells

    @torch.no_grad()
    def simulated(self, transport: Transport, tasks: list[ValidationTask]) -> list[FloatArray]:
        """(n, D) simulated cells of every task, of which each has its own noise and its own population."""
        device, n_latents = self.latents.device, self.latents.shape[1]
        sizes = torch.tensor([len(task.sources) for task in tasks])
        rows = torch.from_numpy(np.concatenate([task.sources for task in tasks])).to(device)
        task_of = torch.arange(len(tasks)).repeat_interleave(sizes).to(device)
        of_task = torch.tensor([task.condition for task in tasks], device=device)
        response = torch.from_numpy(np.concatenate([self.response(task) for task in tasks])).to(device)
        condition = self.conditions[of_task[task_of]].with_batch(self.batch_codes[rows]).responding(response)
        controls = ControlBatch(self.latents[rows], torch.stack([self._population(task) for task in tasks]), task_of)

        def noise(*stream: object) -> torch.Tensor:
            drawn = [
                torch.randn(
                    len(task.sources),
                    n_latents,
                    generator=torch_generator(self.seed, "validation", task.condition, *stream),
                )
                for task in tasks
            ]
            return torch.cat(drawn).to(device)

        z_0 = transport.start(controls, condition, noise("start"))
        z_1 = self.solver.solve(transport.dynamics(controls, condition), z_0, noise)
        ends = sizes.cumsum(0).tolist()
        return np.split(z_1.float().cpu().numpy(), ends[:-1])

    def response(self, task: ValidationTask) -> FloatArray:
        """(n,) what each simulated cell of a task gets of the mean effect; as many respond as the penetrance says."""
        n, share = len(task.sources), self.conditions.penetrance[task.condition].cpu().numpy()
        order = numpy_generator(self.seed, "validation response", task.condition).permutation(n)
        return response(order < max(1, round(n * float(share))), np.full(n, share))

    def _population(self, task: ValidationTask) -> torch.Tensor:
        """(M, D) control cells that stand for those of a task."""
        rng = numpy_generator(self.seed, "validation population", task.condition)
        drawn = torch.from_numpy(draw_population(task.sources, self.population_cells, rng))
        return self.latents[drawn.to(self.latents.device)]


def batches_of(tasks: list[ValidationTask]) -> list[list[ValidationTask]]:
    """Consecutive tasks together, up to 4,096 cells."""
    batches: list[list[ValidationTask]] = []
    cells = CELLS_PER_BATCH
    for task in tasks:
        cells += len(task.sources)
        if cells > CELLS_PER_BATCH:
            batches.append([])
            cells = len(task.sources)
        batches[-1].append(task)
    return batches
