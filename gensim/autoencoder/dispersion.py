"""How much more or less than elsewhere the counts of a gene scatter in one condition."""

import numpy as np
import torch
from scipy import sparse

from gensim.autoencoder.count import LOG_THETA, CountAutoencoder
from gensim.autoencoder.likelihoods import CountDistribution
from gensim.types import FloatArray, blocks

SHIFTS = np.linspace(-2.0, 2.0, 33)
PRIOR_WIDTH = 0.5
"""Standard deviation of the shift, natural logarithm: what a condition is expected to change of a gene's dispersion."""
CELLS_AT_ONCE = 1024


@torch.no_grad()
def log_theta_shift(
    autoencoder: CountAutoencoder,
    z: FloatArray,
    counts: sparse.csr_matrix,
    library_size: FloatArray,
    log_effect: FloatArray | None = None,
) -> FloatArray:
    """(G,) most probable shift of log theta for n cells, given their latents.

        argmax_s  sum_i log NB(x_i | L_i rho(z_i) exp(effect), theta exp(s)) - s² / (2 width²)

    over a grid of 33 shifts, refined by the parabola through the best and its neighbours.

    Args:
        z: (n, D) standardised latents of the cells. counts: (n, G). library_size: (n,).
        log_effect: (G,) of their condition on the logarithms of the means; a mean that is missed looks like spread.
    """
    device, n_genes = autoencoder.device, counts.shape[1]
    total = torch.zeros(len(SHIFTS), n_genes, dtype=torch.float64, device=device)
    for rows in blocks(len(z), CELLS_AT_ONCE):
        x = torch.from_numpy(counts[rows].toarray().astype(np.float64)).to(device)
        latents, sizes = (torch.from_numpy(a[rows]).to(device) for a in (z, library_size))
        effect = None if log_effect is None else torch.from_numpy(log_effect).to(device)
        decoded = autoencoder.distribution(latents, sizes[:, None], effect)
        zero_logits = None if decoded.zero_logits is None else decoded.zero_logits.double()
        for i, shift in enumerate(SHIFTS):
            # float64: where theta is large, log-gammas of thousands cancel, and what float32 leaves adds up over cells.
            theta = (autoencoder.log_theta.double() + shift).clamp(*LOG_THETA).exp()
            total[i] += CountDistribution(decoded.mu.double(), theta, zero_logits).log_prob(x).sum(dim=0)
    posterior = total.cpu().numpy() - (SHIFTS**2 / (2 * PRIOR_WIDTH**2))[:, None]
    best = posterior.argmax(axis=0).clip(1, len(SHIFTS) - 2)
    left, middle, right = (posterior[best + side, np.arange(n_genes)] for side in (-1, 0, 1))
    curvature = left - 2 * middle + right
    step = np.where(curvature < 0, (left - right) / (2 * np.minimum(curvature, -1e-12)), 0.0).clip(-1, 1)
    shift = SHIFTS[best] + step * (SHIFTS[1] - SHIFTS[0])
    return np.asarray(shift, dtype=np.float32)
