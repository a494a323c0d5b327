"""How well decoded cells stand for real ones: scores of decodes whose answer is known, and draws of counts."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.spatial.distance import cdist

from gensim.autoencoder.base import Autoencoder, ObservedCells
from gensim.autoencoder.count import CountAutoencoder
from gensim.nn.blocks import zero
from gensim.seeding import torch_generator
from gensim.training import reconstruction
from gensim.training.reconstruction import decode_counts, decode_logs, decoded_score
from gensim.types import Condition

GENES = 8
T, M = (("cell_type", "T"),), (("cell_type", "M"),)
CONDITIONS = [Condition((), T), Condition(("A",), T), Condition((), M), Condition(("A",), M)]
CENTRES = np.array([[2.0] * 8, [3.5] * 4 + [2.0] * 4, [5.0] * 8, [5.0] * 4 + [3.5] * 4])


def population(k: int, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(CENTRES[k], 0.4, size=(n, GENES)).astype(np.float32)


def observed(x: np.ndarray) -> ObservedCells:
    cells = sparse.csr_matrix(x)
    genes, labels = [f"G{g}" for g in range(x.shape[1])], [f"cell {i}" for i in range(len(x))]
    return ObservedCells(cells, cells, np.full(len(x), 1e4, np.float32), genes, labels)


def held_out(n: list[int]) -> tuple[ObservedCells, np.ndarray]:
    """n[k] cells of every condition, in no order."""
    rng = np.random.default_rng(0)
    condition_of = rng.permutation(np.repeat(np.arange(4), n))
    x = np.empty((len(condition_of), GENES), np.float32)
    for k in range(4):
        x[condition_of == k] = population(k, n[k], rng)
    return observed(x), condition_of


def score(n: list[int], decode, seed: int = 0) -> dict[str, float | int | None]:
    return decoded_score(*held_out(n), CONDITIONS, decode, seed)


def energy(x: np.ndarray, y: np.ndarray) -> float:
    within = sum(cdist(a, a).sum() / len(a) / (len(a) - 1) for a in (x, y))
    return 2 * cdist(x, y).mean() - within


def fresh(of: dict[Condition, int]):
    rng = np.random.default_rng(1)
    return lambda cells, condition: population(of[condition], len(cells), rng)


def test_fresh_cells_of_the_condition_are_as_good_as_its_own():
    found = score([200, 400, 200, 400], fresh({CONDITIONS[1]: 1, CONDITIONS[3]: 3}))
    assert found["n_conditions"] == 2
    # Populations 3 apart are 3.6 of energy distance apart, and samples of 200 miss that by 0.01.
    assert found["energy_distance_no_change"] > 2
    assert found["energy_score"] == pytest.approx(1, abs=0.02)
    assert found["variance_ratio"] == pytest.approx(1, abs=0.1)


def test_cells_of_the_control_of_the_context_are_as_good_as_no_change():
    found = score([200, 400, 200, 400], fresh({CONDITIONS[1]: 0, CONDITIONS[3]: 2}))
    assert found["energy_score"] == pytest.approx(0, abs=0.03)
    assert score([200, 400, 200, 400], fresh({CONDITIONS[1]: 2, CONDITIONS[3]: 0}))["energy_score"] < -0.5


def test_distances_are_those_of_one_half_from_the_other():
    cells, condition_of = held_out([30, 40, 30, 50])
    x, expected = cells.x.toarray(), []

    def decode(half: ObservedCells, condition: Condition) -> np.ndarray:
        """Checks what it is given, and notes by another way what must come out."""
        k = CONDITIONS.index(condition)
        all_of_it, here = x[condition_of == k], half.x.toarray()
        mine = (all_of_it[:, None] == here).all(axis=2).any(axis=1)
        assert mine.sum() == len(half) == len(all_of_it) // 2
        decoded, control = here + 1, x[condition_of == k - 1]
        expected.append([energy(all_of_it[~mine], y) for y in (decoded, control, here)])
        np.testing.assert_array_equal(half.counts.toarray(), here)
        assert [x[int(label.split()[1])].tolist() for label in half.conditions] == here.tolist()
        return decoded

    found = decoded_score(cells, condition_of, CONDITIONS, decode, 0)
    u, no_change, replicate = np.mean(expected, axis=0)
    names = ("energy_distance", "energy_distance_no_change", "energy_distance_replicate", "energy_score")
    score = (no_change - u) / (no_change - replicate)
    # Distances are float64 on both sides.
    np.testing.assert_allclose([found[name] for name in names], [u, no_change, replicate, score], rtol=1e-6, atol=1e-9)
    # Cells that were moved have the spread they had, up to float32.
    assert found["variance_ratio"] == pytest.approx(1, rel=1e-5)


def test_half_the_spread_is_a_quarter_of_the_variance():
    def decode(cells: ObservedCells, condition: Condition) -> np.ndarray:
        x = cells.x.toarray()
        return x.mean(axis=0) + (x - x.mean(axis=0)) / 2 if condition.context == T else x

    # float32 rounding of the decoded cells
    assert score([20, 40, 20, 0], decode)["variance_ratio"] == pytest.approx(0.25, rel=1e-5)
    assert score([20, 40, 20, 40], decode)["variance_ratio"] == pytest.approx((0.25 + 1) / 2, rel=1e-5)


def never(cells: ObservedCells, condition: Condition) -> np.ndarray:
    raise AssertionError(f"{condition.label} was decoded")


@pytest.mark.parametrize("n", [[50, 7, 50, 7], [50, 0, 50, 0], [1, 50, 0, 50]])
def test_without_conditions_of_enough_cells_and_controls_there_is_no_score(n):
    found = score(n, never)
    assert found["n_conditions"] == 0
    assert found["energy_score"] is None


def test_conditions_of_too_few_cells_do_not_count():
    only = fresh({CONDITIONS[3]: 3})
    assert score([50, 7, 50, 8], only)["n_conditions"] == 1
    assert score([1, 50, 2, 50], only)["n_conditions"] == 1


def test_where_nothing_separates_control_and_condition_there_is_no_score():
    x = np.ones((40, GENES), np.float32)
    found = decoded_score(observed(x), np.repeat([0, 1], 20), CONDITIONS, lambda cells, _: cells.x.toarray(), 0)
    assert found["n_conditions"] == 1
    assert found["energy_distance"] == found["energy_distance_no_change"] == pytest.approx(0, abs=1e-9)
    assert found["energy_score"] is None
    assert found["variance_ratio"] is None


def test_large_screens_are_judged_by_some_cells_of_some_conditions(monkeypatch):
    monkeypatch.setattr(reconstruction, "MOST_CELLS", 10)
    monkeypatch.setattr(reconstruction, "MOST_CONDITIONS", 3)
    conditions = [Condition(()), *(Condition((f"P{i}",)) for i in range(9))]
    condition_of = np.repeat(np.arange(10), 30)
    x = np.random.default_rng(2).gamma(2.0, size=(300, 3)).astype(np.float32)
    seen = []

    def decode(cells: ObservedCells, condition: Condition) -> np.ndarray:
        seen.append((condition.label, len(cells)))
        return cells.x.toarray()

    found = decoded_score(observed(x), condition_of, conditions, decode, 0)
    assert seen == [("P0", 10), ("P4", 10), ("P8", 10)]
    assert found["n_conditions"] == 3
    again = decoded_score(observed(x), condition_of, conditions, decode, 0)
    assert found == again
    assert found != decoded_score(observed(x), condition_of, conditions, decode, 1)


class TwoLess(Autoencoder):
    """Decodes to what it was given, less 2."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("two", torch.tensor(2.0))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return -x

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return -z - self.two


