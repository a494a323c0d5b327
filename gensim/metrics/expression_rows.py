"""Rows of the catalogue that compare which genes are differentially expressed."""

import math
from collections.abc import Callable
from functools import partial

from gensim.metrics import challenge_2026, expression_agreement
from gensim.metrics.challenge_2026 import Table2026
from gensim.metrics.comparison import Comparison
from gensim.metrics.differential_expression import DifferentialExpression, des
from gensim.metrics.metric import ConditionMetric
from gensim.metrics.scales import SHARE
from gensim.types import IntArray

TESTED = "Wilcoxon rank-sum against controls, Benjamini-Hochberg 0.05"
TESTED_2026 = f"{TESTED} over the genes above 5 counts per million in the controls, without the perturbed gene"
CHANCE = "the no-change row is the share of significant genes"
OF_GENES = SHARE | {"space": "genes"}
TESTED_REPEATS = 2
"""Of an evaluation, as two tests in each of five take most of its time; the challenge of 2026 is defined by five."""
OF_TESTS = OF_GENES | {"repeats": TESTED_REPEATS}
CELL_EVAL = "cell-eval, Adduri et al. 2025"
IN_SILICO = "Zhu, Long et al."
SUITE = "Virtual Cell Challenge 2026, The vcc2026 metric suite, section"


def _tables(metric: Callable[[DifferentialExpression, DifferentialExpression], float]) -> Callable[[Comparison], float]:
    return lambda c: metric(c.real.differential_expression, c.predicted.differential_expression)


def _tables_2026(metric: Callable[[Table2026, Table2026, IntArray], float]) -> Callable[[Comparison], float]:
    return lambda c: metric(c.real.tested_2026, c.predicted.tested_2026, c.targets)


EXPRESSION = (
    ConditionMetric(
        key="des_wilcoxon",
        name="Differential expression score: share of the n significant genes of the real cells (Wilcoxon rank-sum "
        "against controls, Benjamini-Hochberg 0.05) among the n significant genes of the predicted cells with the "
        "largest |log2 fold change|; the test has less power on fewer cells, in a replicate too",
        function=_tables(des),
        source="Virtual Cell Challenge 2025, Roohani et al. 2025, Cell 188",
        **OF_TESTS,
    ),
    ConditionMetric(
        key="de_recall",
        name=f"Share of the significant genes of the real cells ({TESTED}) that are significant in the predicted cells",
        function=_tables(expression_agreement.significant_recall),
        source=CELL_EVAL,
        **OF_TESTS,
    ),
    ConditionMetric(
        key="de_direction_match",
        name=f"Share of the significant genes of the real cells ({TESTED}) whose predicted fold change has their sign",
        function=_tables(expression_agreement.direction_match),
        source=CELL_EVAL,
        **OF_TESTS,
    ),
    ConditionMetric(
        key="de_spearman_lfc",
        name=f"Spearman correlation of log2 fold changes over the significant genes of the real cells ({TESTED})",
        function=_tables(expression_agreement.spearman_fold_changes),
        source=CELL_EVAL,
        **OF_TESTS | {"range": (-1.0, 1.0)},
    ),
    ConditionMetric(
        key="auprc_lfc",
        name=f"Area under the precision-recall curve of finding the significant genes of the real cells ({TESTED}) by "
        f"the predicted |log2 fold change|; {CHANCE}",
        function=_tables(expression_agreement.auprc_of_fold_changes),
        source=IN_SILICO,
        **OF_TESTS,
    ),
    ConditionMetric(
        key="auprc_fdr",
        name=f"Area under the precision-recall curve of finding the significant genes of the real cells ({TESTED}) by "
        f"the predicted false discovery rate; {CHANCE}",
        function=_tables(expression_agreement.auprc_of_rates),
        source=CELL_EVAL,
        **OF_TESTS,
    ),
    *(
        ConditionMetric(
            key=f"precision_at_recall{recall}",
            name=f"Best precision of finding the significant genes of the real cells ({TESTED}) by the predicted |log2 "
            f"fold change| at a recall of {recall} % or above; {CHANCE}",
            function=_tables(partial(expression_agreement.precision_at_recall, recall=recall / 100)),
            source=IN_SILICO,
            **OF_TESTS,
        )
        for recall in (25, 50, 75)
    ),
    ConditionMetric(
        key="direction_fidelity",
        name=f"k / max(n_pred, n_real): k of the n_pred significant genes of the predicted cells have the direction of "
        f"the real cells, of which n_real are significant ({TESTED_2026})",
        function=_tables_2026(challenge_2026.direction_fidelity),
        source=f"{SUITE} 3",
        **OF_GENES,
    ),
    ConditionMetric(
        key="direction_reach",
        name="Largest share of the significant genes of the real cells, the most confident of the prediction first, of "
        f"which at least 0.9 have the right direction ({TESTED_2026})",
        function=_tables_2026(challenge_2026.direction_reach),
        source=f"{SUITE} 4",
        **OF_GENES,
    ),
    ConditionMetric(
        key="de_jaccard",
        name=f"Jaccard index of the significant genes of both sides ({TESTED_2026}); 1 where there are none",
        function=_tables_2026(challenge_2026.significant_jaccard),
        source=f"{SUITE} 5",
        **OF_GENES,
    ),
    ConditionMetric(
        key="lfc_nmae",
        name="Mean absolute error of log2 fold changes over that of no change, over the significant genes of the real "
        f"cells, 10 or more ({TESTED_2026})",
        function=_tables_2026(challenge_2026.fold_change_nmae),
        better="lower",
        range=(0.0, math.inf),
        identical=0.0,
        unit="1",
        space="genes",
        source=f"{SUITE} 6",
    ),
)
