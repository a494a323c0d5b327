"""Mean effects on genes shrunk in two ways, and how far to go from the one to the other."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.autoencoder.base import encoded, residual
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.data.screen import Screen
from gensim.perturbations.gate import Gate, learn_gate
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.training.held_back import held_back_effects
from gensim.types import FloatArray, IntArray

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class TwoWays:
    """Mean effects on log1p CP10k.

    One way to shrink them is as a whole along principal axes and gene by gene around these: right about what moves many
    genes together. The other is gene by gene alone, which is right about few genes that move: as a whole, an effect on
    a few of thousands of genes is less than the noise of all of them.

    Args:
        axes: D principal components of training cells.
        along, around: on these, standardised, and (over genes) on what they do not hold, shrunk in the first way.
        each: over genes, shrunk in the second.
        share: of the way from the first to the second that is gone, see `learn_share`.
    """

    axes: PCAAutoencoder
    along: MeanEffects
    around: MeanEffects
    each: MeanEffects
    share: float

    @classmethod
    def fit(
        cls, screen: Screen, x: sparse.csr_matrix, axes: PCAAutoencoder, cells: IntArray, share: float
    ) -> "TwoWays":
        """Of the conditions that have cells and control cells among the rows `cells`.

        Args:
            x: (N, G) log1p CP10k of the screen.
        """
        of_screen = screen.condition_of, screen.conditions, cells
        along = fit_mean_effects(lambda of: encoded(axes, x[of]), *of_screen, shrink=shrink_together)
        around = fit_mean_effects(lambda of: residual(axes, x[of]), *of_screen, shrink=shrink_each)
        each = fit_mean_effects(lambda of: x[of].toarray(), *of_screen, shrink=shrink_each)
        return cls(axes, along, around, each, share)

    @property
    def along_axes(self) -> MeanEffects:
        """On the standardised components."""
        on_axes = self.each.delta @ self._components.T / float(self.axes.scale)
        return replace(self.along, delta=self._between(self.along.delta, on_axes))

    @property
    def around_axes(self) -> MeanEffects:
        """Over genes, on what the components do not hold."""
        beside = self.each.delta - self.each.delta @ self._components.T @ self._components
        return replace(self.around, delta=self._between(self.around.delta, beside))

    @property
    def on_genes(self) -> MeanEffects:
        """Over genes."""
        first = float(self.axes.scale) * self.along.delta @ self._components + self.around.delta
        return replace(self.each, delta=self._between(first, self.each.delta))

    @property
    def plain(self) -> MeanEffects:
        """Over genes, as they were measured."""
        plain: FloatArray = self.each.plain  # type: ignore[assignment]
        return replace(self.each, delta=plain, plain=None)

    @property
    def _components(self) -> FloatArray:
        components: FloatArray = self.axes.components.cpu().numpy()
        return components

    def _between(self, first: Floats, second: Floats) -> FloatArray:
        between: FloatArray = (first + self.share * (second - first)).astype(np.float32)
        return between


def learn_share(
    screen: Screen, x: sparse.csr_matrix, axes: PCAAutoencoder, training: IntArray, validation: IntArray
) -> Gate:
    """The share that brings effects of training cells nearest to those of the same conditions in validation cells.

    What is expected of it, and used where no condition has cells and controls in both, stands in `learn_gate`.

    Args:
        training, validation: rows of cells.
    """
    told = TwoWays.fit(screen, x, axes, training, share=0.0)
    held_back = held_back_effects(screen, x, validation)
    row = {condition: k for k, condition in enumerate(told.each.conditions)}
    both = [(row[condition], k) for k, condition in enumerate(held_back.effects.conditions) if condition in row]
    known, measured = np.array(both, dtype=np.int64).reshape(-1, 2).T
    controls = [held_back.controls.index(held_back.effects.conditions[k].control) for k in measured]
    return learn_gate(
        told.on_genes.delta[known].astype(np.float64),
        told.each.delta[known].astype(np.float64),
        held_back.effects.delta[measured].astype(np.float64),
        np.arange(len(known)),
        np.array(controls, dtype=np.int64),
        held_back.variance,
    )