def test_logs_are_decoded_and_cut_off_at_0(device):
    x = np.float32([[0, 1, 2], [3, 4, 1.5]])
    decoded = decode_logs(TwoLess().to(device))(observed(x), CONDITIONS[1])
    np.testing.assert_array_equal(decoded, [[0, 0, 0], [1, 2, 0]])


SHARE = np.array([0.0002, 0.001, 0.01, 0.1])
THETA = np.array([0.5, 2.0, 5.0, 50.0])
EFFECT = {CONDITIONS[1]: np.log(np.float32([1, 3, 0.5, 2])), CONDITIONS[3]: np.zeros(4, np.float32)}


def drawn(device: str, condition: Condition, seed: int = 0, n: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) counts as decoded, and (n,) library sizes, half of which are 4,000 and half 16,000."""
    autoencoder = CountAutoencoder(4, 2, 8, 1, zero_inflated=False, variational=False, generator=torch_generator(0)).to(
        device
    )
    zero(autoencoder.decoder[-1])
    autoencoder.log_share.copy_(torch.from_numpy(np.log(np.append(SHARE, 1 - SHARE.sum()))))
    autoencoder.log_theta.data.copy_(torch.from_numpy(np.log(THETA)))
    x = sparse.csr_matrix(np.random.default_rng(3).gamma(1.0, size=(n, 4)).astype(np.float32))
    sizes = np.where(np.arange(n) % 2, 4000, 16000).astype(np.float32)
    cells = ObservedCells(x, x, sizes, list("abcd"), ["A"] * n)
    decoded = decode_counts(autoencoder, EFFECT.__getitem__, seed)(cells, condition)
    return np.expm1(decoded.astype(np.float64)) * sizes[:, None] / 1e4, sizes


@pytest.mark.parametrize("condition", list(EFFECT))
def test_counts_have_mean_and_variance_of_the_distribution_with_the_effect(device, condition):
    counts, sizes = drawn(device, condition)
    # Counts of up to a few thousand, back from float32 logarithms.
    np.testing.assert_allclose(counts, np.round(counts), rtol=1e-5, atol=1e-4)
    for size in (4000, 16000):
        x = counts[sizes == size]
        mu = size * SHARE * np.exp(EFFECT[condition])
        variance = mu + mu**2 / THETA
        # Five standard errors of the mean of 2,500 draws; variances with theta 0.5 have a standard error of 5 %.
        np.testing.assert_array_less(np.abs(x.mean(axis=0) - mu), 5 * np.sqrt(variance / len(x)))
        np.testing.assert_allclose(x.var(axis=0), variance, rtol=0.25)
    # Every count is drawn by itself: four standard errors of a correlation.
    of_one_size = np.corrcoef(counts[sizes == 4000].T)
    assert np.abs(of_one_size - np.eye(4)).max() < 4 / np.sqrt(2500)


def test_draws_follow_from_seed_and_condition(device):
    n, (a, b) = 50, EFFECT
    np.testing.assert_array_equal(drawn(device, a, 1, n)[0], drawn(device, a, 1, n)[0])
    assert (drawn(device, a, 1, n)[0] != drawn(device, a, 2, n)[0]).any()
    # Gene 0 is moved in neither.
    assert (drawn(device, a, 1, n)[0][:, 0] != drawn(device, b, 1, n)[0][:, 0]).any()
