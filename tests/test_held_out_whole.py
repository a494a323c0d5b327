"""Whole perturbations, combinations and doses: held out for the score, or held back for validation."""

import numpy as np
import pytest
from screens import adata_of, counts, screen_of

from gensim.config import SplitConfig, parse_config
from gensim.data.hold_out import FEWEST_FOR_VALIDATION
from gensim.data.splits import Role, make_split, role_counts
from gensim.errors import ConfigError, SplitError

CELLS = 12
GENES = [f"G{i:02d}" for i in range(12)]


def split_of(test: dict, **more: float) -> SplitConfig:
    return SplitConfig.model_validate({"test": test, **more})


def screen_with(tmp_path, labels, **columns):
    every = [label for label in ["control", *labels] for _ in range(CELLS)]
    obs = {name: [v for v in values for _ in range(CELLS)] for name, values in columns.items()}
    return screen_of(tmp_path, adata_of(every, counts(len(every), 6), **obs), **{f"{n}_column": n for n in columns})


def whole(screen, split, role) -> set[str]:
    """Labels of the perturbed conditions with all their cells in one role."""
    n = role_counts(screen, split)
    return {c.label for c, row in zip(screen.conditions, n, strict=True) if not c.is_control and row[role] == row.sum()}


def test_with_perturbations_held_out_validation_has_perturbations_of_its_own(tmp_path):
    """Of 12 perturbations 2 are held out; of the 10 left, 15 % is 2, and whatever holds one of them goes along."""
    screen = screen_with(tmp_path, [*GENES, "G02+G03", "G04+G05"])
    split = make_split(screen, split_of({"hold_out": "perturbations", "values": ["G00", "G01"]}), 0)
    assert whole(screen, split, Role.HELD_OUT) == {"G00", "G01"}
    validation = whole(screen, split, Role.VALIDATION)
    names = {label for label in validation if "+" not in label}
    assert len(names) == 2
    assert validation == {c.label for c in screen.conditions if set(c.perturbations) & names}
    n = role_counts(screen, split)
    training = {c.label for c, row in zip(screen.conditions, n, strict=True) if row[Role.TRAIN] == row.sum()}
    assert training == {c.label for c in screen.conditions if not c.is_control} - validation - {"G00", "G01"}
    (control,) = [row.tolist() for c, row in zip(screen.conditions, n, strict=True) if c.is_control]
    assert control == [5, 1, 6]


def test_validation_perturbations_are_drawn_by_seed(tmp_path):
    screen = screen_with(tmp_path, GENES)
    test = split_of({"hold_out": "perturbations", "values": ["G00"]})
    drawn = [whole(screen, make_split(screen, test, seed), Role.VALIDATION) for seed in (0, 0, *range(1, 6))]
    assert drawn[0] == drawn[1]
    assert len({tuple(sorted(names)) for names in drawn}) > 1


def test_of_few_perturbations_cells_validate_and_none_goes_whole(tmp_path):
    screen = screen_with(tmp_path, GENES[:FEWEST_FOR_VALIDATION])
    split = make_split(screen, split_of({"hold_out": "perturbations", "values": ["G00"]}), 0)
    assert whole(screen, split, Role.VALIDATION) == set()
    n = role_counts(screen, split)
    assert {tuple(row) for row in n.tolist()} == {(5, 1, 6), (0, 0, 12), (10, 2, 0)}


def test_combinations_whose_members_are_known_apart_validate(tmp_path):
    """With G00+x held out for all x, no validation combination may hold a member that nothing else has."""
    pairs = [f"{a}+{b}" for i, a in enumerate(GENES[:6]) for b in GENES[i + 1 : 6]]
    screen = screen_with(tmp_path, pairs)
    gone = [pair for pair in pairs if pair.startswith("G00")]
    split = make_split(screen, split_of({"hold_out": "combinations", "values": gone}, validation_fraction=0.3), 0)
    validation = whole(screen, split, Role.VALIDATION)
    assert len(validation) == 3
    assert not validation & set(gone)
    trained = {
        name for c in screen.conditions if c.label in set(pairs) - set(gone) - validation for name in c.perturbations
    }
    assert {name for label in validation for name in label.split("+")} <= trained


