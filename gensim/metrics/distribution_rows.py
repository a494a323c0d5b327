"""Rows of the catalogue that compare two populations as distributions."""

from functools import partial

from gensim.metrics import distance_variants, manifold
from gensim.metrics.correlations import correlation_error
from gensim.metrics.distances import energy_distance, mmd2_rbf
from gensim.metrics.marginal_distances import mean_kolmogorov_smirnov, mean_wasserstein1
from gensim.metrics.marginals import variance_ratio, zero_fraction_error
from gensim.metrics.metric import ConditionMetric
from gensim.metrics.optimal_transport import sinkhorn_divergence_pca, sliced_wasserstein1_pca, wasserstein_pca
from gensim.metrics.scales import DISTANCE, LOSS, RATIO, SHARE, UNIT
from gensim.metrics.two_sample import c2st_auc_forest, c2st_auc_logistic

DISTRIBUTION = (
    ConditionMetric(
        key="energy_distance_pca",
        name="Energy distance, Euclidean, within-terms unbiased, no square root, PCA space",
        function=lambda c: energy_distance(c.real.in_pca, c.predicted.in_pca),
        unit=UNIT,
        space="PCA",
        source="Székely and Rizzo 2013, J. Stat. Plan. Inference 143",
        **DISTANCE,
    ),
    ConditionMetric(
        key="energy_distance_genes",
        name="Energy distance, Euclidean, within-terms unbiased, no square root, gene space",
        function=lambda c: energy_distance(c.real.in_genes, c.predicted.in_genes),
        unit=UNIT,
        space="genes",
        source="Székely and Rizzo 2013, J. Stat. Plan. Inference 143",
        **DISTANCE,
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
        key="energy_biased_pca",
        name="Energy distance, Euclidean, within-terms with each cell and itself, no square root, PCA space; never"
        " below 0, above 0 on average for the same population",
        function=lambda c: distance_variants.energy_biased(c.real.in_pca, c.predicted.in_pca),
        unit=UNIT,
        space="PCA",
        source="Székely and Rizzo 2013, J. Stat. Plan. Inference 143",
        **DISTANCE,
    ),
    ConditionMetric(
        key="energy_sqrt_pca",
        name="Square root of energy_biased_pca",
        function=lambda c: distance_variants.energy_sqrt(c.real.in_pca, c.predicted.in_pca),
        unit="(log1p CP10k)^½",
        space="PCA",
        source="Székely and Rizzo 2013, J. Stat. Plan. Inference 143",
        **DISTANCE,
    ),
    ConditionMetric(
        key="energy_sq_pca",
        name="Energy distance with squared Euclidean distances, within-terms unbiased, no square root, PCA space; "
        "it sees means only",
        function=lambda c: distance_variants.energy_squared(c.real.in_pca, c.predicted.in_pca),
        unit="(log1p CP10k)²",
        space="PCA",
        source="scPerturb, Peidli et al. 2024, Nature Methods 21",
        **DISTANCE,
    ),
    ConditionMetric(
        key="energy_sq_biased_pca",
        name="Energy distance with squared Euclidean distances, within-terms with each cell and itself, PCA space:"
        " twice the squared distance of means",
        function=lambda c: distance_variants.energy_squared_biased(c.real.in_pca, c.predicted.in_pca),
        unit="(log1p CP10k)²",
        space="PCA",
        source="CellFlow, Klein et al. 2025",
        **DISTANCE,
    ),
    ConditionMetric(
        key="mmd2_cellot_pca",
        name="MMD squared, within-terms with each cell and itself, Gaussian kernels gamma = 2, 1, 0.5, 0.1, 0.01, "
        "0.005 averaged, PCA space",
        function=lambda c: distance_variants.mmd2_cellot(c.real.in_pca, c.predicted.in_pca),
        better="lower",
        range=(0.0, 2.0),
        identical=0.0,
        unit="1",
        space="PCA",
        source="CellOT, Bunne et al. 2023, Nature Methods 20",
    ),
    ConditionMetric(
        key="mmd2_linear_pca",
        name="MMD squared, unbiased, linear kernel, PCA space; it sees means only",
        function=lambda c: distance_variants.mmd2_linear(c.real.in_pca, c.predicted.in_pca),
        unit="(log1p CP10k)²",
        space="PCA",
        source="Gretton et al. 2012, JMLR 13",
        **DISTANCE,
    ),
    ConditionMetric(
        key="wasserstein1_pca",
        name="Wasserstein-1 distance, exact, at most 500 cells of each, PCA space; the sampling noise of both adds"
        " to it",
        function=partial(wasserstein_pca, order=1),
        unit=UNIT,
        space="PCA",
        source="Peyré and Cuturi 2019, Found. Trends Mach. Learn. 11",
        repeats=1,
        **DISTANCE,
    ),
    ConditionMetric(
        key="wasserstein2_pca",
        name="Wasserstein-2 distance, exact, at most 500 cells of each, PCA space; the sampling noise of both adds"
        " to it",
        function=partial(wasserstein_pca, order=2),
        unit=UNIT,
        space="PCA",
        source="Peyré and Cuturi 2019, Found. Trends Mach. Learn. 11",
        repeats=1,
        **DISTANCE,
    ),
    ConditionMetric(
        key="sinkhorn_div_pca",
        name="Sinkhorn divergence, squared Euclidean cost, regularisation 0.1 of the median squared distance of "
        "the real cells, at most 500 cells of each, PCA space",
        function=sinkhorn_divergence_pca,
        unit="(log1p CP10k)²",
        space="PCA",
        source="Feydy et al. 2019, AISTATS",
        repeats=1,
        **DISTANCE,
    ),
    ConditionMetric(
        key="sliced_w1_pca",
        name="Sliced Wasserstein-1 distance, mean over 200 random directions, PCA space; the sampling noise of "
        "both adds to it",
        function=sliced_wasserstein1_pca,
        unit=UNIT,
        space="PCA",
        source="Bonneel et al. 2015, J. Math. Imaging Vision 51",
        **DISTANCE,
    ),
    ConditionMetric(
        key="variance_ratio",
        name="Ratio of variances, predicted / real, median over genes detected in at least 2 % of the real cells",
        function=lambda c: variance_ratio(c.real.marginals, c.predicted.marginals),
        space="genes",
        source="Ratio of unbiased sample variances",
        **RATIO,
    ),
    ConditionMetric(
        key="zero_fraction_error",
        name="Mean over genes of the absolute difference of the shares of cells that are exactly 0; the sampling noise "
        "of both shares adds to it, so more predicted cells may pass a replicate",
        function=lambda c: zero_fraction_error(c.real.marginals, c.predicted.marginals),
        space="genes",
        source="Difference of detection rates",
        **LOSS,
    ),
    ConditionMetric(
        key="wasserstein1_per_gene",
        name="Wasserstein-1 distance of single genes, mean over genes; the sampling noise of both adds to it",
        function=lambda c: mean_wasserstein1(c.real.x, c.predicted.x),
        unit=UNIT,
        space="genes",
        source="Wasserstein distance of marginals",
        repeats=1,
        **DISTANCE,
    ),
    ConditionMetric(
        key="ks_per_gene",
        name="Kolmogorov-Smirnov distance of single genes, mean over genes; the sampling noise of both adds to it",
        function=lambda c: mean_kolmogorov_smirnov(c.real.x, c.predicted.x),
        space="genes",
        source="Smirnov 1948, Ann. Math. Stat. 19",
        repeats=1,
        **LOSS,
    ),
    ConditionMetric(
        key="precision_pca",
        name="Share of predicted cells within the 5th-neighbour ball of any real cell, PCA space; the replicate "
        "shows what is reached",
        function=lambda c: manifold.precision(c.real.scores, c.predicted.scores),
        space="PCA",
        source="Kynkäänniemi et al. 2019, NeurIPS",
        **SHARE,
    ),
    ConditionMetric(
        key="recall_pca",
        name="Share of real cells within the 5th-neighbour ball of any predicted cell, PCA space; the replicate "
        "shows what is reached",
        function=lambda c: manifold.recall(c.real.scores, c.predicted.scores),
        space="PCA",
        source="Kynkäänniemi et al. 2019, NeurIPS",
        **SHARE,
    ),
    ConditionMetric(
        key="density_pca",
        name="Mean number of 5th-neighbour balls of real cells that hold a predicted cell, divided by 5, PCA space",
        function=lambda c: manifold.density(c.real.scores, c.predicted.scores),
        space="PCA",
        source="Naeem et al. 2020, ICML",
        **RATIO,
    ),
    ConditionMetric(
        key="coverage_pca",
        name="Share of 5th-neighbour balls of real cells that hold a predicted cell, PCA space; 31/32 is expected "
        "of as many cells of the same population",
        function=lambda c: manifold.coverage(c.real.scores, c.predicted.scores),
        better="higher",
        range=(0.0, 1.0),
        identical=31 / 32,
        unit="1",
        space="PCA",
        source="Naeem et al. 2020, ICML",
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
        function=lambda c: c2st_auc_logistic(c.real.x, c.predicted.x, c.seed, c.call),
        in_processes=True,
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
        function=lambda c: c2st_auc_forest(c.real.x, c.predicted.x, c.seed, c.call),
        in_processes=True,
        better="lower",
        range=(0.0, 1.0),
        identical=0.5,
        unit="1",
        space="genes",
        source="Lopez-Paz and Oquab 2017, ICLR",
        repeats=1,
    ),
)
