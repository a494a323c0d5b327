"""Condition vectors: tables, mean effects, codes, and the encoder that sums perturbations without order."""

import numpy as np
import pandas as pd
import pytest
import torch

from gensim.errors import DataError
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.encoder import ConditionEncoder
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.perturbations.measured import Likeness
from gensim.perturbations.penetrance import ALL_RESPOND
from gensim.perturbations.shrinkage import shrink_together
from gensim.perturbations.vectors import VectorTable, join_tables, one_hot_table, read_vector_table
from gensim.types import Condition

B, T = (("cell_type", "B"),), (("cell_type", "T"),)


def table() -> VectorTable:
    return VectorTable(("JAK2", "MYC", "STAT1"), np.array([[1, 0], [0, 2], [3, 3]], np.float32), "a test")


def codebook(effects: MeanEffects | None = None) -> Codebook:
    training = [Condition(("STAT1",), B), Condition(("JAK2", "MYC"), B), Condition(("MYC",), T)]
    effects = effects or MeanEffects(tuple(training), np.zeros((3, 4), np.float32))
    return Codebook.fit(training, ["cell_type"], ["rep_1", "rep_2"], table(), effects, ALL_RESPOND)


def encoder(book: Codebook) -> ConditionEncoder:
    return ConditionEncoder(book, 5, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
def test_tables_of_every_format_hold_the_same_vectors(tmp_path, suffix):
    path = tmp_path / f"vectors{suffix}"
    frame = pd.DataFrame(table().vectors, index=list(table().names), columns=["a", "b"])
    match suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".csv":
            frame.to_csv(path)
        case ".npz":
            np.savez(path, names=np.asarray(table().names, dtype=np.str_), vectors=table().vectors)
    found = read_vector_table(path)
    assert found.names == table().names
    np.testing.assert_array_equal(found.vectors, table().vectors)


def test_a_table_with_its_names_in_the_first_column(tmp_path):
    path = tmp_path / "vectors.parquet"
    pd.DataFrame({"gene": ["A", "B"], "x": [1.0, 2.0]}).to_parquet(path)
    assert read_vector_table(path).names == ("A", "B")


def test_bad_tables_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_vector_table(tmp_path / "nothing.csv")
    (tmp_path / "text.csv").write_text("gene,x,y\nA,1,high\n")
    with pytest.raises(DataError, match="not numeric: 'y'"):
        read_vector_table(tmp_path / "text.csv")
    (tmp_path / "twice.csv").write_text("gene,x\nA,1\nA,2\n")
    with pytest.raises(DataError, match="'A' more than once"):
        read_vector_table(tmp_path / "twice.csv")
    (tmp_path / "gap.csv").write_text("gene,x\nA,1\nB,\n")
    with pytest.raises(DataError, match="not finite for 'B'"):
        read_vector_table(tmp_path / "gap.csv")
    two = pd.MultiIndex.from_tuples([("A", "x"), ("B", "y")])
    pd.DataFrame({"f": [1.0, 2.0]}, index=two).to_parquet(tmp_path / "two.parquet")
    with pytest.raises(DataError, match="names of 2 parts; keep one column"):
        read_vector_table(tmp_path / "two.parquet")
    (tmp_path / "vectors.tsv").write_text("gene\tx\nA\t1\n")
    with pytest.raises(DataError, match=r"\.parquet, \.csv or \.npz"):
        read_vector_table(tmp_path / "vectors.tsv")


def test_an_npz_with_pickled_objects_is_refused(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, names=np.array(["A", None], dtype=object), vectors=np.zeros((2, 1)))
    with pytest.raises(DataError, match="cannot be read"):
        read_vector_table(path)


def test_up_to_ten_missing_names_are_listed():
    with pytest.raises(DataError, match=r"12 perturbations have no vector.*'G00'.*'G09' and 2 more"):
        table().require([f"G{i:02}" for i in range(12)] + ["MYC"])
    with pytest.raises(DataError, match=r"did you mean 'STAT1'\?"):
        codebook().encode([Condition(("STAT",), B)])


def test_one_hot_knows_training_perturbations_only():
    hot = one_hot_table(["MYC", "JAK2", "MYC"])
    assert hot.names == ("JAK2", "MYC")
    np.testing.assert_array_equal(hot.vectors, np.eye(2))
    with pytest.raises(DataError, match="one_hot"):
        hot.require(["STAT1"])


def test_the_order_of_a_combination_does_not_matter():
    one, other = Condition(("STAT1", "JAK2"), B), Condition(("JAK2", "STAT1"), B)
    assert one == other
    assert one.key == other.key
    model = encoder(codebook())
    torch.testing.assert_close(model(codebook().encode([one])), model(codebook().encode([other])), rtol=0, atol=0)


def test_a_combination_is_the_sum_of_its_members_whatever_stands_beside_it():
    """Padding to the longest combination of a batch must add nothing."""
    model, book = encoder(codebook()), codebook()
    conditions = [Condition(p, B) for p in [("STAT1",), ("JAK2",), ("JAK2", "STAT1")]]
    features = model(book.encode(conditions))[:, :5]
    torch.testing.assert_close(features[0] + features[1], features[2])
    torch.testing.assert_close(features[:1], model(book.encode(conditions[:1]))[:, :5])


def test_contexts_and_batches_without_training_cells_get_the_unknown_code():
    codes = codebook().encode([Condition(("MYC",), B), Condition(("MYC",), (("cell_type", "NK"),))])
    assert codes.contexts.tolist() == [[1], [0]]
    assert codebook().batch_codes(["rep_2", "rep_9", ""]).tolist() == [2, 0, 0]


def test_codebook_survives_saving(tmp_path):
    book = codebook()
    book.save(tmp_path)
    again = Codebook.load(tmp_path)
    conditions = [Condition(("JAK2", "MYC"), T)]
    assert again.contexts == book.contexts
    torch.testing.assert_close(again.encode(conditions).perturbations, book.encode(conditions).perturbations)


def test_mean_effects_are_differences_of_means_inside_a_context():
    """Controls of B are 1 and 3 (mean 2), of T 10; perturbed cells 7 and 5 (mean 6), and 11. The last is held out."""
    x = np.array([[1], [3], [10], [7], [5], [11], [1000]], np.float32)
    conditions = (Condition((), B), Condition((), T), Condition(("MYC",), B), Condition(("MYC",), T))
    condition_of = np.array([0, 0, 1, 2, 2, 3, 3])
    effects = fit_mean_effects(lambda rows: x[rows], condition_of, conditions, np.arange(6))
    assert effects.shift(Condition(("MYC",), B)).tolist() == [4.0]
    assert effects.shift(Condition(("MYC",), T)).tolist() == [1.0]


def test_shrinkage_by_hand():
    """Two controls at (±1, 0) and two perturbed cells at (3, ±1): delta (3, 0), variances of means (1, 0) and (0, 1).

    The factor is 1 - (1 + 1) / 9. With perturbed cells at (1, ±1) the noise, 2, is larger than |delta|² = 1.
    """
    conditions, condition_of = (Condition(()), Condition(("MYC",))), np.array([0, 0, 1, 1])
    for place, expected in [(3.0, 3 * (1 - 2 / 9)), (1.0, 0.0)]:
        x = np.array([[1, 0], [-1, 0], [place, 1], [place, -1]], np.float32)
        effects = fit_mean_effects(
            lambda rows, x=x: x[rows], condition_of, conditions, np.arange(4), shrink=shrink_together
        )
        np.testing.assert_allclose(effects.delta, [[expected, 0]], rtol=1e-6)


def test_variances_are_in_units_of_the_effects_behind_the_measured_ones():
    """As above: |delta|² is 9 and the noise in it 2, so that 7 is effect; a condition of nothing but noise has much."""
    conditions, condition_of = (Condition(()), Condition(("MYC",))), np.array([0, 0, 1, 1])
    x = np.array([[1, 0], [-1, 0], [3, 1], [3, -1]], np.float32)
    for shrink in (None, shrink_together):
        effects = fit_mean_effects(lambda rows: x[rows], condition_of, conditions, np.arange(4), shrink=shrink)
        assert effects.variances == {conditions[1]: pytest.approx(2 / 7)}
        assert effects.informed(Likeness()).variances == effects.variances
    x[2:, 0] = 1
    noisy = fit_mean_effects(lambda rows: x[rows], condition_of, conditions, np.arange(4))
    assert noisy.variances[conditions[1]] == pytest.approx(1000)


def test_doses_that_the_network_looks_at_are_those_of_training(tmp_path):
    """Lowest, geometric mean and highest, whatever effects are known later, and after saving."""
    training = [Condition(("MYC",), B, dose) for dose in (0.0, 1.0, 10.0, 100.0)]
    table = VectorTable(("MYC",), np.ones((1, 2), np.float32), "t")
    book = Codebook.fit(training, ["cell_type"], [], table, MeanEffects((), np.zeros((0, 4), np.float32)), ALL_RESPOND)
    assert book.half_doses == pytest.approx((1, 10, 100))
    assert book.typical_log_dose == pytest.approx(np.log1p(100))
    later = MeanEffects((Condition(("MYC",), B, 1e4),), np.zeros((1, 4), np.float32))
    assert book.knowing(later, Likeness()).half_doses == book.half_doses
    book.save(tmp_path)
    assert Codebook.load(tmp_path).half_doses == book.half_doses
    features = encoder(book)(book.encode([Condition(("MYC",), B, 10.0)]))
    np.testing.assert_allclose(features[0, 6:9].detach(), [10 / 11, 0.5, 10 / 110], rtol=1e-6)


def test_shrunk_effects_lie_nearer_to_the_truth():
    """Ten conditions in 20 dimensions with effects of size 0.5, measured on 15 cells each: mean squared errors."""
    rng = np.random.default_rng(0)
    truth = 0.5 * rng.normal(size=(10, 20)) / np.sqrt(20)
    x = np.concatenate([rng.normal(size=(300, 20)), *(t + rng.normal(size=(15, 20)) for t in truth)]).astype(np.float32)
    conditions = (Condition(()), *(Condition((f"G{i}",)) for i in range(10)))
    condition_of = np.concatenate([np.zeros(300, np.int64), np.repeat(np.arange(1, 11), 15)])
    plain, shrunk = (
        fit_mean_effects(lambda rows: x[rows], condition_of, conditions, np.arange(450), shrink=shrink).delta
        for shrink in (None, shrink_together)
    )
    assert np.square(shrunk - truth).sum() < 0.5 * np.square(plain - truth).sum()


def test_shift_takes_the_most_specific_knowledge():
    low, high = Condition(("A",), B, 1.0), Condition(("A",), B, 3.0)
    known = (low, high, Condition(("B",), B, 1.0), Condition(("C",), T, 1.0))
    effects = MeanEffects(known, np.array([[1], [3], [10], [100]], np.float32))
    shift = {c: effects.shift(c).tolist()[0] for c in [
        Condition((), B), low, Condition(("A",), B, 2.0), Condition(("A",), T, 1.0),
        Condition(("A", "B"), B, 1.0), Condition(("D",), B, 1.0), Condition(("D",), (("cell_type", "NK"),)),
    ]}  # fmt: skip
    assert shift[Condition((), B)] == 0  # control
    assert shift[low] == 1  # itself
    assert shift[Condition(("A",), B, 2.0)] == 2  # other doses, same context
    assert shift[Condition(("A",), T, 1.0)] == 1  # the same dose in another context
    assert shift[Condition(("A", "B"), B, 1.0)] == 11  # sum of its members
    assert shift[Condition(("D",), B, 1.0)] == pytest.approx(14 / 3)  # mean of the context
    assert shift[Condition(("D",), (("cell_type", "NK"),))] == pytest.approx(114 / 4)  # mean of all


def test_joined_tables_know_all_names_and_count_alike():
    """Rows at ±3 and at ±1, centred and scaled to mean squared length 1; each lacks a name of the other."""
    one = VectorTable(("a", "b"), np.array([[10.0], [4]], np.float32), "one")
    other = VectorTable(("b", "c"), np.array([[0, 1], [0, -1]], np.float32), "other")
    joined = join_tables([one, other])
    assert (joined.names, joined.widths, joined.source) == (("a", "b", "c"), (1, 2), "one, other")
    np.testing.assert_allclose(joined.vectors, [[1, 0, 0], [-1, 0, 1], [0, 0, -1]], atol=1e-6)
    assert [joined.vectors[:, part].shape for part in joined.parts] == [(3, 1), (3, 2)]
    assert join_tables([one]) is one


def test_elsewhere_is_what_the_other_contexts_tell():
    """MYC does 4 in B and 1 in T; JAK2, known in B alone, is expected to do in B what perturbations do in T."""
    known = (Condition(("MYC",), B), Condition(("MYC",), T), Condition(("JAK2",), B))
    effects = MeanEffects(known, np.array([[4.0] * 4, [1.0] * 4, [2.0] * 4], np.float32))
    codes = codebook(effects).encode([*known, Condition((), B)], elsewhere=True)
    assert codes.shift[:, 0].tolist() == [4, 1, 2, 0]
    assert codes.elsewhere[:, 0].tolist() == [1, 4, 1, 0]


def test_mean_effects_survive_saving(tmp_path):
    effects = MeanEffects((Condition(("A",), B, 0.5),), np.array([[1.5]], np.float32))
    effects.save(tmp_path / "effects.safetensors")
    again = MeanEffects.load(tmp_path / "effects.safetensors")
    assert again.conditions == effects.conditions
    np.testing.assert_array_equal(again.delta, effects.delta)
