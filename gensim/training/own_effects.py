"""What a count decoder misses of a condition even when it is given the condition's own latents."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.dispersion import log_theta_shift
from gensim.data.screen import Screen
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.observed_shares import ObservedShares
from gensim.perturbations.shrinkage import shrink_each, shrink_siblings
from gensim.training.calibration import log_decoded_share
from gensim.types import Condition, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class OwnEffects:
    """Effects on the parameters of the counts, measured around the decoded cells of the condition itself.

    Args:
        latents: (N, D) of all cells of the screen.
        known: (N,) whether a cell is not held out. observed: what was counted in those that are not.
    """

    autoencoder: CountAutoencoder
    latents: FloatArray
    screen: Screen
    known: NDArray[np.bool_]
    observed: ObservedShares
    _on_genes: dict[Condition, FloatArray] = field(init=False, repr=False, compare=False, default_factory=dict)

    def on_genes(self, condition: Condition) -> FloatArray:
        """(G,) effect on the logarithms of the means, shrunk; 0 for a condition that is not known."""
        if condition not in self.observed:
            return np.zeros(len(self.screen.genes), dtype=np.float32)
        if condition not in self._on_genes:
            # What the decoder misses of control cells is a matter of their context alone.
            alike = [c for c in self.observed.conditions if c.perturbations == condition.perturbations]
            siblings = [condition] if condition.is_control else alike
            d = np.stack([self.observed.of(c).log_share - self._log_decoded(c) for c in siblings])
            variance = np.stack([self.observed.variance_of(c) for c in siblings])
            effects = shrink_siblings(shrink_each, d, variance).astype(np.float32)
            self._on_genes.update(zip(siblings, effects, strict=True))
        return self._on_genes[condition]

    def _log_decoded(self, condition: Condition) -> NDArray[np.float64]:
        here = self._cells(condition)
        return log_decoded_share(self.autoencoder, self.latents[here], self.screen.library_size[here])

    def on_theta(self, conditions: Sequence[Condition]) -> MeanEffects:
        """Of every condition on the logarithms of the inverse dispersions, against its controls."""
        controls = {control: self._theta(control) for control in {c.control for c in conditions}}
        shifts = [self._theta(condition) - controls[condition.control] for condition in conditions]
        return MeanEffects(tuple(conditions), np.stack(shifts))

    def _theta(self, condition: Condition) -> FloatArray:
        here = self._cells(condition)
        cells = self.latents[here], self.screen.x[here], self.screen.library_size[here]
        return log_theta_shift(self.autoencoder, *cells, self.on_genes(condition))

    def _cells(self, condition: Condition) -> IntArray:
        rows = self.screen.rows_of(condition)
        return rows[self.known[rows]]
