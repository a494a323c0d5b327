"""Evaluation of Gaussian populations whose scores are known beforehand."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_screens import (
    CONDITIONS,
    CONTROL,
    CONTROLS,
    EFFECTS,
    ENERGIES,
    GENES,
    N_GENES,
    PERTURBED,
    SPACE,
    TRUTH,
    gaussian,
    inputs,
)  # fmt: skip
from scipy.spatial.distance import cdist, pdist

from gensim.data.cell_source import ArrayCells
from gensim.evaluate import evaluate
from gensim.metrics import comparison
from gensim.metrics.catalogue import DEFAULT, choose
from gensim.metrics.pairs import Sample
from gensim.metrics.report import as_csv, as_json, as_text
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition


@pytest.fixture(autouse=True, scope="module")
def quick():
    """One thread, as matrices this small only lose by being shared among several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def of_truth():
    """The model draws from the true populations, and two conditions were seen, with their exact effects."""
    effects = MeanEffects(CONDITIONS[:2], EFFECTS[:2])
    return evaluate(inputs(gaussian(4, PERTURBED, n=30), effects=effects))


def test_model_that_is_the_truth_scores_one(of_truth):
    scores = of_truth.group("all").scores
    for metric in ENERGIES:
        assert scores["model", metric].value == pytest.approx(1.0, abs=0.05)
    # The model has as many cells as the replicate, so its mean has the same noise.
    assert scores["model", "l2_delta"].value == pytest.approx(1.0, abs=0.05)
    averages = of_truth.group("all").averages
    assert averages["model", "pearson_delta"].value > 0.95
    assert averages["replicate", "pearson_delta"].value > 0.95


def test_exact_training_mean_scores_one_where_seen_and_not_where_unseen(of_truth):
    seen, unseen = of_truth.group("seen"), of_truth.group("unseen")
    assert (seen.n_conditions, unseen.n_conditions) == (2, 3)
    for metric in ENERGIES:
        assert seen.scores["training_mean", metric].value == pytest.approx(1.0, abs=0.05)
        assert unseen.scores["training_mean", metric].value < 0.6
    # Its effect is its shift exactly, against a reference with noise only.
    assert seen.averages["training_mean", "pearson_delta"].value > 0.98


def test_model_that_is_the_control_scores_zero():
    prediction = gaussian(5, [(condition, 0.0) for condition in CONDITIONS], n=30)
    evaluation = evaluate(inputs(prediction))
    scores = evaluation.group("all").scores
    assert {row for row, _ in scores} == {"model"}
    for metric in (*ENERGIES, "l2_delta", "c2st_auc_logistic"):
        assert scores["model", metric].value == pytest.approx(0.0, abs=0.05), metric
    # No cell has a zero, so no row is nearer than another.
    assert "no effect to score" in scores["model", "zero_fraction_error"].reason
    assert [group.name for group in evaluation.groups] == ["all"]
    assert all(result.seen is None for result in evaluation.results)


def test_no_change_has_no_correlation_and_says_so(of_truth):
    estimate = of_truth.group("all").averages["no_change", "pearson_delta"]
    assert (estimate.value, estimate.n) == (None, 0)
    assert "predicted effect is 0" in estimate.reason


def test_values_without_halves_equal_an_oracle():
    truth = gaussian(6, PERTURBED[:1], n=3)
    prediction = gaussian(7, PERTURBED[:1], n=10)
    (result,) = evaluate(inputs(prediction, truth)).results
    x, y = np.float64(truth.x), np.float64(prediction.x)
    expected = 2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean()
    assert result.measurements["model", "energy_distance_genes"].value == pytest.approx(expected, rel=1e-9)
    x, y = np.float64(SPACE.project(truth.x)), np.float64(SPACE.project(prediction.x))
    expected = 2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean()
    assert result.measurements["model", "energy_distance_pca"].value == pytest.approx(expected, rel=1e-9)
    gammas = 1 / (2 * np.median(pdist(x, "sqeuclidean")) * np.array([0.5, 1, 2]))
    assert result.gammas == pytest.approx(gammas, rel=1e-9)
    l2 = np.linalg.norm(truth.x.mean(0, dtype=float) - prediction.x.mean(0, dtype=float))
    assert result.measurements["model", "l2_delta"].value == pytest.approx(l2, rel=1e-9)
    replicate = result.measurements["replicate", "energy_distance_pca"]
    assert replicate.value is None
    assert replicate.reason == "the condition has 3 real cells; a replicate needs at least 4"
    assert "replicate: the condition has 3 real cells" in result.scores["model", "l2_delta"].reason


