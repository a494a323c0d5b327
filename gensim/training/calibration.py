"""Effects on single genes that a trained transport and its latents miss, measured on training cells."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gensim.autoencoder.count import CountAutoencoder
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import MeasuredConditions
from gensim.perturbations.observed_shares import ObservedShares
from gensim.perturbations.shrinkage import shrink_each, shrink_siblings
from gensim.training.run_folder import CellIndex
from gensim.training.validation import Validation, ValidationTask, batches_of
from gensim.transport.base import Transport
from gensim.types import Condition, FloatArray, IntArray, blocks, spread

Float64Array = NDArray[np.float64]

CELLS_PER_CONDITION = 1024
CELLS_AT_ONCE = 4096
LEAST_LEFT = 0.02
"""Of what responders have of a gene: others alone may have more than the whole condition was seen to have."""


def calibrate(
    transport: Transport,
    autoencoder: CountAutoencoder,
    simulation: Validation,
    cells: CellIndex,
    not_held_out: IntArray,
    observed: ObservedShares,
) -> MeanEffects:
    """What every training condition does to the logarithm of every gene's share beyond what the model says.

        d = [log observed_k - log simulated_k] - [log observed_c - log decoded_c],    shrunk (see `shrink_siblings`)

    with shares of all counts, k the condition and c its controls, from up to 1,024 training control cells moved by the
    trained transport. A cell that is not moved keeps its counts, so what the decoder misses of controls cancels.

    Where a share p of the cells responds, their effect e is the one that makes the whole population's share right,

        exp(e) simulated_responders = exp(d) simulated - simulated_others,

    and p e is returned, the mean over all cells.

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
    simulated, decoded = [], {}
    for batch in batches_of(tasks):
        for task, z_1 in zip(batch, simulation.simulated(transport, batch), strict=True):
            control, sizes = cells.conditions[task.condition].control, cells.library_size[task.sources]
            if control not in decoded:
                decoded[control] = log_decoded_share(autoencoder, latents[task.sources], sizes)
            simulated.append(_Simulated.of(autoencoder, z_1, sizes, simulation.response(task)))
    conditions = tuple(cells.conditions[task.condition] for task in tasks)
    delta = np.zeros((len(tasks), observed.log_share.shape[1]), dtype=np.float32)
    for siblings in MeasuredConditions(conditions).siblings():
        measured = [
            _effect(conditions[k], observed, simulated[k].log_share, decoded[conditions[k].control]) for k in siblings
        ]
        effects = shrink_siblings(shrink_each, *(np.stack(part) for part in zip(*measured, strict=True)))
        for k, effect in zip(siblings, effects, strict=True):
            delta[k] = simulated[k].over_all_cells(effect)
    return MeanEffects(conditions, delta)


@dataclass(frozen=True, slots=True)
class _Simulated:
    """A condition's simulated cells together.

    Args:
        log_share: (G,) logarithm of the share of every gene in all their counts.
        of_others: (G,) the part of that share which lies in cells that do not respond; None where all do.
        response: what a cell that responds gets of the mean effect.
    """

    log_share: Float64Array
    of_others: Float64Array | None
    response: float

    @classmethod
    def of(
        cls, autoencoder: CountAutoencoder, z_1: FloatArray, sizes: FloatArray, response: FloatArray
    ) -> "_Simulated":
        log_share, others, of_others = log_decoded_share(autoencoder, z_1, sizes), response == 0, None
        if others.any():
            of_all = sizes[others].sum(dtype=np.float64) / sizes.sum(dtype=np.float64)
            of_others = of_all * np.exp(log_decoded_share(autoencoder, z_1[others], sizes[others]))
        return cls(log_share, of_others, float(response.max()))

    def over_all_cells(self, effect: Float64Array) -> Float64Array:
        """(G,) mean over cells of the effect that makes `effect` the one on the logarithm of the whole share."""
        if self.of_others is None:
            return effect
        share = np.exp(self.log_share)
        of_responders = share - self.of_others
        wanted = np.maximum(np.exp(effect) * share - self.of_others, LEAST_LEFT * of_responders)
        return np.asarray(np.log(wanted / of_responders) / self.response)


@torch.no_grad()
def log_decoded_share(autoencoder: CountAutoencoder, z: FloatArray, library_size: FloatArray) -> Float64Array:
    """(G,) logarithm of the share that each gene is expected to have in all counts of n cells together."""
    total = np.zeros(autoencoder.log_theta.shape[0])
    for rows in blocks(len(z), CELLS_AT_ONCE):
        latents, sizes = (torch.from_numpy(a[rows]).to(autoencoder.device) for a in (z, library_size))
        total += autoencoder.distribution(latents, sizes[:, None]).mean.double().sum(dim=0).cpu().numpy()
    share: Float64Array = np.log(total / library_size.sum(dtype=np.float64))
    return share


def _effect(
    condition: Condition, observed: ObservedShares, log_simulated: Float64Array, log_control: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """(G,) measured effect beyond the simulated one, and its (G,) variance."""
    treated, control = observed.of(condition), observed.of(condition.control)
    d = (treated.log_share - log_simulated) - (control.log_share - log_control)
    return d, observed.variance_of(condition) + control.variance
