"""What a simulated perturbation does to a cell: modality, strength by dose, and the share of cells that escape."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gensim.data.network_dynamics import Intervention
from gensim.data.regulatory_network import RegulatoryNetwork
from gensim.errors import DataError, listing, nearest
from gensim.types import Condition

Modality = Literal["knock_out", "knock_down", "activation"]
DOSE_EXPONENT = 2.0


@dataclass(frozen=True, slots=True)
class PerturbationEffect:
    """How every perturbation of one simulated screen acts; arguments as of `SimulatedScreen`.

    Raises:
        DataError: an argument is outside its domain.
    """

    modality: Modality
    efficiency: float
    activation: float
    half_dose: float
    escape: float

    def __post_init__(self) -> None:
        known = get_args(Modality)
        if self.modality not in known:
            hint = nearest(self.modality, known)
            raise DataError(f"modality is {self.modality!r}{hint}; one of {listing(known)} is needed")
        refuse_outside("efficiency", self.efficiency, 0 < self.efficiency <= 1, "above 0, at most 1")
        refuse_outside("activation", self.activation, 0 < self.activation < np.inf, "above 0 and finite")
        refuse_outside("half_dose", self.half_dose, 0 < self.half_dose < np.inf, "above 0 and finite")
        refuse_outside("escape", self.escape, 0 <= self.escape <= 1, "from 0 to 1")

    def strength(self, dose: float | None) -> float:
        """Share of the full effect, 0 to 1: d^2 / (half_dose^2 + d^2); 1 without a dose."""
        if dose is None:
            return 1.0
        effective = float(dose**DOSE_EXPONENT)
        return effective / float(self.half_dose**DOSE_EXPONENT + effective)

    def responds(self, condition: Condition, n_cells: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """(n_cells, k) whether each of the k perturbations takes effect in a cell, drawn independently."""
        return rng.random((n_cells, len(condition.perturbations))) >= self.escape

    def intervention(
        self, network: RegulatoryNetwork, condition: Condition, responds: NDArray[np.bool_]
    ) -> Intervention:
        """The change of production in N cells, where (N, k) `responds` says which perturbations take effect."""
        genes = np.array([network.genes.index(name) for name in condition.perturbations], dtype=np.int64)
        strength = np.array([self.strength(dose) for dose in condition.doses])
        effect = (strength * responds).astype(np.float32)
        if self.modality == "activation":
            reference = (network.decay * network.level)[genes].astype(np.float32)
            return Intervention(genes, np.ones_like(effect), np.float32(self.activation) * reference * effect)
        loss = np.float32(1 if self.modality == "knock_out" else self.efficiency)
        return Intervention(genes, 1 - loss * effect, np.zeros_like(effect))


def refuse_outside(name: str, came: float, allowed: bool, domain: str) -> None:
    """Raise `DataError` unless `allowed`."""
    if not allowed:
        raise DataError(f"{name} is {came!r}; a number {domain} is needed")
