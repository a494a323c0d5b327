"""Rows of the catalogue that compare which genes are differentially expressed."""

from gensim.metrics.differential_expression import des
from gensim.metrics.metric import ConditionMetric

EXPRESSION = (
    ConditionMetric(
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
