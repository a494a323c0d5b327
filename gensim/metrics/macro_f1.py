"""How well a prediction classifies genes as down, unchanged or up over all conditions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gensim.metrics.panel import Panel

CLASSES = (-1, 0, 1)
Classes = NDArray[np.floating[Any] | np.integer[Any]]
Counts = NDArray[np.int64]


def macro_f1(panel: Panel) -> float:
    """mean_g mean_c 2 TP / (2 TP + FP + FN), counted over conditions, for the classes c that gene g has on either side.

    Args:
        panel: of (K, G) classes, see `response_classes`.

    Returns:
        Between 0 and 1. Most genes are unchanged in most conditions, which a prediction of no change finds.

    Source: Cole et al. 2026, DEG macro-F1; `f1_score(average="macro")` of scikit-learn by gene.
    """
    return float(f1_of_counts(*class_counts(panel.real, panel.predicted)))


def class_counts(real: Classes, predicted: Classes) -> tuple[Counts, Counts]:
    """(3, ..., G) conditions in which a gene has each class on both sides (TP), and the sum of those in which it has it
    on either (2 TP + FP + FN).

    Args:
        real, predicted: (K, ..., G) classes of K conditions; they may be repeated along the axes in between.
    """
    of_class = [(real == c, predicted == c) for c in CLASSES]
    both = np.stack([(of_real & of_predicted).sum(0) for of_real, of_predicted in of_class])
    return both, np.stack([of_real.sum(0) + of_predicted.sum(0) for of_real, of_predicted in of_class])


def f1_of_counts(both: Counts, either: Counts) -> NDArray[np.float64]:
    """(...) macro-F1, the mean over genes, of (3, ..., G) counts; see `class_counts`."""
    f1 = np.divide(2 * both, either, out=np.zeros(either.shape), where=either > 0)
    return np.asarray((f1.sum(0) / (either > 0).sum(0)).mean(-1))
