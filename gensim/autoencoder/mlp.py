"""A multilayer-perceptron autoencoder with a Gaussian likelihood of equal variance (mean squared error)."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from torch import nn

from gensim.autoencoder.base import Autoencoder, encode_cells, reconstruction_error
from gensim.errors import TrainingError
from gensim.nn.blocks import initialise, linear
from gensim.seeding import numpy_generator
from gensim.types import blocks


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
        self.encoder = _mlp([n_genes, *[width] * n_layers, n_latents])
        self.decoder = _mlp([n_latents, *[width] * n_layers, n_genes])
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
    *,
    learning_rate: float,
    weight_decay: float,
    cells_per_step: int,
    max_epochs: int,
    patience_epochs: int,
    seed: int,
    report: Callable[[int, float], None],
) -> None:
    """Fit in place on (N, G) training cells, keep the weights of the best validation epoch, standardise the latents.

    Args:
        report: called with (epoch, validation error) after every epoch.

    Raises:
        TrainingError: the validation error is not finite.
    """
    device = autoencoder.device
    autoencoder.gene_mean.copy_(torch.from_numpy(np.asarray(x_train.mean(axis=0), dtype=np.float32).ravel()))
    optimiser = torch.optim.AdamW(autoencoder.parameters(), lr=learning_rate, weight_decay=weight_decay)
    best, best_error, waited = autoencoder.state_dict(), math.inf, 0
    for epoch in range(max_epochs):
        order = numpy_generator(seed, "autoencoder", epoch).permutation(x_train.shape[0])
        for rows in blocks(len(order), cells_per_step):
            x = torch.from_numpy(x_train[order[rows]].toarray()).to(device)
            loss = (autoencoder.decode(autoencoder.encode(x)) - x).square().mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        error = reconstruction_error(autoencoder, x_validation)["mse"]
        report(epoch, error)
        if not math.isfinite(error):
            raise TrainingError(
                f"the autoencoder's validation error is {error} in epoch {epoch}; lower its learning_rate"
            )
        if error < best_error:
            best = {name: tensor.clone() for name, tensor in autoencoder.state_dict().items()}
            best_error, waited = error, 0
        else:
            waited += 1
            if waited == patience_epochs:
                break
    autoencoder.load_state_dict(best)
    _standardise(autoencoder, x_train)


def _mlp(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [linear(n_in, n_out), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def _standardise(autoencoder: MLPAutoencoder, x_train: sparse.csr_matrix) -> None:
    """Set mean and one common scale of the latents from the training cells."""
    z = np.empty((x_train.shape[0], autoencoder.n_latents), dtype=np.float32)
    encode_cells(autoencoder, x_train, z)
    variance = float(z.var(axis=0, dtype=np.float64).mean())
    autoencoder.latent_mean.copy_(torch.from_numpy(z.mean(axis=0, dtype=np.float64)))
    autoencoder.latent_scale.fill_(math.sqrt(variance) if variance > 0 else 1.0)
