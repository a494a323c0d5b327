"""Whether a prediction can be told from those of other conditions: ranks among all conditions of a context."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from gensim.errors import NotComputable
from gensim.metrics.panel import Panel

Vector = NDArray[np.float64]
Distance = Literal["cityblock", "euclidean", "cosine"]


def pds(panel: Panel, k: int, distance: Distance) -> float:
    """PDS_k = 1 - rank / K: perturbation discrimination score of the prediction for the k-th of K conditions.

    rank: position, from 0, of the real condition k among all real conditions sorted by their distance to prediction k.
    The genes that condition k perturbs are left out. Ties go to the condition that comes first, so that a prediction
    without an effect does not profit from them on average.

    Returns:
        Between 1/K and 1; 1 where the own condition is nearest, (K + 1) / (2 K) on average by chance.

    Raises:
        NotComputable: with cosine, a real or the predicted vector is 0.

    Source: Virtual Cell Challenge 2025, `discrimination_score` of cell-eval.
    """
    distances = _distances(panel.real, panel.predicted[k], panel, k, distance)
    return 1 - _position(distances, k) / len(panel)


def rank_of_prediction(panel: Panel, k: int) -> float:
    """Position, from 0, of prediction k among all predictions by Euclidean distance to real condition k, over K - 1.

    Returns:
        Between 0 and 1: 0 where the own prediction is nearest; 0.5 where all predictions are the same, since ties
        share their average position.

    Source: PerturBench (Wu et al. 2024), rank metric.
    """
    distances = cdist(panel.predicted, panel.real[k][None])[:, 0]
    own = distances[k]
    tied = (distances == own).sum() - 1
    return float((distances < own).sum() + tied / 2) / (len(panel) - 1)


def centroid_accuracy(panel: Panel, k: int) -> float:
    """Share of the other conditions whose real centroid is farther from prediction k than the own real one, Euclidean.

    Returns:
        Between 0 and 1; 1 where the own centroid is nearest, 0.5 by chance.

    Source: Systema (Viñas Torné et al. 2025, Nature Biotechnology), centroid accuracy.
    """
    distances = cdist(panel.real, panel.predicted[k][None])[:, 0]
    return float((distances > distances[k]).sum()) / (len(panel) - 1)


def _distances(among: Vector, vector: Vector, panel: Panel, k: int, distance: Distance) -> Vector:
    genes = np.setdiff1d(np.arange(among.shape[1]), panel.targets[k])
    if not len(genes):
        raise NotComputable("the condition perturbs all genes, so none is left to compare")
    among, vector = among[:, genes], vector[genes]
    if distance == "cosine" and not (vector.any() and among.any(axis=1).all()):
        raise NotComputable("an effect is 0 on all genes, so it has no direction")
    return np.asarray(cdist(among, vector[None], distance)[:, 0])


def _position(distances: Vector, k: int) -> int:
    return int(np.flatnonzero(np.argsort(distances, kind="stable") == k)[0])
