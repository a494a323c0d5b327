"""The catalogue as a whole: keys, presets, and how metrics are asked for."""

import math
from functools import partial

import numpy as np
import pytest

from gensim import jobs
from gensim.cli import main
from gensim.errors import ConfigError
from gensim.metrics import (
    challenge_2026,
    distance_variants,
    distances,
    effects,
    expression_agreement,
    expression_rows,
    manifold,
    marginal_distances,
)
from gensim.metrics.batch_effects import InBatches
from gensim.metrics.catalogue import CATALOGUE, DEFAULT, PRESETS, ConditionMetric, choose, in_words
from gensim.metrics.comparison import Comparison, Side
from gensim.metrics.means_in_batches import MeansInBatches
from gensim.ot import wasserstein

KEYS = [metric.key for metric in CATALOGUE]


def test_keys_are_unique_and_presets_name_them():
    assert len(set(KEYS)) == len(KEYS)
    assert set().union(*PRESETS.values()) == set(KEYS) == set(PRESETS["all"])
    assert not set(PRESETS) & set(KEYS)
    assert [metric.key for metric in DEFAULT] == [key for key in KEYS if key in PRESETS["default"]]


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.key)
def test_a_row_says_what_it_is(metric):
    low, high = metric.range
    assert low <= metric.identical <= high
    best = {"lower": low, "higher": high, "nearest": metric.identical}[metric.better]
    # Of two samples of one population the best value may be out of reach, never the other end.
    assert best == metric.identical or low < metric.identical < high
    assert metric.name
    assert metric.source
    assert metric.key in in_words(metric)


def test_presets_and_keys_are_asked_for_together_in_the_order_of_the_catalogue():
    chosen = [metric.key for metric in choose(["des_wilcoxon", "pds_l1", "energy_distance_pca", "pds_l1"])]
    assert chosen == ["energy_distance_pca", "des_wilcoxon", "pds_l1"]
    assert choose(["all"]) == CATALOGUE
    assert choose(["default", "l2_delta"]) == DEFAULT


def test_unknown_names_are_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"'energy_distance_pc' \(did you mean 'energy_distance_pca'"):
        choose(["energy_distance_pc"])
    with pytest.raises(ConfigError, match="no metric is asked for"):
        choose([])


def test_the_command_lists_every_metric(capsys):
    assert main(["metrics"]) == 0
    listed = capsys.readouterr().out
    for metric in CATALOGUE:
        assert f"\n{metric.key}: " in "\n" + listed
        assert metric.name in listed
    assert math.isinf(CATALOGUE[0].range[1])
    assert "energy_distance_pca: lower is better, 0 to inf, unit log1p CP10k, in PCA" in listed
    assert "variance_ratio: nearest to 1 is better" in listed


def test_the_command_asks_for_presets_and_keys(tmp_path, monkeypatch, capsys):
    asked = []

    def remember(cells, run, *, metrics, **_):
        asked.append([metric.key for metric in metrics])
        return None, tmp_path

    (tmp_path / "report.txt").write_text("the report")
    monkeypatch.setattr(jobs, "evaluate_cells", remember)
    command = ["evaluate", "cells.zarr", "--run", "run"]
    assert main([*command, "--metrics", "vcc2025, rank,"]) == 0
    assert main(command) == 0
    assert asked == [
        ["mae_delta", "des_wilcoxon", "pds_l1", "rank", "vcc2025_score"],
        [metric.key for metric in DEFAULT],
    ]
    assert "the report" in capsys.readouterr().out


def test_a_mistyped_metric_ends_the_command_before_anything_is_read(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "none.zarr"), "--run", str(tmp_path), "--metrics", "energy"]) == 2
    assert "no metric or preset is called 'energy'" in capsys.readouterr().err


def test_every_metric_of_two_equal_populations_is_near_its_stated_value():
    """Each population is a sample of one distribution; the limits are what sampling noise of 200 cells allows."""
    rng = np.random.default_rng(1)
    effect = np.where(np.arange(30) < 15, rng.normal(0, 0.8, 30), 0.0)
    controls = rng.normal(2, 0.4, size=(2, 200, 30)).astype(np.float32)
    cells = (rng.normal(2, 0.4, size=(2, 200, 30)) + effect).astype(np.float32)
    batch_of = np.arange(200) % 2
    sides = [
        Side(
            x, x[:, :5], c.mean(0, dtype=float), c,
            in_batches=InBatches(batch_of, True, partial(MeansInBatches.of, c, batch_of)),
        )
        for x, c in zip(cells, controls, strict=True)
    ]  # fmt: skip
    comparison = Comparison(*sides, 3.0, 0, training_centroid=np.full(30, 2.0))
    # Noise adds to these, more than to the others: 5 dimensions, and 30 genes at once.
    allowed = {"wasserstein1_pca": 0.6, "wasserstein2_pca": 0.6, "l2_delta": 0.3, "l2_ba_ate": 0.4}
    for metric in [metric for metric in CATALOGUE if isinstance(metric, ConditionMetric)]:
        value = metric.function(comparison)
        assert metric.range[0] - 0.05 <= value <= metric.range[1], metric.key
        assert value == pytest.approx(metric.identical, abs=allowed.get(metric.key, 0.15)), metric.key


