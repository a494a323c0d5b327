"""What the quality benchmark says of conditions apart is what it would say of them alone."""

import sys
from pathlib import Path

import pytest

from gensim.metrics.results import ConditionResult, Evaluation, Measurement, summarise
from gensim.types import Condition

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import quality
import results_table

DISTANCE = "energy_distance_genes"
ROWS = ("no_change", "training_mean", "replicate", "model")
OF = {"A": (4.0, 3.0, 1.0, 2.0), "B": (2.0, 2.0, 0.0, 1.0), "C": (1.0, 1.0, 0.0, 1.0)}
"""Distances of these rows, by condition."""


def evaluation() -> Evaluation:
    results = [
        ConditionResult(
            Condition((label,)),
            True,
            {},
            None,
            {(row, DISTANCE): Measurement(value) for row, value in zip(ROWS, distances, strict=True)},
            {},
            {},
        )
        for label, distances in OF.items()
    ]
    return Evaluation(tuple(results), summarise(results, 0), (), (), 0, 1, 100)


def report() -> dict:
    found = evaluation()
    training = {"not_scored": [], "best_step": 0, "steps": 1, "decoded": {}}
    seconds = {"seconds": {"train": 1, "sample": 1, "evaluate": 1}}
    apart = quality.tables(quality.group_of(found, ["A", "B"]))
    result = {**quality.tables(found.group("all")), "apart": apart, **training, **seconds}
    split = {"split": {"test": {"hold_out": "cells", "fraction": 0.5}}}
    facts = dict.fromkeys(
        ("accelerator", "commit", "date", "cpu", "cores", "ram_gib", "gensim", "python", "torch"), "1"
    )
    return {
        "benchmark": "quality",
        "config": "configs/screen.yaml",
        "overrides": [],
        "resolved": split,
        "seeds": [0],
        "summary": quality.scores_over_seeds([result]),
        "apart": {"conditions": ["A", "B"], "summary": quality.scores_over_seeds([apart])},
        "per_seed": [result],
        "provenance": {**facts, "command": "python benchmarks/quality.py"},
    }


def test_distances_of_those_apart_are_added_before_they_are_scored():
    found = report()
    # All: (4 + 2 + 1) - 1 = 6 are to be gained, of which 7 - 4 are. A and B: 6 - 1 = 5, of which 6 - 3.
    assert found["per_seed"][0]["scores"]["model"][DISTANCE][0] == pytest.approx(3 / 6)
    assert found["apart"]["summary"]["model"][DISTANCE]["mean"] == pytest.approx(3 / 5)
    assert found["per_seed"][0]["apart"]["values"]["model"][DISTANCE][0] == pytest.approx(1.5)
    assert found["per_seed"][0]["apart"]["n_conditions"] == 2


def test_those_apart_stand_below_all_in_both_tables():
    text = results_table.short_table([report()])
    assert "| `screen` | 50% of the cells of every condition | 3 | 1 |" in text
    apart = "| `screen`, 2 conditions apart | 50% of the cells of every condition; of A, B alone | 2 | 1 |"
    assert text.index("| `screen` |") < text.index(apart)
    long = results_table.long_tables([report()])
    assert long.count("Scores:") == 2
    assert long.index("| model | 0.500") < long.index("| model | 0.600")


def test_a_report_without_any_apart_is_shown_once():
    alone = {**report(), "apart": None}
    assert results_table.with_apart(alone) == [alone]


def test_a_condition_that_was_not_scored_is_named_with_those_that_were():
    with pytest.raises(SystemExit, match="--apart: Z not scored; scored are A, B, C"):
        quality.group_of(evaluation(), ["A", "Z"])
