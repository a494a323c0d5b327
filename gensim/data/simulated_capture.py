"""What a sequencer sees of simulated cells: log-normal library sizes, a mild batch effect, negative-binomial counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gensim.data.simulated_effect import refuse_outside
from gensim.seeding import numpy_generator
from gensim.types import FloatArray, IntArray

BATCH_DEPTH_SPREAD, BATCH_GENE_SPREAD = 0.1, 0.1
"""Standard deviations of the log of a batch's factor on all genes, and of its factors on each gene."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Counts of gene g in cell c: negative binomial with mean L_c x_cg b_g / sum_g(x_cg b_g).

    Args:
        library_spread: standard deviation of log L, the library size.
        dispersion: phi, see `sample_counts`.
        median: (n_batches,) median library size of each batch, counts.
        bias: (n_batches, G) factors b of each batch on the genes.
    """

    library_spread: float
    dispersion: float
    median: FloatArray
    bias: FloatArray

    def counts(self, x: FloatArray, batch: IntArray, rng: np.random.Generator) -> FloatArray:
        """(n, G) molecules of cells in batches (n,) to (n, G) counts; a cell without molecules has none."""
        visible = x * self.bias[batch]
        library = self.median[batch] * rng.lognormal(0, self.library_spread, len(x)).astype(np.float32)
        total = visible.sum(axis=1)
        total[total == 0] = 1
        return sample_counts(visible * (library / total)[:, None], self.dispersion, rng)


def draw_capture(
    seed: int, batches: tuple[str, ...], n_genes: int, counts_per_gene: float, library_spread: float, dispersion: float
) -> Capture:
    """The capture of named batches, each drawn by seed and name; a single batch has factors 1.

    Raises:
        DataError: `counts_per_gene` is not positive, or `library_spread` or `dispersion` is negative.
    """
    refuse_outside("counts_per_gene", counts_per_gene, 0 < counts_per_gene < np.inf, "above 0 and finite")
    refuse_outside("library_spread", library_spread, 0 <= library_spread < np.inf, "0 or more, and finite")
    refuse_outside("dispersion", dispersion, 0 <= dispersion < np.inf, "0 or more, and finite")
    depth, bias = np.ones(len(batches)), np.ones((len(batches), n_genes))
    if len(batches) > 1:
        for i, name in enumerate(batches):
            rng = numpy_generator(seed, "simulated_screen", "batch", name)
            depth[i] = rng.lognormal(0, BATCH_DEPTH_SPREAD)
            bias[i] = rng.lognormal(0, BATCH_GENE_SPREAD, n_genes)
    median = counts_per_gene * n_genes * depth
    return Capture(library_spread, dispersion, median.astype(np.float32), bias.astype(np.float32))


def sample_counts(mu: NDArray[np.floating], dispersion: float, rng: np.random.Generator) -> FloatArray:
    """Negative-binomial counts with mean `mu` and variance ``mu + dispersion mu^2``, as float32; 0 gives Poisson.

    Drawn as a Poisson count whose rate is gamma distributed with shape 1/dispersion.
    """
    if dispersion > 0:
        mu = mu * (dispersion * rng.standard_gamma(1 / dispersion, mu.shape, dtype=np.float32))
    return rng.poisson(mu).astype(np.float32)
