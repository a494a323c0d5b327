"""What a metric is a function of: the real and the predicted cells of one condition."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gensim.computed_once import computed_once
from gensim.errors import NotComputable
from gensim.metrics.batch_effects import InBatches
from gensim.metrics.bulk_profiles import bulk, noisy_bulk
from gensim.metrics.challenge_2026 import Table2026
from gensim.metrics.differential_expression import DifferentialExpression, corrected
from gensim.metrics.marginals import GeneMarginals
from gensim.metrics.pairs import Sample
from gensim.metrics.rank_sum import rank_sum_p
from gensim.metrics.response_classes import response_classes
from gensim.parallel import Call, directly
from gensim.types import FloatArray, IntArray

GENES_BLOCK = 1024
ONE_CONTROL = "the context has 1 held-back control cell; an effect needs two halves of controls"
NO_COUNTS = (
    "counts cannot be summed, because real, control or predicted cells are logarithms; give all of them as counts "
    "(data.scale=counts)"
)


@dataclass(frozen=True)  # without slots, since what several comparisons share is computed once and kept
class Side:
    """One population of a comparison.

    Args:
        x: (n, G) float32, log1p CP10k.
        scores: (n, D) float32, the same cells in the metric space.
        control_mean: (G,) mean of the control cells that its effect is taken against; None where there are too few.
        controls: (m, G) control cells that its differential expression is tested against; may be without cells.
        library_size, control_library_size: (n,) and (m,) counts of these cells; None where some cells of the evaluation
            are no counts, or no metric asks.
        in_batches: batches of the cells, and control means in them; None where they are not known.
    """

    x: FloatArray
    scores: FloatArray
    control_mean: NDArray[np.float64] | None
    controls: FloatArray
    library_size: FloatArray | None = None
    control_library_size: FloatArray | None = None
    in_batches: InBatches | None = None

    @computed_once
    def marginals(self) -> GeneMarginals:
        return GeneMarginals.of(self.x)

    @computed_once
    def in_pca(self) -> Sample:
        return Sample(self.scores)

    @computed_once
    def in_genes(self) -> Sample:
        return Sample(self.x, block=GENES_BLOCK)

    @computed_once
    def mean(self) -> NDArray[np.float64]:
        return np.asarray(self.x.mean(axis=0, dtype=np.float64))

    @property
    def baseline(self) -> NDArray[np.float64]:
        """`control_mean`, where there are enough controls for an effect."""
        if self.control_mean is None:
            raise NotComputable(ONE_CONTROL)
        return self.control_mean

    @property
    def tested_against(self) -> FloatArray:
        """`controls`, where there are enough for an effect."""
        if self.control_mean is None:
            raise NotComputable(ONE_CONTROL)
        return self.controls

    @computed_once
    def delta(self) -> NDArray[np.float64]:
        return self.mean - self.baseline

    @computed_once
    def delta_over_batches(self) -> NDArray[np.float64]:
        """The effect with batches counting alike, where those of the cells are known."""
        if self.in_batches is None or self.control_mean is None:
            return self.delta
        return self.in_batches.effect(self.x)

    @computed_once
    def delta_2026(self) -> NDArray[np.float64]:
        """Difference of bulk profiles of the Virtual Cell Challenge of 2026."""
        controls = self.tested_against
        return bulk(self.x, self.library_size) - bulk(controls, self.control_library_size)

    @computed_once
    def noisy_bulk(self) -> NDArray[np.float64]:
        """(G + 1,) bulk profile of that challenge and its sampling noise."""
        if self.library_size is None:
            raise NotComputable(NO_COUNTS)
        return noisy_bulk(self.x, self.library_size)

    @computed_once
    def noisy_shift(self) -> NDArray[np.float64]:
        """(2 G + 2,) the same of the cells, then of the controls."""
        controls = self.tested_against
        return np.concatenate([self.noisy_bulk, noisy_bulk(controls, self.control_library_size)])

    @computed_once
    def response_classes(self) -> NDArray[np.float64]:
        return response_classes(self.marginals, GeneMarginals.of(self.tested_against))

    @computed_once
    def rank_sum_p(self) -> NDArray[np.float64]:
        """(G,) two-sided p against the controls; 1 for cells that are the controls themselves."""
        controls = self.tested_against
        return np.ones(self.x.shape[1]) if self.x is controls else rank_sum_p(self.x, controls)

    @computed_once
    def differential_expression(self) -> DifferentialExpression:
        return corrected(self.rank_sum_p, self.mean, self.controls.mean(axis=0, dtype=np.float64))

    @computed_once
    def tested_2026(self) -> Table2026:
        return Table2026.of(self.rank_sum_p, self.x, self.controls)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A real and a predicted population of one condition.

    Args:
        real, predicted: the populations.
        sigma2: squared kernel width of MMD; None where there is none.
        seed: of what a metric draws, such as folds.
        targets: columns of the genes that the condition perturbs.
        training_centroid: (G,) average over the training conditions of the context of their mean cell; None where
            there is none.
        call: how to call what holds the interpreter while it works.
    """

    real: Side
    predicted: Side
    sigma2: float | None
    seed: int
    targets: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    training_centroid: NDArray[np.float64] | None = None
    call: Call = directly
