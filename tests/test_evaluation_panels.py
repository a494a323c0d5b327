"""Metrics of several conditions together, in an evaluation."""

import numpy as np
import pytest
from gaussian_screens import (
    CONDITIONS,
    EFFECTS,
    N_GENES,
    PERTURBED,
    gaussian,
    inputs,
)  # fmt: skip

from gensim.evaluate import evaluate
from gensim.metrics.catalogue import choose
from gensim.metrics.report import as_text
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition


def test_metrics_of_panels_stand_beside_the_others():
    prediction = gaussian(27, PERTURBED, n=30)
    asked = choose(["rank", "pds_l1", "l2_delta"])
    evaluation = evaluate(inputs(prediction), n_repeats=2, metrics=asked)
    assert evaluation.metrics == asked
    averages, scores = evaluation.group("all").averages, evaluation.group("all").scores
    # Means of 30 cells lie within about .3 of their own and 1.8 or more from the other four conditions' in 20 genes.
    for row in ("model", "replicate"):
        assert (averages[row, "rank"].value, averages[row, "pds_l1"].value) == (0.0, 1.0)
    # Nearly the same prediction for all, whose positions among five are nearly 0 to 4: mean 1 - 2 / 5.
    assert averages["no_change", "pds_l1"].value == pytest.approx(0.6, abs=0.1)
    assert scores["model", "rank"].value == pytest.approx(1.0)
    (alone,) = evaluate(inputs(prediction, gaussian(26, PERTURBED[:1])), n_repeats=1, metrics=asked).results
    assert "no other of this context" in alone.measurements["model", "rank"].reason
    assert alone.measurements["model", "l2_delta"].value > 0


def test_a_pooled_metric_has_one_value_per_group():
    effects = MeanEffects(CONDITIONS[:2], EFFECTS[:2])
    prediction, truth = gaussian(30, PERTURBED, n=80), gaussian(31, PERTURBED, n=80)
    evaluation = evaluate(inputs(prediction, truth, effects=effects), n_repeats=2, metrics=choose(["deg_macro_f1"]))
    assert [metric.key for metric in evaluation.metrics] == ["deg_macro_f1"]
    for group, n in (("all", 5), ("seen", 2), ("unseen", 3)):
        averages = evaluation.group(group).averages
        assert averages["model", "deg_macro_f1"].value > 0.7
        assert (averages["model", "deg_macro_f1"].n, averages["model", "deg_macro_f1"].low) == (n, None)
        assert averages["no_change", "deg_macro_f1"].value < 0.4
    assert evaluation.group("unseen").averages["training_mean", "deg_macro_f1"].value < 0.6
    assert "deg_macro_f1" in as_text(evaluation)
    few = evaluate(inputs(prediction, gaussian(32, PERTURBED, n=3)), n_repeats=1, metrics=choose(["deg_macro_f1"]))
    averages = few.group("all").averages
    assert "3 cells against" in averages["model", "deg_macro_f1"].reason
    assert averages["replicate", "deg_macro_f1"].value is None


def test_conformal_intervals_of_seen_and_unseen_conditions():
    conditions = [Condition((f"P{i}",)) for i in range(21)]
    shifts = np.random.default_rng(36).normal(0, 0.4, size=(21, N_GENES)).astype(np.float32)
    populations = list(zip(conditions, shifts, strict=True))
    effects = MeanEffects(tuple(conditions[:10]), shifts[:10])
    given = inputs(gaussian(37, populations, n=30), gaussian(38, populations, n=20), effects=effects)
    evaluation = evaluate(given, n_repeats=2, metrics=choose(["conformal_coverage", "conformal_width"]))
    # No two errors are equal, so of 10 seen conditions 9 are within, and of 11 unseen ones ceil(9.9).
    for group, expected in (("seen", 9 / 10), ("unseen", 10 / 11), ("all", 19 / 21)):
        for row in ("no_change", "training_mean", "replicate", "model"):
            found = evaluation.group(group).averages[row, "conformal_coverage"].value
            assert found == pytest.approx(expected), (group, row)
    # The training mean is the very effect of what training had, and says little of the rest.
    seen, unseen = (evaluation.group(name).averages for name in ("seen", "unseen"))
    assert seen["training_mean", "conformal_width"].value < 0.5 * unseen["training_mean", "conformal_width"].value
    assert evaluation.group("all").scores["model", "conformal_width"].value > 0.8
    assert "conformal_coverage →0.9" in as_text(evaluation)
