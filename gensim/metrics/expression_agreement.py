"""How far the differentially expressed genes of predicted cells are those of real cells, beside `des`."""

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.metrics.differential_expression import FALSE_DISCOVERY_RATE, NO_GENE, DifferentialExpression

SMALLEST_RATE = 1e-10


def significant_recall(real: DifferentialExpression, predicted: DifferentialExpression) -> float:
    """|real ∩ predicted| / |real| of the significant genes; between 0 and 1.

    Raises:
        NotComputable: no gene is differentially expressed in the real cells.

    Source: `de_sig_genes_recall` of cell-eval.
    """
    wanted = _significant(real)
    return len(np.intersect1d(wanted, predicted.significant)) / len(wanted)


def direction_match(real: DifferentialExpression, predicted: DifferentialExpression) -> float:
    """Share of the significant genes of the real cells that change in the same direction in the predicted cells.

    Raises:
        NotComputable: no gene is differentially expressed in the real cells.

    Source: `de_direction_match` of cell-eval.
    """
    genes = _significant(real)
    same = np.sign(real.log2_fold_change[genes]) == np.sign(predicted.log2_fold_change[genes])
    return float(same.mean())


def spearman_fold_changes(real: DifferentialExpression, predicted: DifferentialExpression) -> float:
    """Spearman correlation of log2 fold changes over the significant genes of the real cells.

    Raises:
        NotComputable: fewer than two genes, or fold changes that are the same for all.

    Source: `de_spearman_lfc_sig` of cell-eval.
    """
    genes = _significant(real)
    pair = real.log2_fold_change[genes], predicted.log2_fold_change[genes]
    if len(genes) < 2 or any((changes == changes[0]).all() for changes in pair):
        raise NotComputable(f"fold changes of {len(genes)} genes, the same for all on a side, have no correlation")
    from scipy.stats import spearmanr

    return float(spearmanr(*pair).statistic)


def auprc_of_fold_changes(real: DifferentialExpression, predicted: DifferentialExpression) -> float:
    """Area under the precision-recall curve (average precision) of finding significant genes by |log2 fold change|.

    Returns:
        Between 0 and 1; the share of significant genes for a prediction of no change, whose scores tie.

    Raises:
        NotComputable: all or none of the genes are differentially expressed in the real cells.

    Source: Zhu, Long et al.: label significant in vitro, score |log2 fold change| in silico.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(_labels(real), _sizes(predicted)))


def auprc_of_rates(real: DifferentialExpression, predicted: DifferentialExpression) -> float:
    """The same by -log10 of the predicted false discovery rate, of no less than 1e-10.

    Source: `pr_auc` of cell-eval.
    """
    scores = -np.log10(np.clip(predicted.fdr, SMALLEST_RATE, 1.0))
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(_labels(real), scores))


def precision_at_recall(real: DifferentialExpression, predicted: DifferentialExpression, recall: float) -> float:
    """The best precision of finding significant genes by |log2 fold change| at this recall or above.

    Raises:
        NotComputable: all or none of the genes are differentially expressed in the real cells.

    Source: Zhu, Long et al.
    """
    from sklearn.metrics import precision_recall_curve

    precision, reached, _ = precision_recall_curve(_labels(real), _sizes(predicted))
    return float(precision[reached >= recall].max())


def _significant(real: DifferentialExpression) -> NDArray[np.int64]:
    genes = real.significant
    if not len(genes):
        raise NotComputable(NO_GENE)
    return genes


def _labels(real: DifferentialExpression) -> NDArray[np.bool_]:
    labels = real.fdr < FALSE_DISCOVERY_RATE
    if labels.all() or not labels.any():
        n = f"{labels.sum()} of {len(labels)} genes are"
        raise NotComputable(f"{n} differentially expressed in the real cells; precision and recall need some, not all")
    return labels


def _sizes(predicted: DifferentialExpression) -> NDArray[np.float64]:
    """|log2 fold change| with infinite ones above all others."""
    return np.nan_to_num(np.abs(predicted.log2_fold_change), posinf=np.finfo(np.float64).max)