def test_a_member_that_nothing_else_has_keeps_its_combination_in_training(tmp_path):
    """Ten pairs of twenty genes, each gene in one pair alone, are left: none may validate, whichever is drawn."""
    pairs = [f"X{i}+Y{i}" for i in range(11)]
    screen = screen_with(tmp_path, pairs)
    split = make_split(screen, split_of({"hold_out": "combinations", "values": ["X0+Y0"]}), 0)
    assert whole(screen, split, Role.VALIDATION) == set()
    assert {
        c.label for c in screen.conditions if role_counts(screen, split)[screen.conditions.index(c)][Role.TRAIN]
    } == {
        "control",
        *pairs[1:],
    }


def crossed(contexts: int, perturbations: int) -> tuple[list[str], list[str]]:
    """Labels and lines of every perturbation in every context, with the lines of the controls first."""
    lines = [f"line {i:02d}" for i in range(contexts)]
    return lines, [line for line in lines for _ in range(perturbations)]


def screen_in_lines(tmp_path, lines, labels, of_labels):
    """Controls in every line, then the labels, each in the line beside it."""
    every = [*(("control", line) for line in lines), *zip(labels, of_labels, strict=True)]
    cells = [pair for pair in every for _ in range(CELLS)]
    obs = {"line": [line for _, line in cells]}
    adata = adata_of([label for label, _ in cells], counts(len(cells), 6), **obs)
    return screen_of(tmp_path, adata, context_columns=["line"])


def test_no_context_goes_whole(tmp_path):
    lines, of_labels = crossed(13, 2)
    screen = screen_in_lines(tmp_path, lines, ["A", "B"] * len(lines), of_labels)
    split = make_split(screen, split_of({"hold_out": "contexts", "column": "line", "values": [lines[0]]}), 0)
    assert whole(screen, split, Role.VALIDATION) == set()


@pytest.mark.parametrize(("perturbations", "expected"), [(4, 2), (3, 0)])
def test_with_pairs_held_out_validation_has_pairs_of_its_own(tmp_path, perturbations, expected):
    """Of 3 x 4 pairs one is held out; of the 11 left 15 % is 2. Of 3 x 3 there are too few left."""
    lines, of_labels = crossed(3, perturbations)
    labels = GENES[:perturbations] * 3
    screen = screen_in_lines(tmp_path, lines, labels, of_labels)
    for seed in range(5):
        gone = [{"context": lines[0], "perturbation": "G00"}]
        split = make_split(screen, split_of({"hold_out": "grid", "column": "line", "values": gone}), seed)
        assert len(whole(screen, split, Role.HELD_OUT)) == 1
        assert len(whole(screen, split, Role.VALIDATION)) == expected
        trained = whole(screen, split, Role.TRAIN) if expected else set()
        assert {label.split(" | ")[0] for label in trained} == (set(labels) if expected else set())


def test_doses_are_held_out_for_every_perturbation(tmp_path):
    labels = [g for g in GENES[:3] for _ in range(3)]
    screen = screen_with(tmp_path, labels, dose=[0.0, *[0.1, 1.0, 10.0] * 3])
    split = make_split(screen, split_of({"hold_out": "doses", "values": [1]}), 0)
    assert whole(screen, split, Role.HELD_OUT) == {f"{g} | dose 1" for g in GENES[:3]}
    drawn = make_split(screen, split_of({"hold_out": "doses", "fraction": 0.3}), 0)
    doses = {c.dose for c in screen.conditions if c.label in whole(screen, drawn, Role.HELD_OUT)}
    assert len(doses) == 1
    with pytest.raises(SplitError, match=r"no dose '2.0'.*it has '0.1', '1.0', '10.0'"):
        make_split(screen, split_of({"hold_out": "doses", "values": [2]}), 0)


def test_doses_need_a_dose_column():
    raw = {
        "run": "r",
        "data": {"path": "x", "scale": "counts"},
        "split": {"test": {"hold_out": "doses", "values": [1]}},
    }
    with pytest.raises(ConfigError, match=r"hold_out=doses needs data\.dose_column"):
        parse_config(raw, "c.yaml")
    assert np.isclose(parse_config({**raw, "data": {**raw["data"], "dose_column": "dose"}}, "c").split.test.values, 1)
