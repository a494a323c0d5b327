"""How a regulatory network behaves in a cell: the chemical Langevin equation, many cells at once.

    dx_i = (P_i(x) - decay_i x_i) dt + noise ( sqrt(P_i(x)) dW_i + sqrt(decay_i x_i) dW'_i )

with x in molecules per cell (Gillespie 2000, equation 23, for production and decay; `noise` as SERGIO's q). One step
of length dt treats the decay exactly and holds P and the noise's amplitude fixed (exponential Euler-Maruyama)::

    x <- e x + (1 - e)/decay P + noise sqrt( (P + decay x) (1 - e^2)/(2 decay) ) xi,     e = exp(-decay dt)

so that an unregulated gene has stationary mean P/decay and variance noise^2 P/decay for any dt. Levels below 0 are
set to 0, which lifts the mean of genes with few molecules a little.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gensim.data.regulatory_network import HILL_EXPONENT, RegulatoryNetwork
from gensim.types import FloatArray, IntArray

TIME_STEP = 0.2
N_STEPS = 25
"""5 units of time: at the mean decay rate of 1, exp(-10) of the distance to the stationary covariance is left."""
MOST_ROUNDS = 500


@dataclass(frozen=True, slots=True)
class Intervention:
    """What is done to the production of k genes in each of N cells: P <- P keep + gain.

    Args:
        genes: (k,) int64 positions.
        keep: (N, k) share of the production that is kept, 0 to 1.
        gain: (N, k) production added, molecules per unit of time.
    """

    genes: IntArray
    keep: FloatArray
    gain: FloatArray

    def __len__(self) -> int:
        return len(self.keep)

    def __getitem__(self, rows: slice | IntArray) -> "Intervention":
        return Intervention(self.genes, self.keep[rows], self.gain[rows])

    def apply(self, production: NDArray[np.floating]) -> None:
        """Change (N, G) `production` in place."""
        production[:, self.genes] = production[:, self.genes] * self.keep + self.gain


@dataclass(frozen=True)
class CellDynamics:
    """The dynamics of one cell type.

    Args:
        network: what regulates what.
        rates: (G,) factor on each gene's unregulated production; it is what tells cell types apart.
        noise: amplitude of the intrinsic noise; 1 is the chemical Langevin equation, 0 is deterministic.
    """

    network: RegulatoryNetwork
    rates: NDArray[np.float64]
    noise: float = 1.0

    @cached_property
    def _constant(self) -> NDArray[np.float64]:
        """(G,) production where every h_j is 0: leak, and all repressors absent."""
        return self.network.leak * self.rates - self.network.contributions.clip(max=0).sum(axis=0)

    def production(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """(N, G) levels to (N, G) production rates without intervention, molecules per unit of time, in x's type."""
        regulators = self.network.regulators
        half = self.network.level[regulators].astype(x.dtype)
        ratio = (x[:, regulators] / half) ** HILL_EXPONENT
        hill = ratio / (1 + ratio)
        production = hill.astype(x.dtype, copy=False) @ self.network.contributions.astype(x.dtype)
        production += self._constant.astype(x.dtype)
        return np.maximum(production, 0, out=production)

    def steady_state(self, intervention: Intervention) -> NDArray[np.float64]:
        """(N, G) levels without noise, from the reference levels onwards; N counts the rows of `intervention`.

        A gene whose production is stopped is exactly 0. A network with loops may oscillate: then the levels after
        500 units of time are returned.
        """
        decay = self.network.decay
        fade = np.exp(-decay)
        x = np.tile(self.network.level, (len(intervention), 1))
        silent = (intervention.keep == 0) & (intervention.gain == 0)
        x[:, intervention.genes] *= ~silent
        for _ in range(MOST_ROUNDS):
            production = self.production(x)
            intervention.apply(production)
            moved = fade * x + (1 - fade) / decay * production
            change = np.abs(moved - x).max()
            x = moved
            if change < 1e-9 * self.network.level.max():
                break
        return x

    def simulate(self, start: NDArray[np.floating], intervention: Intervention, rng: np.random.Generator) -> FloatArray:
        """(N, G) float32 levels of N independent cells at (or near) the stationary state.

        Args:
            start: (N, G) levels to begin at, as of `steady_state`; the noise that an unregulated gene has there is
                added first, so that only the covariances have to settle.
            intervention: of the same N cells.
            rng: drawn from for noise only.
        """
        decay = self.network.decay.astype(np.float32)
        fade = np.exp(-decay * np.float32(TIME_STEP))
        approach = (1 - fade) / decay
        variance = np.float32(self.noise**2) * (1 - fade**2) / (2 * decay)
        xi = np.empty(start.shape, dtype=np.float32)

        x = start.astype(np.float32)
        rng.standard_normal(out=xi, dtype=np.float32)
        x += np.float32(self.noise) * np.sqrt(x) * xi
        np.maximum(x, 0, out=x)
        for _ in range(N_STEPS):
            production = self.production(x)
            intervention.apply(production)
            rng.standard_normal(out=xi, dtype=np.float32)
            xi *= np.sqrt((production + decay * x) * variance)
            x *= fade
            x += production * approach
            x += xi
            np.maximum(x, 0, out=x)
        return x
