"""How well a prediction classifies genes as down, unchanged or up over all conditions."""

import numpy as np

from gensim.metrics.panel import Panel

CLASSES = (-1, 0, 1)


def macro_f1(panel: Panel) -> float:
    """mean_g mean_c 2 TP / (2 TP + FP + FN), counted over conditions, for the classes c that gene g has on either side.

    Args:
        panel: of (K, G) classes, see `response_classes`.

    Returns:
        Between 0 and 1. Most genes are unchanged in most conditions, which a prediction of no change finds.

    Source: Cole et al. 2026, DEG macro-F1; `f1_score(average="macro")` of scikit-learn by gene.
    """
    total, present = np.zeros(panel.real.shape[1]), np.zeros(panel.real.shape[1])
    for c in CLASSES:
        real, predicted = panel.real == c, panel.predicted == c
        both, either = (real & predicted).sum(0), real.sum(0) + predicted.sum(0)
        total += np.divide(2 * both, either, out=np.zeros(len(total)), where=either > 0)
        present += either > 0
    return float((total / present).mean())
