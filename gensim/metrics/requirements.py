"""What a prediction must reach, for continuous integration: ``energy_distance_pca.normalised>=0.8``."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from gensim.errors import ConfigError, nearest
from gensim.metrics.metric import Metric
from gensim.metrics.results import MODEL, Evaluation
from gensim.metrics.scores import Estimate

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
NUMBERS = ("value", "normalised")
FORM = re.compile(r"\s*(?P<metric>\w+)(?:\.(?P<number>\w+))?\s*(?P<comparison>>=|<=|>|<)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A bound on the average of one metric over all scored conditions.

    Args:
        metric: key in the catalogue. number: its average `value`, or its `normalised` score (0 no change, 1 replicate).
        comparison: one of `COMPARISONS`.
    """

    metric: str
    number: str
    comparison: str
    bound: float

    @classmethod
    def parse(cls, text: str, metrics: Sequence[Metric]) -> Self:
        """From ``metric[.value|.normalised]>=number``.

        Raises:
            ConfigError: not of that form, a metric that is not among `metrics`, or the score of one that has none.
        """
        match = FORM.fullmatch(text)
        bound = None if match is None else _number(match["bound"])
        if match is None or bound is None or (match["number"] or "value") not in NUMBERS:
            raise ConfigError(
                f"--require {text!r} is not of the form metric[.value|.normalised]>=number (or <=, >, <), "
                "e.g. energy_distance_pca.normalised>=0.8"
            )
        known = {metric.key: metric for metric in metrics}
        if match["metric"] not in known:
            raise ConfigError(
                f"--require {text!r}: {match['metric']!r} is not measured{nearest(match['metric'], known)}"
            )
        if match["number"] == "normalised" and known[match["metric"]].better != "lower":
            raise ConfigError(
                f"--require {text!r}: only metrics that are better when lower have a normalised score; bound the value"
            )
        return cls(match["metric"], match["number"] or "value", match["comparison"], bound)

    def unmet(self, evaluation: Evaluation) -> str | None:
        """Why it does not hold; None where it does. What cannot be computed does not hold."""
        group = evaluation.group("all")
        estimates = group.averages if self.number == "value" else group.scores
        missing = Estimate(None, None, None, 0, f"{self.metric} has no {self.number}")
        found = estimates.get((MODEL, self.metric), missing)
        wanted = f"{self.metric}.{self.number} {self.comparison} {self.bound:g}"
        if found.value is None:
            return f"{wanted} is required, and cannot be told: {found.reason}"
        if COMPARISONS[self.comparison](found.value, self.bound):
            return None
        return f"{wanted} is required, and it is {found.value:.4g} over {found.n} conditions"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
