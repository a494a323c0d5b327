"""Mean effects as cells show them that nothing was fitted on, with what is known of their controls."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.autoencoder.base import gene_moments
from gensim.data.screen import Screen
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.types import Condition, IntArray


class Shown(NamedTuple):
    """Plain mean effects on log1p CP10k.

    Args:
        controls: C control conditions that the effects were measured against.
        mean, variance: (C, G) of these: means over cells, and the variances of the means.
    """

    effects: MeanEffects
    controls: tuple[Condition, ...]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def by(cls, screen: Screen, x: sparse.csr_matrix, rows: IntArray) -> "Shown":
        """Of the conditions that have cells and control cells among `rows`.

        Args:
            x: (N, G) log1p CP10k of the screen.
        """
        effects = fit_mean_effects(lambda of: x[of].toarray(), screen.condition_of, screen.conditions, rows)
        controls = tuple(dict.fromkeys(condition.control for condition in effects.conditions))
        of_controls = [rows[screen.condition_of[rows] == screen.conditions.index(c)] for c in controls]
        moments = [gene_moments(x[here]) for here in of_controls]
        shape = (len(controls), x.shape[1])
        mean = np.reshape([mean for mean, _ in moments], shape)
        variance = [of / max(1, len(here) - 1) for (_, of), here in zip(moments, of_controls, strict=True)]
        return cls(effects, controls, mean, np.reshape(variance, shape))
