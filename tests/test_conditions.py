"""Labels and columns become conditions whose order, spelling and storage do not matter."""

import numpy as np
import pandas as pd
import pytest

from gensim.config import DataConfig
from gensim.data.conditions import conditions_of, parse_perturbation
from gensim.errors import DataError
from gensim.types import Condition


def config(**kwargs):
    return DataConfig(path="x.h5ad", scale="counts", **kwargs)


def obs_of(**columns):
    table = pd.DataFrame(columns)
    table.index = [f"c{i}" for i in range(len(table))]
    return table


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A", ("A",)),
        ("B+A", ("A", "B")),
        ("A + B", ("A", "B")),
        ("A+ctrl", ("A",)),
        ("ctrl+A", ("A",)),
        ("ctrl", ()),
        ("ctrl+ctrl", ()),
    ],
)
def test_labels(text, names):
    assert parse_perturbation(text, "ctrl", "+") == names


def test_a_control_label_may_contain_the_separator():
    assert parse_perturbation("non-targeting", "non-targeting", "-") == ()


@pytest.mark.parametrize(("text", "word"), [("A+", "empty name"), ("+", "empty name"), ("A+A", "repeats")])
def test_bad_labels(text, word):
    with pytest.raises(DataError, match=word):
        parse_perturbation(text, "ctrl", "+")


def test_conditions_by_hand():
    obs = obs_of(
        perturbation=["A+B", "control", "B+A", "A", "control"],
        cell_type=["T", "T", "T", "B", "B"],
        dose=[0.1, 7.0, 0.1, 2.0, np.nan],
    )
    conditions, codes = conditions_of(obs, config(context_columns=["cell_type"], dose_column="dose"))
    of_cell = [conditions[code] for code in codes]
    assert of_cell == [
        Condition(("A", "B"), (("cell_type", "T"),), 0.1),
        Condition((), (("cell_type", "T"),)),
        Condition(("A", "B"), (("cell_type", "T"),), 0.1),
        Condition(("A",), (("cell_type", "B"),), 2.0),
        Condition((), (("cell_type", "B"),)),
    ]
    assert [c.key for c in conditions] == sorted(c.key for c in conditions)
    assert codes.dtype == np.int64
    assert len(conditions) == 4


def test_order_of_cells_and_storage_do_not_matter():
    rng = np.random.default_rng(0)
    obs = obs_of(
        perturbation=rng.choice(["A", "B", "A+B", "control"], 200),
        cell_type=rng.choice(["T", "B"], 200),
        donor=rng.choice([1, 2, 3], 200),
        dose=rng.choice([0.1, 1.0], 200),
    )
    settings = config(context_columns=["cell_type", "donor"], dose_column="dose")
    conditions, codes = conditions_of(obs, settings)
    # Oracle: one cell at a time.
    for i in range(200):
        row = obs.iloc[i]
        names = () if row["perturbation"] == "control" else tuple(row["perturbation"].split("+"))
        context = (("cell_type", row["cell_type"]), ("donor", str(row["donor"])))
        assert conditions[codes[i]] == Condition(names, context, row["dose"] if names else None)
    order = rng.permutation(200)
    other = obs.iloc[order].astype({"perturbation": "category", "dose": np.float32, "donor": "category"})
    conditions_2, codes_2 = conditions_of(other, settings)
    assert conditions_2 == conditions
    np.testing.assert_array_equal(codes_2, codes[order])


def test_missing_column_names_the_nearest():
    with pytest.raises(DataError, match=r"no column 'perturbation' .*'perturbations'"):
        conditions_of(obs_of(perturbations=["A"]), config())


@pytest.mark.parametrize("gap", [None, np.nan, "", "  "])
def test_gaps_are_counted_and_the_first_cell_named(gap):
    with pytest.raises(DataError, match="missing or empty in 2 cells, first 'c1'"):
        conditions_of(obs_of(perturbation=["A", gap, "B", gap]), config())


@pytest.mark.parametrize("dose", [np.nan, -1.0, "high", np.inf])
def test_a_perturbed_cell_needs_a_dose(dose):
    obs = obs_of(perturbation=["control", "A", "A"], dose=["none", 1.0, dose])
    with pytest.raises(DataError, match="1 perturbed cells, first 'c2'"):
        conditions_of(obs, config(dose_column="dose"))


def test_doses_may_be_categorical_text():
    obs = obs_of(perturbation=["A", "A"], dose=pd.Categorical(["0.5", "10"]))
    conditions, codes = conditions_of(obs, config(dose_column="dose"))
    assert [conditions[code].dose for code in codes] == [0.5, 10.0]
