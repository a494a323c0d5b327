"""Contexts by what they are: an encoding of the control cells that they have, in any order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from gensim.perturbations.regression import MeasuredVectors
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition, FloatArray

SOURCE = "control cells of the contexts"
CONTROL_POPULATIONS = "control_populations.npz"


class LatentMoments:
    """The sum over a set of cells of phi(z) = (1, z, z²), which any order and any parts of the set give alike.

    With a function of it that is learned (in `ConditionEncoder`) this is a set encoder (Zaheer et al. 2017, Deep Sets,
    theorem 2), one that a million control cells pass through once.
    """

    def __init__(self, n_latents: int) -> None:
        self._n = 0
        self._sum, self._squares = np.zeros(n_latents), np.zeros(n_latents)

    def add(self, z: FloatArray) -> None:
        """(n, D) latents of some of the cells."""
        wide = z.astype(np.float64)
        self._n += len(z)
        self._sum += wide.sum(axis=0)
        self._squares += np.square(wide).sum(axis=0)

    def encoded(self) -> FloatArray:
        """(2 D,) means and standard deviations over one cell or more."""
        mean = self._sum / self._n
        spread = np.sqrt((self._squares / self._n - mean**2).clip(0))
        return np.concatenate([mean, spread]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ControlPopulations:
    """What the control cells of each context are like.

    Args:
        encoded: by the keys of control conditions, (2 D,) of each, see `LatentMoments`.
        measured: keys of the contexts that have perturbed training cells, among which a network can learn what
            difference a context makes.
    """

    encoded: Mapping[str, FloatArray] = field(default_factory=dict)
    measured: tuple[str, ...] = ()

    @property
    def n_features(self) -> int:
        """Of each context for the network: none where fewer than two contexts have perturbed cells."""
        return len(next(iter(self.encoded.values()))) if len(self.measured) > 1 else 0

    def features(self, conditions: Sequence[Condition]) -> FloatArray:
        """(K, `n_features`) of the contexts of K conditions.

        Means and standard deviations are each centred at the measured contexts and brought to a mean square of 1 among
        them. A context whose control cells no one knows lies at their centre.
        """
        placed = np.zeros((len(conditions), self.n_features), dtype=np.float32)
        known = [k for k, c in enumerate(conditions) if c.control.key in self.encoded]
        if self.n_features and known:
            of = self._measured_vectors.of([conditions[k].control.key for k in known])
            placed[known] = of * np.sqrt(self.n_features)
        return placed

    def knowing(self, further: Mapping[str, FloatArray]) -> "ControlPopulations":
        """The same with further contexts, by the keys of their control conditions."""
        return replace(self, encoded={**further, **self.encoded})

    def means(self, keys: Iterable[str] | None = None) -> VectorTable:
        """(C, D) mean latents of all contexts, or of some."""
        names = tuple(self.encoded if keys is None else keys)
        return VectorTable(names, np.stack([mean_of(self.encoded[name]) for name in names]), SOURCE)

    @cached_property
    def _measured_vectors(self) -> MeasuredVectors:
        rows, n = np.stack(list(self.encoded.values())), self.n_features // 2
        return MeasuredVectors(VectorTable(tuple(self.encoded), rows, SOURCE, (n, n)), self.measured, unit=False)

    def save(self, folder: Path) -> None:
        names = tuple(self.encoded)
        is_measured = np.isin(names, self.measured)
        rows = np.array(list(self.encoded.values()), dtype=np.float32)
        np.savez(folder / CONTROL_POPULATIONS, names=np.asarray(names, np.str_), encoded=rows, measured=is_measured)

    @classmethod
    def load(cls, folder: Path) -> "ControlPopulations":
        with np.load(folder / CONTROL_POPULATIONS, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["names"]]
            encoded = dict(zip(names, arrays["encoded"], strict=True))
            return cls(encoded, tuple(n for n, of in zip(names, arrays["measured"], strict=True) if of))


def mean_of(encoded: FloatArray) -> FloatArray:
    """(D,) mean latents of (2 D,) moments."""
    return encoded[: len(encoded) // 2]
