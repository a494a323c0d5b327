"""A perturbation screen whose truth is known: a regulatory network, simulated cells, and their capture as counts.

The screen is data to learn from; `SimulatedScreen.population` is the truth to be judged against, for any condition,
measured or not. Every draw is named by (seed, condition, replicate), so a condition's cells do not depend on which
other conditions are asked for. Equations and sources: docs/simulated_screen.md.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from gensim.data.network_dynamics import CellDynamics, Intervention
from gensim.data.regulatory_network import RegulatoryNetwork, draw_network, network_from_edges
from gensim.data.simulated_capture import Capture, draw_capture
from gensim.errors import DataError, StoreError, listing, nearest
from gensim.seeding import digest, numpy_generator
from gensim.types import Condition, FloatArray, IntArray, blocks

Modality = Literal["knock_out", "knock_down", "activation"]

DEFAULT_N_GENES = 200
GENES_PER_REGULATOR = 10
DEFAULT_VECTOR_LENGTH = 16
BLOCK = 1024
"""Cells simulated together; part of the name of their random stream, so another value gives other cells."""
DOSE_EXPONENT = 2.0
CELL_TYPE_LOG2_RANGE = 1.5
"""Production of a master regulator in a cell type is 2^u of its reference, u uniform in plus or minus this."""
CONTROL_SHARE = 0.2
"""Share of control cells in a written screen."""


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
        edge_table: regulator, target, sign (1 or -1) and optionally weight, instead of a drawn network.
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
