"""Rows of the catalogue that compare mean effects."""

import math

from gensim.metrics.effects import l2_delta, pearson_delta
from gensim.metrics.metric import ConditionMetric

EFFECT = (
    ConditionMetric(
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
    ConditionMetric(
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
