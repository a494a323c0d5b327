"""Experimental error of effects: closed forms, samples drawn one by one, and what batches do."""

import numpy as np
import pytest
from scipy import sparse

from gensim.errors import NotComputable
from gensim.metrics import bootstrap_samples as module
from gensim.metrics.bootstrap_samples import Samples, draw_batches, in_words, weights_of_all, weights_of_draws
from gensim.metrics.experimental_error import experimental_error


def error_of(*cells, seed, within=False):
    return experimental_error(Samples.of(*cells, seed, seed + 1, within=within))


def test_without_batches_it_is_the_standard_error_of_a_difference_of_means():
    rng = np.random.default_rng(0)
    x, controls = rng.normal(1, 0.5, (400, 1000)), rng.normal(1, 2.0, (900, 1000))
    found = error_of(x, controls, None, None, seed=0)
    # Given the cells, E ||Delta' - Delta||² = sum_g s²_g(x) / n + s²_g(controls) / m, s² without Bessel's correction.
    # A length scatters as the sum of squares of its weights does, by about 1 / sqrt(2 * 900), and by 1 / sqrt(2 * 1000)
    # over genes: 3 %, of which its 0.9 quantile lies 1.3 times above.
    expected = np.sqrt(x.var(axis=0).sum() / 400 + controls.var(axis=0).sum() / 900)
    assert found.value == pytest.approx(1.04 * expected, rel=0.03)
    assert found.value > expected
    assert (found.n_batches, found.paired, found.reason) == (None, False, None)


def test_batches_of_equal_cells_leave_the_error_between_batches():
    """Every cell is its batch's mean, so cells add nothing; each side draws its own batches."""
    rng = np.random.default_rng(1)
    means, control_means = rng.normal(0, 1, (6, 3000)), rng.normal(0, 0.5, (4, 3000))
    batch, control_batch = np.repeat(np.arange(6), [2, 3, 4, 5, 6, 7]), np.repeat(np.arange(4), 5)
    found = error_of(means[batch], control_means[control_batch], batch, control_batch, seed=0)
    # A mean of B drawn of B batches: sum_g s²_g / B. Ten draws of batches, each with its own length: a wide quantile.
    typical = np.sqrt(means.var(axis=0).sum() / 6 + control_means.var(axis=0).sum() / 4)
    assert 0.7 * typical < found.value < 1.8 * typical
    assert (found.n_batches, found.paired) == (6, False)


def test_what_large_batches_do_to_both_sides_cancels():
    rng = np.random.default_rng(2)
    means, effect = rng.normal(0, 1, (5, 50)), rng.normal(0, 1, 50)
    batch, control_batch = np.repeat(np.arange(4), 100), np.repeat(np.arange(1, 5), 30)
    cells = means[batch] + effect, means[control_batch], batch, control_batch
    found = error_of(*cells, seed=0, within=True)
    assert found.value == pytest.approx(0, abs=1e-12), "batches 1 to 3 have both, and the same effect"
    assert (found.n_batches, found.paired) == (3, True)
    assert error_of(*cells, seed=0).value > 1
    apart = error_of(means[batch], means[control_batch], batch, control_batch + 9, seed=0, within=True)
    assert not apart.paired


def test_samples_drawn_one_by_one_have_the_same_error(monkeypatch):
    rng = np.random.default_rng(3)
    batch, control_batch = np.repeat([3, 7, 9], [8, 30, 5]), np.repeat([1, 3], [20, 12])
    x = rng.normal(batch[:, None] / 5, 1, (43, 400))
    controls = rng.normal(control_batch[:, None] / 5, 1, (32, 400))

    def mean_over_batches(cells, codes, drawn):
        means = []
        for b in drawn:
            of_batch = cells[codes == b]
            means.append(of_batch[rng.integers(0, len(of_batch), len(of_batch))].mean(axis=0))
        return np.mean(means, axis=0)

    delta = np.mean([x[batch == b].mean(axis=0) for b in (3, 7, 9)], axis=0)
    delta -= np.mean([controls[control_batch == b].mean(axis=0) for b in (1, 3)], axis=0)
    lengths = [
        np.linalg.norm(
            mean_over_batches(x, batch, rng.choice([3, 7, 9], 3))
            - mean_over_batches(controls, control_batch, rng.choice([1, 3], 2))
            - delta
        )
        for _ in range(2000)
    ]
    monkeypatch.setattr(module, "BATCH_DRAWS", 2000)
    monkeypatch.setattr(module, "CELL_DRAWS", 1)
    found = error_of(x, controls, batch, control_batch, seed=0).value
    # Batches are few, so lengths come in lumps; a quantile between two of them scatters by some percent.
    assert found == pytest.approx(np.quantile(lengths, 0.9), rel=0.04)


