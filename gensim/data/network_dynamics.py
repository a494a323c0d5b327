"""How a regulatory network behaves in a cell: the chemical Langevin equation, many cells at once.

    dx_i = (P_i(x) - decay_i x_i) dt + noise ( sqrt(P_i(x)) dW_i + sqrt(decay_i x_i) dW'_i )

with x in molecules per cell (Gillespie 2000, for production and decay; `noise` is the q of SERGIO). One step
of length dt treats the decay exactly and holds P and the noise's amplitude fixed (exponential Euler-Maruyama)::

    x <- e x + (1 - e)/decay P + noise sqrt( (P + decay x) (1 - e^2)/(2 decay) ) xi,     e = exp(-decay dt)

so that an unregulated gene has stationary mean P/decay and variance noise^2 P/decay for any dt. The covariance of a
regulator with its target is a tenth below that of continuous time at dt = 0.2. Levels below 0 are set to 0, which
lifts the mean of genes with few molecules a little.

Inside, arrays are (G, N), genes first: the network is then one sparse product, which runs in a fixed order on one
thread, so that the cells do not depend on the number of threads, and a busy machine does not slow it down.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.data.regulatory_network import HILL_EXPONENT, RegulatoryNetwork
from gensim.seeding import numpy_generator
from gensim.types import FloatArray, IntArray

TIME_STEP = 0.2
N_STEPS = 25
"""5 units of time: at the mean decay rate of 1, exp(-10) of the distance to the stationary covariance is left."""
CELL_TYPE_LOG2_RANGE = 1.5
MOST_ROUNDS, SETTLED = 500, 1e-9
"""Of the noise-free dynamics: units of time, and the relative change per unit that ends them."""


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

    def apply(self, production: NDArray[np.floating]) -> None:
        """Change (G, N) `production` in place."""
        production[self.genes] = production[self.genes] * self.keep.T + self.gain.T


def draw_rates(seed: int, network: RegulatoryNetwork, cell_type: str) -> NDArray[np.float64]:
    """(G,) factors on unregulated production in a cell type: 2^u, u uniform in ±1.5, for masters; 1 for the others."""
    rng = numpy_generator(seed, "simulated_screen", "cell_type", cell_type)
    rates = np.ones(len(network.genes))
    rates[network.masters] = 2 ** rng.uniform(-CELL_TYPE_LOG2_RANGE, CELL_TYPE_LOG2_RANGE, len(network.masters))
    return rates


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
        """(G, 1) production where every h_j is 0: leak, and all repressors absent."""
        constant: NDArray[np.float64] = self.network.leak * self.rates
        constant -= self.network.contributions.clip(max=0).sum(axis=0)
        return constant[:, None]

    @cached_property
    def _contributions(self) -> dict[type, sparse.csr_matrix]:
        """(G, R) signed maximal contributions in both precisions that `production` meets."""
        return {t: sparse.csr_matrix(self.network.contributions.T, dtype=t) for t in (np.float32, np.float64)}

    def production(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """(G, N) levels to (G, N) production rates without intervention, molecules per unit of time, in x's type."""
        regulators = self.network.regulators
        half = self.network.level[regulators, None].astype(x.dtype)
        hill = (x[regulators] / half) ** HILL_EXPONENT
        hill /= 1 + hill
        production: NDArray[np.floating] = self._contributions[x.dtype.type] @ hill
        production += self._constant.astype(x.dtype)
        np.maximum(production, 0, out=production)
        return production

    def steady_state(self, intervention: Intervention) -> NDArray[np.float64]:
        """(N, G) levels without noise, from the reference levels onwards; N counts the rows of `intervention`.

        A gene whose production is stopped is exactly 0. A network with loops may oscillate: then the levels after
        500 units of time are returned.
        """
        decay = self.network.decay[:, None]
        fade = np.exp(-decay)
        x = np.tile(self.network.level[:, None], (1, len(intervention)))
        silent = (intervention.keep == 0) & (intervention.gain == 0)
        x[intervention.genes] *= ~silent.T
        for _ in range(MOST_ROUNDS):
            production = self.production(x)
            intervention.apply(production)
            moved = fade * x + (1 - fade) / decay * production
            change = np.abs(moved - x).max()
            x = moved
            if change < SETTLED * self.network.level.max():
                break
        return np.ascontiguousarray(x.T)

    def simulate(self, start: NDArray[np.floating], intervention: Intervention, rng: np.random.Generator) -> FloatArray:
        """(N, G) float32 levels of N independent cells at (or near) the stationary state.

        Args:
            start: (N, G) levels to begin at, as of `steady_state`; the noise that an unregulated gene has there is
                added first, so that only the covariances have to settle.
            intervention: of the same N cells.
            rng: drawn from for noise only.
        """
        x = np.ascontiguousarray(start.T, dtype=np.float32)
        xi = np.empty(x.shape, dtype=np.float32)
        rng.standard_normal(out=xi, dtype=np.float32)
        x += np.float32(self.noise) * np.sqrt(x) * xi
        np.maximum(x, 0, out=x)
        return self._advanced(x, intervention, N_STEPS, TIME_STEP, rng)

    def after(self, start: FloatArray, intervention: Intervention, time: float, rng: np.random.Generator) -> FloatArray:
        """(N, G) float32 levels of the N cells `start`, (N, G), a `time` after the intervention began."""
        n_steps = math.ceil(time / TIME_STEP)
        x = np.ascontiguousarray(start.T, dtype=np.float32)
        return self._advanced(x, intervention, n_steps, time / max(1, n_steps), rng)

    def _advanced(
        self, x: FloatArray, intervention: Intervention, n_steps: int, step: float, rng: np.random.Generator
    ) -> FloatArray:
        """(N, G) levels after so many steps, from (G, N) levels, which are overwritten."""
        decay = self.network.decay[:, None].astype(np.float32)
        fade = np.exp(-decay * np.float32(step))
        approach = (1 - fade) / decay
        variance = np.float32(self.noise**2) * (1 - fade**2) / (2 * decay)
        xi = np.empty(x.shape, dtype=np.float32)
        for _ in range(n_steps):
            production = self.production(x)
            intervention.apply(production)
            rng.standard_normal(out=xi, dtype=np.float32)
            xi *= np.sqrt((production + decay * x) * variance)
            x *= fade
            x += production * approach
            x += xi
            np.maximum(x, 0, out=x)
        return np.ascontiguousarray(x.T)
