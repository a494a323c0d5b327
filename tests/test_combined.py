"""Total scores of the challenges: by hand, what counts as the worst, and why there may be no score or no interval."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from gensim.baselines.mean_response import mean_response
from gensim.metrics.catalogue import CATALOGUE, PRESETS, CombinedMetric, choose
from gensim.metrics.combination import with_combined
from gensim.metrics.combined import Component
from gensim.metrics.results import ConditionResult, GroupSummary, Measurement, summarise
from gensim.metrics.scores import Estimate, mean_with_interval, resampled_means
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition

BY_KEY = {metric.key: metric for metric in CATALOGUE}
OF_2025 = ("mae_delta", "pds_l1", "des_wilcoxon")
RATIO = "mse_ratio_2026"
OF_2026 = ("pds_cosine_2026", "direction_fidelity", "direction_reach", "de_jaccard", "lfc_nmae")
VALUES_2025 = {
    "no_change": [(0.5, 0.5), (0.5, 0.5), (0.0, 0.0)],
    "mean_response": [(0.3, 0.5), (0.5, 0.5), (0.2, 0.2)],
    "replicate": [(0.1, 0.1), (1.0, 1.0), (0.7, 0.9)],
    "model": [(0.1, 0.1), (1.0, 0.6), (0.1, 0.1)],
}
VALUES_2026 = {
    "no_change": [(None, None)] * 5,
    "mean_response": [(0.5, 0.5), (0.4, 0.6), (0.1, 0.1), (0.0, 0.2), (1.0, 1.0)],
    "replicate": [(0.9, 1.0), (0.8, 0.8), (0.9, 0.9), (0.3, 0.5), (0.5, 0.5)],
    "model": [(0.6, 0.8), (0.5, 0.3), (0.9, 0.9), (0.7, 0.7), (4.0, 6.0)],
}

RATIOS = {"no_change": 1.1, "mean_response": 1.0, "replicate": 0.1, "model": 0.55}
"""Of all conditions together."""


def results_of(values, keys, seen=(None, None)):
    """Two conditions with a pair of values by row and metric; None has the reason "no cell"."""
    results = []
    for k in range(2):
        measurements = {
            (row, key): Measurement(pair[k], reason="no cell" if pair[k] is None else None)
            for row, pairs in values.items()
            for key, pair in zip(keys, pairs, strict=True)
        }
        results.append(ConditionResult(Condition((f"P{k}",)), seen[k], {}, None, measurements, {}, {}))
    return results


def scores(key, values, keys, ratios=RATIOS, **options):
    results = results_of(values, keys, **options)
    metrics = [BY_KEY[k] for k in (*keys, key)]
    together = {(row, RATIO): Estimate(ratio, None, None, 2, "no count") for row, ratio in ratios.items()}
    groups = [replace(group, averages={**group.averages, **together}) for group in summarise(results, 0)]
    groups = with_combined(groups, results, metrics, 0)
    return {group.name: {row: e for (row, k), e in group.averages.items() if k == key} for group in groups}


def test_score_of_2025_by_hand():
    found = scores("vcc2025_score", VALUES_2025, OF_2025)["all"]
    # Averages .1 of .4, .8 of .5 and .1 of .2: 1 - .1 / .4 = .75, .3 / .5 = .6, and 0 for what is below the baseline.
    assert found["model"].value == pytest.approx((0.75 + 0.6 + 0.0) / 3)
    # .1 of .4, 1 of .5 and .8 of .2: .75, 1, .75.
    assert found["replicate"].value == pytest.approx((0.75 + 1.0 + 0.75) / 3)
    assert found["mean_response"].value == 0.0
    assert found["no_change"].value == 0.0, "worse than the baseline twice, and equal once"
    assert (found["model"].n, found["model"].reason) == (2, None)


def test_score_of_2026_by_hand():
    found = scores("vcc2026_score", VALUES_2026, OF_2026)["all"]
    # Averages .7 between .5 and .95, .4 between .5 and .8, .9 between .1 and .9, .7 between .1 and .4, 5 past 1 to .5,
    # and .55 halfway from 1 to .1.
    expected = [0.2 / 0.45, -0.1 / 0.3, 1.0, 0.6 / 0.3, max(-6, -4 / 0.5), 0.5]
    assert expected[4] == -6
    assert found["model"].value == pytest.approx(np.mean(expected))
    assert found["mean_response"].value == pytest.approx(0.0)
    assert found["replicate"].value == pytest.approx(1.0)
    assert found["model"].reason == "no interval: mse_ratio_2026 has one value for all conditions together"
    # The ratio counts from 0 to 1 whatever it is.
    for ratio, part in ((1.9, 0.0), (-0.3, 1.0)):
        found = scores("vcc2026_score", VALUES_2026, OF_2026, ratios=RATIOS | {"model": ratio})["all"]
        assert found["model"].value == pytest.approx(np.mean([*expected[:5], part]))


def test_groups_have_scores_of_their_own_averages():
    found = scores("vcc2025_score", VALUES_2025, OF_2025, seen=(True, False))
    assert list(found) == ["all", "seen", "unseen"]
    assert found["seen"]["model"].value == pytest.approx((1 - 0.1 / 0.3 + 1.0 + 0.0) / 3)
    assert found["unseen"]["model"].value == pytest.approx((1 - 0.1 / 0.5 + 0.2 + 0.0) / 3)
    assert [found[name]["model"].n for name in found] == [2, 1, 1]
    alone = found["unseen"]["model"]
    assert (alone.low, alone.high, alone.reason) == (None, None, "one condition has no interval over conditions")


def test_what_a_row_lacks_counts_as_the_worst_and_is_told():
    missing = VALUES_2025 | {"model": [(0.1, 0.1), (1.0, 0.6), (None, None)]}
    found = scores("vcc2025_score", missing, OF_2025)["all"]["model"]
    assert found.value == pytest.approx((0.75 + 0.6) / 3)
    assert "no value of des_wilcoxon, which counts as the worst" in found.reason
    for k, worst in ((0, (0 - 0.5) / 0.45), (2, (0 - 0.1) / 0.8), (4, -6.0)):
        model = list(VALUES_2026["mean_response"])
        model[k] = (None, None)
        ratios = RATIOS | {"model": None}
        found = scores("vcc2026_score", VALUES_2026 | {"model": model}, OF_2026, ratios=ratios)["all"]["model"]
        assert found.value == pytest.approx(worst / 6)
    # One condition without a value leaves the average over the other, as in the challenges.
    partly = VALUES_2025 | {"model": [(0.1, 0.1), (1.0, 0.6), (None, 0.6)]}
    found = scores("vcc2025_score", partly, OF_2025)["all"]["model"]
    assert found.value == pytest.approx((0.75 + 0.6 + 0.5) / 3)


def test_no_score_without_a_scale():
    without = {row: pairs for row, pairs in VALUES_2025.items() if row != "mean_response"}
    found = scores("vcc2025_score", without, OF_2025)["all"]["model"]
    assert (found.value, found.n) == (None, 0)
    assert "--run or --train" in found.reason
    lacking = VALUES_2025 | {"mean_response": [(0.3, 0.5), (None, None), (0.2, 0.2)]}
    assert scores("vcc2025_score", lacking, OF_2025)["all"]["model"].reason == "mean_response: pds_l1: no cell"
    nothing = VALUES_2025 | {"model": [(None, None)] * 3}
    found = scores("vcc2025_score", nothing, OF_2025)["all"]["model"]
    assert found.reason == "model: mae_delta, pds_l1, des_wilcoxon: no cell"
    few = VALUES_2026 | {"replicate": [(None, None)] * 5}
    assert (
        "replicate: pds_cosine_2026, direction_fidelity, "
        in scores("vcc2026_score", few, OF_2026)["all"]["model"].reason
    )
    weak = VALUES_2026 | {"replicate": [(0.9, 1.0), (0.4, 0.6), (0.9, 0.9), (0.3, 0.5), (1.5, 1.0)]}
    found = scores("vcc2026_score", weak, OF_2026)["all"]["model"]
    assert found.value is None
    assert found.reason == "the replicate is no better than mean_response by direction_fidelity, lfc_nmae: no scale"
    logarithms = dict.fromkeys(RATIOS)
    found = scores("vcc2026_score", VALUES_2026, OF_2026, ratios=logarithms)["all"]["model"]
    assert found.reason == "mean_response: mse_ratio_2026: no count; replicate: mse_ratio_2026: no count"
    short = {row: pairs[:2] for row, pairs in VALUES_2025.items()}
    assert "not measured: des_wilcoxon" in scores("vcc2025_score", short, OF_2025[:2])["all"]["model"].reason


def test_a_baseline_without_an_error_is_not_beaten():
    """As in the challenge, where 0 / 0 counts as 0."""
    perfect = VALUES_2025 | {"mean_response": [(0.4, 0.4), (1.0, 1.0), (0.2, 0.2)]}
    found = scores("vcc2025_score", perfect, OF_2025)["all"]
    assert found["replicate"].value == pytest.approx((0.75 + 0.0 + 0.75) / 3)
    assert found["replicate"].reason == "no interval: 100.0% of resamples have no scale"


def test_an_interval_needs_a_scale_in_every_resample():
    partly = VALUES_2025 | {"mean_response": [(0.3, 0.5), (1.0, 0.5), (0.2, 0.2)]}
    found = scores("vcc2025_score", partly, OF_2025)["all"]["model"]
    assert found.value == pytest.approx((0.75 + (0.8 - 0.75) / 0.25 + 0.0) / 3)
    assert (found.low, found.high) == (None, None)
    # A resample of two has the first condition, whose baseline is perfect, twice with probability 1 / 4.
    share = float(re.fullmatch(r"no interval: (.*)% of resamples have no scale", found.reason)[1])
    assert share == pytest.approx(25, abs=4)


def test_interval_is_that_of_plain_loops():
    rng = np.random.default_rng(0)
    values = rng.uniform(0.2, 0.8, size=(40, 6))
    values[3, 0] = values[5, 4] = np.nan
    rows, keys = ("mean_response", "model"), OF_2025
    results = []
    for k, line in enumerate(values):
        places = zip([(row, key) for key in keys for row in rows], line.tolist(), strict=True)
        measured = {(row, key): Measurement(None) for row in ("no_change", "replicate") for key in keys}
        measured |= {place: Measurement(None if math.isnan(v) else v) for place, v in places}
        results.append(ConditionResult(Condition((f"P{k}",)), None, {}, None, measured, {}, {}))
    (group,) = with_combined(summarise(results, 7), results, [BY_KEY[k] for k in (*keys, "vcc2025_score")], 7)
    found = group.averages["model", "vcc2025_score"]
    means = resampled_means(values, 7)
    looped = []
    for b_mae, mae, b_pds, pds, b_des, des in means:
        parts = (1 - mae / b_mae, (pds - b_pds) / (1 - b_pds), (des - b_des) / (1 - b_des))
        looped.append(np.mean(np.maximum(parts, 0)))
    assert (found.low, found.high) == pytest.approx(np.quantile(looped, [0.025, 0.975]))
    assert found.low < found.value < found.high
    assert group.averages["mean_response", "vcc2025_score"].high == 0.0


def test_resampled_means_are_over_what_is_there():
    values = np.array([[1.0, np.nan], [2.0, 5.0], [4.0, np.nan]])
    means = resampled_means(values, 3)
    assert means.shape == (2000, 2)
    assert set(means[:, 1][~np.isnan(means[:, 1])]) == {5.0}
    # A sample lacks the one condition with a value with probability (2 / 3)^3.
    assert np.isnan(means[:, 1]).mean() == pytest.approx(8 / 27, abs=0.04)
    estimate = mean_with_interval(values[:, 0], 3)
    assert np.quantile(means[:, 0], [0.025, 0.975]) == pytest.approx((estimate.low, estimate.high))


def test_no_interval_of_what_has_one_value():
    score = replace(BY_KEY["vcc2026_score"], of=(Component(BY_KEY["deg_macro_f1"], worst=0.0),))
    averages = {(row, "deg_macro_f1"): Estimate(u, None, None, 2) for row, u in
                (("mean_response", 0.2), ("replicate", 0.6), ("model", 0.5))}  # fmt: skip
    (group,) = with_combined([GroupSummary("all", 2, averages, {})], [], [score], 0)
    found = group.averages["model", "vcc2026_score"]
    assert found.value == pytest.approx(0.75)
    assert found.low is None
    assert "deg_macro_f1 has one value for all conditions" in found.reason


def test_scores_are_asked_for_with_what_they_are_made_of():
    for key, of in (("vcc2025_score", OF_2025), ("vcc2026_score", (*OF_2026, RATIO))):
        chosen = choose([key])
        assert {metric.key for metric in chosen} == {*of, key}
        assert chosen == choose([key.removesuffix("_score")])
        assert isinstance(chosen[-1], CombinedMetric)
        assert {component.metric.key for component in chosen[-1].of} == set(of)
        assert all(component.metric.better != "nearest" for component in chosen[-1].of)
    assert "vcc2025_score" not in PRESETS["default"]


def test_mean_response_is_the_average_of_its_context_for_every_condition():
    in_a, in_b = (("line", "A"),), (("line", "B"),)
    trained = (Condition(("P",), in_a), Condition(("Q",), in_a), Condition(("P",), in_b))
    effects = MeanEffects(trained, np.array([[0.0], [0.0], [0.0]], np.float32), np.array([[1.0], [3.0], [8.0]]))
    asked = [
        Condition(("P",), in_a),
        Condition(("new",), in_a),
        Condition(("P",), in_b),
        Condition(("P",)),
        Condition(()),
    ]
    response = mean_response(effects, asked)
    assert [response.shift(condition).tolist() for condition in asked] == [[2.0], [2.0], [8.0], [4.0], [0.0]]
