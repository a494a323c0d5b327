"""Effects on single genes that a trained transport and its latents miss, measured on training cells."""

import numpy as np
from numpy.typing import NDArray

from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.shares import SimulatedShares, log_decoded_share
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.observed_shares import ObservedShares
from gensim.perturbations.shrinkage import shrink_each
from gensim.training.run_folder import CellIndex
from gensim.training.validation import Validation, ValidationTask, batches_of
from gensim.transport.base import Transport
from gensim.types import Condition, FloatArray, IntArray, spread

Float64Array = NDArray[np.float64]

CELLS_PER_CONDITION = 1024
FEWEST_CELLS = 64


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

    Where some cells do not respond, others get what makes the shares of all together right (`SimulatedShares`).

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
            simulated = SimulatedShares.of(autoencoder, z_1, sizes, simulation.response(task))
            effect = _effect(condition, observed, simulated.logarithm, decoded[condition.control])
            delta.append(simulated.over_all_cells(effect).astype(np.float32))
    conditions = tuple(cells.conditions[task.condition] for task in tasks)
    n_genes = observed.log_share.shape[1]
    return MeanEffects(conditions, np.stack(delta) if delta else np.zeros((0, n_genes), dtype=np.float32))


def _enough(rows: IntArray) -> IntArray:
    """The rows, repeated where they are too few for some to respond and some not."""
    return np.resize(rows, max(len(rows), FEWEST_CELLS)) if len(rows) else rows


def _effect(
    condition: Condition, observed: ObservedShares, log_simulated: Float64Array, log_control: Float64Array
) -> Float64Array:
    treated, control = observed.of(condition), observed.of(condition.control)
    d = (treated.log_share - log_simulated) - (control.log_share - log_control)
    return shrink_each(d, observed.variance_of_effect(condition))
