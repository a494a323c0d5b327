"""The mean effect of every training condition, and what it says about conditions that were not measured."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy import sparse

from gensim.types import Condition, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class MeanEffects:
    """Mean of the perturbed minus mean of the control cells of the same context, per training condition.

    Args:
        conditions: K training conditions, none of them control.
        delta: (K, F) float32, in whatever space the means were taken (genes as log1p CP10k, or latents).
    """

    conditions: tuple[Condition, ...]
    delta: FloatArray

    def shift(self, condition: Condition) -> FloatArray:
        """(F,) expected effect of `condition`, from the most specific training knowledge there is.

        In this order: control is 0; the condition itself; the mean over training conditions with the same
        perturbations and context at other doses; the same perturbations in other contexts, at this dose where possible;
        for a combination the sum of its members' shifts, where each member was seen; the mean of all training conditions of the context;
        the mean of all training conditions. Every mean gives each condition the same weight.
        """
        if condition.is_control or not self.conditions:
            return np.zeros(self.delta.shape[1], dtype=np.float32)
        specific = self._specific(condition)
        if specific is not None:
            return specific
        if len(condition.perturbations) > 1:
            members = [self._specific(Condition((p,), condition.context, condition.dose)) for p in condition.perturbations]
            seen = [member for member in members if member is not None]
            if len(seen) == len(members):
                return np.sum(seen, axis=0, dtype=np.float32)
        same_context = [c.context == condition.context for c in self.conditions]
        return self._mean(same_context if any(same_context) else [True] * len(self.conditions))

    def _specific(self, condition: Condition) -> FloatArray | None:
        """The mean over the nearest conditions with exactly these perturbations; None where there is none."""
        same = [c.perturbations == condition.perturbations for c in self.conditions]
        here = [s and c.context == condition.context for s, c in zip(same, self.conditions, strict=True)]
        dosed = [s and c.dose == condition.dose for s, c in zip(same, self.conditions, strict=True)]
        exact = [h and d for h, d in zip(here, dosed, strict=True)]
        chosen = next((mask for mask in (exact, here, dosed, same) if any(mask)), None)
        return None if chosen is None else self._mean(chosen)

    def _mean(self, mask: Sequence[bool]) -> FloatArray:
        return self.delta[np.flatnonzero(mask)].mean(axis=0, dtype=np.float64).astype(np.float32)

    def save(self, path: Path) -> None:
        keys = json.dumps([condition.key for condition in self.conditions])
        save_file({"delta": self.delta}, path, metadata={"conditions": keys})

    @classmethod
    def load(cls, path: Path) -> "MeanEffects":
        with safe_open(path, framework="numpy") as file:
            keys = json.loads(file.metadata()["conditions"])
        return cls(tuple(Condition.from_key(key) for key in keys), load_file(path)["delta"])


def fit_mean_effects(
    x: FloatArray | sparse.csr_matrix, condition_of: IntArray, conditions: Sequence[Condition], rows: IntArray
) -> MeanEffects:
    """Mean effects of the conditions that have cells among `rows`, each against the control cells of its context there.

    Args:
        x: (N, F) cells, dense or sparse.
        condition_of: (N,) row of `conditions` for every cell.
        rows: the training cells.
    """
    present = {conditions[k]: k for k in np.unique(condition_of[rows])}
    perturbed = tuple(c for c in present if not c.is_control and c.control in present)

    def mean(condition: Condition) -> np.ndarray:
        cells = rows[condition_of[rows] == present[condition]]
        return np.asarray(x[cells].mean(axis=0, dtype=np.float64)).ravel()

    control_mean = {control: mean(control) for control in {c.control for c in perturbed}}
    delta = np.zeros((len(perturbed), x.shape[1]), dtype=np.float32)
    for k, condition in enumerate(perturbed):
        delta[k] = mean(condition) - control_mean[condition.control]
    return MeanEffects(perturbed, delta)
