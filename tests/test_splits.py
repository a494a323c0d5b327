"""Splits hold out what they say, leak nothing, and depend on nothing but seed, names and numbers of cells."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from screens import adata_of, counts, screen_of

from gensim.config import DataConfig, SplitConfig
from gensim.data.held_out import write_held_out
from gensim.data.screen import load_screen
from gensim.data.splits import Role, check_split, describe, make_split, read_used_cells, role_counts, write_split
from gensim.errors import ConfigError, DataError, SplitError
from gensim.types import Condition

LABELS = ["control", "A", "B", "C", "D", "A+B", "C+D"]
CELLS = 20
"""Of every label in each of two contexts, half of them in each of two batches."""


def config(**test):
    return SplitConfig.model_validate({"test": test} if test else {})


@pytest.fixture
def adata():
    labels = [label for label in LABELS for _ in range(2 * CELLS)]
    types = [cell_type for _ in LABELS for cell_type in "TB" for _ in range(CELLS)]
    batches = ["x", "y"] * (len(labels) // 2)
    return adata_of(labels, counts(len(labels), 6), cell_type=types, day=batches)


@pytest.fixture
def screen(tmp_path, adata):
    return screen_of(tmp_path, adata, context_columns=["cell_type"], batch_column="day")


def labels_in(screen, split, *roles):
    """Labels of perturbed conditions with a cell in one of the roles, read off the cells themselves."""
    rows = np.flatnonzero(np.isin(split.role, roles))
    return {screen.conditions[k].label for k in screen.condition_of[rows]} - {"control | T", "control | B"}


def test_shares_by_hand(screen):
    split = make_split(screen, config(), 0)
    # Of 20 cells 10 are held out; of the other 10, round(1.5) = 2 are for validation.
    np.testing.assert_array_equal(role_counts(screen, split), np.tile([8, 2, 10], (14, 1)))
    assert split.role.dtype == np.int8
    for k in range(14):
        for role, most in ((Role.TRAIN, 4), (Role.VALIDATION, 1), (Role.HELD_OUT, 5)):
            per_batch = np.bincount(screen.batch_of[(screen.condition_of == k) & (split.role == role)], minlength=2)
            assert abs(per_batch - most).max() <= 1


def test_conditions_of_one_size_draw_different_cells(screen):
    role = make_split(screen, config(), 0).role
    patterns = {tuple(role[screen.condition_of == k].tolist()) for k in range(14)}
    assert len(patterns) == 14


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1]), (4, [1, 1, 2]), (5, [2, 1, 2]), (100, [42, 8, 50])],
)
def test_few_cells_train_first_then_are_held_out_then_validate(tmp_path, n, expected):
    screen = screen_of(tmp_path, adata_of(["control"] * 10 + ["A"] * n + ["B"] * 10))
    split = make_split(screen, config(), 0)
    assert role_counts(screen, split)[screen.conditions.index(Condition(("A",)))].tolist() == expected


def test_whole_conditions_train_and_validate_only(screen):
    split = make_split(screen, config(hold_out="perturbations", values=["A"]), 0)
    by_label = dict(zip([c.label for c in screen.conditions], role_counts(screen, split).tolist(), strict=True))
    assert by_label["A | T"] == by_label["A+B | B"] == [0, 0, 20]
    assert by_label["B | T"] == [17, 3, 0]
    assert by_label["control | T"] == [8, 2, 10]


@pytest.mark.parametrize(
    ("test", "held_out"),
    [
        ({"hold_out": "perturbations", "values": ["A", "D"]}, {"A", "A+B", "D", "C+D"}),
        ({"hold_out": "combinations", "values": ["B+A"]}, {"A+B"}),
    ],
)
def test_listed_hold_outs(screen, test, held_out):
    split = make_split(screen, config(**test), 0)
    expected = {f"{label} | {context}" for label in held_out for context in "TB"}
    assert labels_in(screen, split, Role.HELD_OUT) == expected
    rest = {f"{label} | {c}" for label in LABELS[1:] for c in "TB"} - expected
    assert labels_in(screen, split, Role.TRAIN, Role.VALIDATION) == rest


def test_a_held_out_context_keeps_its_controls(screen):
    split = make_split(screen, config(hold_out="contexts", column="cell_type", values=["B"]), 0)
    assert labels_in(screen, split, Role.HELD_OUT) == {f"{label} | B" for label in LABELS[1:]}
    assert labels_in(screen, split, Role.TRAIN, Role.VALIDATION) == {f"{label} | T" for label in LABELS[1:]}
    control = screen.conditions.index(Condition((), (("cell_type", "B"),)))
    assert role_counts(screen, split)[control].tolist() == [8, 2, 10]


def test_listed_pairs_of_a_grid(screen):
    pairs = [{"context": "T", "perturbation": "B"}, {"context": "B", "perturbation": "B+A"}]
    split = make_split(screen, config(hold_out="grid", column="cell_type", values=pairs), 0)
    assert labels_in(screen, split, Role.HELD_OUT) == {"B | T", "A+B | B"}
    assert {"B | B", "A+B | T"} <= labels_in(screen, split, Role.TRAIN)


@pytest.mark.parametrize("seed", range(5))
def test_drawn_pairs_leave_every_perturbation_a_context(screen, seed):
    split = make_split(screen, config(hold_out="grid", column="cell_type", fraction=0.5), seed)
    held_out, used = labels_in(screen, split, Role.HELD_OUT), labels_in(screen, split, Role.TRAIN)
    assert len(held_out) == 6
    assert {label.split(" | ")[0] for label in used} == set(LABELS[1:])
    assert {label.split(" | ")[1] for label in used} == {"T", "B"}
    assert not held_out & used


@pytest.mark.parametrize("seed", range(6))
def test_only_a_pair_that_leaves_both_its_sides_is_drawn(tmp_path, seed):
    """T has only A, and only B has B; so (B, A) is the one pair that can go."""
    cells = adata_of(["control", "A", "control", "A", "B"] * 4, cell_type=["T", "T", "B", "B", "B"] * 4)
    screen = screen_of(tmp_path, cells, context_columns=["cell_type"])
    split = make_split(screen, config(hold_out="grid", column="cell_type", fraction=0.6), seed)
    assert labels_in(screen, split, Role.HELD_OUT) == {"A | B"}


@pytest.mark.parametrize(
    ("test", "n_labels"),
    [
        ({"hold_out": "perturbations", "fraction": 0.25}, None),
        ({"hold_out": "combinations", "fraction": 0.5}, 1),
        ({"hold_out": "contexts", "column": "cell_type", "fraction": 0.5}, 6),
    ],
)
def test_drawn_hold_outs(screen, test, n_labels):
    found = set()
    for seed in range(8):
        split = make_split(screen, config(**test), seed)
        held_out = labels_in(screen, split, Role.HELD_OUT)
        assert not held_out & labels_in(screen, split, Role.TRAIN, Role.VALIDATION)
        if n_labels is not None:
            assert len({label.split(" | ")[0] for label in held_out}) == n_labels
        found.add(frozenset(held_out))
    assert len(found) > 1, "the seed decides"


def test_a_held_out_perturbation_is_in_no_training_cell(screen):
    for seed in range(5):
        split = make_split(screen, config(hold_out="perturbations", fraction=0.25), seed)
        (name,) = split.definition["held_out_perturbations"]
        text = screen.obs["perturbation"].astype(str).to_numpy()[split.role != Role.HELD_OUT]
        assert not any(name in label.split("+") for label in text)


def test_same_seed_same_split_other_seed_other_split(screen):
    first, again, other = (make_split(screen, config(), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.role, again.role)
    assert first.digest == again.digest
    assert first.digest != other.digest
    assert (first.role != other.role).any()


def test_order_of_cells_and_other_conditions_do_not_matter(tmp_path, screen, adata):
    split = make_split(screen, config(), 0)
    order = np.random.default_rng(0).permutation(len(adata))
    settings = {"context_columns": ["cell_type"], "batch_column": "day"}
    shuffled = screen_of(tmp_path, adata[order].copy(), **settings)
    permuted = make_split(shuffled, config(), 0)
    np.testing.assert_array_equal(permuted.role, split.role[order])
    assert permuted.digest == split.digest
    some = np.flatnonzero(adata.obs["perturbation"].isin(["control", "B", "C+D"]))
    fewer = screen_of(tmp_path, adata[some].copy(), **settings)
    np.testing.assert_array_equal(make_split(fewer, config(), 0).role, split.role[some])


@pytest.mark.parametrize(
    ("test", "error", "words"),
    [
        ({"hold_out": "perturbations"}, ConfigError, "either values or fraction"),
        ({"hold_out": "perturbations", "values": ["A"], "fraction": 0.5}, ConfigError, "either values or fraction"),
        ({"hold_out": "perturbations", "values": []}, SplitError, "values is empty"),
        ({"hold_out": "perturbations", "values": ["AA"]}, SplitError, "no perturbation 'AA' (did you mean 'A'?)"),
        ({"hold_out": "combinations", "values": ["A+C"]}, SplitError, "no combination 'A+C' (did you mean"),
        ({"hold_out": "contexts", "column": "cell_type", "values": ["Q"]}, SplitError, "it has 'B', 'T'"),
        ({"hold_out": "contexts", "column": "donor", "values": ["Q"]}, ConfigError, "its contexts are 'cell_type'"),
        (
            {"hold_out": "grid", "column": "cell_type", "values": [{"context": "T", "perturbation": "E"}]},
            SplitError,
            "'T: E'",
        ),
        ({"hold_out": "grid", "column": "cell_type", "values": [{"context": "T"}]}, ConfigError, "context and a pert"),
        ({"hold_out": "perturbations", "values": list("ABCD")}, SplitError, "no perturbed cell to training"),
    ],
)
def test_impossible_hold_outs_are_refused(screen, test, error, words):
    with pytest.raises(error) as caught:
        make_split(screen, config(**test), 0)
    assert words in str(caught.value)


def test_hold_outs_that_the_screen_cannot_give(tmp_path):
    plain = screen_of(tmp_path, adata_of(["control"] * 4 + ["A"] * 4 + ["B"] * 4))
    with pytest.raises(SplitError, match="no label of the screen joins two perturbations by '\\+'"):
        make_split(plain, config(hold_out="combinations", fraction=0.5), 0)
    single = screen_of(tmp_path, adata_of(["control"] * 4 + ["A", "B"]))
    with pytest.raises(SplitError, match="holds out no perturbed cell"):
        make_split(single, config(), 0)
    lonely = adata_of(["control", "A", "A", "B", "B"], cell_type=["T", "T", "T", "B", "B"])
    screen = screen_of(tmp_path, lonely, context_columns=["cell_type"])
    with pytest.raises(SplitError, match=r"1 held-out conditions have no control cells in their context: 'B \| B'"):
        make_split(screen, config(hold_out="perturbations", values=["B"]), 0)
    with pytest.raises(SplitError, match="no pair can go"):
        make_split(screen, config(hold_out="grid", column="cell_type", fraction=0.5), 0)


def test_leaks_are_searched(screen):
    split = make_split(screen, config(hold_out="perturbations", values=["A"]), 0)
    for label, role in (("A", Role.TRAIN), ("A+B", Role.VALIDATION)):
        leaking = split.role.copy()
        leaking[np.flatnonzero(screen.obs["perturbation"] == label)[0]] = role
        with pytest.raises(SplitError, match="held-out conditions have cells in training"):
            check_split(screen, replace(split, role=leaking))
        unnamed = split.definition | {"held_out_conditions": []}
        with pytest.raises(SplitError, match="held-out perturbations occur in training or validation: 'A'"):
            check_split(screen, replace(split, role=leaking, definition=unnamed))
    with pytest.raises(SplitError, match="279 cells and the screen 280"):
        check_split(screen, replace(split, role=split.role[:-1]))


def test_description(screen):
    table = [line.split() for line in describe(screen, make_split(screen, config(), 0)).splitlines()]
    assert table[1] == ["train", "112", "16", "96", "12"]
    assert table[2] == ["validation", "28", "4", "24", "12"]
    assert table[3] == ["held", "out", "140", "20", "120", "12"]
    text = describe(screen, make_split(screen, config(hold_out="combinations", values=["A+B"]), 0))
    assert "seen conditions: 0; unseen: 2; cells in both: 0" in text
    assert "seen conditions: 12; unseen: 0; cells in both: 0" in describe(screen, make_split(screen, config(), 0))


def test_written_split_says_the_role_of_every_cell(tmp_path, screen):
    split = make_split(screen, config(hold_out="perturbations", values=["A"]), 3)
    write_split(tmp_path / "run", screen, split)
    content = json.loads((tmp_path / "run" / "split.json").read_text())
    assert (content["seed"], content["digest"], content["definition"]) == (3, split.digest, split.definition)
    (counts_of_a,) = [row for row in content["cells_per_condition"] if row["condition"] == "A | T"]
    assert (counts_of_a["train"], counts_of_a["validation"], counts_of_a["held_out"]) == (0, 0, 20)
    table = pd.read_parquet(tmp_path / "run" / "split_cells.parquet")
    assert table["cell"].tolist() == screen.cells.tolist()
    assert table["role"].tolist() == [Role(role).name.lower() for role in split.role]


def test_used_cells_are_those_of_training_and_validation(tmp_path, screen):
    split = make_split(screen, config(), 0)
    write_split(tmp_path, screen, split)
    assert read_used_cells(tmp_path) == set(screen.cells[split.role != Role.HELD_OUT].tolist())
    with pytest.raises(SplitError, match="cannot be read"):
        read_used_cells(tmp_path / "nowhere")


@pytest.mark.parametrize("scale", ["counts", "log1p_cp10k"])
def test_held_out_file_is_a_screen_of_the_held_out_cells(tmp_path, adata, scale):
    if scale == "log1p_cp10k":
        adata.X = adata.X.multiply(1e4 / adata.X.sum(axis=1)).log1p().tocsr().astype(np.float32)
    full = screen_of(tmp_path, adata, context_columns=["cell_type"], batch_column="day", scale=scale)
    split = make_split(full, config(hold_out="perturbations", values=["A"]), 0)
    rows, path = split.rows(Role.HELD_OUT), tmp_path / "held_out.h5ad"
    # One gene is left, so that some cells have no counts, which their library size explains.
    for screen in (full, full.select_genes(np.array([0]))):
        data = DataConfig(path=str(path), scale=scale, context_columns=["cell_type"], batch_column="day")
        write_held_out(path, screen, split, data)
        back = load_screen(data)
        assert back.cells.tolist() == screen.cells[rows].tolist()
        assert back.genes == screen.genes
        np.testing.assert_array_equal(back.x.toarray(), screen.x.toarray()[rows])
        np.testing.assert_array_equal(back.library_size, screen.library_size[rows])
        assert [back.conditions[k] for k in back.condition_of] == [
            screen.conditions[k] for k in screen.condition_of[rows]
        ]
        np.testing.assert_array_equal(back.log1p_cp10k().toarray(), screen.log1p_cp10k(rows).toarray())
    assert [p.name for p in tmp_path.glob(".*")] == []
    (other,) = {"counts", "log1p_cp10k"} - {scale}
    with pytest.raises(DataError, match=f"says that it holds {scale}"):
        load_screen(data.model_copy(update={"scale": other}))