def test_weights_count_batches_alike_and_sum_to_what_was_drawn():
    batch = np.array([5, 5, 5, 2, 9, 9])
    rng = np.random.default_rng(4)
    drawn = draw_batches(batch, 4, "batches")
    assert drawn.shape == (10, 3)
    assert (drawn.sum(axis=1) == 3).all()
    weights = weights_of_draws(batch, drawn, rng)
    assert weights.shape == (100, 6)
    of_batch = np.stack([weights[:, batch == b].sum(axis=1) for b in (2, 5, 9)], axis=1)
    np.testing.assert_allclose(of_batch, np.repeat(drawn, 10, axis=0) / 3, atol=1e-12)
    np.testing.assert_allclose(weights_of_all(batch), [1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 6, 1 / 6])


def test_sparse_cells_have_the_same_error_and_a_seed_its_own():
    rng = np.random.default_rng(5)
    x, controls = (rng.poisson(0.3, (n, 30)).astype(np.float32) for n in (25, 40))
    dense = error_of(x, controls, None, None, seed=1).value
    assert error_of(sparse.csr_matrix(x), sparse.csr_matrix(controls), None, None, seed=1).value == (
        pytest.approx(dense, rel=1e-12)
    )
    assert error_of(x, controls, None, None, seed=2).value != dense


def test_a_single_cell_has_none_and_says_so():
    with pytest.raises(NotComputable, match="1 cells on a side cannot be resampled; at least 2 are needed"):
        Samples.of(np.ones((1, 4)), np.ones((5, 4)), None, None, 0, 1)


def test_conditions_of_a_context_share_controls_and_batches_but_no_cells():
    rng = np.random.default_rng(6)
    batch, control_batch = np.repeat([3, 7, 9], 12), np.repeat([1, 3, 9], 8)
    x, controls = rng.normal(size=(36, 2)), rng.normal(size=(24, 2))
    a, b = (Samples.of(x, controls, batch, control_batch, seed, 5) for seed in (0, 1))
    np.testing.assert_array_equal(a.controls.weights, b.controls.weights)
    assert not (a.cells.weights == b.cells.weights).all()
    drawn = [np.stack([s.cells.weights[:, batch == code].sum(axis=1) for code in (3, 7, 9)]) for s in (a, b)]
    np.testing.assert_allclose(*drawn)
    alike = Samples.of(x, controls, control_batch.repeat(2)[:36], control_batch, 0, 5)
    of_cells = [alike.cells.weights[:, control_batch.repeat(2)[:36] == code].sum(axis=1) for code in (1, 3, 9)]
    of_controls = [alike.controls.weights[:, control_batch == code].sum(axis=1) for code in (1, 3, 9)]
    assert not np.allclose(of_cells, of_controls), "sides that are not paired draw their own"
    same, other = (draw_batches(codes, 5, "batches") for codes in (np.repeat([3, 7, 9], 4), np.array([2, 7, 9])))
    np.testing.assert_array_equal(same, draw_batches(batch, 5, "batches"))
    assert (same != other).any(), "other batches are drawn by themselves"


def test_what_was_resampled_in_words():
    drawn = [(5, True), (None, False), (2, False), (3, True)]
    assert in_words(drawn, "small") == (
        "batches (2 to 5 per condition), then cells in them, were resampled; effects were taken batch by batch in 2 of "
        "4 conditions"
    )
    assert in_words([], "small") == "no condition has cells enough to be resampled"
