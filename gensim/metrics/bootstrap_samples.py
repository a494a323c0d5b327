"""Bootstrap samples of an experiment: batches, then cells in them, as weights of the cells that there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.errors import NotComputable
from gensim.seeding import numpy_generator
from gensim.types import FloatArray, IntArray

BATCH_DRAWS, CELL_DRAWS = 10, 10
FEWEST_CELLS = 2


@dataclass(frozen=True, slots=True)
class Sampled:
    """Cells of one side, and the samples of them.

    Args:
        x: (n, G) log1p CP10k, dense or sparse.
        whole: (n,) weight of each cell in the mean over batches of all cells, see `weights_of_all`.
        weights: (100, n) the same in each sample, see `weights_of_draws`; a row is a repeat of the experiment.
    """

    x: FloatArray | sparse.csr_matrix
    whole: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Samples:
    """10 x 10 hierarchical bootstrap samples of a condition and of its controls.

    Args:
        cells: of the condition.
        controls: its control cells.
        n_batches: batches that were drawn, of the perturbed cells; None: cells alone, as batches are not known.
        paired: whether both sides have the same batches, and draw the same.
    """

    cells: Sampled
    controls: Sampled
    n_batches: int | None
    paired: bool

    @classmethod
    def of(
        cls,
        x: FloatArray | sparse.csr_matrix,
        controls: FloatArray | sparse.csr_matrix,
        batch_of: IntArray | None,
        control_batch_of: IntArray | None,
        seed: int,
        context_seed: int,
        *,
        within: bool = False,
    ) -> Self:
        """Draw them.

        Batches are drawn with replacement, as many as there are, 10 times; each time cells are drawn with replacement
        within the drawn batches, as many as these have, 10 times. Where effects are taken within batches, both sides
        draw the same ones, of those that have both, so that what a batch does to both cancels; else each side draws
        its own. Without batches cells alone are drawn.

        A sample is a vector of multinomial weights, so that samples cost a product with the cells and never hold any.

        The b-th samples of all conditions of a context are one repeat of the experiment: they have the same control
        cells, and the same batches where their batches are the same, since these are drawn by `context_seed`.

        Args:
            x: (n, G) perturbed cells, log1p CP10k, dense or sparse.
            controls: (m, G) control cells.
            batch_of, control_batch_of: (n,) and (m,) codes of batches, alike on both sides; None: not known.
            seed: of the draws of perturbed cells.
            context_seed: of those of batches and of control cells.
            within: whether the effect is taken within batches, see `batch_effects`; not so where no batch has both.

        Raises:
            NotComputable: a side has fewer than 2 cells.

        Source: Cole et al. 2026.
        """
        few = min(x.shape[0], controls.shape[0])
        if few < FEWEST_CELLS:
            raise NotComputable(f"{few} cells on a side cannot be resampled; at least {FEWEST_CELLS} are needed")
        known = batch_of is not None and control_batch_of is not None
        batch, control_batch = (np.zeros(cells.shape[0], dtype=np.int64) for cells in (x, controls))
        if batch_of is not None and control_batch_of is not None:
            batch, control_batch = batch_of, control_batch_of
        shared = np.intersect1d(batch, control_batch)
        paired = within and known and len(shared) > 0
        if paired:
            kept, control_kept = np.isin(batch, shared), np.isin(control_batch, shared)
            x, batch, controls, control_batch = (
                x[kept],
                batch[kept],
                controls[control_kept],
                control_batch[control_kept],
            )
        drawn = draw_batches(batch, context_seed, "batches")
        control_drawn = drawn if paired else draw_batches(control_batch, context_seed, "batches of controls")
        generator = numpy_generator(seed, "bootstrap", "cells")
        control_generator = numpy_generator(context_seed, "bootstrap", "control cells")
        return cls(
            Sampled(x, weights_of_all(batch), weights_of_draws(batch, drawn, generator)),
            Sampled(
                controls,
                weights_of_all(control_batch),
                weights_of_draws(control_batch, control_drawn, control_generator),
            ),
            len(np.unique(batch)) if known else None,
            paired,
        )


def in_words(drawn: Iterable[tuple[int | None, bool]], without_batches: Literal["small", "high"]) -> str:
    """What was resampled, for people.

    Args:
        drawn: `n_batches` and `paired` of the conditions.
        without_batches: what an error of cells alone is.
    """
    conditions = list(drawn)
    sizes = sorted(n for n, _ in conditions if n is not None)
    if not conditions:
        return "no condition has cells enough to be resampled"
    if not sizes:
        return (
            f"cells alone were resampled, as batches are not known, so it is too {without_batches} where batches differ"
        )
    return (
        f"batches ({sizes[0]} to {sizes[-1]} per condition), then cells in them, were resampled; effects were taken "
        f"batch by batch in {sum(paired for _, paired in conditions)} of {len(conditions)} conditions"
    )


def draw_batches(batch_of: IntArray, seed: int, name: str) -> IntArray:
    """(10, B) how often each of B batches, in the order of its code, is drawn, B times in all.

    Args:
        batch_of: (n,) codes; populations of the same batches draw alike.
        seed: of the draws. name: another one draws others.
    """
    batches = np.unique(batch_of)
    generator = numpy_generator(seed, "bootstrap", name, batches.tolist())
    return generator.multinomial(len(batches), np.full(len(batches), 1 / len(batches)), size=BATCH_DRAWS)


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
