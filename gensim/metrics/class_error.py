"""How well a repeat of the experiment would find the classes of genes that the experiment has."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.metrics.bootstrap_samples import Sampled, Samples, in_words
from gensim.metrics.macro_f1 import class_counts, f1_of_counts
from gensim.metrics.panel import FEW_CONDITIONS, NO_INTERVAL
from gensim.metrics.response_classes import classes_of_moments, require_cells
from gensim.metrics.scores import Estimate
from gensim.types import blocks

QUANTILE = 0.1
GENES_AT_ONCE = 1024

EXPLANATION = (
    f"the {QUANTILE} quantile of the macro-F1 that bootstrap samples of the real experiment, all conditions and "
    "controls at once, reach against the classes of the experiment itself, so that no prediction above that is known "
    "to be worse than a repeat; it compares whole experiments, in which batches count alike, while the values above "
    "are against half of the real cells, which find fewer genes;"
)


@dataclass(frozen=True, slots=True)
class ClassError:
    """The experimental error of macro-F1 of a group of conditions.

    Args:
        estimate: epsilon(0.1), between 0 and 1, or the reason why there is none, and the number of conditions.
        resampled: what was resampled, for people.
    """

    estimate: Estimate
    resampled: str

    @property
    def explained(self) -> str:
        """What it is, and what was resampled, for people."""
        return f"{EXPLANATION} {self.resampled}"


def classes_of_samples(samples: Samples) -> NDArray[np.int8]:
    """(101, G) classes of genes: -1, 0 or 1, first of all cells, then of each sample.

    Welch's t-test as in `response_classes`, of weighted cells. In a sample a cell has the weight w = c / (n_b B), drawn
    c times, of a batch of n_b cells, one of B. With v = 1 / (n_b B), the weight of a cell that is drawn once,

        mean      m  = sum w x                         batches count alike
        cells     n  = (sum c v)² / sum c v² = 1 / sum w v
        variance  s² = n / (n - 1) (sum w x² - m²)     of cells about the mean of all, what batches do included

    so that s² / n is the squared error of m for cells that are independent, and n is the number of cells where batches
    are equally large or not known: then this is the test of the very cells that were drawn. Else n is less. The
    classes of all cells are of the same formulas with c = 1; they are `response_classes` where batches are equally
    large or not known, and none is left out. The test takes no notice of batches, as that of the metric does not: what
    they do to a repeat is in the samples.

    Raises:
        NotComputable: too few cells, as in `response_classes`.

    Source: Cole et al. 2026; n: Kish 1965, Survey sampling.
    """
    require_cells(samples.cells.x.shape[0], samples.controls.x.shape[0])
    return classes_of_moments(_moments(samples.cells), _moments(samples.controls)).astype(np.int8)


def _moments(side: Sampled) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(101, G) mean and variance, and (101, 1) number of cells, of all cells and of each sample.

    Sums are of differences from the least value of a gene, so that those which do not vary in a sample, as of cells
    that all lack it, have exactly that mean and no variance.
    """
    weights = np.concatenate([side.whole[None], side.weights])
    n = (1 / (weights @ side.whole))[:, None]
    mean, square = (np.empty((len(weights), side.x.shape[1])) for _ in range(2))
    for genes in blocks(side.x.shape[1], GENES_AT_ONCE):
        x = side.x[:, genes]
        x = np.asarray(x if isinstance(x, np.ndarray) else x.toarray(), dtype=np.float64)
        least = x.min(axis=0)
        x = x - least
        moved = weights @ x
        mean[:, genes] = least + moved
        square[:, genes] = weights @ np.square(x) - np.square(moved)
    return mean, np.maximum(square, 0.0) * (n / (n - 1)), n


@dataclass(slots=True)
class _Counts:
    """Of conditions alike: those with classes, their samples, what was drawn, and why others have none."""

    n: int = 0
    both: NDArray[np.int64] | int = 0
    either: NDArray[np.int64] | int = 0
    drawn: list[tuple[int | None, bool]] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)


class RepeatedClasses:
    """Collects classes of the samples of conditions, in any order and from any thread, as counts for macro-F1.

    Counts are whole numbers, so that their sums do not depend on the order. They take (2, 3, 100, G) numbers of 8 bytes
    for those that training had and as many for others, however many conditions there are.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[bool | None, _Counts] = {}

    def take(self, seen: bool | None, samples: Samples) -> None:
        """Count the classes of a condition; `seen`: whether training had it, None where that is not known."""
        try:
            classes = classes_of_samples(samples)
        except NotComputable as error:
            self.lack(seen, str(error))
            return
        self.count(seen, classes, (samples.n_batches, samples.paired))

    def count(self, seen: bool | None, classes: NDArray[np.int8], drawn: tuple[int | None, bool]) -> None:
        """Count these (1 + B, G), of the whole and of B samples; `drawn`: `n_batches` and `paired` of the samples."""
        both, either = class_counts(classes[None, :1], classes[None, 1:])
        with self._lock:
            counts = self._counts.setdefault(seen, _Counts())
            counts.n += 1
            counts.both += both
            counts.either += either
            counts.drawn.append(drawn)

    def lack(self, seen: bool | None, reason: str) -> None:
        """A condition has no classes."""
        with self._lock:
            self._counts.setdefault(seen, _Counts()).reasons.add(reason)

    def error(self, has: Callable[[bool | None], bool]) -> ClassError:
        """epsilon(q) = the q-quantile over samples b of macro-F1(classes of b, classes of the whole), q = 0.1

        F1 is counted over conditions, see `macro_f1`, so there is one value for a group of two or more.

        Args:
            has: whether the group has conditions that training had (True), had not (False), or of which that is not
                known (None).

        Source: Cole et al. 2026.
        """
        chosen = [counts for seen, counts in self._counts.items() if has(seen)]
        resampled = in_words((drawn for counts in chosen for drawn in counts.drawn), "high")
        n = sum(counts.n for counts in chosen)
        if n < 2:
            why = "; ".join(sorted(set[str]().union(*(counts.reasons for counts in chosen)))) or FEW_CONDITIONS
            return ClassError(Estimate(None, None, None, 0, why), resampled)
        both, either = (np.asarray(sum(counts)) for counts in zip(*((c.both, c.either) for c in chosen), strict=True))
        value = float(np.quantile(f1_of_counts(both, either), QUANTILE))
        return ClassError(Estimate(value, None, None, n, NO_INTERVAL), resampled)
