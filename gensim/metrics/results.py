"""What an evaluation found: a value or a reason for every condition, row and metric, and averages over conditions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gensim.metrics.catalogue import CATALOGUE, Metric
from gensim.metrics.cell_errors import error_of_average, interval
from gensim.metrics.class_error import ClassError
from gensim.metrics.experimental_error import ExperimentalError
from gensim.metrics.pictures import ConditionPictures
from gensim.metrics.scores import Estimate, mean_with_interval, normalised_score
from gensim.types import Condition, FloatArray

NO_CHANGE, TRAINING_MEAN, GAUSSIAN_MAP = "no_change", "training_mean", "gaussian_map"
MEAN_RESPONSE = "mean_response"
"""The baseline of the challenges; there where a score of theirs is asked for."""
REPLICATE, MODEL = "replicate", "model"
REGRESSIONS: tuple[Literal["nearest", "ridge", "kernel_ridge"], ...] = ("nearest", "ridge", "kernel_ridge")
RANDOM_EMBEDDING, IDEALISED = "random_embedding", "idealised"
BOUNDS = {RANDOM_EMBEDDING: "lower bound", IDEALISED: "upper bound"}
"""Rows that are no prediction anybody could make or should want, and what they are; shown with each."""
ROWS = (NO_CHANGE, TRAINING_MEAN, MEAN_RESPONSE, GAUSSIAN_MAP, *REGRESSIONS, *BOUNDS, REPLICATE, MODEL)
SCORED_ROWS = (TRAINING_MEAN, MEAN_RESPONSE, GAUSSIAN_MAP, *REGRESSIONS, *BOUNDS, MODEL)
"""Rows that an evaluation may have. `REGRESSIONS` are there where conditions are scored that training did not have, and
vectors of perturbations or of contexts tell which others are like them; `BOUNDS` where such conditions are scored."""
REAL = "real"
BOUNDED = ("l2_delta", "l2_ba_ate")
"""Metrics that an experimental error is a bound of: none is known to be better that is nearer than this."""
CLASSIFIED = "deg_macro_f1"
"""The metric that has an experimental error for all conditions together."""
Missing = Literal["no_change"]
"""A row whose cells may stand for those that a prediction lacks."""
TRUTH_CELLS = "truth_cells"
"""In the provenance of an evaluation of files: digest of the names of the real cells that were scored."""
SPACE = "metric_space"
"""In the same place: digest of the genes and principal components that distances were taken in."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric of one row for one condition.

    Args:
        value: average over the repeats; None where it cannot be computed.
        spread: standard deviation over the repeats; None where it was taken in one of them alone.
        reason: why there is no value.
        standard_error: over cells, of the model's row; None where it is not known. See `cell_errors`.
    """

    value: float | None
    spread: float | None = None
    reason: str | None = None
    standard_error: float | None = None


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """Everything about one condition.

    Args:
        condition: which.
        seen: whether training had it; None where that is not known.
        cells: numbers of cells: `truth` and `predicted` as found, `truth_used`, `predicted_used`, `controls_drawn`.
        gammas: kernel widths of MMD; None where they cannot be computed, or where no metric of distributions is asked
            for.
        measurements: by (row, metric key).
        scores: normalised score by (row, metric key), of metrics that are better when lower.
        moments: (G,) mean and (G,) unbiased variance of the `real` and of the `model`'s cells that were used, log1p
            CP10k; empty where either has a single cell. Some are shown; they are too many for a file of numbers.
        pictures: what a page shows of it, if asked for.
        experimental_error: of its real effect, from the cells that are used; None where none of `BOUNDED` is asked for.
        stand_in: the row whose cells stand for those of the model, which has none of this condition; None: it has.
        novelty, novelty_distance: level and distance to what was measured, see `Novelty`; None where that is not known.
    """

    condition: Condition
    seen: bool | None
    cells: Mapping[str, int]
    gammas: tuple[float, ...] | None
    measurements: Mapping[tuple[str, str], Measurement]
    scores: Mapping[tuple[str, str], Estimate]
    moments: Mapping[str, tuple[FloatArray, FloatArray]]
    pictures: ConditionPictures | None = None
    experimental_error: ExperimentalError | None = None
    stand_in: Missing | None = None
    novelty: str | None = None
    novelty_distance: float | None = None


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """Averages (or the one value of a pooled or combined metric) and normalised scores over a group, by (row, key).

    `experimental_error` is the average of those of its conditions, `class_error` the one of `CLASSIFIED`; None where
    they were not taken. `standard_errors` are over cells, of the averages of the model, by metric key.
    """

    name: str
    n_conditions: int
    averages: Mapping[tuple[str, str], Estimate]
    scores: Mapping[tuple[str, str], Estimate]
    experimental_error: Estimate | None = None
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    class_error: ClassError | None = None

    def error_of(self, metric: str) -> Estimate | None:
        """The experimental error that a metric is compared with, by its key."""
        if metric == CLASSIFIED and self.class_error is not None:
            return self.class_error.estimate
        return self.experimental_error if metric in BOUNDED else None

    def over_cells(self, metrics: Iterable[Metric]) -> dict[str, tuple[float, float]]:
        """Intervals over cells of the averages of the model, by key; see `cell_errors.interval`."""
        found = {}
        for metric in metrics:
            average = self.averages.get((MODEL, metric.key))
            if metric.key in self.standard_errors and average is not None and average.value is not None:
                found[metric.key] = interval(average.value, self.standard_errors[metric.key], metric.range)
        return found

    def has(self, seen: bool | None) -> bool:
        """Whether a condition is in it, by whether training had it."""
        return {"seen": seen is True, "unseen": seen is False}.get(self.name, True)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The outcome of `gensim.evaluate.evaluate`.

    Args:
        results: one per scored condition.
        groups: `all`, and `seen` and `unseen` where there are both.
        not_scored: conditions of the truth without a score, with the reason.
        warnings: what was ignored.
        seed, n_repeats, max_cells: as asked.
    """

    results: tuple[ConditionResult, ...]
    groups: tuple[GroupSummary, ...]
    not_scored: tuple[tuple[Condition, str], ...]
    warnings: tuple[str, ...]
    seed: int
    n_repeats: int
    max_cells: int

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those that were asked for, in the order of the catalogue."""
        keys = {key for result in self.results for _, key in result.measurements}
        keys |= {key for group in self.groups for _, key in group.averages}
        return tuple(metric for metric in CATALOGUE if metric.key in keys)

    def group(self, name: str) -> GroupSummary:
        return next(group for group in self.groups if group.name == name)


def summarise(results: Iterable[ConditionResult], seed: int) -> tuple[GroupSummary, ...]:
    """Averages over all conditions, and over seen and unseen ones where there are both."""
    members = {"all": list(results)}
    seen = [r for r in members["all"] if r.seen is True]
    unseen = [r for r in members["all"] if r.seen is False]
    if seen and unseen:
        members |= {"seen": seen, "unseen": unseen}
    return tuple(_summary(name, group, seed) for name, group in members.items())


def _summary(name: str, results: list[ConditionResult], seed: int) -> GroupSummary:
    measured = {place for r in results for place in r.measurements}
    present = [row for row in ROWS if any(name == row for name, _ in measured)]
    averages, scores, standard_errors = {}, {}, {}
    for metric in [metric for metric in CATALOGUE if any(key == metric.key for _, key in measured)]:
        for row in present:
            cells = [r.measurements[row, metric.key] for r in results]
            average = mean_with_interval([m.value for m in cells if m.value is not None], seed)
            if average.n == 0:
                reason = "; ".join(sorted({m.reason for m in cells if m.reason}))
                average = Estimate(None, None, None, 0, reason)
            averages[row, metric.key] = average
            error = error_of_average([m.standard_error for m in cells if m.value is not None])
            if row == MODEL and error is not None:
                standard_errors[metric.key] = error
            if row in SCORED_ROWS and metric.better == "lower":
                u, u_no_change, u_replicate = _together(results, row, metric.key)
                scores[row, metric.key] = normalised_score(u, u_no_change, u_replicate, seed)
    errors = [r.experimental_error for r in results if r.experimental_error is not None]
    of_error = mean_with_interval([e.value for e in errors if e.value is not None], seed) if errors else None
    return GroupSummary(name, len(results), averages, scores, of_error, standard_errors)


def _together(results: list[ConditionResult], row: str, metric: str) -> list[list[float]]:
    """Values of the row, of no change and of the replicate, over the conditions that have all three."""
    columns: list[list[float]] = [[], [], []]
    for result in results:
        values = [result.measurements[name, metric].value for name in (row, NO_CHANGE, REPLICATE)]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            for column, value in zip(columns, known, strict=True):
                column.append(value)
    return columns
