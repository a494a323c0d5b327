"""The prediction that a perturbation does nothing: zero on the normalised score."""

from dataclasses import dataclass

from gensim.types import Condition, FloatArray


@dataclass(frozen=True, slots=True)
class NoChange:
    """Control cells as the prediction of every condition."""

    def simulate(self, x_control: FloatArray, condition: Condition) -> FloatArray:  # noqa: ARG002 - no change for any
        """(n, G) control cells, log1p CP10k, of the condition's context, to the same cells."""
        return x_control.copy()
