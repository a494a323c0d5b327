"""Mean control expression of a context, whole and in halves, as the baseline of effects."""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from gensim.data.cell_source import CELLS_AT_ONCE, CellSource, read_dense
from gensim.seeding import numpy_generator
from gensim.types import Condition, blocks

Mean = NDArray[np.float64]


class ControlMeans:
    """(G,) means of the control cells of a context, log1p CP10k, and of R random pairs of disjoint halves of them.

    A context is read once, in blocks; R + 1 vectors are kept, whatever the number of cells.

    Args:
        source: where the controls are.
        seed: of the halves, which depend on nothing but seed, context and number of controls.
        n_repeats: pairs of halves R.
    """

    def __init__(self, source: CellSource, seed: int, n_repeats: int) -> None:
        self.source, self.seed, self.n_repeats = source, seed, n_repeats
        self.known: dict[Condition, tuple[Mean, list[tuple[Mean, Mean]]]] = {}
        self.lock = Lock()

    def whole(self, control: Condition) -> Mean:
        """The mean of all control cells of the condition `control`."""
        return self._of(control)[0]

    def halves(self, control: Condition, repeat: int) -> tuple[Mean, Mean] | tuple[None, None]:
        """The means of two disjoint halves; None for both where the context has a single control cell."""
        pairs = self._of(control)[1]
        return pairs[repeat] if pairs else (None, None)

    def _of(self, control: Condition) -> tuple[Mean, list[tuple[Mean, Mean]]]:
        with self.lock:  # conditions of one context ask for the same at once
            if control not in self.known:
                self.known[control] = self._measure(control)
        return self.known[control]

    def _measure(self, control: Condition) -> tuple[Mean, list[tuple[Mean, Mean]]]:
        rows = self.source.rows(control)
        n, n_first = len(rows), len(rows) // 2
        generator = numpy_generator(self.seed, "control halves", control.key)
        in_first = np.stack([generator.permutation(n) < n_first for _ in range(self.n_repeats)]).astype(np.float64)
        total = np.zeros(len(self.source.genes))
        first = np.zeros((self.n_repeats, len(total)))
        for part in blocks(n, CELLS_AT_ONCE):
            x = read_dense(self.source, rows[part], f"controls {control.label!r}").astype(np.float64)
            total += x.sum(axis=0)
            first += in_first[:, part] @ x
        pairs = [(half / n_first, (total - half) / (n - n_first)) for half in first] if n_first else []
        return total / n, pairs
