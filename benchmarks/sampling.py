"""Speed of solvers beside the quality of their cells: ``python benchmarks/sampling.py``, or with ``--run RUN``.

Without a run, a flow of 3 blocks of width 512 over 50 latents is trained here, on Gaussian mixtures, for some hundred
steps; with one, the run's transport carries its held-back control cells to its held-out conditions. Every solver
carries the same cells in blocks of 1,024, in an order drawn anew for every block, and every block is timed.

Quality is the energy distance to target cells that were never trained on, averaged over disjoint parts of cells and
targets, relative to that of the converged solver (64 Heun steps in float32). Its interval (95 %, Student's t) is that
of the differences part by part, from the same control cells. `rms` is the root mean square distance of a latent of a
cell to where the converged solver brings it, in standardised latent units.

Fixed-step solvers that may lie within 2 % of converged are judged again on six times as many cells (of the flow that is
trained here), the fastest first, until one does.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
import torch
from provenance import provenance
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from gensim.autoencoder.base import encode_cells
from gensim.build import choose_device
from gensim.data.request import request_of
from gensim.metrics.distances import energy_distance
from gensim.nn.compiled import compile_fields
from gensim.nn.residual_mlp import ResidualMLP
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.encoder import ConditionEncoder
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.penetrance import ALL_RESPOND
from gensim.perturbations.vectors import one_hot_table
from gensim.seeding import numpy_generator, torch_generator
from gensim.simulate import CELLS_PER_SOLVE, Controls, Inputs, make_plan
from gensim.simulator import Simulator
from gensim.solvers.base import Solver
from gensim.solvers.denoising import DDIM, DPMSolver2M
from gensim.solvers.ode import Euler, Heun, Midpoint, TorchDiffEq
from gensim.solvers.precision import LowPrecision
from gensim.transport.base import Draws, Transport
from gensim.transport.flow_matching import FlowMatching
from gensim.types import (
    Condition,
    ConditionBatch,
    ControlBatch,
    Dynamics,
    FloatArray,
    PairBatch,
    StepNoise,
    VectorField,
)

FIXED_STEP = {"euler": Euler, "midpoint": Midpoint, "heun": Heun}
DENOISING = {"ddim": DDIM, "dpm_2m": DPMSolver2M}
REFERENCE = "dopri5 1e-4"
STEPS, STEPS_QUICK = (1, 2, 4, 8, 16, 32), (1, 4)
CONVERGED = Heun(64)
N_CELLS, FEWEST_PARTS = 4096, 8
TOLERATED = 0.02
TIMES_AS_MANY = 6
N_LATENTS, WIDTH, N_BLOCKS = 50, 512, 3
TRAINING_STEPS, TRAINING_STEPS_QUICK, PAIRS_PER_CONDITION = 400, 10, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a trained run, instead of the flow that is trained here")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch (default: 2)")
    parser.add_argument("--quick", action="store_true", help="ten training steps, few solvers: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    if arguments.run:
        problem = many = problem_of_run(arguments.run, device)
    else:
        make = mixture_problem(TRAINING_STEPS_QUICK if arguments.quick else TRAINING_STEPS, device)
        problem, many = make(1), None if arguments.quick else make(TIMES_AS_MANY)
    settings = list(settings_of(STEPS_QUICK if arguments.quick else STEPS, problem.plain[0].dynamics))
    timings, ends = measure(problem, settings)
    rows = [summary(problem, setting, timings, ends) for setting in settings]
    fit = [row for row in rows if row["within"] and row["solver"] != REFERENCE]
    if many is not None and many is not problem:
        fit = judged_again(many, settings, rows)
    report = {
        "benchmark": "sampling",
        "problem": problem.name,
        "energy_distance": scales(problem),
        "n_cells_judged_again": 0 if many is None or many is problem else len(many.converged),
        "rows": rows,
        "fastest_within": max(fit, key=lambda row: row["cells_per_s"]) if fit else None,
        "provenance": provenance() | {"threads": arguments.threads, "device": str(device)},
    }
    show(report)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


@dataclass(frozen=True)
class Setting:
    """A solver and how the network is run for it."""

    solver: str
    steps: int | None
    bf16: bool
    compiled: bool

    def make(self) -> Solver:
        inner = (
            TorchDiffEq("dopri5", 1e-4, 1) if self.steps is None else (FIXED_STEP | DENOISING)[self.solver](self.steps)
        )
        return LowPrecision(inner) if self.bf16 else inner


def settings_of(steps: tuple[int, ...], dynamics: Dynamics) -> Iterator[Setting]:
    solvers = [*FIXED_STEP, *(DENOISING if dynamics.denoiser else ())]
    for bf16, compiled in ((False, False), (False, True), (True, False), (True, True)):
        yield Setting(REFERENCE, None, bf16, compiled)
        for solver in solvers:
            yield from (Setting(solver, n, bf16, compiled) for n in steps)


@dataclass(frozen=True)
class Block:
    """1,024 cells about to be solved."""

    dynamics: Dynamics
    z_0: torch.Tensor


@dataclass(frozen=True)
class Part:
    """Some of the simulated cells, counted over all blocks, and (m, D) target cells to compare them with."""

    cells: np.ndarray
    target: FloatArray


@dataclass(frozen=True)
class Problem:
    """What every solver has to solve: `plain` and `compiled` are the same blocks through two copies of the field."""

    name: str
    plain: list[Block]
    compiled: list[Block]
    parts: list[Part]
    converged: FloatArray


def problem_of(name: str, plain: list[Block], compiled: list[Block], parts: list[Part]) -> Problem:
    converged = np.concatenate([solve(CONVERGED, block)[0] for block in plain])
    return Problem(name, plain, compiled, parts, converged)


@torch.no_grad()
def solve(solver: Solver, block: Block) -> tuple[FloatArray, int]:
    """(1,024, D) cells at t = 1, and how often the network was asked."""
    calls = 0

    def counted(field: VectorField) -> VectorField:
        def field_and_count(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            return field(t, z)

        return field_and_count

    dynamics = replace(block.dynamics, drift=counted(block.dynamics.drift))
    if dynamics.denoiser:
        dynamics = replace(dynamics, denoiser=replace(dynamics.denoiser, clean=counted(dynamics.denoiser.clean)))
    return solver.solve(dynamics, block.z_0, no_noise).cpu().numpy(), calls


def no_noise(step: int) -> torch.Tensor:
    raise AssertionError(f"an ODE asked for the noise of step {step}")


def measure(
    problem: Problem, settings: list[Setting]
) -> tuple[dict[Setting, list[tuple[float, int]]], dict[Setting, FloatArray]]:
    """Per setting (seconds, evaluations) of every block, and all cells at t = 1."""
    for bf16 in (False, True):  # compiled, and the memory of both filled, before anything is timed
        for block in (problem.plain[0], problem.compiled[0]):
            solve(LowPrecision(Euler(1)) if bf16 else Euler(1), block)
    timings: dict[Setting, list[tuple[float, int]]] = {setting: [] for setting in settings}
    ends: dict[Setting, list[FloatArray]] = {setting: [] for setting in settings}
    for i, blocks in enumerate(zip(problem.plain, problem.compiled, strict=True)):
        for j in numpy_generator(0, "order", i).permutation(len(settings)):
            setting = settings[j]
            started = time.perf_counter()
            z_1, calls = solve(setting.make(), blocks[setting.compiled])
            timings[setting].append((time.perf_counter() - started, calls))
            ends[setting].append(z_1)
    return timings, {setting: np.concatenate(z_1) for setting, z_1 in ends.items()}


def summary(
    problem: Problem,
    setting: Setting,
    timings: dict[Setting, list[tuple[float, int]]],
    ends: dict[Setting, FloatArray],
) -> dict:
    """One row of the table."""
    seconds = [s for s, _ in timings[setting]]
    reference = next(other for other in timings if other.steps is None)
    faster = [theirs / ours for (theirs, _), ours in zip(timings[reference], seconds, strict=True)]
    excess, half = excess_over_converged(problem, ends[setting])
    return {
        "solver": setting.solver,
        "steps": setting.steps,
        "bf16": setting.bf16,
        "compiled": setting.compiled,
        "evaluations": max(calls for _, calls in timings[setting]),
        "cells_per_s": CELLS_PER_SOLVE / median(seconds),
        "cells_per_s_range": [CELLS_PER_SOLVE / max(seconds), CELLS_PER_SOLVE / min(seconds)],
        "times_reference": median(faster),
        "times_reference_range": [min(faster), max(faster)],
        "relative_energy_distance": 1 + excess,
        "half_width": half,
        "within": abs(excess) <= TOLERATED,
        "n_cells": len(problem.converged),
        "rms": float(np.sqrt(np.square(ends[setting] - problem.converged, dtype=np.float64).mean())),
    }


def judged_again(problem: Problem, settings: list[Setting], rows: list[dict]) -> list[dict]:
    """Judge candidates on more cells, in place and the fastest first, until one lies within what is tolerated."""
    candidates = [
        (row["cells_per_s"], i)
        for i, (row, setting) in enumerate(zip(rows, settings, strict=True))
        if setting.steps is not None and not setting.compiled
        if row["relative_energy_distance"] - row["half_width"] <= 1 + TOLERATED
    ]
    for _, i in sorted(candidates, reverse=True):
        z_1 = np.concatenate([solve(settings[i].make(), block)[0] for block in problem.plain])
        excess, half = excess_over_converged(problem, z_1)
        rows[i] |= {"relative_energy_distance": 1 + excess, "half_width": half, "within": abs(excess) <= TOLERATED}
        rows[i]["n_cells"] = len(z_1)
        if rows[i]["within"]:
            return [rows[i]]
    return []


def excess_over_converged(problem: Problem, z_1: FloatArray) -> tuple[float, float]:
    """Relative excess of the energy distance over the converged solver's, and the half-width of its interval."""
    converged = distances(problem.parts, problem.converged)
    differences = [a - b for a, b in zip(distances(problem.parts, z_1), converged, strict=True)]
    half = stats.t.ppf(0.975, len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    return mean(differences) / mean(converged), half / mean(converged)


def distances(parts: list[Part], z_1: FloatArray) -> list[float]:
    return [energy_distance(z_1[part.cells], part.target) for part in parts]


def scales(problem: Problem) -> dict[str, float]:
    """Energy distances that say how much a difference means."""
    z_0 = np.concatenate([block.z_0.cpu().numpy() for block in problem.plain])
    halves = [energy_distance(part.target[::2], part.target[1::2]) for part in problem.parts]
    return {
        "start": mean(distances(problem.parts, z_0)),
        "converged": mean(distances(problem.parts, problem.converged)),
        "halves_of_target": mean(halves),
        "halves_of_target_sd": stdev(halves) / math.sqrt(len(halves)),
    }


# A trained run


@dataclass(frozen=True)
class Recorder:
    """A solver that keeps what it is given and leaves the cells where they start."""

    blocks: list[Block]
    order = None

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:  # noqa: ARG002
        self.blocks.append(Block(dynamics, z))
        return z


def problem_of_run(run: Path, device: torch.device) -> Problem:
    """The held-out conditions of a run, from its held-back control cells."""
    simulator = Simulator.load(run, str(device))
    screen = simulator.held_back_controls
    if screen.genes != simulator.genes:
        column = {gene: i for i, gene in enumerate(screen.genes)}
        screen = screen.select_genes(np.array([column[gene] for gene in simulator.genes]))
    conditions = simulator.held_out_request().conditions
    parts_each = -(-FEWEST_PARTS // len(conditions))
    enough = [c for c in conditions if len(screen.rows_of(c)) >= 4 * parts_each]
    if not enough:
        raise SystemExit(f"no held-out condition of {run} has {4 * parts_each} cells; nothing to compare with")
    controls = Controls.of(screen, simulator.genes, simulator.all_genes)
    plan = make_plan(request_of(enough, -(-N_CELLS // len(enough))), controls, simulator.config.seed)

    def blocks_of(transport: Transport) -> list[Block]:
        recorder = Recorder([])
        inputs = Inputs(replace(simulator.engine, transport=transport, solver=recorder), plan, controls)
        for start in range(0, plan.n_cells, CELLS_PER_SOLVE):
            inputs.moved(np.arange(start, min(start + CELLS_PER_SOLVE, plan.n_cells)), CELLS_PER_SOLVE)
        return recorder.blocks

    plain = blocks_of(simulator.engine.transport)
    if plain[0].dynamics.diffusion is not None:
        raise SystemExit(f"the transport of {run} is a stochastic equation, and these solvers are for ordinary ones")
    compiled = blocks_of(compiled_copy(simulator.engine.transport, device))
    condition_of = plan.condition_of(np.arange(plan.n_cells))
    parts = []
    for k, condition in enumerate(enough):
        rows = screen.rows_of(condition)
        target = np.empty((len(rows), simulator.engine.autoencoder.n_latents), dtype=np.float32)
        encode_cells(simulator.engine.autoencoder, screen.log1p_cp10k(rows), target)
        cells = np.flatnonzero(condition_of == k)
        parts += [Part(cells[i::parts_each], target[i::parts_each]) for i in range(parts_each)]
    return problem_of(f"run {run}: {len(enough)} of {len(conditions)} held-out conditions", plain, compiled, parts)


def compiled_copy(transport: Transport, device: torch.device) -> Transport:
    copied = copy.deepcopy(transport)
    compile_fields(copied, device)
    return copied


# A flow between Gaussian mixtures


class Mixtures:
    """Six kinds of control cells; under each of four conditions a kind moves its own way, and a part of it another."""

    n_kinds, n_conditions = 6, 4

    def __init__(self) -> None:
        rng = numpy_generator(0, "mixtures")
        scale = np.arange(1, N_LATENTS + 1) ** -0.5
        self.scale = scale / np.sqrt(np.square(scale).mean())  # falls as that of principal components, mean square 1
        self.centres = self.scale * rng.standard_normal((self.n_kinds, N_LATENTS))
        self.spread = 0.5 * self.scale
        shape = (self.n_conditions, self.n_kinds, 2)
        self.moves = self.scale * rng.standard_normal((*shape, N_LATENTS))
        self.stretch = rng.uniform(0.3, 1.5, shape)
        self.responders = rng.uniform(0.3, 0.9, shape[:2])

    def controls(self, n: int, rng: np.random.Generator) -> FloatArray:
        kind = rng.integers(0, self.n_kinds, n)
        z = self.centres[kind] + self.spread * rng.standard_normal((n, N_LATENTS))
        return z.astype(np.float32)

    def targets(self, condition: int, n: int, rng: np.random.Generator) -> FloatArray:
        kind = rng.integers(0, self.n_kinds, n)
        way = (rng.random(n) < self.responders[condition, kind]).astype(np.int64)
        moved = self.centres[kind] + self.moves[condition, kind, way]
        spread = self.spread * self.stretch[condition, kind, way][:, None]
        return (moved + spread * rng.standard_normal((n, N_LATENTS))).astype(np.float32)


def mixture_problem(n_steps: int, device: torch.device) -> Callable[[int], Problem]:
    """Train the flow; then so many blocks per condition as are asked for, in two parts each."""
    mixtures = Mixtures()
    conditions = [Condition((f"P{k}",)) for k in range(mixtures.n_conditions)]
    names = [condition.perturbations[0] for condition in conditions]
    effects = MeanEffects((), np.zeros((0, N_LATENTS), np.float32))
    codebook = Codebook((), (), (), one_hot_table(names), effects, ALL_RESPOND)
    codes = codebook.encode(conditions)
    transport = untrained(codebook).to(device)
    train(transport, mixtures, codes, n_steps)

    def make(n_blocks: int) -> Problem:
        each = [(k, number) for k in range(len(conditions)) for number in range(n_blocks)]

        def blocks_of(transport: Transport) -> list[Block]:
            blocks = []
            for k, number in each:
                rng = numpy_generator(0, "test controls", n_blocks, k, number)
                z = torch.from_numpy(mixtures.controls(CELLS_PER_SOLVE, rng)).to(device)
                controls, condition = ControlBatch.alone(z), codes[torch.full((len(z),), k)].to(device)
                with torch.no_grad():
                    z_0 = transport.start(controls, condition, torch.zeros_like(z))
                    blocks.append(Block(transport.dynamics(controls, condition), z_0))
            return blocks

        parts = []
        for i, (k, number) in enumerate(each):
            target = mixtures.targets(k, 2 * CELLS_PER_SOLVE, numpy_generator(0, "test targets", n_blocks, k, number))
            cells = i * CELLS_PER_SOLVE + np.arange(CELLS_PER_SOLVE)
            parts += [Part(cells[i::2], target[i::2]) for i in range(2)]
        name = f"Gaussian mixtures, {N_BLOCKS} blocks of width {WIDTH}, {n_steps} training steps"
        return problem_of(name, blocks_of(transport), blocks_of(compiled_copy(transport, device)), parts)

    return make


def untrained(codebook: Codebook) -> FlowMatching:
    generator = torch_generator(0, "weights")
    encoder = ConditionEncoder(codebook, 32, generator)
    sizes = (N_LATENTS, encoder.n_features, N_LATENTS)
    field = ResidualMLP(*sizes, sees_control=False, width=WIDTH, n_blocks=N_BLOCKS, generator=generator)
    return FlowMatching(field, encoder)


def train(transport: FlowMatching, mixtures: Mixtures, codes: ConditionBatch, n_steps: int) -> None:
    """Every step sees new cells of every condition, paired within it by optimal transport."""
    optimiser = torch.optim.AdamW(transport.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=n_steps)
    device = next(transport.parameters()).device
    for step in range(n_steps):
        rng = numpy_generator(0, "training", step)
        z_0, z_1 = [], []
        for k in range(mixtures.n_conditions):
            source = mixtures.controls(PAIRS_PER_CONDITION, rng)
            target = mixtures.targets(k, PAIRS_PER_CONDITION, rng)
            rows, columns = linear_sum_assignment(cdist(source, target, "sqeuclidean"))
            z_0.append(source[rows])
            z_1.append(target[columns])
        source, target = (torch.from_numpy(np.concatenate(z)).to(device) for z in (z_0, z_1))
        n = torch.arange(len(source), device=device)
        condition = codes[torch.arange(mixtures.n_conditions).repeat_interleave(PAIRS_PER_CONDITION)].to(device)
        t = torch.from_numpy(rng.random(len(source), dtype=np.float32)).to(device)
        draws = Draws(t, torch.zeros_like(source), torch.zeros_like(source))
        loss = transport.loss(PairBatch(ControlBatch.alone(source), target, condition, n, n), draws)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == n_steps - 1:
            print(f"training step {step}: loss {loss.item():.4f}", flush=True)


def show(report: dict) -> None:
    print(f"\n{report['problem']}")
    for name, value in report["energy_distance"].items():
        print(f"energy distance, {name}: {value:.5f}")
    print(
        f"\n{'solver':12}{'steps':>6}{'calls':>6}  {'network':17}{'cells/s (range)':>31}{'x ' + REFERENCE:>15}"
        f"{'relative distance':>21}{'rms':>9}  within {TOLERATED:.0%}"
    )
    for row in report["rows"]:
        print(
            f"{row['solver']:12}{row['steps'] or '':>6}{row['evaluations']:>6}  {network(row):17}"
            + f"{row['cells_per_s']:,.0f} ({' to '.join(f'{v:,.0f}' for v in row['cells_per_s_range'])})".rjust(31)
            + f"{row['times_reference']:15.2f}"
            + f"{row['relative_energy_distance']:.4f} ± {row['half_width']:.4f}".rjust(21)
            + f"{row['rms']:9.5f}  {'yes' if row['within'] else 'no'}"
        )
    best = report["fastest_within"]
    if best is None:
        print(f"no fixed-step solver is within {TOLERATED:.0%} of the converged one")
    else:
        low, high = best["times_reference_range"]
        print(
            f"\nfastest within {TOLERATED:.0%}: {best['solver']}, steps {best['steps']}, {network(best)}: "
            f"{best['cells_per_s']:,.0f} cells/s, "
            f"{best['times_reference']:.1f} ({low:.1f} to {high:.1f}) times {REFERENCE}"
        )
    for name, value in report["provenance"].items():
        print(f"{name}: {value}")


def network(row: dict) -> str:
    return ("bf16" if row["bf16"] else "float32") + (" compiled" if row["compiled"] else "")


if __name__ == "__main__":
    main()
