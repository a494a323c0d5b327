"""Mean effects on genes shrunk in two ways, and how far to go from the one to the other."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.autoencoder.base import encoded, residual
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.data.screen import Screen
from gensim.perturbations.gate import Gate, learn_gate
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.training.shown import Shown
from gensim.types import Condition, FloatArray, IntArray, spread

FOLDS = 4
MOST_CONDITIONS = 256
"""By which a share is learned: more tell it no better."""

Float64Array = NDArray[np.float64]
Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class TwoWays:
    """Mean effects on log1p CP10k, of the conditions that have cells and control cells among some rows.

    The first way to shrink them is as a whole along principal axes and gene by gene around these: right about what
    moves many genes together. The second is gene by gene alone, which is right about few genes that move: as a whole,
    an effect on a few of thousands of genes is less than the noise of all of them.

    Args:
        x: (N, G) log1p CP10k of the screen.
        axes: D principal components.
        cells: the rows.
        share: 0 for the first way, 1 for the second, between them a share of the way.
    """

    screen: Screen
    x: sparse.csr_matrix
    axes: PCAAutoencoder
    cells: IntArray
    share: float

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return self._each.conditions

    @property
    def along_axes(self) -> MeanEffects:
        """On the standardised components."""
        on_axes = self._each.delta @ self._components.T / float(self.axes.scale)
        return replace(self._along, delta=self._between(self._along.delta, on_axes))

    @property
    def around_axes(self) -> MeanEffects:
        """Over genes, on what the components do not hold."""
        beside = self._each.delta - self._each.delta @ self._components.T @ self._components
        return replace(self._around, delta=self._between(self._around.delta, beside))

    @property
    def on_genes(self) -> MeanEffects:
        """Over genes."""
        return replace(self._each, delta=self._between(self.first, self.second))

    @property
    def first(self) -> Floats:
        """(K, G) over genes, in the first way."""
        on_axes: Floats = float(self.axes.scale) * self._along.delta @ self._components
        return on_axes + self._around.delta

    @property
    def second(self) -> Floats:
        """(K, G) over genes, in the second way."""
        return self._each.delta

    @property
    def plain(self) -> MeanEffects:
        """Over genes, as they were measured."""
        plain: FloatArray = self._each.plain  # type: ignore[assignment]
        return replace(self._each, delta=plain, plain=None)

    @cached_property
    def _along(self) -> MeanEffects:
        return fit_mean_effects(lambda of: encoded(self.axes, self.x[of]), *self._of_screen, shrink=shrink_together)

    @cached_property
    def _around(self) -> MeanEffects:
        return fit_mean_effects(lambda of: residual(self.axes, self.x[of]), *self._of_screen, shrink=shrink_each)

    @cached_property
    def _each(self) -> MeanEffects:
        return fit_mean_effects(lambda of: self.x[of].toarray(), *self._of_screen, shrink=shrink_each)

    @property
    def _of_screen(self) -> tuple[IntArray, tuple[Condition, ...], IntArray]:
        return self.screen.condition_of, self.screen.conditions, self.cells

    @property
    def _components(self) -> FloatArray:
        components: FloatArray = self.axes.components.cpu().numpy()
        return components

    def _between(self, first: Floats, second: Floats) -> FloatArray:
        between: FloatArray = (first + self.share * (second - first)).astype(np.float32)
        return between


def learn_share(screen: Screen, x: sparse.csr_matrix, n_axes: int, training: IntArray) -> Gate:
    """The share by which effects of some of the cells come nearest to those of others of the same conditions.

    Every fourth cell of each condition, controls among them, is held back in turn, and axes are fitted anew to the
    rest: axes lie where the cells that they are fitted to happen to differ. What is expected of the share, and used
    where too few conditions tell, stands in `learn_gate`.

    Args:
        x: (N, G) log1p CP10k of the screen. n_axes: as many as there will be.
        training: rows of the training cells.
    """
    rows = _of_some_conditions(screen, training)
    if len(rows) == 0:
        return Gate()
    fold = _rank_in_condition(screen.condition_of[rows]) % FOLDS
    parts = [_Part.of(screen, x, n_axes, rows[fold != f], rows[fold == f]) for f in range(FOLDS)]
    unit = {c: k for k, c in enumerate(dict.fromkeys(c for part in parts for c in part.conditions))}
    before = np.cumsum([0] + [len(part.variance) for part in parts])
    return learn_gate(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.measured for part in parts]),
        np.array([unit[c] for part in parts for c in part.conditions], dtype=np.int64),
        np.concatenate([part.control + n for part, n in zip(parts, before, strict=False)]),
        np.concatenate([part.variance for part in parts]),
    )


class _Part(NamedTuple):
    """Effects of K conditions in two ways, and as held-back cells show them.

    Args:
        first, second, measured: (K, G) float64.
        control: (K,) row of `variance` that each condition was measured against.
        variance: (C, G) of the means of held-back control cells.
    """

    conditions: tuple[Condition, ...]
    first: Float64Array
    second: Float64Array
    measured: Float64Array
    control: IntArray
    variance: Float64Array

    @classmethod
    def of(cls, screen: Screen, x: sparse.csr_matrix, n_axes: int, cells: IntArray, held_back: IntArray) -> "_Part":
        axes, shown = PCAAutoencoder.fit(x[cells], n_axes), Shown.by(screen, x, held_back)
        told = TwoWays(screen, x, axes, cells, share=0.0)
        # Every condition has cells and controls on both sides, so that they stand in the same order.
        return cls(
            told.conditions,
            told.first.astype(np.float64),
            told.second.astype(np.float64),
            shown.effects.delta.astype(np.float64),
            np.array([shown.controls.index(condition.control) for condition in told.conditions], dtype=np.int64),
            shown.variance,
        )


def _of_some_conditions(screen: Screen, rows: IntArray) -> IntArray:
    """Those of the rows that are of up to `MOST_CONDITIONS` perturbed conditions, or of their controls.

    There are as many of each as folds, so that each fold has some.
    """
    n = np.bincount(screen.condition_of[rows], minlength=len(screen.conditions))
    row = {condition: k for k, condition in enumerate(screen.conditions) if n[k] >= FOLDS}
    perturbed = [k for condition, k in row.items() if not condition.is_control and condition.control in row]
    some = spread(np.array(perturbed, dtype=np.int64), MOST_CONDITIONS)
    controls = [row[screen.conditions[k].control] for k in some]
    return rows[np.isin(screen.condition_of[rows], [*some, *controls])]


def _rank_in_condition(condition_of: IntArray) -> IntArray:
    """How many cells of the same condition come before each cell."""
    order = np.argsort(condition_of, kind="stable")
    _, first, n = np.unique(condition_of[order], return_index=True, return_counts=True)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - np.repeat(first, n)
    return rank