def test_what_means_do_not_show_equals_an_oracle():
    truth, prediction = gaussian(23, PERTURBED[:1], n=3), gaussian(24, PERTURBED[:1], n=10)
    prediction.x[:4, 5] = 0
    (result,) = evaluate(inputs(prediction, truth)).results
    found = {metric.key: result.measurements["model", metric.key] for metric in DEFAULT}
    x, y = np.float64(truth.x), np.float64(prediction.x)
    expected = np.median(y.var(0, ddof=1) / x.var(0, ddof=1))
    assert found["variance_ratio"].value == pytest.approx(expected, rel=1e-9)
    assert found["zero_fraction_error"].value == pytest.approx(0.4 / N_GENES, rel=1e-12)
    difference = np.corrcoef(y, rowvar=False) - np.corrcoef(x, rowvar=False)
    assert found["correlation_error"].value == pytest.approx(np.linalg.norm(difference) / N_GENES, rel=1e-9)
    for metric in ("c2st_auc_logistic", "c2st_auc_forest"):
        assert "3 real and 10 predicted cells" in found[metric].reason
    for name, cells in (("real", x), ("model", y)):
        mean, variance = result.moments[name]
        np.testing.assert_allclose(mean, cells.mean(0), rtol=1e-6)
        np.testing.assert_allclose(variance, cells.var(0, ddof=1), rtol=1e-6)


def test_model_that_is_the_truth_has_its_spread_and_genes_and_cannot_be_told(of_truth):
    averages = of_truth.group("all").averages
    # The median over 20 genes of ratios of 30 cells to 30, over 5 conditions: a standard error of about 0.04.
    for row in ("model", "replicate", "no_change"):
        assert averages[row, "variance_ratio"].value == pytest.approx(1.0, abs=0.15)
    # 30 against 30 cells, 5 repeats of 5 conditions: one such area has a standard error of 0.075.
    for row in ("model", "replicate"):
        assert averages[row, "c2st_auc_logistic"].value == pytest.approx(0.5, abs=0.1)
        assert averages[row, "des_wilcoxon"].value > 0.8
    assert averages["no_change", "c2st_auc_logistic"].value > 0.9
    assert averages["no_change", "des_wilcoxon"].value == 0.0


def test_a_metric_of_the_first_repeat_has_neither_spread_nor_scores_of_conditions(of_truth):
    for result in of_truth.results:
        assert result.measurements["model", "c2st_auc_logistic"].spread > 0
        forest = result.measurements["model", "c2st_auc_forest"]
        assert 0 <= forest.value <= 1
        assert forest.spread is None
        assert result.scores["model", "c2st_auc_forest"].value is None
        assert "one repeat" in result.scores["model", "c2st_auc_forest"].reason
    assert of_truth.group("all").scores["model", "c2st_auc_forest"].value is not None


