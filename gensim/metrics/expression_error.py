"""How far predicted bulk profiles are from measured ones, as a share of how far these are from controls."""

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.metrics.panel import Panel

Vector = NDArray[np.float64]


def mse_ratio_2026(panel: Panel) -> float:
    """MSE = sum_p N_p / sum_p D_p: the capped unbiased mean squared error, as a ratio to that of no change.

        N_p = (||b^_p - b_p||^2 - rho min(C^_p, C_p) - C_p) / G_p
        D_p = (||b_p - b_ctrl||^2 - C_p - C_ctrl) / G_p

    b: bulk profile; C: what sampling adds to a squared distance from it (`noisy_bulk`); ^: of the predicted cells. Sums
    run over the G_p genes that condition p does not perturb. A prediction is credited with no more noise than the real
    cells have, and with no more in total than its profiles spread over the conditions of a context, by

        rho = min(1, B / sum_q min(C^_q, C_q) / G_q),   B = sum_p ||b^_p - mean_q b^_q||^2 / G_p

    where the mean over conditions, weighted by 1 / G_q, is of those that do not perturb the gene.

    Args:
        panel: `noisy_shift` of the real and `noisy_bulk` of the predicted cells (see `Side`). The challenge has a ratio
            per context; of several contexts the sums run over all, rho being of each.

    Returns:
        On average 0 for predictions drawn from the true populations, and 1 for control cells that each of many
        conditions draws anew; more than 1 for few conditions or the same control cells in all. It may fall below 0.

    Raises:
        NotComputable: the real profiles are no farther from the controls than by noise.

    Source: Virtual Cell Challenge 2026, The vcc2026 metric suite (19 August 2026), section 2.
    """
    n = panel.predicted.shape[1] - 1
    real, noise = panel.real[:, :n], panel.real[:, n]
    control, control_noise = panel.real[:, n + 1 : -1], panel.real[:, -1]
    predicted, credit = panel.predicted[:, :n], np.minimum(panel.predicted[:, n], noise)
    weights = _weights(panel, n)
    per_gene = weights.max(axis=1)  # 1 / G_p
    distance = (weights * np.square(real - control)).sum() - (per_gene * (noise + control_noise)).sum()
    if distance <= 0:
        raise NotComputable("real bulk profiles differ from those of control cells by no more than sampling noise")
    granted = per_gene * credit
    contexts = np.array(panel.contexts or [""] * len(panel))
    for context in np.unique(contexts):
        own = contexts == context
        claim = granted[own].sum()
        if claim > 0:
            granted[own] *= min(1.0, _spread(predicted[own], weights[own]) / claim)
    error = (weights * np.square(predicted - real)).sum() - granted.sum() - (per_gene * noise).sum()
    return float(error / distance)


def _weights(panel: Panel, n_genes: int) -> Vector:
    """(K, G) 1 / G_p, and 0 for the genes that condition p perturbs."""
    kept = np.ones((len(panel), n_genes))
    for row, targets in zip(kept, panel.targets, strict=True):
        row[targets] = 0
    return np.asarray(kept / np.maximum(kept.sum(axis=1, keepdims=True), 1))


def _spread(profiles: Vector, weights: Vector) -> float:
    """B of (K, G) profiles."""
    of_gene = weights.sum(axis=0)
    mean = np.divide((weights * profiles).sum(axis=0), of_gene, out=np.zeros_like(of_gene), where=of_gene > 0)
    return float((weights * np.square(profiles - mean)).sum())
