"""A perturbation screen whose truth is known: a regulatory network, simulated cells, and their capture as counts.

The screen is data to learn from; `SimulatedScreen.population` is the truth to be judged against, for any condition,
measured or not. Every draw is named by (seed, condition, replicate), so a condition's cells do not depend on which
other conditions are asked for. Equations and sources: docs/simulated_screen.md.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from gensim.data.conditions import dose_column
from gensim.data.network_dynamics import CellDynamics, draw_rates
from gensim.data.regulatory_network import RegulatoryNetwork, draw_network, network_from_edges
from gensim.data.simulated_capture import Capture, draw_capture
from gensim.data.simulated_effect import Modality, PerturbationEffect, refuse_outside
from gensim.doses import Dose
from gensim.errors import DataError, listing, nearest
from gensim.seeding import digest, numpy_generator
from gensim.types import Condition, FloatArray, IntArray, blocks

DEFAULT_N_GENES = 200
GENES_PER_REGULATOR = 10
DEFAULT_VECTOR_LENGTH = 16
BLOCK = 1024
"""Cells simulated together; part of the name of their random stream, so another value gives other cells."""


@dataclass(frozen=True, slots=True)
class _Cells:
    """A block of cells before capture: (n, G) molecules, (n, k) whether each perturbation took effect, (n,) batch."""

    x: FloatArray
    responds: NDArray[np.bool_]
    batch: IntArray
    capture_rng: np.random.Generator


@dataclass(frozen=True, eq=False)
class SimulatedScreen:
    """A simulated world of genes and cell types in which any perturbation can be tried on any number of cells.

    Args:
        seed: decides the network, the cell types, the batches and every cell.
        n_genes: genes of a drawn network, 200 if not given; not together with `edges`.
        n_regulators: those of them that regulate and can be perturbed, n_genes / 10 if not given; not with `edges`.
        n_cell_types: named ``type_1``, ``type_2``, ...; they differ in the production of the master regulators.
        n_batches: named ``batch_1``, ...; cells alternate between them.
        edges: regulator, target, sign (1 or -1) and optionally weight, instead of a drawn network. The attribute
            holds the edges of the network in either case.
        modality: ``knock_out`` production 0; ``knock_down`` production times 1 - `efficiency`; ``activation``
            production plus `activation` times the reference production. A dose d scales the change by
            d^2 / (half_dose^2 + d^2); without a dose it is full.
        efficiency: of a knock-down, in (0, 1].
        activation: production added, in multiples of the reference production.
        half_dose: dose of half effect, in the unit of the doses.
        escape: share of cells in which a perturbation has no effect, drawn for each perturbation of a combination.
        noise: amplitude of the intrinsic noise, 1 for the chemical Langevin equation.
        counts_per_gene: median library size divided by the number of genes.
        library_spread: standard deviation of the log of the library size.
        dispersion: phi of the counts, whose variance is mu + phi mu^2; 0 gives Poisson counts.

    Raises:
        DataError: an argument is outside its domain, or the edge table cannot be used.
    """

    seed: int = 0
    n_genes: int | None = None
    n_regulators: int | None = None
    n_cell_types: int = 2
    n_batches: int = 2
    edges: pd.DataFrame | None = None
    modality: Modality = "knock_out"
    efficiency: float = 0.8
    activation: float = 3.0
    half_dose: float = 1.0
    escape: float = 0.15
    noise: float = 1.0
    counts_per_gene: float = 5.0
    library_spread: float = 0.35
    dispersion: float = 0.1
    _effect: PerturbationEffect = field(init=False, repr=False)
    _capture: Capture = field(init=False, repr=False)
    _drawn: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        refuse_outside("n_cell_types", self.n_cell_types, self.n_cell_types >= 1, "1 or more")
        refuse_outside("n_batches", self.n_batches, self.n_batches >= 1, "1 or more")
        refuse_outside("noise", self.noise, 0 <= self.noise < np.inf, "0 or more, and finite")
        if self.edges is not None and (self.n_genes is not None or self.n_regulators is not None):
            raise DataError("an edge table decides the genes and regulators; give it without n_genes and n_regulators")
        effect = PerturbationEffect(self.modality, self.efficiency, self.activation, self.half_dose, self.escape)
        detection = (self.counts_per_gene, self.library_spread, self.dispersion)
        object.__setattr__(self, "_effect", effect)
        object.__setattr__(self, "_drawn", self.edges is None)
        object.__setattr__(self, "edges", self.network.edges())
        if self._drawn:
            object.__setattr__(self, "n_genes", len(self.genes))
            object.__setattr__(self, "n_regulators", len(self.regulators))
        object.__setattr__(self, "_capture", draw_capture(self.seed, self.batches, len(self.genes), *detection))

    @cached_property
    def network(self) -> RegulatoryNetwork:
        if self.edges is not None:
            return network_from_edges(self.seed, self.edges)
        n_genes = DEFAULT_N_GENES if self.n_genes is None else self.n_genes
        n_regulators = max(1, n_genes // GENES_PER_REGULATOR) if self.n_regulators is None else self.n_regulators
        return draw_network(self.seed, n_genes, n_regulators)

    @property
    def genes(self) -> tuple[str, ...]:
        return self.network.genes

    @cached_property
    def regulators(self) -> tuple[str, ...]:
        """Genes that can be perturbed."""
        return self.network.regulator_names

    @cached_property
    def cell_types(self) -> tuple[str, ...]:
        return tuple(f"type_{i + 1}" for i in range(self.n_cell_types))

    @cached_property
    def batches(self) -> tuple[str, ...]:
        return tuple(f"batch_{i + 1}" for i in range(self.n_batches))

    def pairs(self, n: int) -> list[tuple[str, str]]:
        """`n` pairs of regulators in an order drawn by seed; fewer pairs are the first of the same order.

        A pair comes early with a chance proportional to 1 + (number of genes that both regulate)^2, since
        pairs that share no target hardly interact (sampling without replacement, Efraimidis & Spirakis 2006).

        Raises:
            DataError: there are not so many pairs.
        """
        first, second = np.triu_indices(len(self.regulators), 1)
        if not 0 <= n <= len(first):
            raise DataError(f"{n} pairs asked for; {len(self.regulators)} regulators form {len(first)}")
        regulates = (self.network.signed_share != 0).astype(np.float64)
        chance = 1 + (regulates @ regulates.T)[first, second] ** 2
        waiting = numpy_generator(self.seed, "simulated_screen", "pairs").exponential(1 / chance)
        order = np.argsort(waiting, kind="stable")[:n]
        return [(self.regulators[first[i]], self.regulators[second[i]]) for i in order]

    def screen(
        self,
        perturbations: Sequence[str | Sequence[str]] | None = None,
        *,
        cells_per_condition: int = 100,
        n_controls: int = 500,
        doses: Sequence[float] | None = None,
        times: Sequence[float] | None = None,
    ) -> ad.AnnData:
        """A screen in which every perturbation, at every dose and time, meets every cell type.

        Args:
            perturbations: regulators, and combinations as ``A+B`` or ``("A", "B")``; if not given, every regulator
                and half as many pairs.
            cells_per_condition: of every perturbation, cell type, dose and time.
            n_controls: control cells of every cell type.
            doses: adds ``obs["dose"]`` (0 for control); without doses the effect is full. Each is that of all members
                of a combination; `population` knows doses of their own.
            times: adds ``obs["time"]`` (0 for control), since the perturbation, in units of 1 / (mean decay rate);
                without times cells are at their new stationary state.

        Returns:
            AnnData with raw counts (CSR float32), obs perturbation (``control``, ``A``, ``A+B``), cell_type, batch,
            truth_escaped (perturbations that had no effect in the cell, joined by +) and, with doses or times, these;
            ``uns["simulated_screen"]`` holds `truth` as JSON.

        Raises:
            DataError: an unknown or repeated perturbation, a bad dose, or no cells.
        """
        if perturbations is None:
            most = len(self.regulators) * (len(self.regulators) - 1) // 2
            perturbations = [*self.regulators, *self.pairs(min(len(self.regulators) // 2, most))]
        conditions = [self._condition((), name) for name in self.cell_types]
        for perturbation in perturbations:
            names = perturbation.split("+") if isinstance(perturbation, str) else perturbation
            if len(names) == 0:
                raise DataError("an empty combination is control, which is always simulated; leave it out")
            for dose, time in product(*([None] if numbers is None else numbers for numbers in (doses, times))):
                conditions += [self._condition(names, cell_type, dose, time) for cell_type in self.cell_types]
        seen: set[str] = set()
        for condition in conditions:
            if condition.key in seen:
                raise DataError(f"{condition.label!r} is asked for twice; give each perturbation, dose and time once")
            seen.add(condition.key)
        sizes = [n_controls if condition.is_control else cells_per_condition for condition in conditions]
        parts = [self._captured(c, n, "screen") for c, n in zip(conditions, sizes, strict=True)]
        obs = pd.concat([part[1] for part in parts], ignore_index=True)
        obs.index = pd.Index([f"cell_{i:07d}" for i in range(len(obs))])
        return self._anndata(sparse.vstack([part[0] for part in parts], format="csr"), obs, doses, times)

    def population(
        self,
        perturbations: Sequence[str],
        cell_type: str,
        n_cells: int,
        *,
        dose: Dose = None,
        time: float | None = None,
        replicate: int = 0,
    ) -> ad.AnnData:
        """The truth: `n_cells` cells of any condition, independent of the screen's and of every other replicate's.

        Args:
            perturbations: names in any order; none for control.
            cell_type: one of `cell_types`.
            n_cells: how many.
            dose: None for the full effect; a tuple: one for each perturbation, in their order, written ``1+10`` to obs
                in the order of its label.
            time: None for the stationary state.
            replicate: number of the random stream.

        Returns:
            AnnData as of `screen`.

        Raises:
            DataError: an unknown name, a bad dose, or no cells.
        """
        condition = self._condition(perturbations, cell_type, dose, time)
        counts, obs = self._captured(condition, n_cells, replicate)
        prefix = digest(condition.key)[:8]
        obs.index = pd.Index([f"{prefix}_{replicate}_{i}" for i in range(n_cells)])
        return self._anndata(counts, obs, dose, time)

    def molecules(
        self,
        perturbations: Sequence[str],
        cell_type: str,
        n_cells: int,
        *,
        dose: Dose = None,
        time: float | None = None,
        replicate: int = 0,
    ) -> FloatArray:
        """(n_cells, G) molecules per cell of the very cells of `population`, before capture; errors as there."""
        condition = self._condition(perturbations, cell_type, dose, time)
        return np.concatenate([cells.x for cells in self._simulated(condition, n_cells, replicate)])

    def steady_state(self, perturbations: Sequence[str], cell_type: str, *, dose: Dose = None) -> FloatArray:
        """(G,) molecules of a cell without noise in which every perturbation takes effect; errors as `population`."""
        condition = self._condition(perturbations, cell_type, dose)
        responds = np.ones((1, len(condition.perturbations)), dtype=bool)
        levels = self._dynamics[cell_type].steady_state(self._effect.intervention(self.network, condition, responds))
        return np.asarray(levels[0], dtype=np.float32)

    def perturbation_vectors(self, n: int | None = None) -> pd.DataFrame:
        """(R, n) wiring vectors, see `RegulatoryNetwork.wiring_vectors`; n is min(16, R) if not given.

        Raises:
            DataError: `n` is not between 1 and the number R of regulators.
        """
        return self.network.wiring_vectors(min(DEFAULT_VECTOR_LENGTH, len(self.regulators)) if n is None else n)

    def save_edges(self, path: str | Path) -> None:
        """Write `edges` as csv."""
        self.network.edges().to_csv(path, index=False)

    def save_vectors(self, path: str | Path, n: int | None = None) -> None:
        """Write `perturbation_vectors` as parquet or csv, by the suffix; the first column holds the names.

        Raises:
            DataError: another suffix, or a bad `n`.
        """
        table = self.perturbation_vectors(n).reset_index()
        match Path(path).suffix:
            case ".parquet":
                table.to_parquet(path, index=False)
            case ".csv":
                table.to_csv(path, index=False)
            case suffix:
                raise DataError(f"vectors are written as .parquet or .csv; got suffix {suffix!r} in {str(path)!r}")

    def truth(self) -> dict[str, Any]:
        """Arguments that make this object again, `edges` apart, and a digest of the edges; for JSON."""
        arguments = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name != "edges"}
        edges = digest(self.network.edges().to_csv(index=False))
        return {"arguments": arguments, "network": "drawn" if self._drawn else "given", "edges_digest": edges}

    @cached_property
    def _dynamics(self) -> dict[str, CellDynamics]:
        rates = {name: draw_rates(self.seed, self.network, name) for name in self.cell_types}
        return {name: CellDynamics(self.network, rates[name], self.noise) for name in self.cell_types}

    def _condition(
        self, perturbations: Sequence[str], cell_type: str, dose: Dose = None, time: float | None = None
    ) -> Condition:
        if isinstance(perturbations, str):
            raise DataError(
                f"perturbations are a sequence of names; got the text {perturbations!r}: write it in a tuple"
            )
        for name in perturbations:
            if name not in self.regulators:
                hint = nearest(name, self.regulators)
                raise DataError(f"perturbation {name!r} is not a regulator{hint}; they are {listing(self.regulators)}")
        if cell_type not in self.cell_types:
            hint = nearest(cell_type, self.cell_types)
            raise DataError(f"cell type {cell_type!r} is unknown{hint}; they are {listing(self.cell_types)}")
        dose = tuple(map(float, dose)) if isinstance(dose, tuple) else None if dose is None else float(dose)
        time = None if time is None else float(time)
        return Condition(tuple(perturbations), (("cell_type", cell_type),), dose, time)

    def _simulated(self, condition: Condition, n_cells: int, replicate: int | str) -> Iterator[_Cells]:
        """Blocks of cells; each block has streams of its own, one for the cells and one for their capture."""
        refuse_outside(f"the number of cells of {condition.label!r}", n_cells, n_cells >= 1, "1 or more")
        dynamics = self._dynamics[dict(condition.context)["cell_type"]]
        for block, rows in enumerate(blocks(n_cells, BLOCK)):
            stream = ("simulated_screen", replicate, condition.key, block)
            rng = numpy_generator(self.seed, *stream, "cells")
            responds = self._effect.responds(condition, rows.stop - rows.start, rng)
            if condition.time is None:
                x = self._stationary(dynamics, condition, responds, rng)
            else:
                x = self._stationary(dynamics, condition.control, responds[:, :0], rng)
                changed = self._effect.intervention(self.network, condition, responds)
                x = dynamics.after(x, changed, condition.time, rng)
            batch = np.arange(rows.start, rows.stop, dtype=np.int64) % len(self.batches)
            yield _Cells(x, responds, batch, numpy_generator(self.seed, *stream, "capture"))

    def _stationary(
        self, dynamics: CellDynamics, condition: Condition, responds: NDArray[np.bool_], rng: np.random.Generator
    ) -> FloatArray:
        patterns, pattern = np.unique(responds, axis=0, return_inverse=True)
        levels = dynamics.steady_state(self._effect.intervention(self.network, condition, patterns))
        changed = self._effect.intervention(self.network, condition, responds)
        return dynamics.simulate(levels[pattern.reshape(-1)], changed, rng)

    def _captured(
        self, condition: Condition, n_cells: int, replicate: int | str
    ) -> tuple[sparse.csr_matrix, pd.DataFrame]:
        names = np.array(condition.perturbations, dtype=object)
        counts, escaped, batch = [], [], []
        for cells in self._simulated(condition, n_cells, replicate):
            counts.append(sparse.csr_matrix(self._capture.counts(cells.x, cells.batch, cells.capture_rng)))
            escaped += ["+".join(names[~row]) for row in cells.responds]
            batch += [self.batches[b] for b in cells.batch]
        columns = {
            "perturbation": "+".join(condition.perturbations) or "control",
            "cell_type": dict(condition.context)["cell_type"],
            "batch": batch,
            "truth_escaped": escaped,
            "dose": dose_column([condition], "+")[0] if isinstance(condition.dose, tuple) else condition.dose or 0.0,
            "time": condition.time or 0.0,
        }
        return sparse.vstack(counts, format="csr"), pd.DataFrame(columns)

    def _anndata(self, counts: sparse.csr_matrix, obs: pd.DataFrame, dose: object, time: object) -> ad.AnnData:
        """With the columns of doses and times where there are any."""
        labels = obs[["perturbation", "cell_type", "batch", "truth_escaped"]].astype("category")
        numbers = [name for name, given in (("dose", dose), ("time", time)) if given is not None]
        adata = ad.AnnData(counts, labels.join(obs[numbers]))
        adata.var_names = list(self.genes)
        adata.uns["simulated_screen"] = json.dumps(self.truth())
        return adata
