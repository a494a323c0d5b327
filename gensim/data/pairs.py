"""Training batches: groups drawn by condition, cells drawn inside a group, source and target cells coupled there."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from gensim.errors import DataError
from gensim.ot.coupling import Coupling
from gensim.seeding import numpy_generator
from gensim.types import ConditionBatch, ControlBatch, IntArray, PairBatch

SMALLEST_BATCH_GROUP = 16


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that may be coupled with each other: one perturbed condition, in one context, in one batch if large enough.

    Args:
        condition: row of the run's conditions.
        sources: rows of control cells of the same context (and batch).
        targets: rows of perturbed cells.
    """

    condition: int
    sources: IntArray
    targets: IntArray


def make_groups(
    condition_of: IntArray, control_of: IntArray, batch_of: IntArray, rows: IntArray, controls: Iterable[int]
) -> list[Group]:
    """Split the perturbed cells among `rows` into groups.

    A batch with at least 16 control and 16 perturbed cells of a condition is a group of its own; the cells of
    smaller batches form one group together, with all control cells of the context as sources.

    Args:
        condition_of: (N,) condition of every cell.
        control_of: (K,) for every condition the control condition of its context; -1 where there is none.
        batch_of: (N,) experimental batch of every cell.
        rows: cells that may be used (the training cells).
        controls: conditions that are control.

    Raises:
        DataError: a condition has no control cell among `rows`.
    """
    groups = []
    for condition in np.setdiff1d(np.unique(condition_of[rows]), np.fromiter(controls, dtype=np.int64)):
        targets = rows[condition_of[rows] == condition]
        sources = rows[condition_of[rows] == control_of[condition]]
        if len(sources) == 0:
            raise DataError(f"condition {int(condition)} has no control cells in its context among the training cells")
        rest = []
        for batch in np.unique(batch_of[targets]):
            here, there = targets[batch_of[targets] == batch], sources[batch_of[sources] == batch]
            if min(len(here), len(there)) >= SMALLEST_BATCH_GROUP:
                groups.append(Group(int(condition), there, here))
            else:
                rest.append(here)
        if rest:
            groups.append(Group(int(condition), sources, np.concatenate(rest)))
    return groups


class PairSampler:
    """Batches of coupled cells, each a function of the step alone: any process can make any part of any batch.

    Args:
        latents: (N, D) of all cells, on the training device.
        groups: where cells may be coupled.
        conditions: (K,) codes of the conditions.
        batch_codes: (N,) code of every cell's experimental batch.
        coupling: source rows for target rows.
        cells_per_group: pairs drawn per group; cells are repeated only where a group has fewer.
        population_cells: control cells of a group shown beside its pairs, for fields that look at populations.
        rare_condition_power: groups are drawn in proportion to (number of targets) ** power.
        seed: of the run.
    """

    def __init__(
        self,
        latents: torch.Tensor,
        groups: list[Group],
        conditions: ConditionBatch,
        batch_codes: torch.Tensor,
        coupling: Coupling,
        *,
        cells_per_group: int,
        rare_condition_power: float,
        seed: int,
        population_cells: int = 0,
    ) -> None:
        self.latents = latents
        self.groups = groups
        self.conditions = conditions.to(latents.device)
        self.batch_codes = batch_codes.to(latents.device)
        self.coupling = coupling
        self.cells_per_group = cells_per_group
        weights = np.array([len(group.targets) for group in groups], dtype=np.float64) ** rare_condition_power
        self.probabilities = weights / weights.sum()
        self.seed = seed
        self.population_cells = population_cells

    def batch(self, step: int, slots: range) -> PairBatch:
        """The pairs of the given slots of a step; a step's slots are numbered over all processes together."""
        chosen = [self._draw(step, slot) for slot in slots]
        source = torch.from_numpy(np.concatenate([source for _, source, _ in chosen]))
        target = torch.from_numpy(np.concatenate([target for _, _, target in chosen]))
        condition = torch.tensor([group.condition for group, _, _ in chosen]).repeat_interleave(self.cells_per_group)
        device = self.latents.device
        source, target, condition = source.to(device), target.to(device), condition.to(device)
        which = torch.arange(len(slots), device=device).repeat_interleave(self.cells_per_group)
        return PairBatch(
            controls=ControlBatch(self.latents[source], self._populations(step, slots, chosen), which),
            z_1=self.latents[target],
            condition=self.conditions[condition].with_batch(self.batch_codes[target]),
            source=source,
            target=target,
        )

    def _populations(self, step: int, slots: range, chosen: list[tuple[Group, IntArray, IntArray]]) -> torch.Tensor:
        """(S, M, D) control cells of every slot's group, drawn apart from the pairs, which say something of targets."""
        rows = [
            draw_population(group.sources, self.population_cells, numpy_generator(self.seed, "population", step, slot))
            for slot, (group, _, _) in zip(slots, chosen, strict=True)
        ]
        return self.latents[torch.from_numpy(np.stack(rows)).to(self.latents.device)]

    def _draw(self, step: int, slot: int) -> tuple[Group, IntArray, IntArray]:
        """A group, and coupled rows of its source and target cells, decided by (seed, step, slot)."""
        rng = numpy_generator(self.seed, "pairs", step, slot)
        group = self.groups[int(rng.choice(len(self.groups), p=self.probabilities))]
        sources = _choose(group.sources, self.cells_per_group, rng)
        targets = _choose(group.targets, self.cells_per_group, rng)
        z_0, z_1 = (self.latents[torch.from_numpy(rows)].cpu().numpy() for rows in (sources, targets))
        return group, sources[self.coupling(z_0, z_1, rng)], targets


def draw_population(rows: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """`n` of the control cells `rows`, as evenly as can be, to stand for all of them."""
    return _choose(rows, n, rng) if n else np.empty(0, dtype=np.int64)


def _choose(rows: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """`n` rows: without repeats where there are enough, else every row equally often up to one."""
    if len(rows) >= n:
        return rng.choice(rows, n, replace=False)
    repeats = -(-n // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(repeats)])[:n]
