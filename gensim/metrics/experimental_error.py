"""How far the measured effect of a condition would be from itself, had the experiment been done again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.seeding import numpy_generator
from gensim.types import FloatArray, IntArray, blocks

QUANTILE = 0.9
BATCH_DRAWS, CELL_DRAWS = 10, 10
GENES_AT_ONCE = 1024
FEWEST_CELLS = 2

EXPLANATION = (
    f"the {QUANTILE} quantile of how far the L2 norm puts bootstrap samples of the real effect (mean over batches of "
    "perturbed minus of control cells) from the effect itself, so that no prediction nearer than that is known to be "
    "better; it compares whole effects, while the values above are against half of the real cells, whose noise they "
    "hold too;"
)


@dataclass(frozen=True, slots=True)
class ExperimentalError:
    """The error of one condition.

    Args:
        value: epsilon(0.9) in log1p CP10k; None where it cannot be computed.
        n_batches: batches that were resampled, of the perturbed cells; None: cells alone, as batches are not known.
        paired: whether effects were taken batch by batch.
        reason: why there is no value.
    """

    value: float | None
    n_batches: int | None = None
    paired: bool = False
    reason: str | None = None


def experimental_error(
    x: FloatArray | sparse.csr_matrix,
    controls: FloatArray | sparse.csr_matrix,
    batch_of: IntArray | None,
    control_batch_of: IntArray | None,
    seed: int,
    *,
    within: bool = False,
) -> ExperimentalError:
    """epsilon(q) = the q-quantile of ||Delta' - Delta||_2 over 10 x 10 hierarchical bootstrap samples, q = 0.9

        Delta  = mean_b y'_b - mean_b y_b        batches of the perturbed cells, of the control cells
        Delta  = mean_b (y'_b - y_b)             over the batches that have both, where these are large

    with y'_b, y_b the means of the perturbed and of the control cells of batch b: batches count alike. Batches are
    drawn with replacement, 10 times; each time cells are drawn with replacement within the drawn batches, 10 times,
    and the effect Delta' is taken of them. Where effects are taken within batches, both sides draw the same ones, so
    that what a batch does to both cancels; else each side draws its own. Without batches cells alone are drawn, which
    leaves out how experiments differ, so that the error is too small.

    A sample is a vector of multinomial weights, so that samples cost a product with the cells and never hold any.

    Args:
        x: (n, G) perturbed cells, log1p CP10k, dense or sparse.
        controls: (m, G) control cells.
        batch_of, control_batch_of: (n,) and (m,) codes of batches, alike on both sides; None: not known.
        seed: of the draws.
        within: whether the effect is taken within batches, see `batch_effects`; not so where no batch has both.

    Returns:
        No value, with the reason, where a side has fewer than 2 cells.

    Source: Cole et al. 2026.
    """
    few = min(x.shape[0], controls.shape[0])
    if few < FEWEST_CELLS:
        return ExperimentalError(None, reason=f"{few} cells on a side cannot be resampled; at least 2 are needed")
    known = batch_of is not None and control_batch_of is not None
    batch, control_batch = (np.zeros(cells.shape[0], dtype=np.int64) for cells in (x, controls))
    if batch_of is not None and control_batch_of is not None:
        batch, control_batch = batch_of, control_batch_of
    shared = np.intersect1d(batch, control_batch)
    paired = within and known and len(shared) > 0
    if paired:
        kept, control_kept = np.isin(batch, shared), np.isin(control_batch, shared)
        x, batch, controls, control_batch = x[kept], batch[kept], controls[control_kept], control_batch[control_kept]
    generator = numpy_generator(seed, "experimental error")
    drawn = draw_batches(len(np.unique(batch)), generator)
    control_drawn = drawn if paired else draw_batches(len(np.unique(control_batch)), generator)
    weights = weights_of_draws(batch, drawn, generator) - weights_of_all(batch)
    control_weights = weights_of_draws(control_batch, control_drawn, generator) - weights_of_all(control_batch)
    squared = np.zeros(len(weights))
    for genes in blocks(x.shape[1], GENES_AT_ONCE):
        moved = weights @ x[:, genes].astype(np.float64) - control_weights @ controls[:, genes].astype(np.float64)
        squared += np.square(moved).sum(axis=1)
    value = float(np.quantile(np.sqrt(squared), QUANTILE))
    return ExperimentalError(value, len(np.unique(batch)) if known else None, paired)


def resampled(errors: Iterable[ExperimentalError]) -> str:
    """What was resampled, for people."""
    known = [error for error in errors if error.value is not None]
    n_batches = {error.n_batches for error in known}
    if n_batches <= {None}:
        return "cells alone were resampled, as batches are not known, so it is too small where batches differ"
    sizes = sorted(n for n in n_batches if n is not None)
    n_paired = sum(error.paired for error in known)
    return (
        f"batches ({sizes[0]} to {sizes[-1]} per condition), then cells in them, were resampled; effects were taken "
        f"batch by batch in {n_paired} of {len(known)} conditions"
    )


def draw_batches(n_batches: int, generator: np.random.Generator) -> IntArray:
    """(10, B) how often each of B batches is drawn, B times in all."""
    return generator.multinomial(n_batches, np.full(n_batches, 1 / n_batches), size=BATCH_DRAWS)


def weights_of_draws(batch_of: IntArray, drawn: IntArray, generator: np.random.Generator) -> NDArray[np.float64]:
    """(100, n) weight of each cell in the mean over batches of resampled cells, 10 rows for each draw of batches.

    A batch that is drawn m times has m independent samples of its n_b cells, whose counts together are multinomial.

    Args:
        batch_of: (n,) codes. drawn: (10, B) how often each batch, in the order of its code, is drawn.
    """
    batches = np.unique(batch_of)
    weights = np.zeros((BATCH_DRAWS, CELL_DRAWS, len(batch_of)))
    for b, batch in enumerate(batches):
        cells = np.flatnonzero(batch_of == batch)
        n = len(cells)
        for i, times in enumerate(drawn[:, b]):
            counts = generator.multinomial(times * n, np.full(n, 1 / n), size=CELL_DRAWS)
            weights[i][:, cells] = counts / (n * len(batches))
    return weights.reshape(BATCH_DRAWS * CELL_DRAWS, len(batch_of))


def weights_of_all(batch_of: IntArray) -> NDArray[np.float64]:
    """(n,) weight of each cell in the mean over batches of all cells."""
    _, code, sizes = np.unique(batch_of, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1 / (sizes[code] * len(sizes))
    return weights
