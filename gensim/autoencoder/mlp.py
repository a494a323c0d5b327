"""A multilayer-perceptron autoencoder with a Gaussian likelihood of equal variance (mean squared error)."""

from collections.abc import Callable
from itertools import pairwise

import torch
from scipy import sparse
from torch import nn

from gensim.autoencoder.base import Autoencoder, gene_moments, reconstruction_error
from gensim.autoencoder.fitting import FitSettings, fit_by_gradient, standardisation
from gensim.nn.blocks import initialise, linear
from gensim.types import IntArray


class MLPAutoencoder(Autoencoder):
    """Encoder and decoder of `n_layers` hidden SiLU layers; the latents are standardised after fitting.

    Args:
        n_genes, n_latents: G and D.
        width, n_layers: of each half.
        generator: for the initial weights.
    """

    gene_mean: torch.Tensor
    latent_mean: torch.Tensor
    latent_scale: torch.Tensor

    def __init__(self, n_genes: int, n_latents: int, width: int, n_layers: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n_latents = n_latents
        self.encoder = mlp([n_genes, *[width] * n_layers, n_latents])
        self.decoder = mlp([n_latents, *[width] * n_layers, n_genes])
        initialise(self, generator)
        self.register_buffer("gene_mean", torch.zeros(n_genes))
        self.register_buffer("latent_mean", torch.zeros(n_latents))
        self.register_buffer("latent_scale", torch.ones(()))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        latent: torch.Tensor = self.encoder(x - self.gene_mean)
        return (latent - self.latent_mean) / self.latent_scale

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        centred: torch.Tensor = self.decoder(z * self.latent_scale + self.latent_mean)
        return centred + self.gene_mean


def fit_mlp(
    autoencoder: MLPAutoencoder,
    x_train: sparse.csr_matrix,
    x_validation: sparse.csr_matrix,
    settings: FitSettings,
    report: Callable[[int, float], None],
) -> None:
    """Fit in place on (N, G) training cells, keep the weights of the best validation epoch, standardise the latents.

    Args:
        report: called with (epoch, validation error) after every epoch.

    Raises:
        TrainingError: the validation error is not finite.
    """
    device = autoencoder.device
    autoencoder.gene_mean.copy_(torch.from_numpy(gene_moments(x_train)[0]))

    def loss(rows: IntArray, epoch: int) -> torch.Tensor:  # noqa: ARG001 - the same in every epoch
        x = torch.from_numpy(x_train[rows].toarray()).to(device)
        return (autoencoder.decode(autoencoder.encode(x)) - x).square().mean()

    fit_by_gradient(
        autoencoder,
        x_train.shape[0],
        loss,
        lambda: reconstruction_error(autoencoder, x_validation)["mse"],
        settings,
        report,
    )
    mean, scale = standardisation(autoencoder, x_train)
    autoencoder.latent_mean.copy_(mean)
    autoencoder.latent_scale.fill_(scale)


def mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [linear(n_in, n_out), nn.SiLU()]
    return nn.Sequential(*layers[:-1])
