"""What cells of a screen tell of effects on what the transport moves, and on genes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from scipy import sparse

from gensim.autoencoder.base import Autoencoder, residual
from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.genes import GeneSpace
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.data.screen import Screen
from gensim.perturbations.gate import Gate
from gensim.perturbations.mean_effects import MeanEffects, Shrinkage, fit_mean_effects
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.training.two_ways import TwoWays, learn_share
from gensim.types import FloatArray, IntArray


class EffectsOfCells(NamedTuple):
    """Mean effects of the conditions that have cells and control cells.

    Args:
        in_latents: on the latents, shrunk.
        around_latents: over genes, on what the latents do not hold, shrunk; None where counts are decoded, as what is
            missed of them only the trained decoder tells.
        on_genes: on log1p CP10k, as they were measured.
    """

    in_latents: MeanEffects
    around_latents: MeanEffects | None
    on_genes: MeanEffects


@dataclass(frozen=True, slots=True)
class CellsOfScreen:
    """All cells of a screen.

    Args:
        x: (N, G) log1p CP10k. latents: (N, D).
        axes: principal components of training cells; those of the autoencoder, if it is of these.
    """

    screen: Screen
    x: sparse.csr_matrix
    latents: FloatArray
    autoencoder: Autoencoder
    axes: PCAAutoencoder

    def learn_share(self, training: IntArray, validation: IntArray) -> Gate | None:
        """See `two_ways.learn_share`; None where what is told gene by gene has no place in the latents."""
        if isinstance(self.autoencoder, PCAAutoencoder | GeneSpace | CountAutoencoder):
            return learn_share(self.screen, self.x, self.axes, training, validation)
        return None

    def effects(self, cells: IntArray, share: float) -> EffectsOfCells:
        """By the rows `cells`.

        Args:
            share: see `TwoWays`; 0 where it was not learned.
        """
        if isinstance(self.autoencoder, PCAAutoencoder):
            ways = TwoWays.fit(self.screen, self.x, self.axes, cells, share)
            return EffectsOfCells(ways.along_axes, ways.around_axes, ways.plain)
        if isinstance(self.autoencoder, GeneSpace):
            ways, scale = TwoWays.fit(self.screen, self.x, self.axes, cells, share), float(self.autoencoder.scale)
            return EffectsOfCells(_in_units(ways.on_genes, scale), self._around(cells), ways.plain)
        around = None if isinstance(self.autoencoder, CountAutoencoder) else self._around(cells)
        return EffectsOfCells(self._as_a_whole(cells), around, self.plain(cells))

    def plain(self, cells: IntArray) -> MeanEffects:
        """On log1p CP10k, as they were measured."""
        return self._fit(lambda of: self.x[of].toarray(), cells, None)

    def _as_a_whole(self, cells: IntArray) -> MeanEffects:
        return self._fit(lambda of: self.latents[of], cells, shrink_together)

    def _around(self, cells: IntArray) -> MeanEffects:
        return self._fit(lambda of: residual(self.autoencoder, self.x[of]), cells, shrink_each)

    def _fit(self, read: Callable[[IntArray], FloatArray], cells: IntArray, shrink: Shrinkage | None) -> MeanEffects:
        return fit_mean_effects(read, self.screen.condition_of, self.screen.conditions, cells, shrink=shrink)


def _in_units(effects: MeanEffects, unit: float) -> MeanEffects:
    plain, noise = effects.plain, effects.noise
    return replace(
        effects,
        delta=effects.delta / unit,
        plain=None if plain is None else plain / unit,
        noise=None if noise is None else noise / unit**2,
    )
