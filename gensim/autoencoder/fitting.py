"""Fitting an autoencoder by gradient: epochs over the training cells until the validation error stops falling."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from gensim.autoencoder.base import Autoencoder, encode_cells
from gensim.errors import TrainingError
from gensim.seeding import numpy_generator
from gensim.types import IntArray, blocks

LARGEST_GRADIENT = 10.0


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How long and how fast to fit.

    Args:
        patience_epochs: epochs without a gain after which to stop.
        seed: of the order of the cells and of all draws.
    """

    learning_rate: float
    weight_decay: float
    cells_per_step: int
    max_epochs: int
    patience_epochs: int
    seed: int


def fit_by_gradient(
    autoencoder: Autoencoder,
    n_cells: int,
    loss: Callable[[IntArray, int], torch.Tensor],
    validation_error: Callable[[], float],
    settings: FitSettings,
    report: Callable[[int, float], None],
    *,
    warmup_epochs: int = 0,
    faster: Mapping[str, float] | None = None,
) -> None:
    """Fit in place and keep the weights of the best validation epoch.

    Args:
        n_cells: training cells; `loss` maps some of their numbers and the epoch to a scalar.
        report: called with (epoch, validation error) after every epoch.
        warmup_epochs: first epochs, in which the loss is another one and nothing is kept.
        faster: factors on the learning rate of single parameters, by name.

    Raises:
        TrainingError: the validation error is not finite.
    """
    groups = [
        {"params": [parameter], "lr": settings.learning_rate * (faster or {}).get(name, 1.0)}
        for name, parameter in autoencoder.named_parameters()
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    best, best_error, waited = autoencoder.state_dict(), math.inf, 0
    for epoch in range(settings.max_epochs + warmup_epochs):
        order = numpy_generator(settings.seed, "autoencoder", epoch).permutation(n_cells)
        for rows in blocks(n_cells, settings.cells_per_step):
            value = loss(order[rows], epoch)
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), LARGEST_GRADIENT)
            optimiser.step()
        error = validation_error()
        report(epoch, error)
        if not math.isfinite(error):
            raise TrainingError(
                f"the autoencoder's validation error is {error} in epoch {epoch}; lower its learning_rate"
            )
        if epoch < warmup_epochs:
            continue
        if error < best_error:
            best = {name: tensor.clone() for name, tensor in autoencoder.state_dict().items()}
            best_error, waited = error, 0
        else:
            waited += 1
            if waited == settings.patience_epochs:
                break
    autoencoder.load_state_dict(best)


def standardisation(autoencoder: Autoencoder, x_train: sparse.csr_matrix) -> tuple[torch.Tensor, float]:
    """(D,) mean and the one common scale that give the latents of training cells mean 0 and mean variance 1."""
    z = np.empty((x_train.shape[0], autoencoder.n_latents), dtype=np.float32)
    encode_cells(autoencoder, x_train, z)
    variance = float(z.var(axis=0, dtype=np.float64).mean())
    return torch.from_numpy(z.mean(axis=0, dtype=np.float64)), math.sqrt(variance) if variance > 0 else 1.0
