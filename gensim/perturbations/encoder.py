"""Conditions to the features that every field is conditioned on."""

import math

import torch
from torch import nn

from gensim.nn.blocks import initialise, linear
from gensim.perturbations.codebook import Codebook
from gensim.types import ConditionBatch

N_CONTEXT_FEATURES = 16
N_BATCH_FEATURES = 8


class ConditionEncoder(nn.Module):
    """Sum of the perturbations' projected vectors (so that a combination has no order), dose, context, batch.

    The vectors are divided by their root mean square and projected linearly; for one-hot vectors this is a learned
    embedding. A dose is seen as its logarithm and, where the screen has doses, as shares d / (half + d) of a full
    effect at three half doses; all are 0 at dose 0. Unknown contexts and batches (code 0) share one learned vector
    each.

    Args:
        codebook: vocabulary and vectors.
        n_features: length of the perturbation part.
        generator: for the initial weights.
    """

    vectors: torch.Tensor

    def __init__(self, codebook: Codebook, n_features: int, generator: torch.Generator) -> None:
        super().__init__()
        vectors = torch.from_numpy(codebook.table.vectors)
        scaled = vectors / vectors.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
        padding = torch.zeros(1, vectors.shape[1])
        self.register_buffer("vectors", torch.cat([padding, scaled]), persistent=False)
        self.log_dose_unit, self.half_doses = codebook.typical_log_dose, codebook.half_doses
        self.project = linear(vectors.shape[1], n_features, bias=False)
        initialise(self, generator)
        self.contexts = nn.ParameterList(
            nn.Parameter(_normal(len(values) + 1, N_CONTEXT_FEATURES, generator)) for values in codebook.contexts
        )
        self.batches = nn.Parameter(_normal(len(codebook.batches) + 1, N_BATCH_FEATURES, generator))
        n_dose = 1 + len(self.half_doses)
        self.n_features = n_features + n_dose + N_CONTEXT_FEATURES * len(codebook.contexts) + N_BATCH_FEATURES

    def forward(self, condition: ConditionBatch) -> torch.Tensor:
        """B conditions to (B, `n_features`)."""
        # Row 0 of the vectors is zero and the projection has no bias, so padding adds nothing.
        perturbation = self.project(self.vectors[condition.perturbations]).sum(dim=1)
        log_dose = torch.log1p(condition.dose)[:, None] / self.log_dose_unit
        shares = [(condition.dose / (half + condition.dose))[:, None] for half in self.half_doses]
        contexts = [table[code] for table, code in zip(self.contexts, condition.contexts.unbind(1), strict=True)]
        return torch.cat([perturbation, log_dose, *shares, *contexts, self.batches[condition.batch]], dim=1)


def _normal(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(rows, columns, generator=generator) / math.sqrt(columns)
