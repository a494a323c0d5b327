"""The metrics of an evaluation, one frozen row each: what it is, which way is better, and where it comes from."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gensim.metrics.correlations import correlation_error
from gensim.metrics.differential_expression import DifferentialExpression, des, differential_expression
from gensim.metrics.distances import Mmd, NotComputable, energy_distance, mmd2_rbf
from gensim.metrics.effects import l2_delta, pearson_delta
from gensim.metrics.marginals import GeneMarginals, variance_ratio, zero_fraction_error
from gensim.metrics.two_sample import c2st_auc_forest, c2st_auc_logistic
from gensim.types import FloatArray

__all__ = ["CATALOGUE", "Comparison", "Metric", "Mmd", "NotComputable", "Side"]

GENES_BLOCK = 1024
ONE_CONTROL = "the context has 1 held-back control cell; an effect needs two halves of controls"


@dataclass(frozen=True)  # without slots, since what several comparisons share is computed once and kept
class Side:
    """One population of a comparison.

    Args:
        x: (n, G) float32, log1p CP10k.
        scores: (n, D) float32, the same cells in the metric space.
        control_mean: (G,) mean of the control cells that its effect is taken against; None where there are too few.
        controls: (m, G) control cells that its differential expression is tested against; may be without cells.
    """

    x: FloatArray
    scores: FloatArray
    control_mean: NDArray[np.float64] | None
    controls: FloatArray

    @cached_property
    def marginals(self) -> GeneMarginals:
        return GeneMarginals.of(self.x)

    @property
    def delta(self) -> NDArray[np.float64]:
        if self.control_mean is None:
            raise NotComputable(ONE_CONTROL)
        return self.marginals.mean - self.control_mean

    @cached_property
    def differential_expression(self) -> DifferentialExpression:
        if self.control_mean is None:
            raise NotComputable(ONE_CONTROL)
        return differential_expression(self.x, self.controls)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A real and a predicted population of one condition.

    Args:
        real, predicted: the populations.
        sigma2: squared kernel width of MMD; None where there is none.
        seed: of what a metric draws, such as folds.
    """

    real: Side
    predicted: Side
    sigma2: float | None
    seed: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the catalogue.

    Args:
        key: column name in files.
        name: for people, with the variant spelled out.
        function: the value for a comparison; raises `NotComputable` with the reason.
        better: which direction is better; `nearest`: the nearer to `identical`, from either side.
        range: smallest and largest value of the quantity; an unbiased estimate of it may fall below the smallest.
        identical: value (expected, for an unbiased estimate) where both populations are the same.
        unit: of the value.
        space: where it is taken.
        source: publication.
        repeats: it is taken in the first so many repeats of an evaluation; None: in all.
    """

    key: str
    name: str
    function: Callable[[Comparison], float]
    better: Literal["lower", "higher", "nearest"]
    range: tuple[float, float]
    identical: float
    unit: str
    space: Literal["genes", "PCA"]
    source: str
    repeats: int | None = None


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
        function=lambda c: l2_delta(c.real.marginals.mean, c.predicted.marginals.mean),
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
    Metric(
        key="variance_ratio",
        name="Ratio of variances, predicted / real, median over genes detected in at least 2 % of the real cells",
        function=lambda c: variance_ratio(c.real.marginals, c.predicted.marginals),
        better="nearest",
        range=(0.0, math.inf),
        identical=1.0,
        unit="1",
        space="genes",
        source="Ratio of unbiased sample variances",
    ),
    Metric(
        key="zero_fraction_error",
        name="Mean over genes of the absolute difference of the shares of cells that are exactly 0; the sampling noise "
        "of both shares adds to it, so more predicted cells may pass a replicate",
        function=lambda c: zero_fraction_error(c.real.marginals, c.predicted.marginals),
        better="lower",
        range=(0.0, 1.0),
        identical=0.0,
        unit="1",
        space="genes",
        source="Difference of detection rates",
    ),
    Metric(
        key="correlation_error",
        name="Frobenius norm of the difference of gene-gene Pearson correlation matrices, 50 most variable genes of "
        "the real cells, divided by the number of genes; the sampling noise of both matrices adds to it, so more "
        "predicted cells may pass a replicate",
        function=lambda c: correlation_error(c.real.x, c.predicted.x, c.real.marginals.variance),
        better="lower",
        range=(0.0, 2.0),
        identical=0.0,
        unit="1",
        space="genes",
        source="Root mean square difference of correlations",
    ),
    Metric(
        key="c2st_auc_logistic",
        name="Classifier two-sample test: cross-validated AUC of a logistic regression on standardised genes, equal "
        "numbers of real and predicted cells, at most 500 of each; it sees means",
        function=lambda c: c2st_auc_logistic(c.real.x, c.predicted.x, c.seed),
        better="lower",
        range=(0.0, 1.0),
        identical=0.5,
        unit="1",
        space="genes",
        source="Lopez-Paz and Oquab 2017, ICLR",
    ),
    Metric(
        key="c2st_auc_forest",
        name="Classifier two-sample test: cross-validated AUC of a random forest on genes, equal numbers of real and "
        "predicted cells, at most 500 of each; it sees zeros, spread and dependence",
        function=lambda c: c2st_auc_forest(c.real.x, c.predicted.x, c.seed),
        better="lower",
        range=(0.0, 1.0),
        identical=0.5,
        unit="1",
        space="genes",
        source="Lopez-Paz and Oquab 2017, ICLR",
        repeats=1,
    ),
    Metric(
        key="des_wilcoxon",
        name="Differential expression score: share of the n significant genes of the real cells (Wilcoxon rank-sum "
        "against controls, Benjamini-Hochberg 0.05) among the n significant genes of the predicted cells with the "
        "largest |log2 fold change|; the test has less power on fewer cells, in a replicate too",
        function=lambda c: des(c.real.differential_expression, c.predicted.differential_expression),
        better="higher",
        range=(0.0, 1.0),
        identical=1.0,
        unit="1",
        space="genes",
        source="Virtual Cell Challenge 2025, Roohani et al. 2025, Cell 188",
    ),
)
