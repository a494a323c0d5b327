"""How far means are brought to the regression on genes, by conditions that were held back whole for validation."""

from collections.abc import Sequence

import numpy as np
import torch

from gensim.decoding import Decoder, MovedCells, is_gated
from gensim.perturbations.gate import Gate, learn_gate
from gensim.perturbations.mean_effects import MeanEffects
from gensim.training.run_folder import CellIndex
from gensim.training.validation import Validation, ValidationTask, batches_of
from gensim.transport.base import Transport
from gensim.types import FloatArray


def gate_of_held_back(
    transport: Transport,
    decoder: Decoder,
    simulation: Validation,
    cells: CellIndex,
    tasks: Sequence[ValidationTask],
    on_genes: MeanEffects,
    measured: MeanEffects,
) -> Gate:
    """The share of the way that brings simulated mean effects on genes nearest to those of held-back conditions.

    Args:
        decoder: as in sampling, but told of training cells only; its own gate is not looked at.
        simulation: simulates from validation's control cells what training cells tell.
        tasks: of the held-back conditions.
        on_genes: mean effects of training conditions, with the regression that tells of others.
        measured: mean effects of the held-back conditions against validation's control cells.
    """
    known = dict(zip(measured.conditions, measured.delta, strict=True))
    of_tasks = [(task, cells.conditions[task.condition]) for task in tasks]
    told = [task for task, condition in of_tasks if condition in known and is_gated(on_genes, condition)]
    if not told:
        return Gate()
    effects: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    for batch in batches_of(told):
        for task, z_1 in zip(batch, simulation.simulated(transport, batch), strict=True):
            condition = cells.conditions[task.condition]
            moved = _moved(task, torch.from_numpy(z_1), simulation, cells, on_genes)
            effects.append((decoder.mean_effect(moved).cpu().numpy(), on_genes.shift(condition), known[condition]))
    return learn_gate(*(np.stack(of).astype(np.float64) for of in zip(*effects, strict=True)))


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
        torch.zeros((n, on_genes.delta.shape[1]), device=device),
        simulation.latents[torch.from_numpy(task.sources).to(device)],
        z_1.to(device),
        cells.library_size[task.sources],
        simulation.response(task),
    )
