"""Summed counts, the noise of their profiles, and the ratio of errors made of them: by hand and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from gensim.data.cell_source import ArrayCells
from gensim.errors import NotComputable
from gensim.evaluate import EvaluationInputs, evaluate
from gensim.metrics.bulk_profiles import bulk, noisy_bulk
from gensim.metrics.catalogue import choose
from gensim.metrics.comparison import Side
from gensim.metrics.expression_error import mse_ratio_2026
from gensim.metrics.panel import Panel
from gensim.metrics.space import MetricSpace
from gensim.types import Condition

NONE = np.empty(0, dtype=np.int64)


def cells_of(counts):
    """log1p CP10k and library sizes."""
    counts = np.asarray(counts, dtype=np.float64)
    size = counts.sum(axis=1)
    return np.log1p(1e4 * counts / size[:, None]).astype(np.float32), size.astype(np.float32)


def test_bulk_by_hand():
    x, size = cells_of([[6, 2], [1, 1]])
    # Counts 7 and 3 of 10; where cells weigh alike, shares .75 and .5 average to .625.
    np.testing.assert_allclose(bulk(x, size), np.log1p([35_000.0, 15_000.0]), rtol=1e-6)
    np.testing.assert_allclose(bulk(x, None), np.log1p([31_250.0, 18_750.0]), rtol=1e-6)
    np.testing.assert_array_equal(bulk(x[:0], size[:0]), [0, 0])
    # Moved below 0 a cell takes from what another has, so that a mean effect stays one; a sum ends at 0.
    moved = np.log1p([[3.0, 3.0], [-0.5, -0.9], [-0.5, -0.9]])
    np.testing.assert_allclose(bulk(moved, None), np.log1p(5e4 * np.array([2.0, 1.2]) / 3.2))
    np.testing.assert_array_equal(bulk(moved[1:], None), [0, 0])


def test_noise_by_hand():
    x, size = cells_of([[6, 2], [1, 1], [2, 2]])
    profile = noisy_bulk(x, size)
    np.testing.assert_allclose(profile[:2], np.log1p([5e4 * 9 / 14, 5e4 * 5 / 14]), rtol=1e-6)
    # Without the first cell 3 and 3 are left, without the second 8 and 4, without the third 7 and 3.
    left = np.log1p(5e4 * np.array([[1 / 2, 1 / 2], [2 / 3, 1 / 3], [7 / 10, 3 / 10]]))
    expected = 2 / 3 * np.square(left - left.mean(axis=0)).sum()
    assert profile[2] == pytest.approx(expected, rel=1e-6)
    assert noisy_bulk(x[:1], size[:1])[2] == 0, "one cell says nothing of its noise"


def test_a_cell_that_has_all_counts_leaves_a_profile_of_nothing():
    x, size = np.log1p([[1e4 * 0.3, 1e4 * 0.7], [0, 0]]).astype(np.float32), np.array([10, 1], np.float32)
    # Without the first cell nothing is left, without the second everything.
    whole = np.log1p([5e4 * 0.3, 5e4 * 0.7])
    assert noisy_bulk(x, size)[2] == pytest.approx(1 / 2 * 2 * np.square(whole / 2).sum(), rel=1e-6)


def test_the_shift_holds_cells_and_controls_each_counted_by_their_own_library_sizes():
    (x, size), (controls, control_size) = cells_of([[6, 2], [1, 1], [2, 2]]), cells_of([[9, 1], [1, 3]])
    found = Side(x, x, controls.mean(axis=0), controls, size, control_size).noisy_shift
    np.testing.assert_array_equal(found, [*noisy_bulk(x, size), *noisy_bulk(controls, control_size)])
    np.testing.assert_allclose(found[3:5], np.log1p(5e4 * np.array([10, 4]) / 14), rtol=1e-6)


def test_noise_is_what_sampling_adds_to_a_squared_distance():
    """E ||b_1 - b_2||^2 = C_1 + C_2 of two samples of one population."""
    rng = np.random.default_rng(0)
    rate, distances, noise = rng.gamma(1.0, 4.0, 400), [], []
    for _ in range(40):
        depth = rng.lognormal(0, 0.4, (2, 60, 1))
        pair = [noisy_bulk(*cells_of(rng.poisson(depth[i] * rate) + (np.arange(400) == 0))) for i in range(2)]
        distances.append(np.square(pair[0][:-1] - pair[1][:-1]).sum())
        noise.append(pair[0][-1] + pair[1][-1])
    # 40 sums of 400 squares: a standard error of about 2 %; the jackknife is some percent high in shallow genes.
    assert np.mean(noise) == pytest.approx(np.mean(distances), rel=0.08)


def panel(real, noise, control, control_noise, predicted, own_noise, targets=None, contexts=None):
    """From (K, G) profiles and (K,) noises."""
    n = len(real)
    parts = (np.array(real), np.array(noise)[:, None], np.array(control), np.array(control_noise)[:, None])
    of_predicted = np.hstack([np.array(predicted), np.array(own_noise)[:, None]])
    return Panel(np.hstack(parts), of_predicted, targets or [NONE] * n, contexts or ())


REAL = [[1.0, 2.0], [4.0, 0.0]]
CONTROL = [[0.0, 0.0], [0.0, 0.0]]


def test_ratio_by_hand():
    # D: (1 + 4 - .5 - .1) / 2 and (16 - .5 - .1) / 2. N: (4 + 0 - .3 - .5) / 2, the claim .3 being below the real
    # cells' .5, and (1 + 4 - .5 - .5) / 2, the claim .9 being capped. Profiles spread by more than that, so rho is 1.
    found = mse_ratio_2026(panel(REAL, [0.5, 0.5], CONTROL, [0.1, 0.1], [[3.0, 2.0], [5.0, 2.0]], [0.3, 0.9]))
    assert found == pytest.approx((1.6 + 2.0) / (2.2 + 7.7))


def test_genes_that_a_condition_perturbs_are_left_out_of_everything_but_noise():
    targets = [np.array([0]), NONE]
    made = panel(REAL, [0.5, 0.5], CONTROL, [0.1, 0.1], [[9.0, 2.0], [5.0, 2.0]], [0.3, 0.9], targets)
    # Condition 0 has one gene: D = 4 - .6. The profiles' spread is that of gene 1, which is none: no claim counts.
    assert mse_ratio_2026(made) == pytest.approx((0 - 0.5 + (1 + 4 - 0.5) / 2) / (3.4 + 7.7))


def test_claims_end_at_the_spread_of_the_predicted_profiles():
    same = [[3.0, 2.0], [3.0, 2.0]]
    # N without credit: (4 - .5) / 2 and (1 + 4 - .5) / 2.
    found = mse_ratio_2026(panel(REAL, [0.5, 0.5], CONTROL, [0.1, 0.1], same, [0.3, 0.9]))
    assert found == pytest.approx((1.75 + 2.25) / 9.9)
    # Spread (.1² + .1²) / 2 = .01 of a claim of (.3 + .5) / 2: so much is credited.
    near = [[3.1, 2.0], [2.9, 2.0]]
    found = mse_ratio_2026(panel(REAL, [0.5, 0.5], CONTROL, [0.1, 0.1], near, [0.3, 0.9]))
    assert found == pytest.approx(((2.1**2 - 0.5) / 2 + (1.1**2 + 4 - 0.5) / 2 - 0.01) / 9.9)
    # What tells contexts apart is no spread over conditions.
    far = panel(REAL, [0.5, 0.5], CONTROL, [0.1, 0.1], [[3.0, 2.0], [9.0, 2.0]], [0.3, 0.9], contexts=["c", "d"])
    assert mse_ratio_2026(far) == pytest.approx(((4 - 0.5) / 2 + (25 + 4 - 0.5) / 2) / 9.9)


def test_effects_within_noise_have_no_ratio():
    with pytest.raises(NotComputable, match="no more than sampling noise"):
        mse_ratio_2026(panel(REAL, [11.0, 11.0], CONTROL, [0.0, 0.0], REAL, [0.0, 0.0]))
    with pytest.raises(NotComputable, match="no more than sampling noise"):
        mse_ratio_2026(panel(REAL, [0.0, 0.0], REAL, [0.0, 0.0], REAL, [0.0, 0.0]))


def test_fresh_cells_of_the_truth_have_none_and_of_the_controls_one():
    rng = np.random.default_rng(1)
    rate = rng.gamma(1.0, 5.0, 300)
    effects = rng.lognormal(0, 0.5, (12, 300))

    def noisy(rates):
        return noisy_bulk(*cells_of(rng.poisson(rates, (80, 300)) + 1))

    real = np.stack([np.concatenate([noisy(rate * effect), noisy(rate)]) for effect in effects])
    for rates, expected in ((rate * effects, 0.0), (np.tile(rate, (12, 1)), 1.0)):
        made = Panel(real, np.stack([noisy(r) for r in rates]), [NONE] * 12)
        # A panel of 12 spreads by a twelfth less than its noise, which is about a tenth of the distance here.
        assert mse_ratio_2026(made) == pytest.approx(expected, abs=0.02)


CONTROL_OF = {name: Condition((), (("line", name),)) for name in "ab"}
CONDITIONS = [Condition((p,), (("line", name),)) for name in "ab" for p in ("P", "Q", "R")]


def source(rng, rates, conditions, n):
    """Poisson counts of cells whose depth varies."""
    depth = rng.lognormal(0, 0.5, (len(conditions) * n, 1))
    x, size = cells_of(rng.poisson(depth * np.repeat(rates, n, axis=0)) + (np.arange(40) == 39))
    genes = tuple(f"G{i}" for i in range(40))
    return ArrayCells(genes, tuple(conditions), np.repeat(np.arange(len(conditions)), n), x, size)


@pytest.fixture(scope="module")
def two_lines():
    """Three perturbations in two lines, predicted as they are."""
    rng = np.random.default_rng(4)
    base = {name: rng.gamma(1.0, 5.0, 40) for name in "ab"}
    before = np.stack([base[dict(c.context)["line"]] for c in CONDITIONS])
    after = before * rng.lognormal(0, 0.5, before.shape)
    truth, prediction = source(rng, after, CONDITIONS, 120), source(rng, after, CONDITIONS, 60)
    controls = source(rng, np.stack(list(base.values())), list(CONTROL_OF.values()), 150)
    return EvaluationInputs(prediction, truth, controls, MetricSpace.fit(sparse.csr_matrix(truth.x), truth.genes, n=4))


def ratios(inputs):
    return evaluate(inputs, n_repeats=2, metrics=choose(["mse_ratio_2026"])).group("all").averages


def test_an_evaluation_has_one_ratio_of_all_conditions(two_lines):
    found = ratios(two_lines)
    assert found["model", "mse_ratio_2026"].n == 6
    assert found["model", "mse_ratio_2026"].value == pytest.approx(0.0, abs=0.02)
    assert found["replicate", "mse_ratio_2026"].value == pytest.approx(0.0, abs=0.02)
    assert found["no_change", "mse_ratio_2026"].value == pytest.approx(1.0, abs=0.1)


def test_without_counts_on_one_side_there_is_no_ratio(two_lines):
    for side in ("prediction", "truth", "controls"):
        logs = replace(getattr(two_lines, side), library_size=None)
        found = ratios(replace(two_lines, **{side: logs}))
        for row in ("model", "replicate", "no_change"):
            assert "data.scale=counts" in found[row, "mse_ratio_2026"].reason


def test_a_screen_without_effects_has_no_ratio(two_lines):
    rng = np.random.default_rng(5)
    rates = {name: rng.gamma(1.0, 5.0, 40) for name in "ab"}
    truth = source(rng, np.stack([rates[dict(c.context)["line"]] for c in CONDITIONS]), CONDITIONS, 60)
    controls = source(rng, np.stack(list(rates.values())), list(CONTROL_OF.values()), 150)
    found = ratios(replace(two_lines, truth=truth, controls=controls))
    assert "no more than sampling noise" in found["model", "mse_ratio_2026"].reason


def test_every_cell_is_counted_by_its_own_library_size(two_lines):
    sources = (two_lines.truth, two_lines.prediction, two_lines.controls)
    size_of = {x.tobytes(): size for of in sources for x, size in zip(of.x, of.library_size.tolist(), strict=True)}
    sides = []
    (asked,) = choose(["l2_delta"])
    remember = replace(asked, function=lambda compared: sides.extend([compared.real, compared.predicted]) or 0.0)
    evaluate(two_lines, n_repeats=2, max_cells=50, metrics=[remember, *choose(["mse_ratio_2026"])])
    # No change, the model and the replicate in two repeats of six conditions.
    assert len(sides) == 2 * 3 * 2 * 6
    for side in sides:
        assert side.library_size.tolist() == [size_of[cell.tobytes()] for cell in side.x]
        assert side.control_library_size.tolist() == [size_of[cell.tobytes()] for cell in side.controls]


def test_deep_cells_weigh_more_in_summed_counts(two_lines):
    """Where one side is of logarithms all cells weigh alike, and profiles are a little different."""
    taken = []
    (asked,) = choose(["pds_cosine_2026"])
    remember = replace(asked, function=lambda panel, k: taken.append(panel.real[k]) or 0.0)
    alike = replace(two_lines, prediction=replace(two_lines.prediction, library_size=None))
    for inputs in (two_lines, alike):
        evaluate(inputs, n_repeats=1, metrics=[remember])
    first, second = taken[: len(taken) // 2], taken[len(taken) // 2 :]
    assert not np.allclose(first, second, atol=1e-3)
    assert np.corrcoef(np.ravel(first), np.ravel(second))[0, 1] > 0.9
