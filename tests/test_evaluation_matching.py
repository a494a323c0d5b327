"""Which conditions of a prediction and a truth are compared, what stands for missing ones, and what is refused."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from gaussian_screens import (
    CONDITIONS,
    CONTROL,
    GENES,
    N_GENES,
    PERTURBED,
    TRUTH,
    gaussian,
    inputs,
)  # fmt: skip

from gensim.data.cell_source import ArrayCells
from gensim.errors import DataError
from gensim.evaluate import evaluate
from gensim.metrics.catalogue import DEFAULT, choose
from gensim.metrics.report import as_csv, as_json, as_text
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition


def test_unmatched_conditions_are_listed():
    elsewhere = Condition(("P0",), (("donor", "D9"),))
    truth = gaussian(17, [*PERTURBED[:2], (elsewhere, 0.0), (CONTROL, 0.0)])
    prediction = gaussian(18, [PERTURBED[0], (elsewhere, 0.0), PERTURBED[4], (CONTROL, 0.0)])
    evaluation = evaluate(inputs(prediction, truth))
    assert [result.condition for result in evaluation.results] == [CONDITIONS[0]]
    reasons = dict(evaluation.not_scored)
    assert reasons[CONDITIONS[1]] == "no cell was predicted for this condition"
    assert reasons[elsewhere] == "no held-back control cells of its context 'control | D9'"
    assert len(reasons) == 2
    (warning,) = evaluation.warnings
    assert warning == "ignored, because the truth lacks them: 1 predicted conditions, 'P4'"


def test_no_change_stands_for_what_was_not_predicted_on_request():
    prediction = gaussian(18, PERTURBED[:2], n=30)
    listed, asked = (evaluate(inputs(prediction), n_repeats=2, missing=missing) for missing in (None, "no_change"))
    assert [c for c, _ in listed.not_scored] == list(CONDITIONS[2:])
    assert asked.not_scored == ()
    assert [r.stand_in for r in asked.results] == [None, None, *["no_change"] * 3]
    for before, after in zip(listed.results, asked.results, strict=False):
        assert before.measurements == after.measurements, "what was predicted is scored as before"
    for result in asked.results[2:]:
        for metric in DEFAULT:
            model, still = (result.measurements[row, metric.key] for row in ("model", "no_change"))
            assert replace(model, standard_error=None) == still
        assert result.scores["model", "energy_distance_pca"].value == 0
        assert (result.cells["predicted"], result.cells["predicted_used"], result.cells["controls_drawn"]) == (0, 0, 60)
    only = {"n_repeats": 1, "metrics": choose(["l2_delta"])}
    fewer = evaluate(inputs(prediction), missing="no_change", max_cells=25, **only)
    assert fewer.results[2].cells["controls_drawn"] == 25, "as many as real cells are used"
    scores = [e.group("all").scores["model", "energy_distance_pca"].value for e in (listed, asked)]
    assert scores[0] == pytest.approx(1.0, abs=0.1)
    assert scores[1] < 0.6
    (warning,) = asked.warnings
    assert "not predicted: 3 conditions, 'P2', 'P3', 'P4'" in warning
    assert "not predicted: P3: scored with the cells of no_change" in as_text(asked)
    lines = list(csv.DictReader(io.StringIO(as_csv(asked))))
    assert {line["condition"] for line in lines if line["stand_in"]} == {"P2", "P3", "P4"}
    assert {line["row"] for line in lines if line["stand_in"]} == {"model"}
    marks = {c["condition"]: c["stand_in"] for c in as_json(asked)["conditions"]}
    assert marks == {"P0": None, "P1": None, "P2": "no_change", "P3": "no_change", "P4": "no_change"}


def test_a_prediction_of_nothing_that_is_asked_is_refused_whatever_stands_for_it():
    with pytest.raises(DataError, match="nothing to score"):
        evaluate(inputs(gaussian(19, PERTURBED[:1]), gaussian(20, PERTURBED[1:2])), missing="no_change")


def test_nothing_to_score_is_refused():
    with pytest.raises(DataError, match=r"nothing to score: .*'P1'.*'P0'.*did you mean"):
        evaluate(inputs(gaussian(19, PERTURBED[:1]), gaussian(20, PERTURBED[1:2])))


def test_other_genes_are_refused_by_name():
    prediction = gaussian(21, PERTURBED)
    other = ArrayCells((*GENES[:5], "X5", *GENES[6:]), prediction.conditions, prediction.condition_of, prediction.x)
    with pytest.raises(DataError, match=r"prediction has other genes.*position 5 is 'G05' in the one and 'X5'"):
        inputs(other)
    with pytest.raises(DataError, match="mean effects are over 3 genes, not 20"):
        inputs(prediction, effects=MeanEffects(CONDITIONS[:1], np.zeros((1, 3), np.float32)))


@pytest.mark.parametrize(("value", "message"), [(np.nan, "1 cells have values that are not finite"), (1e5, "'G02'")])
def test_bad_values_are_refused(value, message):
    prediction = gaussian(22, PERTURBED)
    prediction.x[70, 2] = value
    with pytest.raises(DataError, match=f"prediction 'P1': .*{message}"):
        evaluate(inputs(prediction))


def test_settings_that_leave_nothing_are_refused():
    with pytest.raises(DataError, match="n_repeats=0"):
        evaluate(inputs(TRUTH), n_repeats=0)
    with pytest.raises(DataError, match=r"max_cells=3: at least 1 and 4"):
        evaluate(inputs(TRUTH), max_cells=3)
    results = evaluate(inputs(TRUTH), n_repeats=1, max_cells=4, metrics=choose(["l2_delta"])).results
    assert all(result.measurements["replicate", "l2_delta"].value > 0 for result in results)


def test_training_without_a_perturbation_has_no_response_to_score_against():
    nothing = MeanEffects((), np.zeros((0, N_GENES), np.float32))
    given = inputs(gaussian(15, PERTURBED), effects=nothing)
    found = evaluate(given, n_repeats=1, metrics=choose(["vcc2025_score"])).group("all").averages
    assert found["model", "mae_delta"].value > 0
    assert "effects of training conditions are not known" in found["model", "vcc2025_score"].reason
