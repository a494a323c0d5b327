"""Principal components as the plain member of the autoencoder family."""

import torch
from scipy import sparse

from gensim.autoencoder.base import Autoencoder
from gensim.pca import fit_pca


class PCAAutoencoder(Autoencoder):
    """z = W (x - mean) / scale, x = scale Wᵀ z + mean, with orthonormal rows W fitted on training cells."""

    mean: torch.Tensor
    components: torch.Tensor
    scale: torch.Tensor

    def __init__(self, n_latents: int, n_genes: int) -> None:
        super().__init__()
        self.n_latents = n_latents
        self.register_buffer("mean", torch.zeros(n_genes))
        self.register_buffer("components", torch.zeros(n_latents, n_genes))
        self.register_buffer("scale", torch.ones(()))

    @classmethod
    def fit(cls, x_train: sparse.csr_matrix, n_latents: int) -> "PCAAutoencoder":
        """Fit on (N, G) training cells, log1p CP10k; at most min(N - 1, G) latents exist."""
        pca = fit_pca(x_train, n_latents)
        autoencoder = cls(len(pca.components), x_train.shape[1])
        autoencoder.mean.copy_(torch.from_numpy(pca.mean))
        autoencoder.components.copy_(torch.from_numpy(pca.components))
        mean_variance = float(pca.variance.mean())
        autoencoder.scale.fill_(mean_variance**0.5 if mean_variance > 0 else 1.0)
        return autoencoder

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) @ self.components.T / self.scale

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return self.scale * z @ self.components + self.mean
