"""What a count decoder misses of a condition even when it is given the condition's own latents."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.dispersion import log_theta_shift
from gensim.autoencoder.shares import log_decoded_share
from gensim.data.screen import Screen
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.observed_shares import ObservedShares
from gensim.perturbations.penetrance import Penetrance
from gensim.perturbations.shrinkage import shrink_over_contexts
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
    _on_genes: dict[Condition, FloatArray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def on_genes(self, condition: Condition) -> FloatArray:
        """(G,) effect on the logarithms of the means, shrunk gene by gene together with what the same perturbation does
        in other contexts; 0 for a condition that is not known."""
        if condition not in self.observed:
            return np.zeros(len(self.screen.genes), dtype=np.float32)
        if condition not in self._on_genes:
            alike = self.observed.in_every_context(condition)
            missed = np.stack([self._missed(other) for other in alike])
            variance = np.stack([self.observed.variance_of(other) for other in alike])
            shrunk = shrink_over_contexts(missed, variance).astype(np.float32)
            self._on_genes.update(zip(alike, shrunk, strict=True))
        return self._on_genes[condition]

    def _missed(self, condition: Condition) -> NDArray[np.float64]:
        here = self._cells(condition)
        log_decoded = log_decoded_share(self.autoencoder, self.latents[here], self.screen.library_size[here])
        return self.observed.of(condition).log_share - log_decoded

    def on_theta(self, conditions: Sequence[Condition], penetrance: Penetrance) -> MeanEffects:
        """Of every condition on the logarithms of the inverse dispersions, against its controls.

        None for conditions in which some cells do not respond, whose spread is that of two populations.
        """
        controls = {control: self._theta(control) for control in {c.control for c in conditions}}
        shifts = [
            self._theta(condition) - controls[condition.control]
            if penetrance.of(condition) == 1
            else np.zeros_like(controls[condition.control])
            for condition in conditions
        ]
        return MeanEffects(tuple(conditions), np.stack(shifts))

    def _theta(self, condition: Condition) -> FloatArray:
        here = self._cells(condition)
        cells = self.latents[here], self.screen.x[here], self.screen.library_size[here]
        return log_theta_shift(self.autoencoder, *cells, self.on_genes(condition))

    def _cells(self, condition: Condition) -> IntArray:
        rows = self.screen.rows_of(condition)
        return rows[self.known[rows]]
