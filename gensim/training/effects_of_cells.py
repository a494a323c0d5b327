"""What some cells of a screen tell of effects on what the transport moves, and on genes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from scipy import sparse

from gensim.autoencoder.base import Autoencoder, residual
from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.genes import GeneSpace
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.data.screen import Screen
from gensim.perturbations.mean_effects import MeanEffects, Shrinkage, fit_mean_effects
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.training.two_ways import TwoWays
from gensim.types import FloatArray, IntArray


@dataclass(frozen=True)
class EncodedScreen:
    """A screen with all of its cells encoded.

    Args:
        x: (N, G) log1p CP10k. latents: (N, D).
        axes: principal components of training cells; those of the autoencoder, if it is of these.
    """

    screen: Screen
    x: sparse.csr_matrix
    latents: FloatArray
    autoencoder: Autoencoder
    axes: PCAAutoencoder

    @property
    def take_a_share(self) -> bool:
        """Whether what is told gene by gene has a place: in latents that are linear in genes, or where counts are
        calibrated."""
        return isinstance(self.autoencoder, PCAAutoencoder | GeneSpace | CountAutoencoder)

    @property
    def are_counts(self) -> bool:
        """Whether they are decoded as such."""
        return isinstance(self.autoencoder, CountAutoencoder)


@dataclass(frozen=True, eq=False)
class EffectsOfCells:
    """Mean effects of the conditions that have cells and control cells among some rows, measured when asked for.

    Args:
        cells: the rows.
        share: see `TwoWays`; 0 where it was not learned.
    """

    encoded: EncodedScreen
    cells: IntArray
    share: float

    @cached_property
    def in_latents(self) -> MeanEffects:
        """On the latents, shrunk."""
        if isinstance(self.encoded.autoencoder, PCAAutoencoder):
            return self._ways.along_axes
        if isinstance(self.encoded.autoencoder, GeneSpace):
            return _in_units(self._ways.on_genes, float(self.encoded.autoencoder.scale))
        return self._fit(lambda rows: self.encoded.latents[rows], shrink_together)

    @cached_property
    def around_latents(self) -> MeanEffects:
        """Over genes, on what latents do not hold of logarithms, shrunk."""
        if isinstance(self.encoded.autoencoder, PCAAutoencoder):
            return self._ways.around_axes
        return self._fit(lambda rows: residual(self.encoded.autoencoder, self.encoded.x[rows]), shrink_each)

    @cached_property
    def on_genes(self) -> MeanEffects:
        """On log1p CP10k, as they were measured."""
        if isinstance(self.encoded.autoencoder, PCAAutoencoder | GeneSpace):
            return self._ways.plain
        return self._fit(lambda rows: self.encoded.x[rows].toarray(), None)

    @cached_property
    def _ways(self) -> TwoWays:
        return TwoWays(self.encoded.screen, self.encoded.x, self.encoded.axes, self.cells, self.share)

    def _fit(self, read: Callable[[IntArray], FloatArray], shrink: Shrinkage | None) -> MeanEffects:
        of_screen = self.encoded.screen.condition_of, self.encoded.screen.conditions, self.cells
        return fit_mean_effects(read, *of_screen, shrink=shrink)


def _in_units(effects: MeanEffects, unit: float) -> MeanEffects:
    plain, noise = effects.plain, effects.noise
    return replace(
        effects,
        delta=effects.delta / unit,
        plain=None if plain is None else plain / unit,
        noise=None if noise is None else noise / unit**2,
    )
