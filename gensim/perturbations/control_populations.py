"""Contexts by what they are: an encoding of the control cells that they have, in any order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from gensim.perturbations.regression import MeasuredVectors
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition, FloatArray

SOURCE = "control cells of the contexts"
CONTROL_POPULATIONS = "control_populations.npz"


class PopulationMean:
    """The mean latents of a set of cells, which any order and any parts of the set give alike.

    With phi the autoencoder's encoder and rho a function that is learned (in `ConditionEncoder`), rho(mean phi(x)) is a
    set encoder (Zaheer et al. 2017, Deep Sets, theorem 2), through which a million cells pass once.
    """

    def __init__(self, n_latents: int) -> None:
        self._n, self._sum = 0, np.zeros(n_latents)

    def add(self, z: FloatArray) -> None:
        """(n, D) latents of some of the cells."""
        self._n += len(z)
        self._sum += z.sum(axis=0, dtype=np.float64)

    def encoded(self) -> FloatArray:
        """(D,) mean over one cell or more."""
        return (self._sum / self._n).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ControlPopulations:
    """What the control cells of each context are like.

    Args:
        encoded: by the keys of control conditions, (D,) of each, see `PopulationMean`.
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
        """(K, `n_features`) of the contexts of K conditions: centred at the measured contexts, and with a mean square
        of 1 among them. A context whose control cells no one knows lies at their centre."""
        placed = np.zeros((len(conditions), self.n_features), dtype=np.float32)
        known = [k for k, c in enumerate(conditions) if c.control.key in self.encoded]
        if self.n_features and known:
            of = self._measured_vectors.of([conditions[k].control.key for k in known])
            placed[known] = of * np.sqrt(self.n_features)
        return placed

    def knowing(self, further: Mapping[str, FloatArray]) -> "ControlPopulations":
        """The same with further contexts, by the keys of their control conditions."""
        return replace(self, encoded={**further, **self.encoded})

    @property
    def table(self) -> VectorTable:
        """(C, D) vectors of all contexts."""
        return VectorTable(tuple(self.encoded), np.stack(list(self.encoded.values())), SOURCE)

    @cached_property
    def _measured_vectors(self) -> MeasuredVectors:
        return MeasuredVectors(self.table, self.measured, unit=False)

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
