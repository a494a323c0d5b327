"""Conditions to the features that every field is conditioned on."""

import math
from typing import Literal

import torch
from torch import nn

from gensim.nn.blocks import initialise, linear
from gensim.nn.fusion import DeepSets, VectorFusion
from gensim.perturbations.codebook import Codebook
from gensim.types import ConditionBatch

Fusion = Literal["sum", "deep_sets", "attention"]
N_CONTEXT_FEATURES = 16
N_BATCH_FEATURES = 8
N_TIME_FEATURES = 4
MIDDLE = 1
"""Of the half doses."""


class ConditionEncoder(nn.Module):
    """Perturbations, dose, context and batch, side by side; a combination has no order.

    The vectors are divided by their root mean square, and projected linearly and summed over the members (for one-hot
    vectors this is a learned embedding), or fused otherwise, see `DeepSets` and `VectorFusion`. A dose is
    seen as its logarithm and, where the screen has doses, as shares d / (half + d) of a full effect at three half
    doses; all are 0 at dose 0. Of members at doses of their own these are means, and where training conditions have
    such members the perturbation part gets, with v_p the vectors and s_p the shares at the middle half dose,

        W sum_p (s_p - mean s) v_p,

    which is 0 where all doses are the same. Where the screen has times, those of source and target are seen as shares
    of the last one, and as logarithms in units of the first one. A context is seen by its name and, where several were
    measured, as tanh(W population) by its control cells (`ControlPopulations`), which is all that is known of one
    without perturbed cells. Unknown names of contexts and batches (code 0) share one learned vector each.

    Args:
        codebook: vocabulary and vectors.
        n_features: length of the perturbation part.
        generator: for the initial weights.
        fusion: how members and tables are fused.
    """

    vectors: torch.Tensor

    def __init__(self, codebook: Codebook, n_features: int, generator: torch.Generator, fusion: Fusion = "sum") -> None:
        super().__init__()
        vectors = torch.from_numpy(codebook.table.vectors)
        scaled = vectors / vectors.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
        padding = torch.zeros(1, vectors.shape[1])
        self.register_buffer("vectors", torch.cat([padding, scaled]), persistent=False)
        self.log_dose_unit, self.half_doses = codebook.typical_log_dose, codebook.half_doses
        n_context = N_CONTEXT_FEATURES * (len(codebook.contexts) + (codebook.populations.n_features > 0))
        self.project: nn.Linear | DeepSets | VectorFusion
        if fusion == "deep_sets":
            self.project = DeepSets(vectors.shape[1], n_features, generator)
        elif fusion == "attention":
            widths = [part.stop - part.start for part in codebook.table.parts]
            self.project = VectorFusion(widths, n_context, n_features, generator)
        else:
            self.project = linear(vectors.shape[1], n_features, bias=False)
            initialise(self, generator)
        self.contexts = nn.ParameterList(
            nn.Parameter(_normal(len(values) + 1, N_CONTEXT_FEATURES, generator)) for values in codebook.contexts
        )
        self.batches = nn.Parameter(_normal(len(codebook.batches) + 1, N_BATCH_FEATURES, generator))
        self.populations: nn.Linear | None = None
        if codebook.populations.n_features:
            self.populations = linear(codebook.populations.n_features, N_CONTEXT_FEATURES, bias=False)
            initialise(self.populations, generator)
        self.times = codebook.first_and_last_time
        n_numbers = 1 + len(self.half_doses) + (N_TIME_FEATURES if self.times else 0)
        self.of_doses: nn.Linear | None = None
        if codebook.member_doses:
            self.of_doses = linear(vectors.shape[1], n_features, bias=False)
            initialise(self.of_doses, generator)
        self.n_features = n_features + n_numbers + n_context + N_BATCH_FEATURES

    def forward(self, condition: ConditionBatch) -> torch.Tensor:
        """B conditions to (B, `n_features`)."""
        contexts = [table[code] for table, code in zip(self.contexts, condition.contexts.unbind(1), strict=True)]
        if self.populations is not None:
            contexts.append(self.populations(condition.population).tanh())
        vectors = self.vectors[condition.perturbations]
        if isinstance(self.project, VectorFusion):
            context = torch.cat(contexts, dim=1) if contexts else vectors.new_empty(len(vectors), 0)
            perturbation = self.project(vectors, context)
        elif isinstance(self.project, DeepSets):
            perturbation = self.project(vectors)
        else:
            # Row 0 of the vectors is zero and the projection has no bias, so padding adds nothing.
            perturbation = self.project(vectors).sum(dim=1)
        number = (condition.perturbations > 0).sum(dim=1, keepdim=True).clamp_min(1)
        log_dose = _mean(torch.log1p(condition.dose), number) / self.log_dose_unit
        of_members = [condition.dose / (half + condition.dose) for half in self.half_doses]
        shares = [_mean(share, number) for share in of_members]
        if self.of_doses is not None:
            differences = of_members[MIDDLE] - shares[MIDDLE]
            perturbation = perturbation + self.of_doses((differences[:, :, None] * vectors).sum(dim=1))
        times = []
        if self.times:
            first, last = self.times
            times = [condition.time / last, torch.log1p(condition.time / first) / math.log1p(last / first)]
        return torch.cat([perturbation, log_dose, *shares, *times, *contexts, self.batches[condition.batch]], dim=1)


def _mean(of_members: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """(B, 1) over the members; exactly the value that all have, where they have the same.

    Args:
        of_members: (B, P), that of the first where there is no further member.
        number: (B, 1) of members.
    """
    first = of_members[:, :1]
    return first + (of_members - first).sum(dim=1, keepdim=True) / number


def _normal(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(rows, columns, generator=generator) / math.sqrt(columns)
