"""How far means are brought to the regression on genes, by conditions that were held back whole for validation."""

from collections.abc import Callable, Hashable, Mapping

import numpy as np
import torch

from gensim.data.splits import Role
from gensim.decoding import Decoder, MovedCells, is_gated
from gensim.perturbations.gate import Gate, learn_gate
from gensim.perturbations.mean_effects import MeanEffects
from gensim.training.run_folder import CellIndex
from gensim.training.validation import Validation, ValidationTask, batches_of
from gensim.transport.base import Transport
from gensim.types import Condition, FloatArray, IntArray, spread

CELLS_PER_CONDITION = 1024


def gate_of_held_back(
    transport: Transport,
    decoder: Decoder,
    simulation: Validation,
    cells: CellIndex,
    source_of: IntArray,
    on_genes: MeanEffects,
    measured: MeanEffects,
    of_controls: Mapping[Condition, tuple[FloatArray, FloatArray]],
    unit_of: Callable[[Condition], Hashable],
) -> Gate:
    """The share of the way that brings simulated mean effects on genes nearest to those of held-back conditions.

    These are simulated from training cells, so that no error of control cells is in what was measured and in what was
    simulated. An effect that would bring a mean below 0 brings it to 0, as it does in sampling.

    Args:
        decoder: as in sampling, but told of training cells only.
        simulation: simulates what training cells tell.
        source_of: (K,) condition that the cells of each come from, see `CellIndex.source_of`.
        on_genes: mean effects of training conditions, with the regression that tells of others.
        measured: mean effects of the held-back conditions against validation's control cells.
        of_controls: by control condition (G,) means of those cells, and (G,) the variances of these.
        unit_of: what was held back together with a condition.
    """
    row = {condition: k for k, condition in enumerate(cells.conditions)}
    training = np.flatnonzero(cells.role == Role.TRAIN)
    sources = {
        c: spread(training[cells.condition_of[training] == source_of[row[c]]], CELLS_PER_CONDITION)
        for c in measured.conditions
    }
    told = [c for c in measured.conditions if len(sources[c]) and is_gated(on_genes, c)]
    if not told:
        return Gate()
    simulated = []
    for batch in batches_of([ValidationTask(row[c], sources[c], training[:0]) for c in told]):
        for task, z_1 in zip(batch, simulation.simulated(transport, batch), strict=True):
            moved = _moved(task, torch.from_numpy(z_1), simulation, cells, on_genes)
            simulated.append(decoder.mean_effect(moved).cpu().numpy())
    known = dict(zip(measured.conditions, measured.delta, strict=True))
    units = {unit: i for i, unit in enumerate(dict.fromkeys(map(unit_of, told)))}
    controls = sorted({condition.control for condition in told}, key=lambda control: control.key)
    below = -np.stack([of_controls[condition.control][0] for condition in told]).astype(np.float64)
    return learn_gate(
        np.maximum(np.stack(simulated), below),
        np.maximum(np.stack([on_genes.shift(condition) for condition in told]), below),
        np.stack([known[condition] for condition in told]).astype(np.float64),
        np.array([units[unit_of(condition)] for condition in told]),
        np.array([controls.index(condition.control) for condition in told]),
        np.stack([of_controls[control][1] for control in controls]).astype(np.float64),
    )


def _moved(
    task: ValidationTask, z_1: torch.Tensor, simulation: Validation, cells: CellIndex, on_genes: MeanEffects
) -> MovedCells:
    """Cells of a task, whose genes nobody looks at."""
    n, device = len(task.sources), simulation.latents.device
    return MovedCells(
        cells.conditions,
        np.full(n, task.condition, dtype=np.int64),
        task.sources,
        np.zeros((n, 0), dtype=np.float32),
        torch.zeros((1, on_genes.delta.shape[1]), device=device).expand(n, -1),
        simulation.latents[torch.from_numpy(task.sources).to(device)],
        z_1.to(device),
        cells.library_size[task.sources],
        simulation.response(task),
    )
