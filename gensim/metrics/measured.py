"""Values of one condition over the repeats of an evaluation, or reasons, while they are being measured."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gensim.errors import NotComputable
from gensim.metrics.cell_errors import half_sampling_error
from gensim.metrics.metric import Metric
from gensim.metrics.results import NO_CHANGE, REPLICATE, SCORED_ROWS, Measurement
from gensim.metrics.scores import Estimate, condition_score

Place = tuple[str, str]
"""Row, and key of the metric."""


class Measured:
    """One value per repeat and place; a reason at a place voids its values."""

    def __init__(self) -> None:
        self.values: dict[Place, list[float]] = {}
        self.reasons: dict[Place, str] = {}
        self.standard_errors: dict[Place, float] = {}

    def take(self, row: str, key: str, function: Callable[..., float], *arguments: Any) -> None:
        """Add what the function returns, or the reason why it has no value."""
        try:
            self.values.setdefault((row, key), []).append(function(*arguments))
        except NotComputable as error:
            self.reasons[row, key] = str(error)

    def measurements(self) -> dict[Place, Measurement]:
        """Averages over the repeats, or reasons."""
        found = {place: Measurement(None, reason=reason) for place, reason in self.reasons.items()}
        for place, repeats in self.values.items():
            if place not in self.reasons:
                spread = float(np.std(repeats)) if len(repeats) > 1 else None
                error = self.standard_errors.get(place)
                found[place] = Measurement(float(np.mean(repeats)), spread, standard_error=error)
        return found

    def half_sample(self, row: str, metrics: Sequence[Metric], n: int) -> None:
        """Standard errors of a row by half-sampling of the `n` real cells (see `cell_errors`)."""
        for metric in metrics:
            error = half_sampling_error(self.values.get((row, metric.key), []), n)
            if error is not None:
                self.standard_errors[row, metric.key] = error

    def scores(self, metrics: Sequence[Metric]) -> dict[Place, Estimate]:
        """Of metrics that are better when lower, where no change minus replicate is clearly positive."""
        scores = {}
        for metric in [metric for metric in metrics if metric.better == "lower"]:
            for row in SCORED_ROWS:
                places = [(name, metric.key) for name in (row, NO_CHANGE, REPLICATE)]
                if not (places[0] in self.values or places[0] in self.reasons):
                    continue
                missing = [f"{place[0]}: {self.reasons[place]}" for place in places if place in self.reasons]
                if metric.repeats == 1:
                    missing = [
                        "taken in one repeat, so whether no change minus replicate is clearly positive is not known"
                    ]
                if missing:
                    scores[row, metric.key] = Estimate(None, None, None, 1, "; ".join(missing))
                else:
                    scores[row, metric.key] = condition_score(*(self.values[place] for place in places))
        return scores
