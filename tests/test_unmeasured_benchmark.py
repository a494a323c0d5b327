"""The benchmark of unmeasured conditions: scores and leads by hand, and tables that show every row."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import unmeasured
from results_sections import unmeasured_section

ROWS = ("no_change", "replicate", "ridge", unmeasured.CHOSEN, "model")


def of_seed(model: float) -> dict:
    """Two conditions, with distances by row: no change 4 and 2, replicate 1 and 0, chosen 3 and 2; AUC is a tenth."""
    distances = dict(zip(ROWS, [(4.0, 2.0), (1.0, 0.0), (3.0, 2.0), (3.0, 2.0), (model, 1.0)], strict=True))
    values = {
        row: [dict.fromkeys(unmeasured.SCORED, d) | dict.fromkeys(unmeasured.AVERAGED, d / 10) for d in pair]
        for row, pair in distances.items()
    }
    conditions = {row: dict(zip("ab", pair, strict=True)) for row, pair in values.items()}
    return {"conditions": conditions, "scores": unmeasured.pooled(conditions)}


def test_distances_are_added_before_they_are_scored_and_areas_are_averaged():
    scores = of_seed(model=2.0)["scores"]
    assert set(scores) == {"ridge", unmeasured.CHOSEN, "model"}
    # (4 + 2) - (1 + 0) = 5 are to be gained, of which the model gains 6 - 3 and the regression 6 - 5.
    assert scores["model"]["l2_delta"] == pytest.approx(3 / 5)
    assert scores[unmeasured.CHOSEN]["energy_distance_pca"] == pytest.approx(1 / 5)
    assert scores["model"]["c2st_auc_logistic"] == pytest.approx(0.15)


def test_what_one_condition_lacks_has_no_score():
    found = of_seed(2.0)["conditions"]
    found["model"]["a"] = {**found["model"]["a"], "l2_delta": None}
    scores = unmeasured.pooled(found)
    assert scores["model"]["l2_delta"] is None
    assert scores["model"]["energy_distance_genes"] == pytest.approx(3 / 5)


def test_areas_are_averaged_over_the_conditions_that_every_row_has_one_of():
    found = of_seed(2.0)["conditions"]
    found["ridge"]["a"] = {**found["ridge"]["a"], "c2st_auc_logistic": None}
    scores = unmeasured.pooled(found)
    assert scores["model"]["c2st_auc_logistic"] == pytest.approx(0.1)
    assert scores["ridge"]["c2st_auc_logistic"] == pytest.approx(0.2)
    assert scores["model"]["c2st_auc_forest"] == pytest.approx(0.15)
    found["model"]["b"] = {**found["model"]["b"], "c2st_auc_logistic": None}
    assert unmeasured.pooled(found)["model"]["c2st_auc_logistic"] is None


def test_the_lead_is_paired_by_seed_and_stands_in_the_table():
    per_seed = [of_seed(2.0), of_seed(1.0)]
    lead = unmeasured.lead(per_seed)
    assert lead[unmeasured.LEAD]["l2_delta"]["mean"] == pytest.approx((2 / 5 + 3 / 5) / 2)
    assert unmeasured.lead([{"scores": {"model": {}}}]) == {}
    rows = per_seed[0]["scores"]
    summary = {row: {m: {"mean": 1.0, "half_width": None} for m in unmeasured.METRICS} for row in rows} | lead
    report = {"case": "by hand", "n_conditions": 2, "seeds": [0, 1], "summary": summary, "per_seed": per_seed}
    text = "\n".join(unmeasured_section(report))
    assert "| model minus chosen regression | 0.500" in text
    assert "| seed | condition (part) | no change | ridge | chosen regression | model | replicate |" in text
