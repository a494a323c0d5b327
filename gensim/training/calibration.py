"""Effects on single genes that a trained transport and its latents miss, measured on training cells."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.shares import SimulatedShares, log_decoded_share
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.observed_shares import ObservedShares
from gensim.perturbations.shrinkage import shrink_over_contexts
from gensim.training.run_folder import CellIndex
from gensim.training.validation import Validation, ValidationTask, batches_of
from gensim.transport.base import Transport
from gensim.types import Condition, IntArray, spread

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
    share: float,
) -> MeanEffects:
    """What every training condition does to the logarithm of every gene's share beyond what the model says.

        d = [log observed_k - log simulated_k] - [log observed_c - log decoded_c]

    with shares of all counts, k the condition and c its controls, from up to 1,024 source cells (training controls, or
    cells of the same condition at the time before) moved by the trained transport. A cell that is not moved keeps its
    counts, so what the decoder misses of controls cancels. It is shrunk gene by gene, together with that of the same
    perturbation in other contexts at the same dose and time. What is simulated has the noise of the latents' effects in
    it, so the mean that comes of that is brought `share` of the way to what was counted, shrunk likewise.

    Where some cells do not respond, others get what makes the shares of all together right (`SimulatedShares`).

    Args:
        simulation: simulates from training latents, with the solver that cells will be simulated with.
        source_of: (K,) condition that the cells of each come from, see `CellIndex.source_of`.
        not_held_out: rows of training and validation cells.
        share: 0: moved latents and what they miss, shrunk; 1: what was counted, shrunk. See `learn_share`.

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
    alike: dict[tuple[Condition, ...], list[ValidationTask]] = {}
    for task in tasks:
        alike.setdefault(observed.in_every_context(cells.conditions[task.condition]), []).append(task)
    complete = {together[-1].condition for together in alike.values()}
    row = {task.condition: i for i, task in enumerate(tasks)}
    delta = np.zeros((len(tasks), observed.log_share.shape[1]), dtype=np.float32)
    waiting: dict[int, _Missed] = {}
    decoded: dict[Condition, Float64Array] = {}
    for batch in batches_of([task for together in alike.values() for task in together]):
        for task, z_1 in zip(batch, simulation.simulated(transport, batch), strict=True):
            condition = cells.conditions[task.condition]
            sizes = cells.library_size[task.sources]
            if condition.control not in decoded:
                known = controls[condition.control]
                sizes_there = cells.library_size[known]
                decoded[condition.control] = log_decoded_share(autoencoder, latents[known], sizes_there)
            simulated = SimulatedShares.of(autoencoder, z_1, sizes, simulation.response(task))
            waiting[task.condition] = _Missed.of(condition, observed, simulated, decoded[condition.control])
            if task.condition in complete:
                for k, effect in zip(waiting, _effects(list(waiting.values()), share), strict=True):
                    delta[row[k]] = effect
                waiting.clear()
    return MeanEffects(tuple(cells.conditions[task.condition] for task in tasks), delta)


def _enough(rows: IntArray) -> IntArray:
    """The rows, repeated where they are too few for some to respond and some not."""
    return np.resize(rows, max(len(rows), FEWEST_CELLS)) if len(rows) else rows


class _Missed(NamedTuple):
    """(G,) effects on the logarithms of shares, told by simulated cells and counted, and the variance of the latter."""

    simulated: SimulatedShares
    told: Float64Array
    counted: Float64Array
    variance: Float64Array

    @classmethod
    def of(
        cls, condition: Condition, observed: ObservedShares, simulated: SimulatedShares, log_control: Float64Array
    ) -> "_Missed":
        treated, control = observed.of(condition), observed.of(condition.control)
        told, counted = simulated.logarithm - log_control, treated.log_share - control.log_share
        return cls(simulated, told, counted, observed.variance_of_effect(condition))


def _effects(alike: list[_Missed], share: float) -> list[Float64Array]:
    """Of one perturbation in every context, the means over cells."""
    told, counted = np.stack([of.told for of in alike]), np.stack([of.counted for of in alike])
    variance = np.stack([of.variance for of in alike])
    effects = (1 - share) * shrink_over_contexts(counted - told, variance)
    if share > 0:
        effects += share * (shrink_over_contexts(counted, variance) - told)
    return [of.simulated.over_all_cells(e) for of, e in zip(alike, effects, strict=True)]
