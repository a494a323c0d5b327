"""Rows of the catalogue that compare two populations as distributions."""

import math

from gensim.metrics.correlations import correlation_error
from gensim.metrics.distances import energy_distance, mmd2_rbf
from gensim.metrics.marginals import variance_ratio, zero_fraction_error
from gensim.metrics.metric import ConditionMetric
from gensim.metrics.two_sample import c2st_auc_forest, c2st_auc_logistic

DISTRIBUTION = (
    ConditionMetric(
        key="energy_distance_pca",
        name="Energy distance, Euclidean, within-terms unbiased, no square root, PCA space",
        function=lambda c: energy_distance(c.real.in_pca, c.predicted.in_pca),
        better="lower",
        range=(0.0, math.inf),
        identical=0.0,
        unit="log1p CP10k",
        space="PCA",
        source="Székely and Rizzo 2013, J. Stat. Plan. Inference 143",
    ),
    ConditionMetric(
        key="energy_distance_genes",
        name="Energy distance, Euclidean, within-terms unbiased, no square root, gene space",
        function=lambda c: energy_distance(c.real.in_genes, c.predicted.in_genes),
        better="lower",
        range=(0.0, math.inf),
        identical=0.0,
        unit="log1p CP10k",
        space="genes",
        source="Székely and Rizzo 2013, J. Stat. Plan. Inference 143",
    ),
    ConditionMetric(
        key="mmd2_rbf_pca",
        name="MMD squared, unbiased, Gaussian kernels gamma = 1/(2 sigma2 {0.5, 1, 2}) averaged, sigma2 the median "
        "squared distance of the condition's real cells, PCA space",
        function=lambda c: mmd2_rbf(c.real.in_pca, c.predicted.in_pca, sigma2=c.sigma2).value,
        better="lower",
        range=(0.0, 2.0),
        identical=0.0,
        unit="1",
        space="PCA",
        source="Gretton et al. 2012, JMLR 13",
    ),
    ConditionMetric(
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
    ConditionMetric(
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
    ConditionMetric(
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
    ConditionMetric(
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
    ConditionMetric(
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
)
