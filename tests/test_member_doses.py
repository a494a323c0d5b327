"""Members of a combination at doses of their own: one spelling, what is expected of them, and what the network sees."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from screens import adata_of, screen_of

from gensim.baselines.regressions import Regressed, preferred
from gensim.config import DataConfig, SplitConfig
from gensim.data.conditions import conditions_of, dose_column
from gensim.data.request import read_request
from gensim.data.screen import load_screen
from gensim.data.simulated_screen import SimulatedScreen
from gensim.data.splits import Role, make_split
from gensim.errors import DataError
from gensim.perturbations.choose_regression import Chosen, over_contexts, over_doses
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.courses import MeasuredCourses
from gensim.perturbations.dose_response import DoseResponse
from gensim.perturbations.encoder import ConditionEncoder
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness, MeasuredConditions, Predictor
from gensim.perturbations.novelty import MeasuredRange
from gensim.perturbations.penetrance import ALL_RESPOND
from gensim.perturbations.regression import Regression
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition

X, Y = (("line", "x"),), (("line", "y"),)
AB = ("A", "B")


def config(separator="+", **kwargs):
    return DataConfig(path="x", scale="counts", dose_column="dose", combination_separator=separator, **kwargs)


def read(labels, doses, **kwargs):
    obs = pd.DataFrame({"perturbation": labels, "dose": doses}, index=[f"c{i}" for i in range(len(labels))])
    conditions, codes = conditions_of(obs, config(**kwargs))
    return [conditions[k] for k in codes]


def test_a_dose_stays_with_its_perturbation():
    condition = Condition(("B", "A"), X, (1, 10))
    assert condition == Condition(AB, X, (10.0, 1.0))
    assert condition != Condition(AB, X, (1.0, 10.0))
    assert (condition.perturbations, condition.doses) == (AB, (10.0, 1.0))
    assert condition.members == [Condition(("A",), X, 10.0), Condition(("B",), X, 1.0)]
    assert condition.key == '[["A", "B"], [["line", "x"]], [10.0, 1.0]]'
    assert Condition.from_key(condition.key) == condition
    assert hash(Condition.from_key(condition.key)) == hash(condition)
    assert condition.label == "A+B | x | dose 10+1"


def test_there_is_one_form_of_every_condition():
    alike = Condition(AB, X, (0.5, 0.5), 2.0)
    assert alike == Condition(AB, X, 0.5, 2.0)
    assert alike.key == '[["A", "B"], [["line", "x"]], 0.5, 2.0]'
    assert Condition(("B", "A"), X, (3.0, 0.0)) == Condition(("B",), X, 3.0), "a member at dose 0 is not there"
    assert Condition(("C", "B", "A"), X, (3.0, 0.0, 1.0)) == Condition(("A", "C"), X, (1.0, 3.0))
    assert Condition(AB, X, (0.0, 0.0)) == Condition(AB, X, 0.0)
    assert Condition(AB, X, 1).key == Condition(AB, X, (1, 1)).key
    assert Condition(("A",), X, (2.0,)) == Condition(("A",), X, 2.0)
    assert Condition((), X, ()).key == Condition((), X).key
    assert [Condition(AB, X, dose).doses for dose in (None, 2.0)] == [(None, None), (2.0, 2.0)]


@pytest.mark.parametrize(
    ("dose", "message"),
    [
        ((1.0,), r"\('B', 'A'\) has 1 doses, \(1.0,\); give one number for all .* each of the 2"),
        ((1.0, 2.0, 3.0), "has 3 doses"),
        ((1.0, -1.0), "finite and not negative"),
        ((math.nan, 1.0), "finite and not negative"),
        ((math.inf, math.inf), "finite and not negative"),
        ((None, 1.0), "finite and not negative"),
        ([1.0, 10.0], r"dose \[1.0, 10.0\], a list; give one number .* or a tuple"),
    ],
)
def test_bad_doses_are_refused(dose, message):
    with pytest.raises(DataError, match=message):
        Condition(("B", "A"), X, dose)
    with pytest.raises(DataError, match="repeats"):
        Condition(("A", "A"), X, (0.0, 1.0))


@pytest.mark.parametrize(
    ("label", "dose", "names", "expected"),
    [
        ("B+A", "1+10", AB, (10.0, 1.0)),
        ("B+A", " 1 + 1e1 ", AB, (10.0, 1.0)),
        ("A+B", "1e+06+10", AB, (1e6, 10.0)),
        ("A+B", "1e+06", AB, 1e6),
        ("A+B", 0.5, AB, 0.5),
        ("A+B", "2+2", AB, 2.0),
        ("A+B", "0+10", ("B",), 10.0),
        ("A+control", "1+0", ("A",), 1.0),
        ("control+A", "0+1", ("A",), 1.0),
        ("A+control", "1+", ("A",), 1.0),
        ("A+control", "1e+06+nan", ("A",), 1e6),
        ("A+control", "1", ("A",), 1.0),
        ("B+control+A", "1+0+10", AB, (10.0, 1.0)),
        ("B+control+A", "1+10", AB, (10.0, 1.0)),
        ("control", "1+2+3", (), None),
        ("control+control", "0+0", (), None),
    ],
)
def test_text_has_a_dose_for_each_part_of_the_label(label, dose, names, expected):
    assert read([label, "C"], [dose, 3.0])[0] == Condition(names, (), expected)
    table = pd.DataFrame({"perturbation": [label], "dose": [dose], "n_cells": 1})
    assert read_request(table, config(), {}).conditions == (Condition(names, (), expected),)


def test_doses_are_joined_as_names_are(tmp_path):
    assert read(["B_A", "B_A"], ["1_10", "110"], separator="_") == [
        Condition(AB, (), (10.0, 1.0)), Condition(AB, (), 110.0),
    ]  # fmt: skip
    assert read(["B-A"], ["1e-05-10"], separator="-") == [Condition(AB, (), (10.0, 1e-5))]
    assert read(["B-A"], ["1e-05"], separator="-") == [Condition(AB, (), 1e-5)]
    assert read(["B.A"], [1.5], separator=".") == [Condition(AB, (), 1.5)]
    (tmp_path / "r.csv").write_text("perturbation,dose,n_cells\nB_A,1_10,5\n")
    assert read_request(tmp_path / "r.csv", config("_"), {}).conditions == (Condition(AB, (), (10.0, 1.0)),)


@pytest.mark.parametrize("dose", ["1+2+3", "1+", "1+-2", "1+nan", "1+inf", "1+1e999", "", "high", "1_2"])
def test_other_numbers_of_doses_name_the_cell_or_the_row(dose, tmp_path):
    with pytest.raises(DataError, match=r"2 perturbed cells, first 'c1' with .*one for each part of 'B\+A' joined by "):
        read(["A", "B+A", "B+A"], ["1", dose, dose])
    (tmp_path / "r.csv").write_text(f"perturbation,dose,n_cells\nA,1,5\nB+A,{dose},5\n")
    with pytest.raises(DataError, match=r"row 3: dose '.*' of 'B\+A' is not .*one for each part of 'B\+A' joined by"):
        read_request(tmp_path / "r.csv", config(), {})


@pytest.mark.parametrize(("label", "dose"), [("A", "1+2"), ("A+control", "1+2+3"), ("A", "1_0")])
def test_one_perturbation_has_one_dose(label, dose):
    with pytest.raises(DataError, match="1 perturbed cells, first 'c0'"):
        read([label], [dose])


def test_cells_are_read_one_by_one_or_all_at_once():
    rng = np.random.default_rng(0)
    labels = rng.choice(["A", "A+B", "B+A", "C+A+B", "control", "A+control"], 300).tolist()
    numbers = rng.choice(["0", "1", "2.5"], (300, 3)).tolist()
    doses = ["+".join(n[: label.count("+") + 1]) for label, n in zip(labels, numbers, strict=True)]
    found = read(labels, pd.Categorical(doses), context_columns=[])
    for condition, label, dose in zip(found, labels, doses, strict=True):
        given = [(n, float(d)) for n, d in zip(label.split("+"), dose.split("+"), strict=True) if n != "control"]
        assert condition == Condition(tuple(n for n, _ in given), (), tuple(d for _, d in given))


@pytest.mark.parametrize("separator", ["+", "_", "-", " & ", "|"])
def test_what_is_written_is_read_back(tmp_path, separator):
    conditions = [
        Condition(AB, (), (0.1, 1e20)), Condition(AB, (), (1e-7, 1 / 3)),
        Condition(("A", "B", "C"), (), (1.0, 10.0, 2.0)), Condition(AB, (), 1e-7), Condition(("C",), (), 0.5),
        Condition(AB, (), 0.0), Condition(()),
    ]  # fmt: skip
    for some in (conditions, conditions[3:]):
        labels = [separator.join(c.perturbations) or "control" for c in some]
        table = pd.DataFrame({"perturbation": labels, "dose": dose_column(some, separator)})
        assert (table["dose"].dtype == float) == (some is not conditions), "numbers stay numbers"
        table.to_csv(tmp_path / "obs.csv")
        for obs in (table, pd.read_csv(tmp_path / "obs.csv")):
            found, codes = conditions_of(obs, config(separator))
            assert [found[k] for k in codes] == some
    assert dose_column(conditions, "+")[2] == "1+10+2"


def test_doses_that_could_not_be_told_apart_are_not_written():
    with pytest.raises(DataError, match=r"cannot be told apart when joined by '\.'"):
        dose_column([Condition(AB, (), (1.0, 5.0))], ".")


def additive(*measured):
    """Effects with a coordinate per perturbation: the dose of A, ten times that of B."""
    delta = [[dict(zip(c.perturbations, c.doses, strict=True)).get(n, 0.0) for n in AB] for c in measured]
    return MeanEffects(tuple(measured), (np.array(delta) * [1, 10]).astype(np.float32))


SINGLE = [Condition((name,), context, dose) for name in AB for context in (X, Y) for dose in (1.0, 10.0)]


def test_members_are_expected_to_add_up_each_at_its_dose():
    effects = additive(*SINGLE, Condition(AB, X, 1.0), Condition(AB, Y, 10.0))
    assert effects.shift(Condition(AB, X, (1.0, 10.0))).tolist() == [1, 100]
    assert effects.shift(Condition(AB, X, (10.0, 1.0))).tolist() == [10, 10]
    assert effects.shift(Condition(AB, Y, (10.0, 1.0), None)).tolist() == [10, 10]
    # Between doses by the dose response of each member, and of the same combination for one dose of both.
    response = DoseResponse(3.0, 1.0, 1e3)
    knowing = effects.informed(Likeness(doses=response))
    parts = [knowing.shift(Condition((name,), X, dose)) for name, dose in (("A", 3.0), ("B", 5.0))]
    np.testing.assert_allclose(knowing.shift(Condition(AB, X, (3.0, 5.0))), np.sum(parts, axis=0), rtol=1e-6)


def test_the_same_doses_in_other_contexts_come_before_members():
    mixed = Condition(AB, Y, (1.0, 10.0))
    measured = MeasuredConditions([*SINGLE, mixed, Condition(AB, X, 1.0)])
    assert measured.weights(mixed) == {(8, True): 1.0}
    assert measured.weights(Condition(AB, X, (1.0, 10.0))) == {(8, True): 1.0}
    assert measured.weights(Condition(AB, X, (10.0, 1.0))) == {(1, True): 1.0, (4, True): 1.0}
    assert measured.like(Condition(AB, X, (1.0, 10.0))) == [9], "another dose of the same context"


def test_one_dose_of_both_is_not_read_from_doses_of_their_own():
    """Between the numbers alone; where there are none, from the members; where these are unknown too, from any."""
    mixed, here = Condition(AB, X, (1.0, 10.0)), [Condition(AB, X, dose) for dose in (1.0, 10.0)]
    likeness = Likeness(doses=DoseResponse(3.0, 1.0, 1e3))
    with_mixed = MeasuredConditions([*here, mixed], likeness).weights(Condition(AB, X, 3.0))
    assert with_mixed == MeasuredConditions(here, likeness).weights(Condition(AB, X, 3.0))
    assert {k for k, _ in with_mixed} == {0, 1}
    told = MeasuredConditions([*SINGLE, mixed], likeness).weights(Condition(AB, X, 10.0))
    assert told == {(1, True): 1.0, (5, True): 1.0}
    other = Condition(("C",), X, 1.0)
    for asked in (Condition(AB, X, 10.0), Condition(AB, X, (10.0, 1.0)), Condition(AB, Y, (10.0, 1.0))):
        rows = MeasuredConditions([mixed, Condition(AB, X, (2.0, 5.0)), other], likeness).weights(asked)
        assert rows == {(0, True): 0.5, (1, True): 0.5}


def test_what_was_measured_together_comes_before_vectors_of_its_members():
    """B was not measured alone; a vector tells of it, but not more than the same combination at other doses."""
    table = VectorTable(("A", "B", "C"), np.eye(3, dtype=np.float32), "a test")
    knowing = Likeness(perturbations=Predictor(Regression("mean", shrunk=True), table))
    conditions = [Condition((name,), X, 1.0) for name in "AC"] + [Condition(AB, X, (1.0, 5.0))]
    measured = MeasuredConditions(conditions, knowing)
    assert measured.weights(Condition(AB, X, (5.0, 1.0))) == {(2, True): 1.0}
    assert measured.weights(Condition(("B", "C"), X, (5.0, 1.0))) == pytest.approx({(0, True): 0.5, (1, True): 1.5})


def test_choices_take_doses_of_their_own_for_what_they_are():
    alone = [Condition(("A",), X, dose) for dose in (1.0, 3.0, 10.0)]
    mixed = [Condition(AB, X, (1.0, dose)) for dose in (3.0, 10.0)]
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(5, 4)).astype(np.float32)
    assert over_doses(MeanEffects((*alone, *mixed), delta)) == over_doses(MeanEffects(tuple(alone), delta[:3]))
    assert over_doses(MeanEffects(tuple(mixed), delta[:2])) is None
    contexts = VectorTable(tuple(Condition((), c).key for c in (X, Y)), np.eye(2, dtype=np.float32), "lines")
    pairs = [Condition(AB, c, (1.0, d)) for d in (2.0, 3.0, 4.0) for c in (X, Y)]
    effects = MeanEffects(tuple(pairs), np.repeat(rng.normal(size=(3, 4)), 2, axis=0).astype(np.float32))
    assert over_contexts(effects, contexts).unexplained < 0.1, "what one context shows of each, the other tells"


TABLE = VectorTable(("A", "B", "C"), np.array([[1, 0], [0, 2], [3, 3]], np.float32), "t")


def book_of(*conditions):
    effects = MeanEffects(conditions, np.zeros((len(conditions), 4), np.float32))
    return Codebook.fit(conditions, ["line"], ["r"], TABLE, effects, ALL_RESPOND)


def encoder(book, fusion="sum"):
    return ConditionEncoder(book, 4, torch.Generator().manual_seed(0), fusion)


ALIKE = [Condition(names, X, d) for names in (("A",), AB, ("A", "B", "C")) for d in (0.1, 0.7, 3.3, 10.0)]
MIXED = Condition(AB, X, (1.0, 10.0))


@pytest.mark.parametrize("fusion", ["sum", "deep_sets", "attention"])
def test_one_dose_is_seen_as_it_always_was(fusion):
    """Bit by bit, whatever stands beside it; where training has doses of their own the same numbers are drawn first."""
    plain, knowing = book_of(*ALIKE), book_of(*ALIKE, MIXED)
    assert (plain.member_doses, knowing.member_doses) == (False, True)
    model, other = encoder(plain, fusion), encoder(knowing, fusion)
    assert list(dict(other.state_dict())) == [*model.state_dict(), "of_doses.weight"]
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])
    codes = plain.encode([*ALIKE, Condition((), X)])
    dose = torch.tensor([c.dose for c in ALIKE] + [1.0])
    low, middle, high = plain.half_doses
    features = model(codes)
    expected = [torch.log1p(dose) / math.log1p(high), *(dose / (half + dose) for half in (low, middle, high))]
    assert torch.equal(features[:, 4:8], torch.stack(expected, dim=1))
    assert torch.equal(features[:4, 4:], model(plain.encode(ALIKE[:4]))[:, 4:])
    other.log_dose_unit, other.half_doses = model.log_dose_unit, model.half_doses
    assert torch.equal(features, other(codes))


def test_the_network_sees_which_member_has_which_dose(tmp_path):
    book = book_of(*ALIKE, MIXED)
    assert book.half_doses == pytest.approx((0.1, math.exp(np.log([0.1, 0.7, 3.3, 10] * 3 + [1, 10]).mean()), 10))
    model = encoder(book)
    swapped, triple = Condition(AB, X, (10.0, 1.0)), Condition(("A", "B", "C"), X, (1.0, 10.0, 1.0))
    codes = book.encode([MIXED, swapped, triple, Condition(("A",), X, 3.0), Condition((), X)])
    assert codes.dose.tolist() == [[1, 10, 1], [10, 1, 10], [1, 10, 1], [3, 3, 3], [1, 1, 1]]
    features = model(codes).detach()
    logs, middle = np.log1p([1, 10]), np.array([1, 10]) / (book.half_doses[1] + np.array([1, 10]))
    np.testing.assert_allclose(features[:2, 4], logs.mean() / math.log1p(10), rtol=1e-6)
    np.testing.assert_allclose(features[2, 4], (2 * logs[0] + logs[1]) / 3 / math.log1p(10), rtol=1e-6)
    np.testing.assert_allclose(features[:2, 6], middle.mean(), rtol=1e-6)
    a, b = model.vectors[1:3]
    term = model.of_doses((middle[1] - middle[0]) / 2 * (a - b)).detach()
    np.testing.assert_allclose(features[1, :4] - features[0, :4], 2 * term, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(features[:2, :4].mean(dim=0), model.project(a + b).detach(), rtol=1e-5)
    assert torch.equal(features[:, 4:][0], features[:, 4:][1])
    for k, condition in enumerate([MIXED, swapped, triple, Condition(("A",), X, 3.0)]):
        torch.testing.assert_close(model(book.encode([condition]))[0], features[k])
    book.save(tmp_path)
    assert Codebook.load(tmp_path).member_doses
    hidden = codes.hidden(torch.tensor([True, False, True, False, False]))
    assert hidden.dose.tolist() == [[1, 1, 1], [10, 1, 10], [1, 1, 1], [3, 3, 3], [1, 1, 1]]
    assert torch.equal(model(hidden)[0], model(hidden)[2])


@pytest.mark.parametrize(
    ("dose", "level", "reason"),
    [
        ((1.0, 5.0), "recombined", "apart"),
        ((5.0, 1.0), "measured", ""),
        ((1.0, 11.0), "far", "dose 11 of B is outside of 1 to 10"),
        ((0.5, 11.0), "far", "dose 0.5 of A, dose 11 of B is outside of 1 to 10"),
        (11.0, "far", "dose 11 is outside of 1 to 10"),
    ],
)
def test_a_member_beyond_all_doses_is_far(dose, level, reason):
    measured = [Condition(("A",), X, 1.0), Condition(("B",), X, 2.0), Condition(AB, X, (5.0, 1.0)),
                Condition(("A", "C"), X, (10.0, 2.0))]  # fmt: skip
    found = MeasuredRange(measured, Likeness()).novelty(Condition(AB, X, dose))
    assert found.level == level
    assert reason in "; ".join(found.reasons)


def test_a_mixture_of_what_was_not_measured_alone_is_as_far_as_its_members():
    vectors = VectorTable(("A", "B", "C", "D"), np.array([[0], [1], [1.5], [2.5]], np.float32), "t")
    measured = [Condition((name,), X, 1.0) for name in ("A", "C", "D")] + [Condition(AB, X, 1.0)]
    near = MeasuredRange(measured, Likeness(perturbations=Predictor(Regression("nearest"), vectors)))
    assert near.novelty(Condition(AB, X, (1.0, 0.9))).reasons[0] == "B was not measured alone (nearest: C)"


def test_a_condition_is_held_out_with_any_of_its_members_doses(tmp_path):
    labels, doses = ["control", "A", "A", "A+B", "A+B", "B+A"], ["", "1", "10", "1+10", "1+2", "1"]
    screen = screen_of(tmp_path, adata_of(np.repeat(labels, 10), dose=np.repeat(doses, 10)), dose_column="dose")
    split = make_split(screen, SplitConfig(test={"hold_out": "doses", "values": [10]}), 0)
    held_out = {screen.conditions[k].label for k in screen.condition_of[split.role == Role.HELD_OUT]}
    assert {label for label in held_out if label != "control"} == {"A | dose 10", "A+B | dose 1+10"}


EDGES = pd.DataFrame({"regulator": ["A", "B"], "target": ["T", "T"], "sign": [1, 1]})


def test_simulated_cells_follow_the_dose_of_each_member():
    """A and B have no regulator: each is at (1 - s(d)) of its level, whatever the other's dose."""
    screen = SimulatedScreen(0, edges=EDGES, half_dose=2.0)
    level = {dose: screen.steady_state(AB, "type_1", dose=dose) for dose in ((1.0, 4.0), (4.0, 1.0), 1.0, 4.0)}
    gene = {name: screen.genes.index(name) for name in AB}
    for dose in ((1.0, 4.0), (4.0, 1.0)):
        for name, of_member in zip(AB, dose, strict=True):
            assert level[dose][gene[name]] == level[of_member][gene[name]]
    assert level[1.0][gene["A"]] != level[4.0][gene["A"]]
    cells = {
        key: screen.population(names, "type_1", 20, dose=dose)
        for key, names, dose in [
            ("own", AB, (1.0, 4.0)), ("turned", ("B", "A"), (4.0, 1.0)), ("swapped", AB, (4.0, 1.0)),
            ("alike", AB, (4.0, 4.0)), ("one", AB, 4.0),
        ]
    }  # fmt: skip
    x = {key: of.X.toarray() for key, of in cells.items()}
    assert np.array_equal(x["own"], x["turned"])
    assert not np.array_equal(x["own"], x["swapped"])
    assert np.array_equal(x["alike"], x["one"])
    assert (set(cells["own"].obs["dose"]), set(cells["one"].obs["dose"])) == ({"1+4"}, {4.0})
    assert read(["A+B"], cells["own"].obs["dose"][:1].tolist()) == [Condition(AB, (), (1.0, 4.0))]
    assert screen.molecules(AB, "type_1", 3, dose=(1.0, 4.0)).shape == (3, len(screen.genes))
    with pytest.raises(DataError, match="has 3 doses"):
        screen.population(AB, "type_1", 5, dose=(1.0, 2.0, 3.0))


