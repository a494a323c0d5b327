"""Two evaluations of the same conditions: differences by hand, which one is ahead, and what cannot be compared."""

import json

import numpy as np
import pytest
from scipy.stats import wilcoxon

from gensim.cli import main
from gensim.errors import DataError
from gensim.metrics.paired import as_json, as_text, compare_evaluations

CATALOGUE = [
    {"key": "distance", "better": "lower", "identical": 0.0},
    {"key": "correlation", "better": "higher", "identical": 1.0},
    {"key": "ratio", "better": "nearest", "identical": 1.0},
]


def evaluation(folder, seed=0, truth=30, names=None, **values):
    conditions = [
        {
            "key": f"k{i}",
            "cells": {"truth": truth},
            "values": {"model": {key: {"value": v[i]} for key, v in values.items()}},
        }
        for i in range(len(next(iter(values.values()))))
    ]
    folder.mkdir()
    provenance = {} if names is None else {"truth_cells": names}
    found = {"provenance": provenance, "seed": seed, "n_repeats": 5, "catalogue": CATALOGUE, "conditions": conditions}
    (folder / "metrics.json").write_text(json.dumps(found))
    return folder


def test_differences_by_hand(tmp_path):
    first = evaluation(
        tmp_path / "a", distance=[1, 2, 3, 4, 5, 6], correlation=[0.5] * 6, ratio=[0.5, 2.0, 0.5, 1.5, 0.5, None]
    )
    second = evaluation(
        tmp_path / "b", distance=[0, 0, 2, 1, 4, 5], correlation=[0.5] * 6, ratio=[1.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    )
    distance, correlation, ratio = compare_evaluations(first, second).differences
    gains = [-1, -2, -1, -3, -1, -1]
    assert (distance.first, distance.second) == (3.5, 2.0)
    assert distance.difference.value == pytest.approx(-1.5)
    assert distance.p == pytest.approx(wilcoxon(gains).pvalue)
    assert distance.ahead == "second"
    assert correlation.difference.value == 0
    assert correlation.p is None
    assert correlation.ahead == "neither"
    # |1.5 - 1| - |0.5 - 1| = 0, then -1, -0.5, -0.5, -0.5 over the five conditions that both have.
    assert ratio.difference.n == 5
    assert ratio.difference.value == pytest.approx(-0.5)
    assert ratio.p is None
    assert ratio.ahead == "second"


def test_which_one_is_ahead_follows_the_direction(tmp_path):
    low, high = np.linspace(0.1, 0.2, 8).tolist(), np.linspace(0.7, 0.9, 8).tolist()
    first = evaluation(tmp_path / "a", distance=low, correlation=low)
    second = evaluation(tmp_path / "b", distance=high, correlation=high)
    assert [d.ahead for d in compare_evaluations(first, second).differences] == ["first", "second"]
    assert [d.ahead for d in compare_evaluations(second, first).differences] == ["second", "first"]


def test_one_condition_has_no_winner(tmp_path):
    first, second = (evaluation(tmp_path / name, distance=[v]) for name, v in (("a", 1.0), ("b", 2.0)))
    (only,) = compare_evaluations(first, second).differences
    assert only.ahead == "neither"
    assert "1 " in as_text(compare_evaluations(first, second), "a", "b")


def test_the_command(tmp_path, capsys):
    first = evaluation(tmp_path / "a", distance=[1, 2, 3, 4, 5, 6])
    second = evaluation(tmp_path / "b", distance=[0, 0, 2, 1, 4, 5])
    out = tmp_path / "compared.json"
    assert main(["compare-predictions", str(first), str(second), "--out", str(out)]) == 0
    assert "distance ↓" in capsys.readouterr().out
    assert json.loads(out.read_text()) == as_json(compare_evaluations(first, second))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 1}, "another seed, or other repeats"),
        ({"truth": 31}, "other numbers of real cells in 'k0'"),
    ],
)
def test_other_real_cells_are_refused(tmp_path, other, message):
    first, second = evaluation(tmp_path / "a", distance=[1.0]), evaluation(tmp_path / "b", distance=[1.0], **other)
    with pytest.raises(DataError, match=message):
        compare_evaluations(first, second)


def test_other_names_of_real_cells_are_refused(tmp_path):
    first, same, other = (
        evaluation(tmp_path / name, names=names, distance=[1.0]) for name, names in (("a", "x"), ("b", "x"), ("c", "y"))
    )
    unknown = evaluation(tmp_path / "d", distance=[1.0])
    assert compare_evaluations(first, same).differences[0].difference.value == 0
    assert compare_evaluations(first, unknown).differences[0].difference.value == 0, "earlier versions wrote no names"
    with pytest.raises(DataError, match=r"other names of real cells \(truth_cells is x and y\)"):
        compare_evaluations(first, other)


def test_other_spaces_are_refused_and_ranks_need_the_same_conditions(tmp_path):
    first, second = (evaluation(tmp_path / name, distance=[1.0, 2.0]) for name in "ab")
    for folder, space in ((first, "x"), (second, "y")):
        found = json.loads((folder / "metrics.json").read_text()) | {"provenance": {"metric_space": space}}
        (folder / "metrics.json").write_text(json.dumps(found))
    with pytest.raises(DataError, match="other genes or principal components"):
        compare_evaluations(first, second)
    third, fourth = evaluation(tmp_path / "c", distance=[1.0, 2.0]), evaluation(tmp_path / "d", distance=[1.0])
    assert len(compare_evaluations(third, fourth).differences) == 1
    for folder in (third, fourth):
        found = json.loads((folder / "metrics.json").read_text())
        found["catalogue"][0] = found["catalogue"][0] | {"compares_conditions": True}
        (folder / "metrics.json").write_text(json.dumps(found))
    assert compare_evaluations(third, fourth).differences == ()
    assert len(compare_evaluations(third, third).differences) == 1


def test_what_cannot_be_compared_is_told_with_the_reason(tmp_path, capsys):
    folders = []
    for name, distances in (("a", [1.0, 2.0]), ("b", [1.0])):
        folders.append(evaluation(tmp_path / name, distance=distances, correlation=distances))
        found = json.loads((folders[-1] / "metrics.json").read_text())
        found["catalogue"] = [
            CATALOGUE[0] | {"compares_conditions": True},
            CATALOGUE[1],
            CATALOGUE[2],
            {"key": "total", "better": "higher", "identical": 1.0, "one_value_per_group": True},
        ]
        (folders[-1] / "metrics.json").write_text(json.dumps(found))
    compared = compare_evaluations(*folders)
    assert [d.metric for d in compared.differences] == ["correlation"]
    assert compared.left_out == {
        "distance": "it depends on which other conditions are scored, and these two have not the same",
        "ratio": "no condition has a value in both",
        "total": "one value for all conditions together, so there are no pairs; see both reports",
    }
    assert main(["compare-predictions", *map(str, folders)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "not compared: total: one value for all conditions together" in said
    assert len(as_json(compared)) == 1


def test_what_is_no_evaluation_is_refused(tmp_path, capsys):
    folder = evaluation(tmp_path / "a", distance=[1.0])
    (tmp_path / "b").mkdir()
    assert main(["compare-predictions", str(folder), str(tmp_path / "b")]) == 2
    assert "is no evaluation" in capsys.readouterr().err
