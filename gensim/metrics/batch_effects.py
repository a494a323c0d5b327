"""Effects taken over experimental batches, which count alike however many cells they have.

Source of everything here: Cole et al. 2026 (batch-averaged average treatment effect, BA-ATE).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gensim.data.batches import Batches
from gensim.errors import NotComputable
from gensim.metrics.controls import ControlMeans
from gensim.metrics.means_in_batches import MeansInBatches
from gensim.types import Condition, FloatArray, IntArray

LARGE_BATCH = 100
"""Cells of a condition per batch, on average, from which effects are taken within batches."""
NOT_KNOWN = (
    "batches of the real cells are not known; name the column of obs that has them (data.batch_column), which the "
    "files of real and of control cells must have"
)


def within_batches(batch_of: IntArray, control_batch_of: IntArray) -> bool:
    """Whether the effect of a condition is taken batch by batch.

    So it is where its batches have 100 of its cells or more on average, and one of them has control cells too.

    Args:
        batch_of: (n,) batches of all real cells of the condition. control_batch_of: (m,) of the control cells.
    """
    large = len(batch_of) >= LARGE_BATCH * len(np.unique(batch_of))
    return large and len(np.intersect1d(batch_of, control_batch_of)) > 0


def batch_averaged_effect(cells: MeansInBatches, controls: MeansInBatches, within: bool) -> NDArray[np.float64]:
    """(G,) Delta, log1p CP10k.

        Delta = mean_b (y'_b - y_b)          over the batches that have both, if `within`
        Delta = mean_b y'_b - mean_b y_b     over all batches of the cells and all of the controls, else

    Args:
        cells: y'_b of the batches of a condition. controls: y_b of the batches of the control cells.
        within: see `within_batches`.

    Raises:
        NotComputable: `within`, and no batch has both.
    """
    if not within:
        return np.asarray(cells.means.mean(axis=0) - controls.means.mean(axis=0))
    _, own, theirs = np.intersect1d(cells.codes, controls.codes, return_indices=True)
    if not len(own):
        raise NotComputable("no batch has both cells of the condition and control cells to compare them with")
    return np.asarray((cells.means[own] - controls.means[theirs]).mean(axis=0))


@dataclass(frozen=True, slots=True)
class InBatches:
    """What the effect of a population is taken from, batch by batch.

    Args:
        batch_of: (n,) batches of its cells.
        within: see `within_batches`.
        controls: gives y_b when it is asked for.
    """

    batch_of: IntArray
    within: bool
    controls: Callable[[], MeansInBatches]

    def effect(self, x: FloatArray) -> NDArray[np.float64]:
        """`batch_averaged_effect` of its (n, G) cells."""
        return batch_averaged_effect(MeansInBatches.of(x, self.batch_of), self.controls(), self.within)


@dataclass(frozen=True, slots=True)
class ConditionBatches:
    """The batches of the cells of one condition.

    Whether effects are taken within them is decided once, by all real cells of the condition, so that the reference,
    the replicate and the prediction, which have fewer, are taken alike.

    Args:
        batches: of all cells; None: not known.
        controls: control means of all contexts.
        control: of the context.
        within: see `within_batches`.
    """

    batches: Batches | None
    controls: ControlMeans
    control: Condition
    within: bool

    @classmethod
    def of(
        cls, batches: Batches | None, controls: ControlMeans, control: Condition, rows: IntArray, control_rows: IntArray
    ) -> Self:
        """From the rows of all real cells of the condition, and of all control cells of its context."""
        within = batches is not None and within_batches(batches.truth[rows], batches.controls[control_rows])
        return cls(batches, controls, control, within)

    def of_half(self, rows: IntArray, repeat: int, half: int) -> InBatches | None:
        """Of real cells, against the first (0) or second (1) half of the controls in a repeat."""
        if self.batches is None:
            return None
        return InBatches(
            self.batches.truth[rows], self.within, lambda: self.controls.halves_in_batches(self.control, repeat)[half]
        )

    def of_predicted(self, rows: IntArray) -> InBatches | None:
        """Of predicted cells, against all controls; None where their batches are not known."""
        if self.batches is None or self.batches.prediction is None:
            return None
        codes = self.batches.prediction[rows]
        return InBatches(codes, self.within, lambda: self.controls.whole_in_batches(self.control))

    def of_real(self, rows: IntArray) -> IntArray | None:
        """Batches of real cells; None where they are not known."""
        return None if self.batches is None else self.batches.truth[rows]

    def of_controls(self, rows: IntArray) -> IntArray | None:
        """Batches of control cells; None where they are not known."""
        return None if self.batches is None else self.batches.controls[rows]
