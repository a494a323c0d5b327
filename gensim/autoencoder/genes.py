"""No latents: the genes themselves, on one scale, as the identity of the autoencoder family."""

import torch
from scipy import sparse

from gensim.autoencoder.base import Autoencoder, gene_moments


class GeneSpace(Autoencoder):
    """z = (x - mean) / scale, x = scale z + mean, with one scale for all genes: their mean variance becomes 1."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.n_latents = n_genes
        self.register_buffer("mean", torch.zeros(n_genes))
        self.register_buffer("scale", torch.ones(()))

    @classmethod
    def fit(cls, x_train: sparse.csr_matrix) -> "GeneSpace":
        """Fit on (N, G) training cells, log1p CP10k."""
        space = cls(x_train.shape[1])
        mean, variances = gene_moments(x_train)
        variance = float(variances.mean())
        space.mean.copy_(torch.from_numpy(mean))
        space.scale.fill_(variance**0.5 if variance > 0 else 1.0)
        return space

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.scale

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return self.scale * z + self.mean
