"""Effects on single genes that a trained transport and its latents miss, measured on training cells."""

import numpy as np
import torch

from gensim.autoencoder.count import CountAutoencoder
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.observed_shares import ObservedShares
from gensim.perturbations.shrinkage import shrink_each
from gensim.training.run_folder import CellIndex
from gensim.training.validation import Validation, ValidationTask, batches_of, spread
from gensim.transport.base import Transport
from gensim.types import Condition, FloatArray, IntArray, blocks

CELLS_PER_CONDITION = 1024
CELLS_AT_ONCE = 4096


def calibrate(
    transport: Transport,
    autoencoder: CountAutoencoder,
    simulation: Validation,
    cells: CellIndex,
    not_held_out: IntArray,
    observed: ObservedShares,
) -> MeanEffects:
    """What every training condition does to the logarithm of every gene's share beyond what the model says.

        d = [log observed_k - log simulated_k] - [log observed_c - log decoded_c],    shrunk per condition

    with shares of all counts, k the condition and c its controls, from up to 1,024 training control cells moved by the
    trained transport. A cell that is not moved keeps its counts, so what the decoder misses of controls cancels.

    Args:
        simulation: simulates from training latents, with the solver that cells will be simulated with.
        not_held_out: rows of training and validation cells.

    Returns:
        Effects over genes, natural logarithm, of the conditions that `observed` has with their controls.
    """
    latents = simulation.latents.cpu().numpy()
    sources = {
        cells.conditions[c]: spread(not_held_out[cells.condition_of[not_held_out] == c], CELLS_PER_CONDITION)
        for c in cells.controls
    }
    tasks = [
        ValidationTask(k, sources[condition.control], not_held_out[:0])
        for k, condition in enumerate(cells.conditions)
        if not condition.is_control and condition in observed and condition.control in observed
    ]
    delta, decoded = [], {}
    for batch in batches_of(tasks):
        for task, z_1 in zip(batch, simulation.simulated(transport, batch), strict=True):
            condition = cells.conditions[task.condition]
            sizes = cells.library_size[task.sources]
            if condition.control not in decoded:
                decoded[condition.control] = log_decoded_share(autoencoder, latents[task.sources], sizes)
            delta.append(
                _effect(condition, observed, log_decoded_share(autoencoder, z_1, sizes), decoded[condition.control])
            )
    conditions = tuple(cells.conditions[task.condition] for task in tasks)
    n_genes = observed.log_share.shape[1]
    return MeanEffects(conditions, np.stack(delta) if delta else np.zeros((0, n_genes), dtype=np.float32))


@torch.no_grad()
def log_decoded_share(autoencoder: CountAutoencoder, z: FloatArray, library_size: FloatArray) -> np.ndarray:
    """(G,) logarithm of the share that each gene is expected to have in all counts of n cells together."""
    total = np.zeros(autoencoder.log_theta.shape[0])
    for rows in blocks(len(z), CELLS_AT_ONCE):
        latents, sizes = (torch.from_numpy(a[rows]).to(autoencoder.device) for a in (z, library_size))
        total += autoencoder.distribution(latents, sizes[:, None]).mean.double().sum(dim=0).cpu().numpy()
    share: np.ndarray = np.log(total / library_size.sum(dtype=np.float64))
    return share


def _effect(
    condition: Condition, observed: ObservedShares, log_simulated: np.ndarray, log_control: np.ndarray
) -> FloatArray:
    treated, control = observed.of(condition), observed.of(condition.control)
    d = (treated.log_share - log_simulated) - (control.log_share - log_control)
    variance = observed.variance_of(condition) + control.variance
    effect: FloatArray = shrink_each(d, variance).astype(np.float32)
    return effect