def test_differential_expression_is_tested_once_per_population_against_controls_of_its_own(monkeypatch):
    tested = []

    def remember(x, controls):
        tested.append(({cell.tobytes() for cell in x}, {cell.tobytes() for cell in controls}))
        return test(x, controls)

    test = comparison.rank_sum_p
    monkeypatch.setattr(comparison, "rank_sum_p", remember)
    prediction = gaussian(25, PERTURBED[:1], n=30)
    effects = MeanEffects(CONDITIONS[:1], EFFECTS[:1])
    evaluate(inputs(prediction, gaussian(26, PERTURBED[:1]), effects=effects), n_repeats=2, max_cells=40)
    # Training mean and model once; reference and replicate in each of two repeats.
    assert len(tested) == 2 + 2 * 2, "no change, which is the controls it would be tested against, is not"
    of_model = [controls for x, controls in tested if x == {cell.tobytes() for cell in prediction.x}]
    (whole,) = of_model
    assert len(whole) == 40, "200 controls, of which at most max_cells are held"
    (drawn,) = [controls for _, controls in tested if len(controls) == 30]
    assert len(drawn - whole) > 0, "the training mean is tested against the controls that it moved"
    halves = [controls for _, controls in tested if len(controls) == 20]
    assert len(halves) == 4
    assert all(half < whole for half in halves)
    pairs = [(a, b) for i, a in enumerate(halves) for b in halves[i + 1 :] if not a & b]
    assert len(pairs) == 2, "reference and replicate of a repeat share no control"


def test_means_within_are_computed_once_per_population(monkeypatch):
    measured = []

    def remember(self, function):
        measured.append(self)
        return of_pairs(self, function)

    of_pairs = Sample._sum_above_diagonal
    monkeypatch.setattr(Sample, "_sum_above_diagonal", remember)
    effects = MeanEffects(CONDITIONS[:1], EFFECTS[:1])
    prediction, truth = gaussian(25, PERTURBED[:1], n=30), gaussian(26, PERTURBED[:1])
    evaluate(inputs(prediction, truth, effects=effects), n_repeats=3, metrics=choose(["energy_distance_pca"]))
    # No change, training mean and model once; reference and replicate in each of three repeats.
    assert len(measured) == 3 + 2 * 3


def test_the_model_has_standard_errors_over_cells(of_truth):
    for result in of_truth.results:
        found = {key: m for (row, key), m in result.measurements.items() if row == "model"}
        # Of halves: the spread of 5 repeats, unbiased; 60 cells fall into two halves of 30.
        distance = found["energy_distance_pca"]
        assert distance.standard_error == pytest.approx(distance.spread * np.sqrt(5 / 4))
        assert found["c2st_auc_forest"].standard_error is None, "of one repeat"
        assert 0 < found["l2_delta"].standard_error < found["l2_delta"].value
        assert all(m.standard_error is None for (row, _), m in result.measurements.items() if row != "model")
    group = of_truth.group("all")
    errors = [r.measurements["model", "l2_delta"].standard_error for r in of_truth.results]
    assert group.standard_errors["l2_delta"] == pytest.approx(np.linalg.norm(errors) / 5)
    text = " ".join(as_text(of_truth).split())
    said = "all: 95% intervals over cells of the model's averages, ± 1.96 standard errors by"
    assert f"{said} bootstrap (real and simulated cells" in text
    assert f"{said} half-sampling (the spread over the repeats" in text
    average, error = group.averages["model", "l2_delta"].value, group.standard_errors["l2_delta"]
    ends = [average - 1.96 * error, average + 1.96 * error]
    assert f"l2_delta [{ends[0]:.3g}, {ends[1]:.3g}]" in text
    content = as_json(of_truth)
    assert content["groups"][0]["standard_errors_over_cells"] == dict(group.standard_errors)
    assert content["groups"][0]["intervals_over_cells"]["l2_delta"] == pytest.approx(ends)
    kinds = {metric["key"]: metric["standard_error_over_cells"] for metric in content["catalogue"]}
    assert (kinds["pearson_delta"], kinds["energy_distance_pca"]) == ("bootstrap", "half-sampling")
    lines = list(csv.DictReader(io.StringIO(as_csv(of_truth))))
    (line,) = [x for x in lines if (x["condition"], x["row"], x["metric"]) == ("P0", "model", "l2_delta")]
    assert float(line["standard_error_over_cells"]) == errors[0]


def test_metrics_without_scores_can_be_asked_for_alone():
    evaluation = evaluate(inputs(gaussian(33, PERTURBED)), n_repeats=1, metrics=choose(["pearson_delta", "pds_cosine"]))
    assert evaluation.group("all").scores == {}
    text = as_text(evaluation)
    assert "pds_cosine ↑" in text
    assert "all: scores" not in text


