"""What couplings cost in training, and what they gain: ``python benchmarks/training.py``.

Two figures per coupling: cells that training sees per second, beside the same training on cells that nothing pairs; and
the share of the gain of optimal transport in the pairs that the model is given,

    share = (independent cost - cost) / (independent cost - exact cost),    cost = E|z_1 - z_0|²

where the independent and the exact cost are those of fresh samples of 1,024 sources and 1,024 targets of every group.
The latents are Gaussian mixtures, made here. Couplings that leave cells out can gain more than 100 %, as they give the
model other cells. Training is the plain step: pairs, draws, loss, gradient, AdamW; no validation. Rows take turns, each
round beginning with another, so that a disturbance of the machine meets them alike; figures are medians and ranges over
the rounds, and the ratio is that of the medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from provenance import provenance
from torch import nn

from gensim.data.pairs import Group, PairSampler
from gensim.nn.blocks import initialise, linear
from gensim.nn.residual_mlp import ResidualMLP
from gensim.ot.coupling import BridgeCoupling, Coupling, ExactCoupling, IndependentCoupling, Pairs, SinkhornCoupling
from gensim.ot.gaussian import GaussianCoupling
from gensim.ot.unbalanced import PartialCoupling, UnbalancedCoupling
from gensim.seeding import numpy_generator, torch_generator
from gensim.transport.base import Draws
from gensim.transport.flow_matching import FlowMatching
from gensim.types import ConditionBatch, ControlBatch, PairBatch

N_LATENTS, N_CLUSTERS, N_GROUPS = 50, 6, 8
CONTROLS, TARGETS = 4000, 1500
CELLS_PER_STEP = 1024
REFERENCE_CELLS, REFERENCE_REPEATS = 1024, 4
WARM_UP = 3
SEED = 0
LEAST_PERIOD = 1e-9  # a reuse of nearly nothing: a plan of its own for every step


@dataclass(frozen=True)
class Row:
    """A way to pair cells; without `cells_per_plan` a plan couples as many cells as a slot holds."""

    name: str
    coupling: Coupling | None
    cells_per_plan: int | None
    plan_reuse: float


@dataclass(frozen=True)
class Screen:
    latents: torch.Tensor
    groups: list[Group]
    conditions: ConditionBatch
    batches: torch.Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small field and small pools, one round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here as well")
    parser.add_argument("--device", default="cpu", help="where the field is trained; couplings are solved on the CPU")
    parser.add_argument("--groups", type=int, default=16, help="groups in a step of 1,024 cells: 16 (default), or 1")
    parser.add_argument("--cells-per-plan", type=int, default=1024)
    parser.add_argument("--plan-reuse", type=float, nargs="+", default=[32], help="several: exact is measured at each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24, help="measured steps of every row in every round")
    arguments = parser.parse_args()
    rounds, steps, width = (1, 3, 64) if arguments.quick else (arguments.rounds, arguments.steps, 512)
    cells_per_plan = 128 if arguments.quick else arguments.cells_per_plan
    screen = make_screen(arguments.device)
    table = measure(screen, rows(cells_per_plan, arguments.plan_reuse), arguments.groups, rounds, steps, width)
    print(f"{'coupling':24}{'cells/s':>10}{'range':>18}{'of no pairing':>15}{'gain':>9}{'solve ms':>10}")
    for row in table:
        low, high = row["cells_per_second_range"]
        print(f"{row['coupling']:24}{row['cells_per_second']:>10,.0f}{f'{low:,.0f}-{high:,.0f}':>18}"
              f"{row['of_no_pairing']:>15.3f}{row['share_of_gain']:>9.1%}{row['solve_ms']:>10.1f}")  # fmt: skip
    setting = {
        "groups_per_step": arguments.groups, "cells_per_group": CELLS_PER_STEP // arguments.groups,
        "cells_per_plan": cells_per_plan, "plan_reuse": arguments.plan_reuse, "width": width, "n_blocks": 3,
        "n_latents": N_LATENTS, "rounds": rounds, "steps": steps, "device": arguments.device,
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    report = {"benchmark": "training", "setting": setting, "results": table, "provenance": provenance()}
    for name, value in {**setting, **report["provenance"]}.items():
        print(f"{name}: {value}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def rows(cells_per_plan: int, plan_reuse: list[float]) -> list[Row]:
    reuse = plan_reuse[0]
    return [
        Row("no pairing", None, None, 0),
        Row("independent", IndependentCoupling(), cells_per_plan, reuse),
        *(Row(f"exact, reuse {r:g}", ExactCoupling(), cells_per_plan, r) for r in plan_reuse),
        Row("exact, 64 cells, anew every step", ExactCoupling(), None, LEAST_PERIOD),
        Row("sinkhorn 0.05", SinkhornCoupling(0.05, 1000), cells_per_plan, reuse),
        Row("bridge 0.5", BridgeCoupling(0.5, 5000), cells_per_plan, reuse),
        Row("unbalanced 0.05, 1", UnbalancedCoupling(0.05, 1.0, 1000), cells_per_plan, reuse),
        Row("partial 0.9", PartialCoupling(0.9), cells_per_plan, reuse),
        Row("gaussian", GaussianCoupling(), cells_per_plan, reuse),
    ]


def make_screen(device: str) -> Screen:
    """One context: controls from a mixture of six Gaussians with falling variances, as of principal components, scaled
    to a mean variance of 1; targets from the same clusters in other proportions, shifted a little more in some."""
    rng = np.random.default_rng(SEED)
    spread = np.linspace(1.5, 0.3, N_LATENTS)
    centres = 1.2 * spread * rng.normal(size=(N_CLUSTERS, N_LATENTS))

    def cells(n: int, weights: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        cluster = rng.choice(N_CLUSTERS, n, p=weights)
        return (centres + shifts)[cluster] + spread * rng.normal(size=(n, N_LATENTS))

    parts = [cells(CONTROLS, np.full(N_CLUSTERS, 1 / N_CLUSTERS), np.zeros((N_CLUSTERS, N_LATENTS)))]
    for _ in range(N_GROUPS):
        shifts = spread * (0.4 * rng.normal(size=N_LATENTS) + 0.3 * rng.normal(size=(N_CLUSTERS, N_LATENTS)))
        parts.append(cells(TARGETS, rng.dirichlet(np.full(N_CLUSTERS, 5.0)), shifts))
    latents = np.concatenate(parts)
    latents /= latents[:CONTROLS].std(axis=0).mean()
    groups = [Group(k + 1, np.arange(CONTROLS), CONTROLS + TARGETS * k + np.arange(TARGETS)) for k in range(N_GROUPS)]
    k = torch.arange(N_GROUPS + 1)
    none = torch.zeros(N_GROUPS + 1, 1)
    conditions = ConditionBatch(
        k[:, None], none.long(), torch.zeros_like(k), torch.ones(N_GROUPS + 1, 1), none, torch.ones(N_GROUPS + 1)
    )
    z = torch.from_numpy(latents.astype(np.float32)).to(device)
    return Screen(z, groups, conditions, torch.zeros(len(z), dtype=torch.int64))


class Unpaired:
    """Cells of the same groups in the order drawn: what a sampler costs that knows of no pairs."""

    def __init__(self, screen: Screen, n_slots: int, n: int) -> None:
        self.screen, self.n_slots, self.n = screen, n_slots, n

    def batch(self, step: int, slots: range) -> PairBatch:
        rng = numpy_generator(SEED, "pairs", step)
        which = rng.integers(len(self.screen.groups), size=self.n_slots)
        groups = [self.screen.groups[int(which[slot])] for slot in slots]
        z, n = self.screen.latents, self.n
        source = torch.from_numpy(np.concatenate([rng.choice(g.sources, n, replace=False) for g in groups]))
        target = torch.from_numpy(np.concatenate([rng.choice(g.targets, n, replace=False) for g in groups]))
        source, target = source.to(z.device), target.to(z.device)
        slot_of_pair = torch.arange(len(slots), device=z.device).repeat_interleave(n)
        condition = torch.tensor([g.condition for g in groups], device=z.device)[slot_of_pair]
        population = z.new_empty(len(slots), 0, N_LATENTS)
        conditions = self.screen.conditions.to(z.device)
        return PairBatch(
            ControlBatch(z[source], population, slot_of_pair), z[target],
            conditions[condition].with_batch(self.screen.batches.to(z.device)[target]), source, target,
        )  # fmt: skip


class OneVectorPerCondition(nn.Module):
    """The simplest encoder of conditions."""

    n_features = 32

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.project = linear(N_GROUPS + 1, self.n_features)
        initialise(self, generator)

    def forward(self, condition: ConditionBatch) -> torch.Tensor:
        one_hot = nn.functional.one_hot(condition.perturbations[:, 0], N_GROUPS + 1).to(condition.dose.dtype)
        encoded: torch.Tensor = self.project(one_hot)
        return encoded


class TimedCoupling:
    """A coupling that notes how long it takes."""

    def __init__(self, coupling: Coupling) -> None:
        self.coupling = coupling
        self.seconds: list[float] = []

    def __call__(self, z_0: np.ndarray, z_1: np.ndarray, rng: np.random.Generator) -> Pairs:
        began = time.perf_counter()
        pairs = self.coupling(z_0, z_1, rng)
        self.seconds.append(time.perf_counter() - began)
        return pairs


def measure(
    screen: Screen, table: list[Row], n_slots: int, rounds: int, steps: int, width: int
) -> list[dict[str, object]]:
    """A result per row: training cells per second, of no pairing, share of the gain, milliseconds of a plan."""
    timed = {row.name: TimedCoupling(row.coupling) for row in table if row.coupling}
    samplers = {row.name: make_sampler(screen, row, timed.get(row.name), n_slots) for row in table}
    trains = {row.name: trainer(screen, samplers[row.name], n_slots, width) for row in table}
    for row in table:
        fill_pools(samplers[row.name], n_slots)
        trains[row.name](range(WARM_UP))
    speeds: dict[str, list[float]] = {row.name: [] for row in table}
    for i in range(rounds):
        first = WARM_UP + i * steps
        for row in table[i % len(table) :] + table[: i % len(table)]:
            began = time.perf_counter()
            trains[row.name](range(first, first + steps))
            speeds[row.name].append(CELLS_PER_STEP * steps / (time.perf_counter() - began))
    independent, exact = (reference_cost(screen, coupling) for coupling in (IndependentCoupling(), ExactCoupling()))
    results: list[dict[str, object]] = []
    for row in table:
        mine = speeds[row.name]
        cost = given_cost(samplers[row.name], range(rounds * steps), n_slots)
        results.append({
            "coupling": row.name,
            "cells_per_second": statistics.median(mine),
            "cells_per_second_range": [min(mine), max(mine)],
            "of_no_pairing": statistics.median(mine) / statistics.median(speeds["no pairing"]),
            "share_of_gain": (independent - cost) / (independent - exact),
            "solve_ms": 1000 * statistics.median(timed[row.name].seconds) if row.name in timed else 0.0,
        })  # fmt: skip
    return results


def make_sampler(screen: Screen, row: Row, coupling: TimedCoupling | None, n_slots: int) -> PairSampler | Unpaired:
    n = CELLS_PER_STEP // n_slots
    if coupling is None:
        return Unpaired(screen, n_slots, n)
    return PairSampler(
        screen.latents,
        screen.groups,
        screen.conditions,
        [""] * len(screen.conditions),
        screen.batches,
        coupling,
        cells_per_group=n,
        groups_per_step=n_slots,
        cells_per_plan=row.cells_per_plan or n,
        plan_reuse=row.plan_reuse,
        rare_condition_power=0.5,
        seed=SEED,
    )


def fill_pools(sampler: PairSampler | Unpaired, n_slots: int) -> None:
    """Draw until every group has a pool: filling the first ones is no part of a long run's steps."""
    if isinstance(sampler, PairSampler):
        steps = count()
        while len(sampler.newest) < len(sampler.groups):
            sampler.batch(next(steps), range(n_slots))


