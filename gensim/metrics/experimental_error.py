"""How far the measured effect of a condition would be from itself, had the experiment been done again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gensim.metrics.bootstrap_samples import Samples, in_words
from gensim.types import blocks

QUANTILE = 0.9
GENES_AT_ONCE = 1024

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


def experimental_error(samples: Samples) -> ExperimentalError:
    """epsilon(q) = the q-quantile of ||Delta' - Delta||_2 over 10 x 10 hierarchical bootstrap samples, q = 0.9

        Delta  = mean_b y'_b - mean_b y_b        batches of the perturbed cells, of the control cells
        Delta  = mean_b (y'_b - y_b)             over the batches that have both, where these are large

    with y'_b, y_b the means of the perturbed and of the control cells of batch b: batches count alike; Delta' is the
    effect of a sample. Without batches, how experiments differ is left out, so that the error is too small.

    Source: Cole et al. 2026.
    """
    weights, control_weights = (side.weights - side.whole for side in (samples.cells, samples.controls))
    x, controls = samples.cells.x, samples.controls.x
    squared = np.zeros(len(weights))
    for genes in blocks(x.shape[1], GENES_AT_ONCE):
        moved = weights @ x[:, genes].astype(np.float64) - control_weights @ controls[:, genes].astype(np.float64)
        squared += np.square(moved).sum(axis=1)
    return ExperimentalError(float(np.quantile(np.sqrt(squared), QUANTILE)), samples.n_batches, samples.paired)


def explained(errors: Iterable[ExperimentalError]) -> str:
    """What the errors are, and what was resampled, for people."""
    drawn = [(error.n_batches, error.paired) for error in errors if error.value is not None]
    return f"{EXPLANATION} {in_words(drawn, 'small')}"
