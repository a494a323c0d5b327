"""Fitting an autoencoder by gradient: epochs over the training cells until the validation error stops falling."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

from gensim.autoencoder.base import Autoencoder
from gensim.errors import TrainingError
from gensim.seeding import numpy_generator
from gensim.types import IntArray, blocks

LARGEST_GRADIENT = 10.0


def fit_by_gradient(
    autoencoder: Autoencoder,
    n_cells: int,
    loss: Callable[[IntArray, int], torch.Tensor],
    validation_error: Callable[[], float],
    *,
    learning_rate: float,
    weight_decay: float,
    cells_per_step: int,
    max_epochs: int,
    patience_epochs: int,
    seed: int,
    report: Callable[[int, float], None],
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
        {"params": [parameter], "lr": learning_rate * (faster or {}).get(name, 1.0)}
        for name, parameter in autoencoder.named_parameters()
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=weight_decay)
    best, best_error, waited = autoencoder.state_dict(), math.inf, 0
    for epoch in range(max_epochs + warmup_epochs):
        order = numpy_generator(seed, "autoencoder", epoch).permutation(n_cells)
        for rows in blocks(n_cells, cells_per_step):
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
            if waited == patience_epochs:
                break
    autoencoder.load_state_dict(best)


def standardisation(z: np.ndarray) -> tuple[torch.Tensor, float]:
    """(D,) mean and the one common scale that give (N, D) latents mean 0 and mean variance 1."""
    variance = float(z.var(axis=0, dtype=np.float64).mean())
    return torch.from_numpy(z.mean(axis=0, dtype=np.float64)), math.sqrt(variance) if variance > 0 else 1.0