@pytest.mark.parametrize(("n", "sizes"), [(3, {(3, 9)}), (4, {(2, 9), (2, 2)}), (5, {(3, 9), (3, 2)})])
def test_of_an_odd_number_of_real_cells_the_reference_has_one_more(n, sizes):
    found = set()
    (asked,) = choose(["l2_delta"])
    remember = replace(asked, function=lambda c: found.add((len(c.real.x), len(c.predicted.x))) or 0.0)
    evaluate(inputs(gaussian(34, PERTURBED[:1], n=9), gaussian(35, PERTURBED[:1], n=n)), metrics=[remember])
    assert found == sizes


def test_rows_of_a_repeat_have_the_same_folds_and_repeats_have_others():
    seeds = []
    (asked,) = choose(["l2_delta"])
    remember = replace(asked, function=lambda compared: seeds.append(compared.seed) or 0.0)
    evaluate(inputs(gaussian(34, PERTURBED[:1]), gaussian(35, PERTURBED[:1])), n_repeats=3, metrics=[remember])
    # No change, the model and the replicate.
    assert seeds == [seed for seed in seeds[::3] for _ in range(3)]
    assert len(set(seeds)) == 3


def test_metrics_know_which_genes_are_perturbed():
    condition = Condition(("G07", "elsewhere"))
    (asked,) = choose(["l2_delta"])
    places = replace(asked, function=lambda c: float(c.targets.item()))
    found = evaluate(inputs(gaussian(34, [(condition, 0.5)]), gaussian(35, [(condition, 0.5)])), metrics=[places])
    assert found.results[0].measurements["model", "l2_delta"].value == 7.0


def test_the_training_centroid_is_that_of_the_context():
    elsewhere = Condition(("P9",), (("donor", "D"),))
    effects = MeanEffects((*CONDITIONS[:2], elsewhere), np.concatenate([EFFECTS[:2], 9 + 0 * EFFECTS[:1]]))
    prediction, truth = gaussian(28, PERTURBED[2:3], n=40), gaussian(29, PERTURBED[2:3], n=3)
    asked = choose(["pearson_systema"])
    (result,) = evaluate(inputs(prediction, truth, effects=effects), n_repeats=1, metrics=asked).results
    reference = CONTROLS.x.mean(0, dtype=float) + EFFECTS[:2].mean(0, dtype=float)
    expected = np.corrcoef(truth.x.mean(0, dtype=float) - reference, prediction.x.mean(0, dtype=float) - reference)
    assert result.measurements["model", "pearson_systema"].value == pytest.approx(expected[0, 1], rel=1e-6)


def test_shared_controls_do_not_make_effects_of_nothing_correlate():
    """Without any effect and with few controls, effects taken against one control mean would correlate by about 0.8."""
    contexts = [(("donor", f"D{i}"),) for i in range(15)]
    conditions = [Condition(("P",), context) for context in contexts]
    controls = gaussian(8, [(c.control, 0.0) for c in conditions], n=10)
    truth = gaussian(9, [(c, 0.0) for c in conditions], n=80)
    # Cells as a model makes them that started from the controls and changed nothing.
    rng = np.random.default_rng(10)
    started = rng.integers(0, 10, size=(len(conditions), 80))
    x = np.concatenate([controls.x[controls.rows(c.control)][s] for c, s in zip(conditions, started, strict=True)])
    prediction = ArrayCells(GENES, tuple(conditions), np.repeat(np.arange(len(conditions)), 80), x)
    averages = evaluate(inputs(prediction, truth, controls), n_repeats=2).group("all").averages
    # 20 genes, 15 conditions: a mean correlation of nothing has a standard error of about 0.06.
    assert abs(averages["replicate", "pearson_delta"].value) < 0.25
    assert abs(averages["model", "pearson_delta"].value) < 0.25