def test_files_whose_doses_are_numbers_join_those_whose_doses_are_text(tmp_path):
    paths = [str(tmp_path / f"{name}.h5ad") for name in "ab"]
    adata_of(["control", "A"], prefix="a", dose=[np.nan, 0.1]).write_h5ad(paths[0])
    adata_of(["A", "A+B"], prefix="b", dose=["0.1", "1+10"]).write_h5ad(paths[1])
    screen = load_screen(DataConfig(path=paths, scale="counts", dose_column="dose"))
    alone = Condition(("A",), (), 0.1)
    assert [screen.conditions[k] for k in screen.condition_of] == [
        Condition(()),
        alone,
        alone,
        Condition(AB, (), (1, 10)),
    ]


def test_members_at_doses_of_their_own_along_a_time_course():
    """Half way in time half of what was measured; where it was not, members, each beyond the development."""
    mixed = [Condition(AB, X, (1.0, 10.0), time) for time in (2.0, 4.0)]
    known = [Condition((), X, None, 4.0), *(Condition((n,), X, d, 4.0) for n in AB for d in (1.0, 10.0)), *mixed]
    measured = MeasuredCourses(known)
    assert measured.weights(Condition(AB, X, (1.0, 10.0), 3.0)) == {(5, True): 0.5, (6, True): 0.5}
    assert measured.weights(Condition(AB, X, (10.0, 1.0), 4.0)) == {(0, True): -1.0, (2, True): 1.0, (3, True): 1.0}


def test_which_regression_is_asked_of_a_mixture():
    """None where its members were measured in its context; that of contexts, or perturbations, where they were not."""
    effects = additive(*[c for c in SINGLE if c.context == X], Condition(AB, Y, 1.0), Condition(AB, Y, (1.0, 2.0)))
    rows = {"ridge": Regressed(effects, Chosen(None, None, None))}
    assert preferred(rows, Condition(AB, X, (1.0, 10.0))) is None
    assert preferred(rows, Condition(AB, Y, (1.0, 2.0))) is None
    for asked in (Condition(AB, X, (1.0, 2.0)), Condition(AB, Y, (1.0, 10.0)), Condition(("A", "C"), X, (1.0, 2.0))):
        assert preferred(rows, asked) == "ridge"
