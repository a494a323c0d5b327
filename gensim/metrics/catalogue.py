"""The metrics of an evaluation, one frozen row each: what it is, which way is better, and where it comes from."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gensim.metrics.distances import Mmd, NotComputable, energy_distance, mmd2_rbf
from gensim.metrics.effects import l2_delta, pearson_delta
from gensim.types import FloatArray

__all__ = ["CATALOGUE", "Comparison", "Metric", "Mmd", "NotComputable", "Side"]

GENES_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Side:
    """One population of a comparison.

    Args:
        x: (n, G) float32, log1p CP10k.
        scores: (n, D) float32, the same cells in the metric space.
        control_mean: (G,) mean of the control cells that its effect is taken against; None where there are too few.
    """

    x: FloatArray
    scores: FloatArray
    control_mean: NDArray[np.float64] | None

    @property
    def mean(self) -> NDArray[np.float64]:
        return np.asarray(self.x.mean(axis=0, dtype=np.float64))

    @property
    def delta(self) -> NDArray[np.float64]:
        if self.control_mean is None:
            raise NotComputable("the context has 1 held-back control cell; an effect needs two halves of controls")
        return self.mean - self.control_mean


@dataclass(frozen=True, slots=True)
class Comparison:
    """A real and a predicted population of one condition; `sigma2` is the squared kernel width of MMD."""

    real: Side
    predicted: Side
    sigma2: float | None


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the catalogue.

    Args:
        key: column name in files.
        name: for people, with the variant spelled out.
        function: the value for a comparison; raises `NotComputable` with the reason.
        better: which direction is better.
        range: smallest and largest value of the quantity; an unbiased estimate of it may fall below the smallest.
        identical: value (expected, for an unbiased estimate) where both populations are the same.
        unit: of the value.
        space: where it is taken.
        source: publication.
    """

    key: str
    name: str
    function: Callable[[Comparison], float]
    better: Literal["lower", "higher"]
    range: tuple[float, float]
    identical: float
    unit: str
    space: Literal["genes", "PCA"]
    source: str


CATALOGUE = (
    Metric(
        key="energy_distance_pca",
        name="Energy distance, Euclidean, within-terms unbiased, no square root, PCA space",
        function=lambda c: energy_distance(c.real.scores, c.predicted.scores),
        better="lower",
        range=(0.0, math.inf),
        identical=0.0,
        unit="log1p CP10k",
        space="PCA",
        source="Székely and Rizzo 2013, J. Stat. Plan. Inference 143",
    ),
    Metric(
        key="energy_distance_genes",
        name="Energy distance, Euclidean, within-terms unbiased, no square root, gene space",
        function=lambda c: energy_distance(c.real.x, c.predicted.x, block=GENES_BLOCK),
        better="lower",
        range=(0.0, math.inf),
        identical=0.0,
        unit="log1p CP10k",
        space="genes",
        source="Székely and Rizzo 2013, J. Stat. Plan. Inference 143",
    ),
    Metric(
        key="mmd2_rbf_pca",
        name="MMD squared, unbiased, Gaussian kernels gamma = 1/(2 sigma2 {0.5, 1, 2}) averaged, sigma2 the median "
        "squared distance of the condition's real cells, PCA space",
        function=lambda c: mmd2_rbf(c.real.scores, c.predicted.scores, sigma2=c.sigma2).value,
        better="lower",
        range=(0.0, 2.0),
        identical=0.0,
        unit="1",
        space="PCA",
        source="Gretton et al. 2012, JMLR 13",
    ),
    Metric(
        key="l2_delta",
        name="L2 of the difference of effects (delta), all genes, both against the same controls, which cancel; the "
        "sampling noise of both means adds to it, so more predicted cells may pass a replicate",
        function=lambda c: l2_delta(c.real.mean, c.predicted.mean),
        better="lower",
        range=(0.0, math.inf),
        identical=0.0,
        unit="log1p CP10k",
        space="genes",
        source="Euclidean distance of pseudobulk effects",
    ),
    Metric(
        key="pearson_delta",
        name="Pearson correlation of effects (delta), all genes; the two effects share no control cell's noise",
        function=lambda c: pearson_delta(c.real.delta, c.predicted.delta),
        better="higher",
        range=(-1.0, 1.0),
        identical=1.0,
        unit="1",
        space="genes",
        source="Pearson correlation of pseudobulk effects",
    ),
)
