"""Reports carry every number, or the reason for its absence."""

import csv
import io
import json
from dataclasses import replace

import anndata as ad
import numpy as np
import pytest

from gensim.metrics.annotated import write_annotated
from gensim.metrics.catalogue import DEFAULT
from gensim.metrics.html_report import as_html
from gensim.metrics.report import as_csv, as_json, as_text, write_report
from gensim.metrics.results import (
    BOUNDS,
    REGRESSIONS,
    ROWS,
    SCORED_ROWS,
    ConditionResult,
    Evaluation,
    Measurement,
    summarise,
)
from gensim.metrics.scores import Estimate
from gensim.types import Condition

KEYS = [metric.key for metric in DEFAULT]
BY_KEY = {metric.key: metric for metric in DEFAULT}
VALUES = {
    "no_change": 5.0,
    "training_mean": 4.0,
    "mean_response": 4.0,
    "gaussian_map": 3.0,
    "replicate": 1.0,
    "model": 2.0,
}
VALUES |= dict.fromkeys((*REGRESSIONS, *BOUNDS), 3.5)
NEVER = Condition(("never",), (("donor", "D, 1"),))


def result(name, seen, without=()):
    measurements = {
        (row, key): Measurement(None, reason="too few cells")
        if (row, key) in without
        else Measurement(VALUES[row] + (name == "B"), 0.1)
        for row in ROWS
        for key in KEYS
    }
    scores = {("model", key): Estimate(0.75, None, None, 1) for key in KEYS}
    cells = {"truth": 9, "truth_used": 8, "predicted": 7, "predicted_used": 6, "controls": 5, "controls_drawn": 5}
    genes = np.linspace(1, 2, 4, dtype=np.float32)
    moments = {"real": (genes, genes), "model": (genes, genes / 2)}
    return ConditionResult(Condition((name,)), seen, cells, (1.0, 0.5, 0.25), measurements, scores, moments)


@pytest.fixture
def evaluation():
    results = (result("A", True), result("B", False, without={("model", KEYS[0]), ("replicate", KEYS[1])}))
    return Evaluation(results, summarise(results, 0), ((NEVER, "no cell"),), ("ignored: x",), 3, 5, 2000)


def test_averages_take_the_conditions_that_have_a_value(evaluation):
    group = evaluation.group("all")
    assert group.averages["model", KEYS[1]].value == pytest.approx(2.5)
    assert (group.averages["model", KEYS[0]].value, group.averages["model", KEYS[0]].n) == (2.0, 1)
    # Scores compare rows over the same conditions: here both (5.5 - 2.5) / (5.5 - 1.5), there A alone (5 - 2) / 4.
    assert group.scores["model", KEYS[2]].value == pytest.approx(0.75)
    assert (group.scores["model", KEYS[1]].value, group.scores["model", KEYS[1]].n) == (0.75, 1)
    assert evaluation.group("unseen").averages["model", KEYS[0]].reason == "too few cells"
    higher_or_nearest = {metric.key for metric in DEFAULT if metric.better != "lower"}
    assert higher_or_nearest == {"pearson_delta", "variance_ratio", "des_wilcoxon"}
    assert {metric for _, metric in group.scores} == set(KEYS) - higher_or_nearest


def test_json_is_strict_and_holds_reasons_catalogue_and_provenance(evaluation):
    content = json.loads(json.dumps(as_json(evaluation, {"run": "digest"}), allow_nan=False))
    assert content["provenance"] == {"run": "digest"}
    assert [row["key"] for row in content["catalogue"]] == KEYS
    assert list(content["rows"]) == list(ROWS)
    assert content["rows"]["idealised"].startswith("An upper bound")
    assert content["rows"]["random_embedding"].startswith("A lower bound")
    assert content["catalogue"][0]["range"] == [0.0, None]
    assert {row["key"]: row["better"] for row in content["catalogue"]}["variance_ratio"] == "nearest"
    assert {row["key"]: row["repeats"] for row in content["catalogue"] if row["repeats"]} == {
        "c2st_auc_forest": 1,
        "des_wilcoxon": 2,
    }
    second = content["conditions"][1]
    assert second["values"]["model"][KEYS[0]] == {
        "value": None,
        "spread_over_repeats": None,
        "standard_error_over_cells": None,
        "reason": "too few cells",
    }
    assert second["mmd2_rbf_gammas"] == [1.0, 0.5, 0.25]
    assert content["not_scored"] == [{"condition": NEVER.label, "key": NEVER.key, "reason": "no cell"}]
    assert content["groups"][0]["averages"]["model"][KEYS[1]]["value"] == pytest.approx(2.5)
    assert [group["name"] for group in content["groups"]] == ["all", "seen", "unseen"]


def test_novelty_stands_where_it_is_known(evaluation, tmp_path):
    first, second = evaluation.results
    known = replace(evaluation, results=(replace(first, novelty="far", novelty_distance=2.5), second))
    assert [(c["novelty"], c["novelty_distance"]) for c in as_json(known)["conditions"]] == [("far", 2.5), (None, None)]
    lines = list(csv.DictReader(io.StringIO(as_csv(known))))
    found = {(line["condition"], line["novelty"], line["novelty_distance"]) for line in lines}
    assert found == {("A", "far", "2.5"), ("B", "", ""), (NEVER.label, "", "")}
    write_annotated(known, tmp_path / "metrics.h5ad")
    obs = ad.read_h5ad(tmp_path / "metrics.h5ad").obs
    assert list(obs["novelty"]) == ["far", ""]
    np.testing.assert_array_equal(obs["novelty_distance"], [2.5, np.nan])
    assert "<dt>novelty</dt>" in as_html(known)
    assert "<dt>novelty</dt>" not in as_html(evaluation)