def test_one_predicted_cell_leaves_effects_only():
    (result,) = evaluate(inputs(gaussian(11, PERTURBED[:1], n=1), gaussian(12, PERTURBED[:1]))).results
    for row in ("model", "replicate", "no_change"):
        measurement = result.measurements[row, "energy_distance_pca"]
        assert measurement.value is None
        assert "second population has 1 cell" in measurement.reason
    assert result.measurements["model", "l2_delta"].value > 0
    assert "predicted population has 1 cell" in result.measurements["model", "variance_ratio"].reason
    assert result.moments == {}


def test_single_control_cell_leaves_no_correlation():
    evaluation = evaluate(inputs(gaussian(13, PERTURBED), controls=gaussian(14, [(CONTROL, 0.0)], n=1)), n_repeats=2)
    estimate = evaluation.group("all").averages["model", "pearson_delta"]
    assert estimate.value is None
    assert "1 held-back control cell" in estimate.reason
    assert "1 held-back control cell" in evaluation.group("all").averages["model", "des_wilcoxon"].reason


def test_values_do_not_depend_on_the_other_conditions():
    prediction = gaussian(15, PERTURBED)
    together = evaluate(inputs(prediction), seed=7, n_repeats=2).results[3]
    only = ArrayCells(GENES, CONDITIONS[3:4], np.zeros(60, dtype=np.int64), TRUTH.read(TRUTH.rows(CONDITIONS[3])))
    (alone,) = evaluate(inputs(prediction, only), seed=7, n_repeats=2).results
    # The order of summation differs with nothing here, so the numbers are the same.
    assert dict(alone.measurements) == dict(together.measurements)
    (other,) = evaluate(inputs(prediction, only), seed=8, n_repeats=2).results
    assert other.measurements["model", "l2_delta"] != together.measurements["model", "l2_delta"]


def test_no_more_cells_are_read_at_once_than_allowed():
    class Counting(ArrayCells):
        largest: list = []  # noqa: RUF012

        def read(self, rows):
            self.largest.append(len(rows))
            return ArrayCells.read(self, rows)

    prediction = Counting(GENES, CONDITIONS, *(getattr(gaussian(16, PERTURBED), n) for n in ("condition_of", "x")))
    (result, *_) = evaluate(inputs(prediction), n_repeats=1, max_cells=25).results
    assert max(Counting.largest) == 25
    assert (result.cells["predicted"], result.cells["predicted_used"], result.cells["truth_used"]) == (60, 25, 25)
    assert result.cells["controls_drawn"] == 25


def test_pictures_are_of_the_cells_that_are_scored():
    prediction = gaussian(27, PERTURBED[:2])
    effects = MeanEffects(CONDITIONS[:2], EFFECTS[:2])
    only = {"n_repeats": 2, "metrics": choose(["l2_delta"])}
    asked = evaluate(inputs(prediction, effects=effects), pictures=True, **only)
    unasked = evaluate(inputs(prediction, effects=effects), **only)
    assert all(result.pictures is None for result in unasked.results)
    for first, second, shift in zip(asked.results, unasked.results, EFFECTS, strict=False):
        assert dict(first.measurements) == dict(second.measurements), "no draw of a metric's is used up"
        pictures = first.pictures
        columns = [GENES.index(gene) for gene in pictures.genes]
        baseline = CONTROLS.x.mean(axis=0)
        for name, cells in (("real", TRUTH), ("simulated", prediction)):
            delta = cells.read(cells.rows(first.condition)).mean(axis=0) - baseline
            np.testing.assert_allclose(pictures.of_genes[f"effect_{name}"], delta[columns], atol=2e-3)
        # The mean of 60 cells has a standard error of 0.04.
        np.testing.assert_allclose(pictures.of_genes["effect_simulated"], shift[columns], atol=0.2)
        assert set(pictures.coverage) == {"control", "simulated", "replicate"}
        # Of 20 genes a share has a standard error of at most 0.11.
        assert abs(np.mean(pictures.coverage["simulated"].astype(float)) - 0.5) < 0.25
        assert np.mean(pictures.coverage["control"].astype(float)) < 0.2
