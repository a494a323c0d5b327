"""Whether a prediction can be told from those of other conditions: ranks among all conditions of a context."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from gensim.errors import NotComputable
from gensim.metrics.panel import Panel
from gensim.types import IntArray

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


def pds_2026(panel: Panel, k: int) -> float:
    """PDS_k = 1 - r / (K - 1), by cosine distance of effects, with r the position from 0 and ties sharing theirs.

    The genes that any condition of the panel perturbs are left out; the distance to or from a vector of 0 is 1.

    Returns:
        Between 0 and 1; 0.5 by chance.

    Source: Virtual Cell Challenge 2026, The vcc2026 metric suite, section 1.
    """
    genes = _without(panel, np.concatenate(panel.targets))
    vector, among = panel.predicted[k, genes], panel.real[:, genes]
    norms = np.linalg.norm(among, axis=1) * np.linalg.norm(vector)
    similarity = np.divide(among @ vector, norms, out=np.zeros(len(panel)), where=norms > 0)
    return 1 - _shared_position(1 - similarity, k) / (len(panel) - 1)


def rank_of_prediction(panel: Panel, k: int) -> float:
    """Position, from 0, of prediction k among all predictions by Euclidean distance to real condition k, over K - 1.

    Returns:
        Between 0 and 1: 0 where the own prediction is nearest; 0.5 where all predictions are the same, since ties
        share their average position.

    Source: PerturBench (Wu et al. 2024), rank metric.
    """
    return _shared_position(cdist(panel.predicted, panel.real[k][None])[:, 0], k) / (len(panel) - 1)


def centroid_accuracy(panel: Panel, k: int) -> float:
    """Share of the other conditions whose real centroid is farther from prediction k than the own real one, Euclidean.

    Returns:
        Between 0 and 1; 1 where the own centroid is nearest, 0.5 by chance.

    Source: Systema (Viñas Torné et al. 2025, Nature Biotechnology), centroid accuracy.
    """
    distances = cdist(panel.real, panel.predicted[k][None])[:, 0]
    return float((distances > distances[k]).sum()) / (len(panel) - 1)


def _distances(among: Vector, vector: Vector, panel: Panel, k: int, distance: Distance) -> Vector:
    genes = _without(panel, panel.targets[k])
    among, vector = among[:, genes], vector[genes]
    if distance == "cosine" and not (vector.any() and among.any(axis=1).all()):
        raise NotComputable("an effect is 0 on all genes, so it has no direction")
    return np.asarray(cdist(among, vector[None], distance)[:, 0])


def _without(panel: Panel, perturbed: IntArray) -> IntArray:
    """Columns of the other genes."""
    genes = np.setdiff1d(np.arange(panel.real.shape[1]), perturbed)
    if not len(genes):
        raise NotComputable("all genes are perturbed, so none is left to compare")
    return genes


def _position(distances: Vector, k: int) -> int:
    return int(np.flatnonzero(np.argsort(distances, kind="stable") == k)[0])


def _shared_position(distances: Vector, k: int) -> float:
    """From 0; ties share their average position."""
    return float((distances < distances[k]).sum() + ((distances == distances[k]).sum() - 1) / 2)