def unequal_sides():
    """60 real and 50 predicted cells of 30 genes in two batches, of which 20 genes respond, but not alike."""
    rng = np.random.default_rng(2)
    sides = []
    for n, shift, spread in ((60, 0.5, 0.4), (50, 0.3, 0.6)):
        controls = rng.gamma(4, 0.5, size=(40, 30)).astype(np.float32)
        x = rng.gamma(4, 0.5 * spread / 0.4, size=(n, 30)).astype(np.float32)
        x[:, :20] += shift * rng.normal(size=20).astype(np.float32) * 3
        x = np.maximum(x, 0)
        in_batches = InBatches(np.arange(n) // 35, False, partial(MeansInBatches.of, controls, np.arange(40) // 30))
        sides.append(Side(x, x[:, 10:16], controls.mean(0, dtype=float), controls, in_batches=in_batches))
    return sides


def test_rows_hold_the_functions_that_they_name():
    r, p = unequal_sides()
    pca, genes, scores = (r.in_pca, p.in_pca), (r.in_genes, p.in_genes), (r.scores, p.scores)
    means, deltas, top = (r.mean, p.mean), (r.delta, p.delta), r.differential_expression.top(20)
    tables, tables_2026 = (
        tuple(getattr(side, name) for side in (r, p)) for name in ("differential_expression", "tested_2026")
    )
    targets = np.array([1])
    expected = {
        "energy_distance_pca": distances.energy_distance(*pca),
        "energy_distance_genes": distances.energy_distance(*genes),
        "mmd2_rbf_pca": distances.mmd2_rbf(*pca, sigma2=3.0).value,
        "energy_biased_pca": distance_variants.energy_biased(*pca),
        "energy_sqrt_pca": distance_variants.energy_sqrt(*pca),
        "energy_sq_pca": distance_variants.energy_squared(*pca),
        "energy_sq_biased_pca": distance_variants.energy_squared_biased(*pca),
        "mmd2_cellot_pca": distance_variants.mmd2_cellot(*pca),
        "mmd2_linear_pca": distance_variants.mmd2_linear(*pca),
        "wasserstein1_pca": wasserstein.wasserstein(*scores, 1),
        "wasserstein2_pca": wasserstein.wasserstein(*scores, 2),
        "sinkhorn_div_pca": wasserstein.sinkhorn_divergence(*scores, 0.3),
        "wasserstein1_per_gene": marginal_distances.mean_wasserstein1(r.x, p.x),
        "ks_per_gene": marginal_distances.mean_kolmogorov_smirnov(r.x, p.x),
        "precision_pca": manifold.precision(*scores),
        "recall_pca": manifold.recall(*scores),
        "density_pca": manifold.density(*scores),
        "coverage_pca": manifold.coverage(*scores),
        "l2_delta": effects.l2_delta(*means),
        "l2_ba_ate": effects.l2_delta(r.delta_over_batches, p.delta_over_batches),
        "mse_delta": effects.mse_delta(*means),
        "mae_delta": effects.mae_delta(*means),
        "pearson_delta": effects.pearson_delta(*deltas),
        "spearman_delta": effects.spearman_delta(*deltas),
        "r2_delta": effects.r2_delta(*deltas),
        "pearson2_delta": effects.pearson_squared_delta(*deltas),
        "l2_delta_top20": effects.l2_delta(r.mean[top], p.mean[top]),
        "mse_delta_top20": effects.mse_delta(r.mean[top], p.mean[top]),
        "de_recall": expression_agreement.significant_recall(*tables),
        "de_direction_match": expression_agreement.direction_match(*tables),
        "de_spearman_lfc": expression_agreement.spearman_fold_changes(*tables),
        "auprc_lfc": expression_agreement.auprc_of_fold_changes(*tables),
        "auprc_fdr": expression_agreement.auprc_of_rates(*tables),
        "precision_at_recall25": expression_agreement.precision_at_recall(*tables, 0.25),
        "precision_at_recall75": expression_agreement.precision_at_recall(*tables, 0.75),
        "direction_fidelity": challenge_2026.direction_fidelity(*tables_2026, targets),
        "direction_reach": challenge_2026.direction_reach(*tables_2026, targets),
        "de_jaccard": challenge_2026.significant_jaccard(*tables_2026, targets),
        "lfc_nmae": challenge_2026.fold_change_nmae(*tables_2026, targets),
    }
    comparison = Comparison(r, p, 3.0, 0, targets)
    found = {metric.key: metric.function(comparison) for metric in choose(expected)}
    assert found == pytest.approx(expected)
    same = [sorted(v) for v in zip(found, list(found)[1:], strict=False) if found[v[0]] == found[v[1]]]
    assert not same, "neighbours in the catalogue are told apart by these cells"


def test_metrics_of_tests_are_taken_in_two_repeats_but_for_those_of_2026():
    repeats = {metric.key: metric.repeats for metric in expression_rows.EXPRESSION}
    assert {key for key, n in repeats.items() if n is None} == set(PRESETS["vcc2026"]) & set(repeats)
    assert set(repeats.values()) == {None, expression_rows.TESTED_REPEATS}
