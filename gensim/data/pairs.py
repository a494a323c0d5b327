"""Training batches: groups drawn by condition, cells of a group coupled in pools, pairs drawn from the pools."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from gensim.errors import DataError, TrainingError
from gensim.ot.coupling import Coupling
from gensim.seeding import numpy_generator
from gensim.types import ConditionBatch, ControlBatch, IntArray, PairBatch

SMALLEST_BATCH_GROUP = 16

Cost = Literal["latent", "after_mean_effect"]
"""What a coupling compares with a source: a target's latent, or the latent less the mean effect of its condition."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that may be coupled with each other: one perturbed condition, in one context, in one batch if large enough.

    Args:
        condition: row of the run's conditions.
        sources: rows of control cells of the same context (and batch), or of the same condition at the time before.
        targets: rows of perturbed cells.
    """

    condition: int
    sources: IntArray
    targets: IntArray


def make_groups(
    condition_of: IntArray, source_of: IntArray, batch_of: IntArray, rows: IntArray, controls: Iterable[int]
) -> list[Group]:
    """Split the perturbed cells among `rows` into groups.

    A batch with at least 16 source and 16 perturbed cells of a condition is a group of its own; the cells of
    smaller batches form one group together, with all source cells as sources.

    Args:
        condition_of: (N,) condition of every cell.
        source_of: (K,) for every condition the one that its cells come from: control of its context, or the same at the
            time before; -1 where there is none.
        batch_of: (N,) experimental batch of every cell.
        rows: cells that may be used (the training cells).
        controls: conditions that are control.

    Raises:
        DataError: a condition has no control cell among `rows`.
    """
    groups = []
    for condition in np.setdiff1d(np.unique(condition_of[rows]), np.fromiter(controls, dtype=np.int64)):
        targets = rows[condition_of[rows] == condition]
        sources = rows[condition_of[rows] == source_of[condition]]
        if len(sources) == 0:
            raise DataError(
                f"condition {int(condition)} has no training cells to start from: no controls in its context"
            )
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

    A plan is solved for a *pool*: cells of a group, drawn evenly and coupled once. Steps draw pairs from the pools of
    their groups. A pool is renewed once its pairs have been used `plan_reuse` times on average,

        period = ceil(n plan_reuse / (cells_per_group groups_per_step probability)),    r = (step + offset) // period

    where n are the pairs of the pool, r is the number of the pool, and offsets drawn by the seed keep the groups from
    renewing their pools in the same step. Pool r of a group follows from the seed alone; only the newest is kept.

    Args:
        latents: (N, D) of all cells, on the training device.
        groups: where cells may be coupled.
        conditions: (K,) codes of the conditions.
        labels: (K,) names of the conditions, for errors.
        batch_codes: (N,) code of every cell's experimental batch.
        coupling: which source goes with which target.
        cells_per_group: pairs drawn per slot; without repeats within a step where the pool has enough.
        groups_per_step: slots of a step, over all processes together.
        cells_per_plan: cells of a pool at most, on either side; cells of the smaller side are repeated evenly.
        plan_reuse: how often a pair of a pool is used on average.
        rare_condition_power: groups are drawn in proportion to (number of targets) ** power.
        seed: of the run.
        cost: what the coupling sees of a target: z_1, or z_1 less what it got of the mean effect. Where all respond
            alike, balanced couplings of squared cost are the same for both, but for Sinkhorn's, whose reg is in units
            of the mean cost it is shown.
        response: (N,) what every cell got of the mean effect of its condition; None: every cell once.
        population_cells: control cells of a group shown beside its pairs, for fields that look at populations.
    """

    def __init__(
        self,
        latents: torch.Tensor,
        groups: list[Group],
        conditions: ConditionBatch,
        labels: Sequence[str],
        batch_codes: torch.Tensor,
        coupling: Coupling,
        *,
        cells_per_group: int,
        groups_per_step: int,
        cells_per_plan: int,
        plan_reuse: float,
        rare_condition_power: float,
        seed: int,
        cost: Cost = "after_mean_effect",
        response: torch.Tensor | None = None,
        population_cells: int = 0,
    ) -> None:
        self.latents = latents
        self.groups = groups
        self.conditions = conditions.to(latents.device)
        self.labels = labels
        self.batch_codes = batch_codes.to(latents.device)
        self.coupling = coupling
        self.cells_per_group = cells_per_group
        self.groups_per_step = groups_per_step
        weights = np.array([len(group.targets) for group in groups], dtype=np.float64) ** rare_condition_power
        self.probabilities = weights / weights.sum()
        self.seed = seed
        self.cost = cost
        self.response = latents.new_ones(len(latents)) if response is None else response.to(latents.device)
        self.population_cells = population_cells

        larger_side = np.array([max(len(group.sources), len(group.targets)) for group in groups])
        self.pool_sizes = np.minimum(larger_side, cells_per_plan)
        uses_per_step = cells_per_group * groups_per_step * self.probabilities
        self.periods = np.ceil(self.pool_sizes * plan_reuse / uses_per_step).astype(np.int64)
        self.offsets = numpy_generator(seed, "pool offsets").integers(self.periods)
        self.newest: dict[int, tuple[int, IntArray]] = {}

    def batch(self, step: int, slots: range) -> PairBatch:
        """The pairs of the given slots of a step; a step's slots are numbered over all processes together."""
        which = numpy_generator(self.seed, "groups", step).choice(
            len(self.groups), self.groups_per_step, p=self.probabilities
        )
        drawn: dict[int, IntArray] = {}
        for group in np.unique(which[slots.start : slots.stop]).tolist():
            drawn[group] = self._draw(group, step, int((which == group).sum()))
        earlier = [int((which[:slot] == which[slot]).sum()) for slot in slots]
        pairs = np.concatenate([drawn[int(which[s])][:, k] for s, k in zip(slots, earlier, strict=True)], axis=1)

        device, n = self.latents.device, len(slots) * self.cells_per_group
        rows = torch.from_numpy(pairs.ravel()).to(device)
        cells, source, target = self.latents[rows], rows[:n], rows[n:]
        slot_of_pair = torch.arange(len(slots), device=device).repeat_interleave(self.cells_per_group)
        condition_of_slot = torch.tensor([self.groups[int(which[slot])].condition for slot in slots], device=device)
        condition = self.conditions[condition_of_slot[slot_of_pair]].with_batch(self.batch_codes[target])
        condition = condition.responding(self.response[target])
        population = self._populations(step, slots, which)
        return PairBatch(ControlBatch(cells[:n], population, slot_of_pair), cells[n:], condition, source, target)

    def _draw(self, group: int, step: int, n_slots: int) -> IntArray:
        """(2, `n_slots`, cells_per_group) source and target rows for all slots that the group has in this step."""
        pool = self._pool(group, step)
        rng = numpy_generator(self.seed, "pairs", step, group)
        chosen = _choose(np.arange(pool.shape[1]), n_slots * self.cells_per_group, rng)
        return pool[:, chosen].reshape(2, n_slots, self.cells_per_group)

    def _pool(self, group: int, step: int) -> IntArray:
        """(2, n) coupled source and target rows: the pool that a group has in a step."""
        r = int((step + self.offsets[group]) // self.periods[group])
        if group not in self.newest or self.newest[group][0] != r:
            rng = numpy_generator(self.seed, "pool", group, r)
            here, n = self.groups[group], int(self.pool_sizes[group])
            sources, targets = _choose(here.sources, n, rng), _choose(here.targets, n, rng)
            cells = torch.from_numpy(np.stack([sources, targets])).to(self.latents.device)
            z_0, z_1 = self.latents[cells]
            if self.cost == "after_mean_effect":
                z_1 = z_1 - self.response[cells[1], None] * self.conditions.shift[here.condition]
            try:
                source, target = self.coupling(z_0.cpu().numpy(), z_1.cpu().numpy(), rng)
            except TrainingError as error:
                raise TrainingError(f"step {step}, condition {self.labels[here.condition]!r}: {error}") from error
            self.newest[group] = r, np.stack([sources[source], targets[target]])
        return self.newest[group][1]

    def _populations(self, step: int, slots: range, which: IntArray) -> torch.Tensor:
        """(S, M, D) control cells of every slot's group, drawn apart from the pairs, which say something of targets."""
        if self.population_cells == 0:
            return self.latents.new_empty(len(slots), 0, self.latents.shape[1])
        rows = [
            draw_population(
                self.groups[int(which[slot])].sources,
                self.population_cells,
                numpy_generator(self.seed, "population", step, slot),
            )
            for slot in slots
        ]
        return self.latents[torch.from_numpy(np.stack(rows)).to(self.latents.device)]


def draw_population(rows: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """`n` of the control cells `rows`, as evenly as can be, to stand for all of them."""
    return _choose(rows, n, rng) if n else np.empty(0, dtype=np.int64)


def _choose(rows: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """`n` rows: without repeats where there are enough, else every row equally often up to one."""
    if len(rows) >= n:
        return rng.choice(rows, n, replace=False)
    repeats = -(-n // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(repeats)])[:n]
