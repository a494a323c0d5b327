"""Standard errors over cells of the values of one condition: how they would move with other cells of the same kind."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.metrics.metric import ConditionMetric
from gensim.seeding import numpy_generator
from gensim.types import FloatArray, IntArray

RESAMPLES = 100
NORMAL_95 = 1.96
FEWEST_CELLS = 10
"""Of a side, below which a bootstrap of it says little."""
BOOTSTRAP, HALF_SAMPLING = "bootstrap", "half-sampling"
EXPLANATION = {
    BOOTSTRAP: (
        f"real and simulated cells of a condition drawn {RESAMPLES} times with replacement, controls staying as they "
        "are; of effects, which depend on cells by their means alone"
    ),
    HALF_SAMPLING: (
        "the spread over the repeats, each of which compares with another half of the real cells, simulated cells "
        "staying as they are; drawing with replacement would repeat cells, and pairs at distance 0 would bias "
        "distances within a population and show a classifier the same cell in training and in test; a rough one, of "
        "as many numbers as repeats"
    ),
}

Vector = NDArray[np.float64]


def kind_of(metric: object) -> str | None:
    """How the standard error of a metric is made; None for those of several conditions together."""
    if not isinstance(metric, ConditionMetric):
        return None
    return HALF_SAMPLING if metric.of_means is None else BOOTSTRAP


def half_sampling_error(values: Sequence[float], n: int) -> float | None:
    """sqrt( s² h / (n - h) ),  s² the variance of values that each rest on another half, h of n cells rounded up

    Of a value that is linear in the cells, halves scatter around the value of all by sigma²/h (1 - h/n), and the value
    of all by sigma²/n around the truth.

    Returns:
        None for fewer than 2 values, or where all of fewer than 4 cells were used each time.

    Source: McCarthy 1969, Pseudo-replication: half samples.
    """
    h = -(-n // 2)
    if len(values) < 2 or n < 4:
        return None
    return float(np.std(values, ddof=1) * np.sqrt(h / (n - h)))


def bootstrap_errors(
    real: FloatArray,
    predicted: FloatArray,
    compared: Sequence[tuple[IntArray, Vector | None]],
    predicted_control_mean: Vector | None,
    metrics: Sequence[ConditionMetric],
    seed: int,
) -> dict[str, float]:
    """Standard deviation of the average over the repeats, over 100 bootstrap samples of the cells of both sides.

    A cell has the same weight in all halves of a sample that hold it; a sample that leaves a half without cells is left
    out.

    Args:
        real: (n, G) real cells. predicted: (m, G).
        compared: for each repeat the rows of the real cells, and the (G,) control mean of their effect; None where
            there are too few controls.
        predicted_control_mean: (G,) that the predicted effect is taken against.
        metrics: those that have `of_means`.
        seed: of the draws.

    Returns:
        By the key of the metric; without those that some sample has no value of, and empty for fewer than 10 cells.
    """
    if not metrics or min(len(real), len(predicted)) < FEWEST_CELLS:
        return {}
    generator = numpy_generator(seed, "cells")
    n, m = len(real), len(predicted)
    weights = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float32)
    weights = weights[np.all([weights[:, rows].any(axis=1) for rows, _ in compared], axis=0)]
    of_predicted = generator.multinomial(m, np.full(m, 1 / m), size=len(weights)).astype(np.float32)
    guesses = (of_predicted @ predicted).astype(np.float64) / m
    values: dict[str, list[Vector]] = {metric.key: [] for metric in metrics}
    for rows, control_mean in compared:
        of_half = weights[:, rows]
        means = (of_half @ real[rows]).astype(np.float64) / of_half.sum(axis=1, keepdims=True)
        for metric in metrics:
            found = _values(metric, means, guesses, control_mean, predicted_control_mean)
            values[metric.key].append(found)
    averages = {key: np.mean(found, axis=0) for key, found in values.items()}
    return {key: float(np.std(a, ddof=1)) for key, a in averages.items() if np.isfinite(a).all()}


def error_of_average(errors: Sequence[float | None]) -> float | None:
    """sqrt(sum_k e_k²) / K, of an average over K conditions with cells of their own; None where one has none.

    Conditions share control cells, whose noise is not in here.
    """
    known = [error for error in errors if error is not None]
    return None if not known or len(known) < len(errors) else float(np.sqrt(np.square(known).sum()) / len(known))


def interval(value: float, error: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """value ± 1.96 standard errors, which holds 0.95 of a normal distribution; no further beyond the bounds than value.

    Not the percentiles of the bootstrap: what is drawn with replacement is noisier than the cells themselves, so that
    distances between samples are all larger than the value.
    """
    low, high = value - NORMAL_95 * error, value + NORMAL_95 * error
    return max(low, min(value, bounds[0])), min(high, max(value, bounds[1]))


def in_words(intervals: Mapping[str, tuple[float, float]], kinds: Mapping[str, str | None]) -> list[str]:
    """A line per kind of standard error."""
    lines = []
    for kind, explanation in EXPLANATION.items():
        found = [f"{key} [{low:.3g}, {high:.3g}]" for key, (low, high) in intervals.items() if kinds[key] == kind]
        if found:
            lines.append(f"by {kind} ({explanation}): {', '.join(found)}")
    return lines


def _values(
    metric: ConditionMetric,
    means: Vector,
    guesses: Vector,
    control_mean: Vector | None,
    guess_mean: Vector | None,
) -> Vector:
    """(B,) of each bootstrap sample; NaN where it has none."""
    found = np.full(len(means), np.nan)
    if metric.of_means is None or (metric.against_controls and (control_mean is None or guess_mean is None)):
        return found
    for b, (mean, guess) in enumerate(zip(means, guesses, strict=True)):
        try:
            if metric.against_controls:
                found[b] = metric.of_means(mean - control_mean, guess - guess_mean)
            else:
                found[b] = metric.of_means(mean, guess)
        except NotComputable:
            return found
    return found