def test_csv_has_a_line_per_value_or_reason(evaluation):
    lines = list(csv.DictReader(io.StringIO(as_csv(evaluation))))
    assert len(lines) == 2 * len(ROWS) * len(KEYS) + len(KEYS)
    chosen = [line for line in lines if line["condition"] == "B" and line["row"] == "model"]
    assert (chosen[0]["value"], chosen[0]["reason"]) == ("", "too few cells")
    assert (float(chosen[1]["value"]), chosen[1]["reason"]) == (3.0, "")
    assert lines[-1]["condition"] == NEVER.label
    assert Condition.from_key(lines[-1]["condition_key"]) == NEVER


def test_text_shows_rows_intervals_notes_and_what_was_left_out(evaluation):
    text = as_text(evaluation)
    assert "2 conditions scored, 12 predicted cells against 16 real cells" in text
    assert "seed 3" in text
    assert "2.5 [2, 3]" in text  # the only averages that two conditions resample to are 2, 2.5 and 3
    assert "2 n=1 [1]" in text
    assert "[1] one condition has no interval over conditions" in text
    assert "not scored: never | D, 1: no cell" in text
    assert "warning: ignored: x" in text
    assert all(metric.name in text.replace("\n", " ") for metric in DEFAULT)


def test_text_has_a_line_per_metric_that_its_columns_hold(evaluation):
    lines = as_text(evaluation).splitlines()
    assert max(len(line) for line in lines) <= 24 * len(ROWS)
    start = lines.index("all: 2 conditions")
    table = lines[start : lines.index("all: scores")]
    assert table[2].split() == ["lower", "bound:", "upper", "bound:"]
    assert table[3].split() == ["metric", *ROWS]
    heads = {metric.key: line for metric in DEFAULT for line in table if line.split()[:1] == [metric.key]}
    assert list(heads) == KEYS, "each on one line, though all rows have intervals"
    assert heads["variance_ratio"].split()[1] == "→1"
    assert heads["des_wilcoxon"].split()[1] == "↑"
    assert heads["l2_delta"].split()[1:4] == ["↓", "5.5", "[5,"]
    scored = lines[lines.index("all: scores") : lines.index("seen: 1 conditions")]
    assert scored[3].split() == ["metric", *SCORED_ROWS]
    assert not any("pearson_delta" in line or "variance_ratio" in line for line in scored)
    assert "c2st_auc_forest is taken in 1 of the 5 repeats" in lines


def test_files_are_whole_and_replace_older_ones(evaluation, tmp_path):
    folder = tmp_path / "new" / "report"
    write_report(evaluation, folder)
    (folder / "metrics.json").write_text("old")
    report, metrics, table, page, annotated = write_report(evaluation, folder, {"seed": 3})
    assert json.loads(metrics.read_text())["provenance"] == {"seed": 3}
    assert report.read_text() == as_text(evaluation)
    assert table.read_text() == as_csv(evaluation)
    assert page.read_text() == as_html(evaluation, {"seed": 3})
    assert annotated == folder / "metrics.h5ad"
    names = ["metrics.csv", "metrics.h5ad", "metrics.json", "report.html", "report.txt"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_annotated_data_holds_the_values_by_condition_metric_and_row(evaluation, tmp_path):
    write_annotated(evaluation, tmp_path / "metrics.h5ad", {"run": "digest"})
    found = ad.read_h5ad(tmp_path / "metrics.h5ad")
    assert (list(found.obs_names), list(found.var_names)) == (["A", "B"], KEYS)
    assert [Condition.from_key(key).label for key in found.obs["key"]] == ["A", "B"]
    assert list(found.obs["seen"]) == [True, False]
    assert list(found.obs["n_predicted_used"]) == [6, 6]
    assert set(found.layers) == set(ROWS)
    np.testing.assert_array_equal(found.layers["no_change"], np.repeat([[5.0], [6.0]], len(KEYS), axis=1))
    expected = np.repeat([[2.0], [3.0]], len(KEYS), axis=1)
    expected[1, 0] = np.nan
    np.testing.assert_array_equal(found.X, expected)
    np.testing.assert_array_equal(found.layers["model"], expected)
    of = found.var.loc["variance_ratio"]
    assert (of["direction"], of["unit"], of["source"]) == ("nearest", "1", BY_KEY["variance_ratio"].source)
    assert json.loads(found.uns["gensim"]) == {"run": "digest", "x": "model"}


def test_annotated_data_says_where_it_is_not_known_whether_training_had_a_condition(evaluation, tmp_path):
    unknown = replace(evaluation, results=tuple(replace(r, seen=None) for r in evaluation.results))
    write_annotated(unknown, tmp_path / "metrics.h5ad")
    assert ad.read_h5ad(tmp_path / "metrics.h5ad").obs["seen"].isna().all()


def test_bounds_are_called_so_wherever_they_are_shown(evaluation):
    page = as_html(evaluation)
    # In the heads of both tables of each of three groups, and among the meanings; the script names them elsewhere.
    for row, bound in (("random embedding", "lower bound"), ("idealised", "upper bound")):
        assert page.count(f"{row} ({bound})") == 2 * 3 + 1
    text = as_text(evaluation)
    assert "idealised: An upper bound" in text
    assert "random_embedding: A lower bound" in text
    few = {place: m for place, m in evaluation.results[0].measurements.items() if place[0] not in BOUNDS}
    without = replace(evaluation.results[0], measurements=few)
    assert "bound:" not in as_text(replace(evaluation, results=(without,), groups=summarise((without,), 0)))
