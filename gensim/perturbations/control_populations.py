"""Contexts by what they are: an encoding of the control cells that they have, in any order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition, FloatArray

SOURCE = "control cells of the contexts"
CONTROL_POPULATIONS = "control_populations.npz"


class Population:
    """The mean latents of a set of cells, which any order and any parts of the set give alike.

    With phi the autoencoder's encoder and rho a function that is learned (in `ConditionEncoder`), rho(mean phi(x)) is a
    set encoder (Zaheer et al. 2017, Deep Sets, theorem 2), through which a million cells pass once.
    """

    def __init__(self, n_latents: int) -> None:
        self._n, self._sum, self._squares = 0, np.zeros(n_latents), np.zeros(n_latents)

    def add(self, z: FloatArray) -> None:
        """(n, D) latents of some of the cells."""
        wide = z.astype(np.float64)
        self._n += len(z)
        self._sum += wide.sum(axis=0)
        self._squares += np.square(wide).sum(axis=0)

    @property
    def encoded(self) -> FloatArray:
        """(D,) mean over one cell or more."""
        return (self._sum / self._n).astype(np.float32)

    @property
    def error(self) -> float:
        """Expected squared length of the error of that mean."""
        variance = (self._squares / self._n - np.square(self._sum / self._n)).clip(0)
        return float(variance.sum()) / self._n


@dataclass(frozen=True, eq=False)
class ControlPopulations:
    """What the control cells of each context are like.

    Args:
        encoded: by the keys of control conditions, (D,) of each, see `Population`.
        measured: keys of the contexts that have perturbed training cells, among which a network can learn what
            difference a context makes.
        error: average squared length of the errors of their encodings.
    """

    encoded: Mapping[str, FloatArray] = field(default_factory=dict)
    measured: tuple[str, ...] = ()
    error: float = 0.0

    @classmethod
    def of(cls, populations: Mapping[str, Population], perturbed: Iterable[Condition]) -> "ControlPopulations":
        """Of training cells: the control cells by the keys of their conditions, and what perturbed cells there are."""
        measured = sorted({condition.control.key for condition in perturbed} & set(populations))
        errors = [populations[name].error for name in measured]
        encoded = {name: population.encoded for name, population in populations.items()}
        return cls(encoded, tuple(measured), float(np.mean(errors)) if errors else 0.0)

    @property
    def n_features(self) -> int:
        """Of each context for the network: none where fewer than two contexts have perturbed cells."""
        return len(next(iter(self.encoded.values()))) if len(self.measured) > 1 else 0

    def features(self, conditions: Sequence[Condition]) -> FloatArray:
        """(K, `n_features`) of the contexts of K conditions, centred at the measured ones.

        In units of how far these are apart and of their errors, so that contexts which differ by errors alone (two
        modalities in the same cells) are not drawn apart. A context without known control cells lies at the centre.
        """
        placed = np.zeros((len(conditions), self.n_features), dtype=np.float32)
        for k, condition in enumerate(conditions if self.n_features else ()):
            of = self.encoded.get(condition.control.key)
            if of is not None:
                placed[k] = (of - self._centre) * self._scale
        return placed

    def knowing(self, further: Mapping[str, FloatArray]) -> "ControlPopulations":
        """The same with further contexts, by the keys of their control conditions."""
        return replace(self, encoded={**further, **self.encoded})

    @property
    def table(self) -> VectorTable:
        """(C, D) vectors of all contexts."""
        return VectorTable(tuple(self.encoded), np.stack(list(self.encoded.values())), SOURCE)

    @cached_property
    def _centre(self) -> FloatArray:
        centre: FloatArray = np.mean([self.encoded[name] for name in self.measured], axis=0)
        return centre

    @cached_property
    def _scale(self) -> float:
        apart = [np.square(self.encoded[name] - self._centre).sum(dtype=np.float64) for name in self.measured]
        squared = (float(np.mean(apart)) + self.error) / self.n_features
        return squared**-0.5 if squared > 0 else 1.0

    def save(self, folder: Path) -> None:
        names = tuple(self.encoded)
        np.savez(
            folder / CONTROL_POPULATIONS,
            names=np.asarray(names, np.str_),
            encoded=np.array(list(self.encoded.values()), dtype=np.float32),
            measured=np.isin(names, self.measured),
            error=self.error,
        )

    @classmethod
    def load(cls, folder: Path) -> "ControlPopulations":
        with np.load(folder / CONTROL_POPULATIONS, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["names"]]
            encoded = dict(zip(names, arrays["encoded"], strict=True))
            measured = tuple(name for name, of in zip(names, arrays["measured"], strict=True) if of)
            return cls(encoded, measured, float(arrays["error"]))
