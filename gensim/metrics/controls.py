"""Mean control expression of a context, whole and in halves, as the baseline of effects."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.data.cell_source import CELLS_AT_ONCE, CellSource, read_dense
from gensim.metrics.means_in_batches import MeansInBatches
from gensim.seeding import numpy_generator
from gensim.types import Condition, IntArray, blocks

Mean = NDArray[np.float64]


class ControlMeans:
    """(G,) means of the control cells of a context, log1p CP10k, and of R random pairs of disjoint halves of them.

    A context is read once, in blocks; R + 1 vectors are kept, whatever the number of cells. If means in batches are
    asked for, it is read once more, and (2 R + 1) vectors per batch are kept.

    Args:
        source: where the controls are.
        seed: of the halves, which depend on nothing but seed, context and number of controls.
        n_repeats: pairs of halves R.
        batch_of: batches by the row of the control cells; None: all are of one.
    """

    def __init__(self, source: CellSource, seed: int, n_repeats: int, batch_of: IntArray | None = None) -> None:
        self.source, self.seed, self.n_repeats, self.batch_of = source, seed, n_repeats, batch_of
        self.known: dict[Condition, tuple[Mean, list[tuple[Mean, Mean]]]] = {}
        self.in_batches: dict[Condition, tuple[MeansInBatches, list[tuple[MeansInBatches, MeansInBatches]]]] = {}

    def whole(self, control: Condition) -> Mean:
        """The mean of all control cells of the condition `control`."""
        return self._of(control)[0]

    def halves(self, control: Condition, repeat: int) -> tuple[Mean, Mean] | tuple[None, None]:
        """The means of two disjoint halves; None for both where the context has a single control cell."""
        pairs = self._of(control)[1]
        return pairs[repeat] if pairs else (None, None)

    def whole_in_batches(self, control: Condition) -> MeansInBatches:
        """As `whole`, of each batch."""
        return self._of_batches(control)[0]

    def halves_in_batches(self, control: Condition, repeat: int) -> tuple[MeansInBatches, MeansInBatches]:
        """As `halves`, of each batch; in the first half there is none where the context has a single control cell."""
        return self._of_batches(control)[1][repeat]

    def _of(self, control: Condition) -> tuple[Mean, list[tuple[Mean, Mean]]]:
        if control not in self.known:
            self.known[control] = self._measure(control)
        return self.known[control]

    def _of_batches(self, control: Condition) -> tuple[MeansInBatches, list[tuple[MeansInBatches, MeansInBatches]]]:
        if control not in self.in_batches:
            self.in_batches[control] = self._measure_in_batches(control)
        return self.in_batches[control]

    def _in_first(self, control: Condition, n: int) -> NDArray[np.bool_]:
        """(R, n) which of the controls are in the first half."""
        generator = numpy_generator(self.seed, "control halves", control.key)
        return np.stack([generator.permutation(n) < n // 2 for _ in range(self.n_repeats)])

    def _measure(self, control: Condition) -> tuple[Mean, list[tuple[Mean, Mean]]]:
        rows = self.source.rows(control)
        n, n_first = len(rows), len(rows) // 2
        in_first = self._in_first(control, n).astype(np.float64)
        total = np.zeros(len(self.source.genes))
        first = np.zeros((self.n_repeats, len(total)))
        for part in blocks(n, CELLS_AT_ONCE):
            x = read_dense(self.source, rows[part], f"controls {control.label!r}").astype(np.float64)
            total += x.sum(axis=0)
            first += in_first[:, part] @ x
        pairs = [(half / n_first, (total - half) / (n - n_first)) for half in first] if n_first else []
        return total / n, pairs

    def _measure_in_batches(
        self, control: Condition
    ) -> tuple[MeansInBatches, list[tuple[MeansInBatches, MeansInBatches]]]:
        rows = self.source.rows(control)
        batch_of = np.zeros(len(rows), dtype=np.int64) if self.batch_of is None else self.batch_of[rows]
        codes = np.unique(batch_of)
        of_batch = batch_of == codes[:, None]
        groups = [of_batch, *(of_batch & first for first in self._in_first(control, len(rows)))]
        cells_of = sparse.vstack([sparse.csc_matrix(group, dtype=np.float64) for group in groups], format="csc")
        sums = np.zeros((cells_of.shape[0], len(self.source.genes)))
        for part in blocks(len(rows), CELLS_AT_ONCE):
            x = read_dense(self.source, rows[part], f"controls {control.label!r}").astype(np.float64)
            sums += cells_of[:, part] @ x
        n = np.asarray(cells_of.sum(axis=1)).ravel()
        (total, *firsts), (n_total, *n_firsts) = (np.split(values, self.n_repeats + 1) for values in (sums, n))
        pairs = [
            (
                MeansInBatches.of_sums(codes, first, n_first),
                MeansInBatches.of_sums(codes, total - first, n_total - n_first),
            )
            for first, n_first in zip(firsts, n_firsts, strict=True)
        ]
        return MeansInBatches.of_sums(codes, total, n_total), pairs
