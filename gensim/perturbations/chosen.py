"""What was chosen to tell of conditions that were not measured, and how well it does."""

from dataclasses import dataclass

from gensim.perturbations.between_contexts import BetweenContexts
from gensim.perturbations.dose_response import DoseResponse
from gensim.perturbations.measured import Likeness, Predictor
from gensim.perturbations.regression import Regression
from gensim.perturbations.vectors import VectorTable


@dataclass(frozen=True, slots=True)
class Judged:
    """A regression, and how it was judged.

    Args:
        unexplained: share of the squared length of left-out effects that it leaves; None where there was too little to
            choose from.
        spaces: of which that share is the average.
    """

    regression: Regression
    unexplained: float | None
    spaces: int = 1

    def in_words(self, of: str) -> str:
        if self.unexplained is None:
            return f"unmeasured {of}: {self.regression}; there are too few to choose by"
        average = ", on average over latents and genes" if self.spaces > 1 else ""
        return (
            f"unmeasured {of}: {self.regression}; it leaves {self.unexplained:.0%} of the effects of left-out {of} "
            f"unexplained{average} (no effect: 100%)"
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A regression over each of them, and a dose response; None where there is nothing to tell one from another.

    Args:
        between: what tells more than the regression over contexts of those where other perturbations were measured;
            None: nothing.
    """

    perturbations: Judged | None
    contexts: Judged | None
    doses: DoseResponse | None
    between: BetweenContexts | None = None

    def likeness(self, perturbations: VectorTable, contexts: VectorTable | None) -> Likeness:
        """With the vectors that were looked at."""
        of_perturbations = of_contexts = None
        if self.perturbations is not None:
            of_perturbations = Predictor(self.perturbations.regression, perturbations)
        if self.contexts is not None and contexts is not None:
            of_contexts = Predictor(self.contexts.regression, contexts)
        between = None if self.between is None else self.between.predictor()
        return Likeness(perturbations=of_perturbations, contexts=of_contexts, doses=self.doses, between=between)

    @property
    def tells(self) -> bool:
        """Whether anything was chosen over perturbations or contexts."""
        return any(
            judged is not None and judged.unexplained is not None for judged in (self.perturbations, self.contexts)
        )

    def in_words(self) -> list[str]:
        named = {"perturbations": self.perturbations, "contexts": self.contexts}
        lines = [judged.in_words(name) for name, judged in named.items() if judged is not None]
        lines += [] if self.between is None else [self.between.in_words()]
        return lines + ([] if self.doses is None else [f"unmeasured doses: {self.doses}"])