def trainer(screen: Screen, sampler: PairSampler | Unpaired, n_slots: int, width: int) -> Callable[[range], None]:
    """A function that trains for the given steps."""
    generator, device = torch_generator(SEED, "weights"), screen.latents.device
    encoder = OneVectorPerCondition(generator)
    field = ResidualMLP(
        N_LATENTS, encoder.n_features, N_LATENTS, sees_control=False, width=width, n_blocks=3, generator=generator
    )
    model = FlowMatching(field, encoder).to(device)  # type: ignore[arg-type]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4)

    def train(steps: range) -> None:
        for step in steps:
            pairs = sampler.batch(step, range(n_slots))
            draw = torch_generator(SEED, "draws", step)
            t = torch.rand(len(pairs), generator=draw)
            eps, path = (torch.randn(len(pairs), N_LATENTS, generator=draw) for _ in range(2))
            optimiser.zero_grad()
            loss = model(pairs, Draws(t.to(device), eps.to(device), path.to(device)))
            loss.backward()
            optimiser.step()
            loss.item()  # an accelerator has done the step only once it is asked

    return train


def reference_cost(screen: Screen, coupling: Coupling) -> float:
    """Mean cost of a coupling of fresh samples of 1,024 on either side, over all groups."""
    costs = []
    for k, group in enumerate(screen.groups):
        for repeat in range(REFERENCE_REPEATS):
            rng = numpy_generator(SEED, "reference", k, repeat)
            z_0, z_1 = (
                screen.latents[torch.from_numpy(rng.choice(rows, REFERENCE_CELLS, replace=False))].cpu().numpy()
                for rows in (group.sources, group.targets)
            )
            source, target = coupling(z_0, z_1, rng)
            costs.append(float(np.square(z_0[source] - z_1[target]).sum(axis=1).mean()))
    return statistics.mean(costs)


def given_cost(sampler: PairSampler | Unpaired, steps: range, n_slots: int) -> float:
    """Mean cost of the pairs that the model is given in these steps, every group counting alike."""
    costs: dict[int, list[float]] = {}
    for step in steps:
        pairs = sampler.batch(step, range(n_slots))
        squared = (pairs.controls.z - pairs.z_1).square().sum(dim=1)
        for condition in pairs.condition.perturbations[:, 0].unique().tolist():
            mine = pairs.condition.perturbations[:, 0] == condition
            costs.setdefault(condition, []).append(float(squared[mine].mean()))
    return statistics.mean(statistics.mean(of_group) for of_group in costs.values())


if __name__ == "__main__":
    main()
