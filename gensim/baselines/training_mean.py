"""The simplest prediction that learns: every control cell moves by the mean effect that training cells showed."""

from dataclasses import dataclass

from gensim.errors import DataError
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition, FloatArray


@dataclass(frozen=True, slots=True)
class TrainingMean:
    """x = x_control + shift(condition).

    Args:
        effects: mean effects over genes, log1p CP10k, in the order of the genes of the cells; `MeanEffects.shift`
            says what they tell about conditions that training did not have.
    """

    effects: MeanEffects

    def simulate(self, x_control: FloatArray, condition: Condition) -> FloatArray:
        """(n, G) control cells, log1p CP10k, of the condition's context, to (n, G) moved cells.

        Values may fall below 0 and are not clipped: clipping would change the mean effect, and so make the baseline
        weaker than it is.

        Raises:
            DataError: the effects are over another number of genes.
        """
        shift = self.effects.shift(condition)
        if x_control.ndim != 2 or x_control.shape[1] != len(shift):
            raise DataError(
                f"mean effects are over {len(shift)} genes, the control cells have shape {x_control.shape}; "
                "take both from the same run"
            )
        return x_control + shift
