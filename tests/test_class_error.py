"""Experimental error of macro-F1: by hand, samples drawn out, what batches do, and through an evaluation."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from gensim.data.batches import Batches
from gensim.data.cell_source import ArrayCells
from gensim.errors import NotComputable
from gensim.evaluate import EvaluationInputs, evaluate
from gensim.metrics.bootstrap_samples import Samples
from gensim.metrics.catalogue import choose
from gensim.metrics.class_error import RepeatedClasses, classes_of_samples
from gensim.metrics.html_report import as_html
from gensim.metrics.macro_f1 import macro_f1
from gensim.metrics.marginals import GeneMarginals
from gensim.metrics.panel import Panel
from gensim.metrics.report import as_csv, as_json, as_text
from gensim.metrics.response_classes import classes_of_moments, response_classes
from gensim.metrics.space import MetricSpace
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition


def everything(_):
    return True


def error_of(*conditions, has=everything):
    """Of (seen, classes) pairs."""
    repeats = RepeatedClasses()
    for seen, classes in conditions:
        repeats.count(seen, np.array(classes, dtype=np.int8), (None, False))
    return repeats.error(has)


def test_by_hand():
    # One gene, up in both conditions. Of two samples the first finds both (F1 1), the second one of them, and the other
    # unchanged: up 2 / (2 + 1), unchanged 0, together 1/3. The 0.1 quantile lies a tenth of the way up.
    found = error_of((None, [[1], [1], [1]]), (None, [[1], [1], [0]]))
    assert found.estimate.value == pytest.approx(1 / 3 + 0.1 * 2 / 3)
    assert found.estimate.n == 2
    assert "no interval over conditions" in found.estimate.reason


def test_it_is_the_quantile_of_macro_f1_of_each_sample_and_groups_have_their_own():
    rng = np.random.default_rng(0)
    classes = rng.integers(-1, 2, (7, 1 + 20, 30))
    seen = [True, False, True, None, False, True, False]
    for has in (everything, lambda s: s is True, lambda s: s is False):
        chosen = classes[[has(s) for s in seen]]
        no_targets = [np.empty(0, np.int64)] * len(chosen)
        f1 = [macro_f1(Panel(chosen[:, 0], chosen[:, b], no_targets)) for b in range(1, 21)]
        found = error_of(*zip(seen, classes, strict=True), has=has).estimate
        assert (found.value, found.n) == (np.quantile(f1, 0.1), len(chosen)), "to the last bit"
    one = error_of(*zip(seen, classes, strict=True), has=lambda s: s is None).estimate
    assert (one.value, one.n, one.reason) == (None, 0, "fewer than 2 conditions have such cells")


def test_samples_that_cannot_differ_have_an_error_of_one():
    """Cells of a condition are all alike: what is up, down or unchanged is so in every sample."""
    repeats = RepeatedClasses()
    controls = np.tile(np.float32([2.0, 0.7, 1.3, 0.0]), (40, 1))
    for seed, shift in enumerate(([1, 0, -1, 0], [0, 0, -1, 0.3])):
        samples = Samples.of(controls[:33] + np.float32(shift), controls, None, None, seed, 9)
        assert (classes_of_samples(samples) == np.sign(shift)).all()
        repeats.take(None, samples)
    found = repeats.error(everything)
    assert found.estimate.value == 1.0
    assert found.resampled == (
        "cells alone were resampled, as batches are not known, so it is too high where batches differ"
    )


@pytest.mark.parametrize("batches", [None, 4])
def test_classes_are_those_of_the_cells_that_were_drawn(batches):
    rng = np.random.default_rng(1)
    batch, control_batch = (None, None) if batches is None else (np.arange(40) % batches, np.arange(60) % batches)
    x, controls = (np.maximum(rng.normal(0.4, 1, (n, 50)), 0).astype(np.float32) for n in (40, 60))
    x[:, :8] += np.linspace(-0.5, 1.5, 8, dtype=np.float32)
    x[1:, 20], controls[:, 20] = 0, 0  # of samples without the first cell no cell has it on either side
    samples = Samples.of(x, controls, batch, control_batch, 0, 1)
    found = classes_of_samples(samples)
    assert (found.dtype, found.shape) == (np.int8, (101, 50))
    assert found[0].tolist() == response_classes(GeneMarginals.of(x), GeneMarginals.of(controls)).tolist()
    for b in range(100):
        drawn = []
        for side in (samples.cells, samples.controls):
            counts = np.round(side.weights[b] * len(side.x)).astype(int)  # batches are equally large
            assert counts.sum() == len(side.x)
            drawn.append(GeneMarginals.of(np.repeat(side.x, counts, axis=0)))
        assert found[1 + b].tolist() == response_classes(*drawn).tolist()
    assert len(np.unique(found[1:], axis=0)) > 5
    sparse_cells = Samples.of(sparse.csr_matrix(x), sparse.csr_matrix(controls), batch, control_batch, 0, 1)
    np.testing.assert_array_equal(classes_of_samples(sparse_cells), found)


def test_unequal_batches_count_alike():
    """The second batch has every one of its 20 cells 10 times: means and variances are as if once, n is not."""
    rng = np.random.default_rng(2)
    x, controls = rng.normal(0, 1, (40, 400)) + np.linspace(0, 2, 400), rng.normal(0, 1, (2000, 400))
    cells, batch, control_batch = np.concatenate([x, *[x[20:]] * 9]), np.repeat([0, 1], [20, 200]), np.arange(2000) % 2
    found = classes_of_samples(Samples.of(cells, controls, batch, control_batch, 0, 1))[0]

    def expected(n):
        moments = x.mean(axis=0), x.var(axis=0) * n / (n - 1), n
        return classes_of_moments(moments, (controls.mean(axis=0), controls.var(axis=0, ddof=1), 2000))

    n = 2**2 / (1 / 20 + 1 / 200)  # 72.7 of 220 cells
    assert found.tolist() == expected(n).tolist()
    assert expected(40).sum() < found.sum() < expected(220).sum()
    alone = Samples.of(x, controls, np.repeat([0, 1], 20), None, 0, 1)
    assert alone.n_batches is None, "batches of one side alone are not known"


def test_batches_that_differ_lower_it():
    """Of the same cells: their batches differ by more than the effects, and each side draws its own."""
    rng = np.random.default_rng(3)
    of_batch = rng.normal(0, 1, (4, 60))
    batch, control_batch = np.repeat(np.arange(4), 20), np.repeat(np.arange(4), 40)
    hierarchical, alone = RepeatedClasses(), RepeatedClasses()
    controls = rng.normal(0, 0.5, (160, 60)) + of_batch[control_batch]
    for k in range(4):
        x = rng.normal(0, 0.5, (80, 60)) + of_batch[batch] + rng.normal(0, 1, 60)
        hierarchical.take(None, Samples.of(x, controls, batch, control_batch, k, 9))
        alone.take(None, Samples.of(x, controls, None, None, k, 9))
    found = hierarchical.error(everything)
    assert found.estimate.value < alone.error(everything).estimate.value - 0.1
    assert found.resampled == (
        "batches (4 to 4 per condition), then cells in them, were resampled; effects were taken batch by batch in 0 of "
        "4 conditions"
    )
    paired = RepeatedClasses()
    rng = np.random.default_rng(3)
    for k in range(4):
        x = rng.normal(0, 0.5, (80, 60)) + of_batch[batch] + rng.normal(0, 1, 60)
        paired.take(None, Samples.of(x, controls, batch, control_batch, k, 9, within=True))
    assert paired.error(everything).estimate.value > found.estimate.value, "what batches do to both sides cancels"


def test_few_cells_have_no_classes_and_say_so():
    with pytest.raises(NotComputable, match="30 cells against 40 control cells"):
        classes_of_samples(Samples.of(np.ones((30, 2)), np.ones((40, 2)), None, None, 0, 1))
    # Where effects are within batches, the cells of those that have both count.
    cells = (np.ones((50, 2)), np.ones((40, 2)), np.repeat([0, 1], [25, 25]), np.repeat([1, 2], [20, 20]))
    assert classes_of_samples(Samples.of(*cells, 0, 1)).shape == (101, 2)
    with pytest.raises(NotComputable, match="25 cells against 20 control cells"):
        classes_of_samples(Samples.of(*cells, 0, 1, within=True))


N_GENES = 15
GENES = tuple(f"G{i}" for i in range(N_GENES))
CONTROL = Condition(())
CONDITIONS = tuple(Condition((f"P{i}",)) for i in range(5))
EFFECTS = np.random.default_rng(4).normal(0, 0.3, (5, N_GENES)).astype(np.float32)


def inputs(n=(70, 70, 70, 70, 70), n_controls=80, seen=2, batches=None):
    rng = np.random.default_rng(5)

    def cells(conditions, effects, sizes):
        x = np.concatenate([rng.normal(3 + e, 0.5, (size, N_GENES)) for e, size in zip(effects, sizes, strict=True)])
        return ArrayCells(GENES, conditions, np.repeat(np.arange(len(sizes)), sizes), x.astype(np.float32))

    truth, prediction = cells(CONDITIONS, EFFECTS, n), cells(CONDITIONS, EFFECTS, n)
    controls = cells((CONTROL,), np.zeros((1, N_GENES)), (n_controls,))
    space = MetricSpace.fit(sparse.csr_matrix(truth.x), GENES, n=4)
    known = None if not seen else MeanEffects(CONDITIONS[:seen], EFFECTS[:seen])
    if batches is not None:
        batches = Batches(*(np.arange(len(source.x)) % batches for source in (truth, controls)))
    return EvaluationInputs(prediction, truth, controls, space, known, batches=batches)


def evaluated(given, metrics=("deg_macro_f1",), **options):
    return evaluate(given, n_repeats=2, metrics=choose(list(metrics)), **options)


def test_every_group_has_one_whatever_the_number_of_workers():
    one, several = (evaluated(inputs(batches=3), workers=workers) for workers in (1, 3))
    assert json.dumps(as_json(one)) == json.dumps(as_json(several))
    errors = {group.name: group.class_error.estimate for group in one.groups}
    assert {name: error.n for name, error in errors.items()} == {"all": 5, "seen": 2, "unseen": 3}
    assert len({error.value for error in errors.values()}) == 3
    for group in one.groups:
        assert 0 < group.class_error.estimate.value <= 1
        assert group.experimental_error is None, "of effects, which no metric asked for"
        assert "batches (3 to 3 per condition)" in group.class_error.resampled
    assert all(result.experimental_error is None for result in one.results)


def test_conditions_of_a_context_are_one_experiment(monkeypatch):
    taken = []
    monkeypatch.setattr(RepeatedClasses, "take", lambda self, seen, samples: taken.append(samples))
    evaluated(inputs(batches=3))
    first, *others = taken
    assert len(others) == 4
    for samples in others:
        np.testing.assert_array_equal(samples.controls.weights, first.controls.weights)
        assert (samples.cells.weights != first.cells.weights).any()


def test_it_stands_in_every_report():
    evaluation = evaluated(inputs(batches=3), ["deg_macro_f1", "l2_delta"])
    (value, of_seen, _) = (group.class_error.estimate.value for group in evaluation.groups)
    lines = [line.strip() for line in as_text(evaluation).splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("deg_macro_f1"))
    assert lines[start + 1].split()[:3] == ["experimental", "error", f"{value:.3g}"]
    text = " ".join(" ".join(lines).split())
    assert "experimental error of deg_macro_f1: the 0.1 quantile of the macro-F1 that bootstrap samples" in text
    assert "find fewer genes; batches (3 to 3 per condition), then cells in them" in text
    assert "experimental error: the 0.9 quantile" in text

    group = as_json(evaluation)["groups"][1]["experimental_error_deg_macro_f1"]
    assert (group["value"], group["n"]) == (of_seen, 2)
    assert group["resampled"].startswith("batches (3 to 3")
    assert f",experimental_error,deg_macro_f1,{of_seen!r}," in as_csv(evaluation)

    page = as_html(evaluation)
    for place in ("experimental-error", "experimental-error-deg_macro_f1"):
        assert page.count(f'href="#{place}"') == 3, "in the averages of each group, not in the scores"
        assert page.count(f'id="{place}"') == 1
    assert "the 0.1 quantile of the macro-F1 that bootstrap samples" in page


def test_reasons_stand_where_it_cannot_be_computed():
    evaluation = evaluated(inputs(n=(70, 30, 30, 70, 20)))
    errors = {group.name: group.class_error.estimate for group in evaluation.groups}
    assert errors["all"].n == 2
    assert (errors["seen"].value, errors["unseen"].value) == (None, None)
    assert errors["seen"].reason == "30 cells against 80 control cells; classes of genes need 31 against 2"
    assert as_json(evaluation)["groups"][1]["experimental_error_deg_macro_f1"]["value"] is None
    assert "20 cells against 80 control cells" in as_text(evaluation)
    single = evaluated(inputs(n_controls=1), ["deg_macro_f1", "l2_delta"])
    reason = "1 cells on a side cannot be resampled; at least 2 are needed"
    assert single.groups[0].class_error.estimate.reason == single.results[0].experimental_error.reason == reason
    assert " ".join(as_text(single).split()).count("no condition has cells enough to be resampled") == 2


def test_it_is_taken_only_if_asked_for(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(RepeatedClasses, "take", refuse)
    evaluation = evaluated(inputs(), ["l2_delta", "energy_distance_pca"])
    assert evaluation.groups[0].class_error is None
    assert as_json(evaluation)["groups"][0]["experimental_error_deg_macro_f1"] is None
    assert "deg_macro_f1" not in as_text(evaluation) + as_html(evaluation)
    with pytest.raises(AssertionError):
        evaluated(inputs())


def test_values_of_effects_do_not_depend_on_it():
    alone, both = (evaluated(inputs(), metrics) for metrics in (["l2_delta"], ["l2_delta", "deg_macro_f1"]))
    assert [r.experimental_error for r in alone.results] == [r.experimental_error for r in both.results]
    unknown = evaluated(replace(inputs(), effects=None))
    assert [group.name for group in unknown.groups] == ["all"]
    assert unknown.groups[0].class_error.estimate == both.groups[0].class_error.estimate
