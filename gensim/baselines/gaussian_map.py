"""The prediction that sees spread as well as mean: the optimal map between Gaussians fitted to both populations."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from gensim.arrays_file import save_arrays
from gensim.baselines.training_mean import TrainingMean
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class GaussianMaps:
    """x = x_control + shift(condition) + (A - 1)(s - m_0) components,    s = scores of x_control

    The mean moves as in `TrainingMean`; around it cells are stretched by the closed-form map T(s) = m_1 + A (s - m_0)
    between Gaussians (Peyré & Cuturi 2019, remark 2.31) in a space of principal components. For conditions that
    training did not have A is 1.

    Args:
        conditions: K training conditions.
        m_0: (K, D) float32 mean scores of the training controls of each condition's context.
        A: (K, D, D) float32.
    """

    conditions: tuple[Condition, ...]
    m_0: FloatArray
    A: FloatArray

    @classmethod
    def fit(
        cls,
        read: Callable[[IntArray], FloatArray],
        condition_of: IntArray,
        conditions: Sequence[Condition],
        rows: IntArray,
    ) -> "GaussianMaps":
        """From the cells `rows`.

        Args:
            read: rows to their (n, D) scores.
            condition_of: (N,) row of `conditions` for every cell.
        """
        from gensim.ot.gaussian import GaussianMap  # POT takes a second to be imported

        present = {conditions[k]: rows[condition_of[rows] == k] for k in np.unique(condition_of[rows])}
        perturbed = tuple(c for c in present if not c.is_control and c.control in present)
        sources = {control: read(present[control]) for control in {c.control for c in perturbed}}
        maps = [GaussianMap.fit(sources[c.control], read(present[c])) for c in perturbed]
        width = read(rows[:1]).shape[1]
        m_0 = np.array([m.m_0 for m in maps], dtype=np.float32).reshape(-1, width)
        return cls(perturbed, m_0, np.array([m.A for m in maps], dtype=np.float32).reshape(-1, width, width))

    def simulate(
        self,
        x_control: FloatArray,
        scores: FloatArray,
        components: FloatArray,
        condition: Condition,
        effects: MeanEffects,
    ) -> FloatArray:
        """(n, G) control cells with their (n, D) scores to (n, G) moved cells, not clipped (see `TrainingMean`)."""
        moved = TrainingMean(effects).simulate(x_control, condition)
        if condition not in self.conditions:
            return moved
        k = self.conditions.index(condition)
        stretched: FloatArray = (scores - self.m_0[k]) @ (self.A[k] - np.eye(scores.shape[1], dtype=np.float32))
        return moved + stretched @ components

    def save(self, path: Path) -> None:
        keys = json.dumps([condition.key for condition in self.conditions])
        save_arrays(path, {"m_0": self.m_0, "A": self.A}, {"conditions": keys})

    @classmethod
    def load(cls, path: Path) -> "GaussianMaps":
        with safe_open(path, framework="numpy") as file:
            keys = json.loads(file.metadata()["conditions"])
        return cls(tuple(Condition.from_key(key) for key in keys), **load_file(path))
