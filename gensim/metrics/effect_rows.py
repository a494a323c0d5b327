"""Rows of the catalogue that compare mean effects."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.metrics.batch_effects import LARGE_BATCH, NOT_KNOWN
from gensim.metrics.comparison import Comparison
from gensim.metrics.effects import (
    l2_delta,
    mae_delta,
    mse_delta,
    pearson_delta,
    pearson_squared_delta,
    r2_delta,
    spearman_delta,
)
from gensim.metrics.metric import ConditionMetric
from gensim.metrics.scales import CORRELATION, DISTANCE, UNIT

TOP = (20, 50, 100)
CANCEL = "both against the same controls, which cancel"
NOISE = "the sampling noise of both means adds to it, so more predicted cells may pass a replicate"
APART = "the two effects share no control cell's noise"
ERROR = DISTANCE | {"space": "genes"}
ALIKE = CORRELATION | {"space": "genes"}
Vector = NDArray[np.float64]
EffectMetric = Callable[[Vector, Vector], float]


def _means(comparison: Comparison) -> tuple[Vector, Vector]:
    """Differences of these are differences of effects against the same controls."""
    return comparison.real.mean, comparison.predicted.mean


def _deltas(comparison: Comparison) -> tuple[Vector, Vector]:
    return comparison.real.delta, comparison.predicted.delta


def _ba_ate(comparison: Comparison) -> float:
    """||Delta - Delta^||_2 of effects in which batches count alike (Cole et al. 2026)."""
    if comparison.real.in_batches is None:
        raise NotComputable(NOT_KNOWN)
    return l2_delta(comparison.real.delta_over_batches, comparison.predicted.delta_over_batches)


def _systema(comparison: Comparison) -> float:
    """Pearson correlation of the differences from the mean training perturbation.

    The reference is the average over perturbations of their centroids, so that what all perturbations have in common,
    such as stress, counts for nothing.
    """
    reference = comparison.training_centroid
    if reference is None:
        raise NotComputable("no effects of training conditions are known, so their centroid is not")
    return pearson_delta(comparison.real.mean - reference, comparison.predicted.mean - reference)


def _of_top_genes(metric: EffectMetric, pair: Callable[[Comparison], tuple[Vector, Vector]], n: int) -> Any:
    def function(comparison: Comparison) -> float:
        genes = comparison.real.differential_expression.top(n)
        real, predicted = pair(comparison)
        return metric(real[genes], predicted[genes])

    return function


def _top_rows(n: int) -> Iterator[ConditionMetric]:
    genes = f"over at most the {n} most significant genes of the real cells (Wilcoxon against controls, 0.05)"
    for key, metric, what, unit in (
        ("l2", l2_delta, "L2", UNIT), ("mse", mse_delta, "Mean squared error", f"({UNIT})²"),
        ("mae", mae_delta, "Mean absolute error", UNIT),
    ):  # fmt: skip
        yield ConditionMetric(
            key=f"{key}_delta_top{n}",
            name=f"{what} of effects (delta) {genes}; {CANCEL}; {NOISE}",
            function=_of_top_genes(metric, _means, n),
            unit=unit,
            source="GEARS, Roohani et al. 2023, Nature Biotechnology (there of other top genes)",
            **ERROR,
        )
    for key, metric, what in (("pearson", pearson_delta, "Pearson"), ("spearman", spearman_delta, "Spearman")):
        yield ConditionMetric(
            key=f"{key}_delta_top{n}",
            name=f"{what} correlation of effects (delta) {genes}; {APART}",
            function=_of_top_genes(metric, _deltas, n),
            source="GEARS, Roohani et al. 2023, Nature Biotechnology (there of other top genes)",
            **ALIKE,
        )


EFFECT = (
    ConditionMetric(
        key="l2_delta",
        name=f"L2 of the difference of effects (delta), all genes, {CANCEL}; {NOISE}",
        function=lambda c: l2_delta(*_means(c)),
        of_means=l2_delta,
        unit=UNIT,
        source="Euclidean distance of pseudobulk effects",
        **ERROR,
    ),
    ConditionMetric(
        key="l2_ba_ate",
        name=f"L2 of the difference of batch-averaged effects (BA-ATE), all genes: batches count alike, taken against "
        f"control cells of the same batch where a condition has {LARGE_BATCH} cells or more per batch; predicted cells "
        f"whose batches are not known count alike; {APART}",
        function=_ba_ate,
        unit=UNIT,
        source="Cole et al. 2026",
        **ERROR,
    ),
    ConditionMetric(
        key="mse_delta",
        name=f"Mean squared error of effects (delta), all genes, {CANCEL}; {NOISE}",
        function=lambda c: mse_delta(*_means(c)),
        of_means=mse_delta,
        unit=f"({UNIT})²",
        source="Mean squared error of pseudobulk effects",
        **ERROR,
    ),
    ConditionMetric(
        key="mae_delta",
        name=f"Mean absolute error of effects (delta), all genes, {CANCEL}; {NOISE}",
        function=lambda c: mae_delta(*_means(c)),
        of_means=mae_delta,
        unit=UNIT,
        source="Virtual Cell Challenge 2025, Roohani et al. 2025, Cell 188",
        **ERROR,
    ),
    ConditionMetric(
        key="pearson_delta",
        name=f"Pearson correlation of effects (delta), all genes; {APART}",
        function=lambda c: pearson_delta(*_deltas(c)),
        of_means=pearson_delta,
        against_controls=True,
        source="Pearson correlation of pseudobulk effects",
        **ALIKE,
    ),
    ConditionMetric(
        key="spearman_delta",
        name=f"Spearman correlation of effects (delta), all genes; {APART}",
        function=lambda c: spearman_delta(*_deltas(c)),
        of_means=spearman_delta,
        against_controls=True,
        source="Spearman correlation of pseudobulk effects",
        **ALIKE,
    ),
    ConditionMetric(
        key="r2_delta",
        name=f"R², the coefficient of determination of effects (delta), all genes; {APART}",
        function=lambda c: r2_delta(*_deltas(c)),
        of_means=r2_delta,
        against_controls=True,
        source="Coefficient of determination of pseudobulk effects",
        **ALIKE | {"range": (-math.inf, 1.0)},
    ),
    ConditionMetric(
        key="pearson2_delta",
        name=f"Squared Pearson correlation of effects (delta), all genes, called R² in places; {APART}",
        function=lambda c: pearson_squared_delta(*_deltas(c)),
        of_means=pearson_squared_delta,
        against_controls=True,
        source="Squared correlation of pseudobulk effects",
        **ALIKE | {"range": (0.0, 1.0)},
    ),
    ConditionMetric(
        key="pearson_systema",
        name="Pearson correlation of differences from the average training perturbation of the context, all genes",
        function=_systema,
        source="Systema, Viñas Torné et al. 2025, Nature Biotechnology",
        **ALIKE,
    ),
    *(row for n in TOP for row in _top_rows(n)),
)
