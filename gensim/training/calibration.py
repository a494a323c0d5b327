"""Effects on single genes that a trained transport and its latents miss, measured on training cells."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gensim.autoencoder.count import CountAutoencoder
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.observed_shares import ObservedShares
from gensim.perturbations.shrinkage import shrink_each
from gensim.training.run_folder import CellIndex
from gensim.training.validation import Validation, ValidationTask, batches_of
from gensim.transport.base import Transport
from gensim.types import Condition, FloatArray, IntArray, blocks, spread

Float64Array = NDArray[np.float64]

CELLS_PER_CONDITION = 1024
FEWEST_CELLS = 64
CELLS_AT_ONCE = 4096
LEAST_LEFT = 0.02
"""Of what responders have of a gene: others alone may have more than the whole condition was seen to have."""


def calibrate(
    transport: Transport,
    autoencoder: CountAutoencoder,
    simulation: Validation,
    cells: CellIndex,
    source_of: IntArray,
    not_held_out: IntArray,
    observed: ObservedShares,
) -> MeanEffects:
    """What every training condition does to the logarithm of every gene's share beyond what the model says.

        d = [log observed_k - log simulated_k] - [log observed_c - log decoded_c],    shrunk per condition

    with shares of all counts, k the condition and c its controls, from up to 1,024 source cells (training controls, or
    cells of the same condition at the time before) moved by the trained transport. A cell that is not moved keeps its
    counts, so what the decoder misses of controls cancels.

    Where a share p of the cells responds, their effect e is the one that makes the whole population's share right,

        exp(e) simulated_responders = exp(d) simulated - simulated_others,

    and p e is returned, the mean over all cells.

    Args:
        simulation: simulates from training latents, with the solver that cells will be simulated with.
        source_of: (K,) condition that the cells of each come from, see `CellIndex.source_of`.
        not_held_out: rows of training and validation cells.

    Returns:
        Effects over genes, natural logarithm, of the conditions that `observed` has with their controls.
    """
    latents = simulation.latents.cpu().numpy()
    here = cells.condition_of[not_held_out]

    def rows_of(k: int) -> IntArray:
        return _enough(spread(not_held_out[here == k], CELLS_PER_CONDITION))

    controls = {cells.conditions[k]: rows_of(k) for k in cells.controls}
    tasks = [
        ValidationTask(k, rows_of(int(source_of[k])), not_held_out[:0])
        for k, condition in enumerate(cells.conditions)
        if not condition.is_control and condition in observed and condition.control in observed
    ]
    delta: list[FloatArray] = []
    decoded: dict[Condition, Float64Array] = {}
    for batch in batches_of(tasks):
        for task, z_1 in zip(batch, simulation.simulated(transport, batch), strict=True):
            condition = cells.conditions[task.condition]
            sizes = cells.library_size[task.sources]
            if condition.control not in decoded:
                known = controls[condition.control]
                sizes_there = cells.library_size[known]
                decoded[condition.control] = log_decoded_share(autoencoder, latents[known], sizes_there)
            simulated = _Simulated.of(autoencoder, z_1, sizes, simulation.response(task))
            effect = _effect(condition, observed, np.log(simulated.share), decoded[condition.control])
            delta.append(simulated.over_all_cells(effect).astype(np.float32))
    conditions = tuple(cells.conditions[task.condition] for task in tasks)
    n_genes = observed.log_share.shape[1]
    return MeanEffects(conditions, np.stack(delta) if delta else np.zeros((0, n_genes), dtype=np.float32))


def _enough(rows: IntArray) -> IntArray:
    """The rows, repeated where they are too few for some to respond and some not."""
    return np.resize(rows, max(len(rows), FEWEST_CELLS)) if len(rows) else rows


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
) -> Float64Array:
    treated, control = observed.of(condition), observed.of(condition.control)
    d = (treated.log_share - log_simulated) - (control.log_share - log_control)
    variance = observed.variance_of(condition) + control.variance
    return shrink_each(d, variance)


@dataclass(frozen=True, slots=True)
class _Simulated:
    """A condition's simulated cells together.

    Args:
        of_responders, of_others: (G,) parts of every gene's share in all counts that lie in cells that respond, or not.
        response: what a cell that responds gets of the mean effect.
    """

    of_responders: Float64Array
    of_others: Float64Array
    response: float

    @classmethod
    def of(
        cls, autoencoder: CountAutoencoder, z_1: FloatArray, sizes: FloatArray, response: FloatArray
    ) -> "_Simulated":
        responds = response > 0
        most = 1.0 if responds.all() else float(response.max())
        of_responders = np.exp(log_decoded_share(autoencoder, z_1[responds], sizes[responds])) / most
        of_others = np.zeros_like(of_responders)
        if not responds.all():
            others = ~responds
            of_others = np.exp(log_decoded_share(autoencoder, z_1[others], sizes[others])) * (1 - 1 / most)
        return cls(of_responders, of_others, most)

    @property
    def share(self) -> Float64Array:
        return self.of_responders + self.of_others

    def over_all_cells(self, effect: Float64Array) -> Float64Array:
        """(G,) mean over cells of the effect on responders' logarithms that has `effect` on that of the whole share."""
        wanted = np.maximum(np.exp(effect) * self.share - self.of_others, LEAST_LEFT * self.of_responders)
        return np.asarray(np.log(wanted / self.of_responders) / self.response)
