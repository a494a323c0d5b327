"""From a request to chunks of simulated cells: which control cell becomes which cell, solved in blocks of fixed size.

Cells are numbered along the request. What decides a cell (its control cell, its noise) is derived from the run's seed,
its condition and its number within the condition; blocks that go through the network always have the same shape. So
neither the chunk size, nor the number of processes, nor an interruption changes a cell.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from gensim.autoencoder.base import Autoencoder
from gensim.data.pairs import draw_population
from gensim.data.request import Request
from gensim.data.screen import Screen
from gensim.decoding import Decoder, MovedCells
from gensim.errors import DataError, listing
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.control_populations import Population
from gensim.perturbations.penetrance import response
from gensim.seeding import numpy_generator
from gensim.solvers.base import Solver
from gensim.transport.base import Transport
from gensim.types import (
    CellChunk,
    Condition,
    ConditionBatch,
    ControlBatch,
    FloatArray,
    IntArray,
    blocks,
    first_difference,
)

CELLS_PER_SOLVE = 1024
CELLS_PER_STREAM = 256
CELLS_PER_POPULATION = 256
"""First cells of a condition, from which its population is known."""


@dataclass(frozen=True, slots=True)
class Controls:
    """Control cells to start from.

    Args:
        x: (M, G) sparse float32, log1p CP10k, the genes of the run in their order.
        counts: (M, G) sparse, the same in the scale of the screen.
        cells: (M,) names.
        contexts: (M,) control condition of every cell.
        batches: (M,) experimental batch of every cell, "" where unknown.
        library_size: (M,) float32 counts over all genes of the screen.
    """

    x: sparse.csr_matrix
    counts: sparse.csr_matrix
    cells: Sequence[str]
    contexts: Sequence[Condition]
    batches: Sequence[str]
    library_size: FloatArray

    @classmethod
    def of(cls, screen: Screen, genes: tuple[str, ...], all_genes: tuple[str, ...]) -> "Controls":
        """The control cells of a screen; perturbed cells in it are left out.

        Args:
            genes: of the run. all_genes: of the screen that the run was trained on, before genes were selected; the
                control cells may come with either.

        Raises:
            DataError: the genes are neither of them (the first difference is named).
        """
        if screen.genes == all_genes:
            column = {gene: i for i, gene in enumerate(all_genes)}
            screen = screen.select_genes(np.array([column[gene] for gene in genes], dtype=np.int64))
        elif screen.genes != genes:
            near = genes if len(screen.genes) == len(genes) else all_genes
            raise DataError(
                f"the control cells have other genes than the run: {first_difference(screen.genes, near)} "
                "(control cells first, run second); give the same genes in the same order"
            )
        is_control = np.array([condition.is_control for condition in screen.conditions])
        rows = np.flatnonzero(is_control[screen.condition_of])
        return cls(
            x=screen.log1p_cp10k(rows),
            counts=screen.x[rows],
            cells=screen.cells[rows].tolist(),
            contexts=[screen.conditions[k] for k in screen.condition_of[rows]],
            batches=[screen.batches[b] for b in screen.batch_of[rows]] if screen.batches else [""] * len(rows),
            library_size=screen.library_size[rows],
        )

    def rows_of(self, control: Condition) -> IntArray:
        return np.flatnonzero([context == control for context in self.contexts])


@dataclass(frozen=True, slots=True)
class Plan:
    """Which cell is made from which control cell, computable for any range of cells.

    Args:
        conditions: K requested conditions, in the order of the request; repeats are allowed.
        ends: (K,) number of cells up to and with each of them.
        first: (K,) number, within its condition, of a row's first cell (not 0 where the condition is repeated).
        sources: per condition the rows of the controls it starts from.
    """

    conditions: tuple[Condition, ...]
    ends: IntArray
    first: IntArray
    sources: tuple[IntArray, ...]
    seed: int

    @property
    def n_cells(self) -> int:
        return int(self.ends[-1])

    def only(self, k: int, n_cells: int) -> "Plan":
        """The first cells of condition k alone."""
        part = slice(k, k + 1)
        ends, first = np.array([n_cells], dtype=np.int64), np.zeros(1, dtype=np.int64)
        return replace(self, conditions=self.conditions[part], ends=ends, first=first, sources=self.sources[part])

    def condition_of(self, cells: IntArray) -> IntArray:
        """Row of `conditions` for each of the numbered cells."""
        return np.searchsorted(self.ends, cells, side="right").astype(np.int64)

    def draw_sources(self, cells: IntArray) -> IntArray:
        """(n,) source rows of the numbered cells: every control cell of a condition once before any again."""
        source = np.empty(len(cells), dtype=np.int64)
        for k, here, number in self._by_condition(cells):
            source[here] = _through_streams(number, len(self.sources[k]), partial(self._shuffled_sources, k))
        return source

    def draw_noise(self, cells: IntArray, n_latents: int, purpose: str | int) -> torch.Tensor:
        """(n, D) standard normal noise of the numbered cells, of its own for every purpose: "start", or a step."""
        eps = np.empty((len(cells), n_latents), dtype=np.float32)
        for k, here, number in self._by_condition(cells):
            eps[here] = _through_streams(number, CELLS_PER_STREAM, partial(self._noise, k, n_latents, purpose))
        return torch.from_numpy(eps)

    def draw_uniform(self, cells: IntArray, n_genes: int, purpose: str) -> FloatArray:
        """(n, G) uniform draws in [0, 1) of the numbered cells, of their own for every purpose."""
        v = np.empty((len(cells), n_genes), dtype=np.float32)
        for k, here, number in self._by_condition(cells):
            v[here] = _through_streams(number, CELLS_PER_STREAM, partial(self._uniform, k, n_genes, purpose))
        return v

    def draw_population(self, k: int, n: int) -> IntArray:
        """(n,) rows of control cells that stand for all those which condition k starts from."""
        rng = numpy_generator(self.seed, "population", self.conditions[k].control.key)
        return draw_population(self.sources[k], n, rng)

    def _by_condition(self, cells: IntArray) -> Iterator[tuple[int, NDArray[np.bool_], IntArray]]:
        """Per condition k among the cells: k, which cells, and their numbers within the condition."""
        condition = self.condition_of(cells)
        for k in np.unique(condition):
            here = condition == k
            yield int(k), here, cells[here] - (self.ends[k - 1] if k else 0) + self.first[k]

    def _shuffled_sources(self, k: int, stream: int) -> IntArray:
        return numpy_generator(self.seed, "source", self.conditions[k].key, stream).permutation(self.sources[k])

    def _noise(self, k: int, n_latents: int, purpose: str | int, stream: int) -> FloatArray:
        generator = numpy_generator(self.seed, "noise", self.conditions[k].key, purpose, stream)
        return generator.standard_normal((CELLS_PER_STREAM, n_latents), dtype=np.float32)

    def _uniform(self, k: int, n_genes: int, purpose: str, stream: int) -> FloatArray:
        generator = numpy_generator(self.seed, "uniform", self.conditions[k].key, purpose, stream)
        return generator.random((CELLS_PER_STREAM, n_genes), dtype=np.float32)


def make_plan(request: Request, controls: Controls, seed: int) -> Plan:
    """Check that every requested condition has control cells in its context, and number the cells.

    Raises:
        DataError: a context has no control cells (up to ten are listed).
    """
    rows = {control: controls.rows_of(control) for control in {c.control for c in request.conditions}}
    bare = sorted(control.label for control, cells in rows.items() if len(cells) == 0)
    if bare:
        known = sorted({context.label for context in controls.contexts})
        raise DataError(f"no control cells to start from for {listing(bare)}; there are some for {listing(known)}")
    seen: Counter[Condition] = Counter()
    first = np.empty(len(request.conditions), dtype=np.int64)
    for k, (condition, n) in enumerate(zip(request.conditions, request.n_cells, strict=True)):
        first[k] = seen[condition]
        seen[condition] += int(n)
    sources = tuple(rows[condition.control] for condition in request.conditions)
    return Plan(request.conditions, np.cumsum(request.n_cells), first, sources, seed)


@dataclass(frozen=True, slots=True)
class Engine:
    """A trained transport with all that turns control cells into simulated cells, on one device.

    Args:
        population_cells: control cells of a population that the transport looks at.
    """

    transport: Transport
    autoencoder: Autoencoder
    solver: Solver
    codebook: Codebook
    decoder: Decoder
    population_cells: int
    device: torch.device

    @torch.no_grad()
    def encoded_population(self, controls: Controls, rows: IntArray) -> FloatArray:
        """(D,) what some of the control cells are like."""
        population = Population(self.autoencoder.n_latents)
        for part in blocks(len(rows), CELLS_PER_SOLVE):
            x = torch.from_numpy(controls.x[rows[part]].toarray()).to(self.device)
            population.add(self.autoencoder.encode(x).cpu().numpy())
        return population.encoded

    @torch.no_grad()
    def moved(
        self, sources: ControlBatch, condition: ConditionBatch, noise: Callable[[str | int], torch.Tensor]
    ) -> torch.Tensor:
        """(n, D) latents of n cells after transport; `noise` is asked for draws for "start" and for every step."""
        z_0 = self.transport.start(sources, condition, noise("start"))
        return self.solver.solve(self.transport.dynamics(sources, condition), z_0, noise)

    def chunks(self, plan: Plan, controls: Controls, chunk_cells: int, wanted: Iterable[int]) -> Iterator[CellChunk]:
        """The chunks of the plan whose numbers are `wanted`, `chunk_cells` cells each (a multiple of 1,024)."""
        if chunk_cells % CELLS_PER_SOLVE:
            raise ValueError(f"chunk_cells is {chunk_cells}; a multiple of {CELLS_PER_SOLVE} is needed")
        inputs = Inputs(self, plan, controls)
        populations = lru_cache(maxsize=CELLS_PER_SOLVE)(inputs.population)
        for index in wanted:
            start = index * chunk_cells
            stop = min(start + chunk_cells, plan.n_cells)
            moved, decoded = [], []
            for s in range(start, stop, CELLS_PER_SOLVE):
                cells = np.arange(s, min(s + CELLS_PER_SOLVE, stop))
                moved.append(inputs.moved(cells, CELLS_PER_SOLVE))
                present, row = np.unique(moved[-1].condition, return_inverse=True)
                known = torch.stack([populations(int(k)) for k in present])
                population = known[torch.from_numpy(row).to(self.device)]
                draw = partial(plan.draw_uniform, cells, controls.x.shape[1])
                decoded.append(self.decoder.decode(moved[-1], population, draw))
            drawn = [part.counts for part in decoded if part.counts is not None]
            yield CellChunk(
                index,
                start,
                x=np.concatenate([part.x for part in decoded]),
                counts=np.concatenate(drawn) if drawn else None,
                condition=np.concatenate([part.condition for part in moved]),
                source=np.concatenate([part.source for part in moved]),
                library_size=np.concatenate([part.library_size for part in decoded]),
            )


class Legs:
    """The ways from control cells to K conditions, coded; most have a single leg.

    Args:
        codebook: knows at which times conditions were measured.
    """

    def __init__(self, codebook: Codebook, conditions: Sequence[Condition]) -> None:
        legs = [codebook.effects.times.legs(condition) for condition in conditions]
        distinct = list(dict.fromkeys((leg.start, leg.end) for way in legs for leg in way))
        row = {ends: k for k, ends in enumerate(distinct)}
        self._codes = codebook.encode([end for _, end in distinct], [start for start, _ in distinct])
        self._length = np.array([len(way) for way in legs])
        # Cells that have arrived are carried on by their last leg, and go no share of it.
        longest = range(self._length.max(initial=0))
        last = [[way[min(i, len(way) - 1)] for i in longest] for way in legs]
        self._code = np.array([[row[leg.start, leg.end] for leg in way] for way in last])
        self._share = np.array([[way[i].share if i < len(way) else 0.0 for i in longest] for way in legs], np.float32)

    def most(self, condition: IntArray) -> int:
        """The most legs that any of the conditions with these (n,) rows has."""
        return int(self._length[condition].max())

    def at(self, number: int, condition: IntArray) -> tuple[ConditionBatch, torch.Tensor]:
        """The n codes of one leg of the conditions with these (n,) rows, and the (n, 1) shares of it to go."""
        share = torch.from_numpy(self._share[condition, number])[:, None]
        return self._codes[torch.from_numpy(self._code[condition, number])], share


def part_of_the_way(z_0: torch.Tensor, z_1: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """(n, D) points on straight lines from z_0 to z_1, at (n, 1) shares of it."""
    between = torch.where(share > 0, z_0 + share * (z_1 - z_0), z_0)
    return torch.where(share == 1, z_1, between)


class Inputs:
    """The control cells of a plan, coded for an engine."""

    def __init__(self, engine: Engine, plan: Plan, controls: Controls) -> None:
        self.engine = engine
        self.plan = plan
        self.controls = controls
        self.legs = Legs(engine.codebook, plan.conditions)
        self.batches = engine.codebook.batch_codes(controls.batches)
        self.populations, self.population_of = self._populations()

    @torch.no_grad()
    def moved(self, cells: IntArray, rows: int) -> MovedCells:
        """The numbered cells of the plan, moved.

        Args:
            rows: the network sees arrays of exactly so many rows, at least n: shapes decide rounding.
        """
        engine, padded = self.engine, np.minimum(np.arange(cells[0], cells[0] + rows), cells[-1])
        source, condition = self.plan.draw_sources(padded), self.plan.condition_of(padded)
        batches = self.batches[torch.from_numpy(source)]
        response_draw = self.plan.draw_uniform(padded, 1, "response")[:, 0]
        x_control = self._dense(source)
        z_control = engine.autoencoder.encode(x_control)
        population_of = self.population_of[torch.from_numpy(condition)].to(engine.device)
        z_1 = z_control
        for number in range(self.legs.most(condition)):
            coded, share_of_leg = self.legs.at(number, condition)
            share = coded.penetrance.numpy()
            times = response(response_draw < share, share)
            coded = coded.with_batch(batches).responding(torch.from_numpy(times)).to(engine.device)
            noise = partial(self._noise, padded, number)
            arrived = engine.moved(ControlBatch(z_1, self.populations, population_of), coded, noise)
            z_1 = part_of_the_way(z_1, arrived, share_of_leg.to(engine.device))
        n = len(cells)
        lost = ~torch.isfinite(z_1[:n]).all(dim=1)
        if bool(lost.any()):
            first = int(condition[int(lost.int().argmax())])
            raise DataError(
                f"{int(lost.sum())} of {n} simulated cells have latents that are not finite, first in condition "
                f"{self.plan.conditions[first].label!r}; the model diverged, train it with a lower learning rate"
            )
        return MovedCells(
            self.plan.conditions,
            condition[:n],
            source[:n],
            self.controls.counts[source[:n]].toarray(),
            x_control[:n],
            z_control[:n],
            z_1[:n],
            self.controls.library_size[source[:n]],
            times[:n],
        )

    def _noise(self, cells: IntArray, leg: int, purpose: str | int) -> torch.Tensor:
        """(n, D) draws of the numbered cells for one leg of their way."""
        of_leg = purpose if leg == 0 else f"leg {leg}, {purpose}"
        return self.plan.draw_noise(cells, self.engine.autoencoder.n_latents, of_leg).to(self.engine.device)

    @torch.no_grad()
    def population(self, k: int) -> torch.Tensor:
        """What the decoder must know of the population of condition k."""

        def first() -> MovedCells:
            alone = Inputs(self.engine, self.plan.only(k, CELLS_PER_POPULATION), self.controls)
            return alone.moved(np.arange(CELLS_PER_POPULATION), CELLS_PER_POPULATION)

        return self.engine.decoder.population(self.plan.conditions[k], first)

    @torch.no_grad()
    def _populations(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(S, M, D) latents of a population per context, and (K,) which of them each condition starts from."""
        contexts = [condition.control for condition in self.plan.conditions]
        position = {control: s for s, control in enumerate(dict.fromkeys(contexts))}
        # One context at a time: shapes decide rounding.
        population = [
            self.engine.autoencoder.encode(
                self._dense(self.plan.draw_population(contexts.index(control), self.engine.population_cells))
            )
            for control in position
        ]
        return torch.stack(population), torch.tensor([position[control] for control in contexts])

    def _dense(self, rows: IntArray) -> torch.Tensor:
        return torch.from_numpy(self.controls.x[rows].toarray()).to(self.engine.device)


def _through_streams(number: IntArray, size: int, stream: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
    """Entries `number` of the concatenation of stream(0), stream(1), ..., each `size` long."""
    position, first = np.unique(number // size, return_inverse=True)
    streams = np.stack([stream(int(i)) for i in position])
    return streams[first, number % size]
