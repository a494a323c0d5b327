"""From a request to chunks of simulated cells: which control cell becomes which cell, solved in blocks of fixed size.

Cells are numbered along the request. What decides a cell (its control cell, its noise) is derived from the run's seed,
its condition and its number within the condition; blocks that go through the network always have the same shape. So
neither the chunk size, nor the number of processes, nor an interruption changes a cell.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from gensim.autoencoder.base import Autoencoder
from gensim.data.request import Request
from gensim.data.screen import Screen
from gensim.errors import DataError, listing
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.mean_effects import MeanEffects
from gensim.seeding import numpy_generator
from gensim.solvers.base import Solver
from gensim.transport.base import Transport
from gensim.types import CellChunk, Condition, ConditionBatch, FloatArray, IntArray, first_difference

CELLS_PER_SOLVE = 1024
CELLS_PER_STREAM = 256


@dataclass(frozen=True, slots=True)
class Controls:
    """Control cells to start from.

    Args:
        x: (M, G) sparse float32, log1p CP10k, the genes of the run in their order.
        cells: (M,) names.
        contexts: (M,) control condition of every cell.
        batches: (M,) experimental batch of every cell, "" where unknown.
        library_size: (M,) float32 counts over all genes of the screen.
    """

    x: sparse.csr_matrix
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

    def condition_of(self, cells: IntArray) -> IntArray:
        """Row of `conditions` for each of the numbered cells."""
        return np.searchsorted(self.ends, cells, side="right").astype(np.int64)

    def draw(self, cells: IntArray, n_latents: int) -> tuple[IntArray, torch.Tensor]:
        """Source rows (n,) and standard normal noise (n, D) of the numbered cells.

        Every control cell of a condition is used once before any is used again.
        """
        source = np.empty(len(cells), dtype=np.int64)
        eps = np.empty((len(cells), n_latents), dtype=np.float32)
        condition = self.condition_of(cells)
        for k in np.unique(condition):
            here = condition == k
            number = cells[here] - (self.ends[k - 1] if k else 0) + self.first[k]
            size = len(self.sources[k])
            source[here] = _through_streams(number, size, partial(self._shuffled_sources, k))
            eps[here] = _through_streams(number, CELLS_PER_STREAM, partial(self._noise, k, n_latents))
        return source, torch.from_numpy(eps)

    def _shuffled_sources(self, k: int, stream: int) -> IntArray:
        return numpy_generator(self.seed, "source", self.conditions[k].key, stream).permutation(self.sources[k])

    def _noise(self, k: int, n_latents: int, stream: int) -> FloatArray:
        generator = numpy_generator(self.seed, "noise", self.conditions[k].key, stream)
        return generator.standard_normal((CELLS_PER_STREAM, n_latents), dtype=np.float32)


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
        outside: mean effects on what the latents do not hold; None where nothing is owed to mean effects.
    """

    transport: Transport
    autoencoder: Autoencoder
    solver: Solver
    codebook: Codebook
    outside: MeanEffects | None
    device: torch.device

    def chunks(self, plan: Plan, controls: Controls, chunk_cells: int, wanted: Iterable[int]) -> Iterator[CellChunk]:
        """The chunks of the plan whose numbers are `wanted`, `chunk_cells` cells each (a multiple of 1,024)."""
        if chunk_cells % CELLS_PER_SOLVE:
            raise ValueError(f"chunk_cells is {chunk_cells}; a multiple of {CELLS_PER_SOLVE} is needed")
        codes = self.codebook.encode(plan.conditions)
        batches = self.codebook.batch_codes(controls.batches)
        for index in wanted:
            start = index * chunk_cells
            stop = min(start + chunk_cells, plan.n_cells)
            parts = [
                self._block(np.arange(s, min(s + CELLS_PER_SOLVE, stop)), plan, controls, codes, batches)
                for s in range(start, stop, CELLS_PER_SOLVE)
            ]
            x, condition, source = (np.concatenate(part) for part in zip(*parts, strict=True))
            yield CellChunk(index, start, x, condition, source, controls.library_size[source])

    @torch.no_grad()
    def _block(
        self, cells: IntArray, plan: Plan, controls: Controls, codes: ConditionBatch, batches: torch.Tensor
    ) -> tuple[FloatArray, IntArray, IntArray]:
        """Up to 1,024 cells, computed in an array of exactly that many rows: shapes decide rounding."""
        padded = np.minimum(np.arange(cells[0], cells[0] + CELLS_PER_SOLVE), cells[-1])
        source, eps = plan.draw(padded, self.autoencoder.n_latents)
        condition = plan.condition_of(padded)
        x_control = torch.from_numpy(controls.x[source].toarray()).to(self.device)
        coded = codes[torch.from_numpy(condition)].with_batch(batches[torch.from_numpy(source)]).to(self.device)
        outside = self._outside_effects(plan, condition).to(self.device)
        x = simulate_cells(
            self.transport, self.autoencoder, self.solver, x_control, coded, eps.to(self.device), outside
        )
        n = len(cells)
        return x[:n].cpu().numpy(), condition[:n], source[:n]

    def _outside_effects(self, plan: Plan, condition: IntArray) -> torch.Tensor:
        """(B, G) mean effect outside the latents for each cell, or (1, 1) zero."""
        if self.outside is None:
            return torch.zeros(1, 1)
        present, row = np.unique(condition, return_inverse=True)
        effects = np.stack([self.outside.shift(plan.conditions[k]) for k in present])
        return torch.from_numpy(effects[row])


def simulate_cells(
    transport: Transport,
    autoencoder: Autoencoder,
    solver: Solver,
    x_control: torch.Tensor,
    condition: ConditionBatch,
    eps: torch.Tensor,
    outside: torch.Tensor,
) -> torch.Tensor:
    """(B, G) control cells to (B, G) simulated cells, log1p CP10k, not negative.

    Latents cannot hold gene-level noise. So what they miss of the control cell is carried over, moved by the mean
    effect that the condition had on it in training, and cut off at 0:

        x = max(0, decode(z_1) + [x_control - decode(z_control)] + outside)

    Control conditions come out as the control cells themselves.

    Args:
        outside: (B, G), mean effect of each cell's condition on what the latents do not hold.
    """
    z_control = autoencoder.encode(x_control)
    dynamics = transport.dynamics(z_control, condition)
    z_1 = solver.solve(dynamics, transport.start(z_control, eps))
    carried_over = x_control - autoencoder.decode(z_control)
    x = (autoencoder.decode(z_1) + carried_over + outside).clamp_min(0)
    is_control = (condition.perturbations == 0).all(dim=1, keepdim=True)
    return torch.where(is_control, x_control, x)


def _through_streams(number: IntArray, size: int, stream: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
    """Entries `number` of the concatenation of stream(0), stream(1), ..., each `size` long."""
    position, first = np.unique(number // size, return_inverse=True)
    streams = np.stack([stream(int(i)) for i in position])
    return streams[first, number % size]
