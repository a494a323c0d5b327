"""Cells that escape their perturbation: a planted share is found, none is found where there is none."""

import numpy as np
import pytest

from gensim.data.simulated_screen import SimulatedScreen
from gensim.perturbations.penetrance import FEWEST_CELLS, FEWEST_CONTROLS, Penetrance, fit_penetrance, response
from gensim.types import Condition

D, N_CONTROLS = 6, 600
SCALE = np.array([3.0, 2.0, 1.0, 0.5, 0.5, 0.2])
EFFECT = np.array([0.0, 2.0, 2.0, 1.0, 0.0, 0.5])
CONTROL, A = Condition(()), Condition(("A",))


def population(rng, n, share=1.0, effect=EFFECT):
    """n skewed cells, of which a share is moved by the effect."""
    responds = np.arange(n) < round(share * n)
    z = SCALE * (rng.gamma(2, size=(n, D)) - 2) / np.sqrt(2)
    order = rng.permutation(n)
    return (z + responds[:, None] * effect)[order].astype(np.float32), responds[order]


def still(rng, n=N_CONTROLS):
    """n control cells."""
    return population(rng, n, share=0)[0]


def fit_of(*populations, conditions):
    """Of populations one after another."""
    z = np.concatenate(populations)
    condition_of = np.repeat(np.arange(len(populations)), [len(p) for p in populations])
    return fit_penetrance(lambda rows: z[rows], condition_of, conditions, np.arange(len(z)))


def fit(*populations, conditions=None):
    """The first population is control, the others A, B, ..., unless conditions are given; cells in any order."""
    conditions = conditions or (CONTROL, *(Condition((chr(65 + k),)) for k in range(len(populations) - 1)))
    z = np.concatenate(populations)
    condition_of = np.repeat(np.arange(len(populations)), [len(p) for p in populations])
    order = np.random.default_rng(9).permutation(len(z))
    read = z[order]
    found = fit_penetrance(lambda rows: read[rows], condition_of[order], conditions, np.arange(len(z)))
    probability = np.empty(len(z))
    probability[order] = found.probability
    return found.penetrance, np.split(probability, np.cumsum([len(p) for p in populations])[:-1])


@pytest.mark.parametrize("share", [0.4, 0.7, 0.85])
@pytest.mark.parametrize("n", [120, 1500])
def test_a_planted_share_is_found_with_its_cells(share, n):
    rng = np.random.default_rng(0)
    controls = still(rng)
    cells, responds = population(rng, n, share)
    penetrance, (of_controls, of_cells) = fit(controls, cells)
    assert penetrance.of(A) == pytest.approx(share, abs=0.11 if n < 1000 else 0.06)
    assert (of_controls == 1).all(), "controls are not asked"
    # Cells of this separation are told apart with few mistakes.
    assert ((of_cells > 0.5) == responds).mean() > 0.9


@pytest.mark.parametrize(("n_latents", "n_controls"), [(6, 600), (50, 1000), (50, 100), (200, 300)])
@pytest.mark.parametrize("size", [0.0, 0.2, 1.0])
def test_where_all_cells_are_moved_alike_all_respond(n_latents, n_controls, size):
    """Also where latents are many and controls few, so that a direction fits the very cells that it was found with."""
    rng = np.random.default_rng(1)
    effect = np.zeros(n_latents)
    effect[:5] = size * 2

    def cells(n: int, times: float) -> np.ndarray:
        return ((rng.gamma(4, size=(n, n_latents)) - 4) / 2 + times * effect).astype(np.float32)

    penetrance, _ = fit(cells(n_controls, 0), *(cells(200, 1) for _ in range(20)))
    assert (penetrance.share == 1).mean() >= 0.9, penetrance.share


@pytest.mark.parametrize("size", [4, 12, 25])
def test_escapers_of_the_strongest_effects(size):
    """Responders lie further off than any distance that is always tried."""
    rng = np.random.default_rng(4)
    cells, responds = population(rng, 400, 0.7, size * EFFECT)
    penetrance, (_, probability) = fit(still(rng), cells)
    assert penetrance.of(A) == pytest.approx(0.7, abs=0.03)
    assert ((probability > 0.5) == responds).mean() > 0.97


def test_the_furthest_responders_respond():
    """Beyond all that controls could be, moved or not."""
    rng = np.random.default_rng(7)
    near, _ = population(rng, 400, 0.4, 2 * EFFECT)
    far = still(rng, 20) + (8 * EFFECT).astype(np.float32)
    _, (_, probability) = fit(still(rng), np.concatenate([near, far]))
    assert (probability[-20:] > 0.9).all()


def test_cells_of_a_condition_that_was_too_small_respond_as_elsewhere():
    """Its share is that of the other context; so is its cells' chance, and they are moved by 1 on average."""
    rng = np.random.default_rng(5)
    contexts = [(("line", name),) for name in "xy"]
    conditions = [Condition(names, context) for context in contexts for names in ((), ("A",))]
    few = population(rng, FEWEST_CELLS - 1, 0.5)[0]
    found = fit_of(still(rng), population(rng, 500, 0.5)[0], still(rng), few, conditions=conditions)
    share = found.penetrance.of(conditions[3])
    assert share == found.penetrance.of(conditions[1]) < 1
    assert (np.unique(found.probability[found.rows[-len(few) :]]) == np.float32(share)).all()


def test_only_fitted_cells_are_drawn():
    rng = np.random.default_rng(6)
    z = np.concatenate([still(rng), population(rng, 400, 0.5)[0]])
    condition_of = np.repeat([0, 1], [N_CONTROLS, 400])
    rows = np.arange(0, len(z), 2)
    found = fit_penetrance(lambda rows: z[rows], condition_of, (CONTROL, A), rows)
    drawn = found.drawn(condition_of, (CONTROL, A), seed=0)
    assert (drawn[1::2] == 1).all()
    assert (drawn[:N_CONTROLS] == 1).all()
    of_a = drawn[N_CONTROLS::2]
    assert set(np.unique(of_a)) == {np.float32(0), np.float32(1 / np.float32(found.penetrance.of(A)))}
    assert of_a.mean() == pytest.approx(1, abs=0.1)


def test_too_few_cells_know_no_share():
    rng = np.random.default_rng(2)
    controls = still(rng)
    cells, _ = population(rng, FEWEST_CELLS - 1, 0.5, 4 * EFFECT)
    penetrance, (_, probability) = fit(controls, cells)
    assert penetrance.of(A) == 1
    assert (probability == 1).all()
    penetrance, _ = fit(controls[: FEWEST_CONTROLS - 1], population(rng, 500, 0.5, 4 * EFFECT)[0])
    assert penetrance.of(A) == 1


def test_every_context_has_controls_of_its_own():
    """The second context lies where the first one's responders are."""
    rng = np.random.default_rng(3)
    contexts = [(("line", name),) for name in "xy"]
    conditions = [Condition(names, context) for context in contexts for names in ((), ("A",))]
    x, y = still(rng), still(rng)
    a_x, _ = population(rng, 400, 0.6)
    a_y, _ = population(rng, 400, 1.0)
    penetrance, _ = fit(x, a_x, y + EFFECT.astype(np.float32), a_y + EFFECT.astype(np.float32), conditions=conditions)
    assert penetrance.of(conditions[1]) == pytest.approx(0.6, abs=0.06)
    assert penetrance.of(conditions[3]) == 1


def test_cells_that_are_all_alike():
    alike = np.zeros((150, D), np.float32)
    penetrance, (_, probability) = fit(alike, alike)
    assert penetrance.of(A) == 1
    assert (probability == 1).all()


def test_what_was_not_measured():
    x, y, z = ((("line", name),) for name in "xyz")
    measured = (Condition(("A",), x), Condition(("A",), y), Condition(("B",), x))
    penetrance = Penetrance(measured, np.array([0.5, 0.7, 0.3], np.float32))
    assert penetrance.of(Condition(("A",), z)) == pytest.approx(0.6)
    assert penetrance.of(Condition(("B",), x, dose=2.0)) == pytest.approx(0.3)
    for unknown in (Condition((), x), Condition(("C",), x), Condition(("A", "B"), x)):
        assert penetrance.of(unknown) == 1
    np.testing.assert_allclose(penetrance.of_all([measured[2], Condition(())]), [0.3, 1])


def test_saved_and_loaded(tmp_path):
    penetrance = Penetrance((A, Condition(("B",), (("line", "x"),), 0.5)), np.array([0.5, 1], np.float32))
    penetrance.save(tmp_path / "p.safetensors")
    found = Penetrance.load(tmp_path / "p.safetensors")
    assert found == Penetrance(penetrance.conditions, found.share)
    np.testing.assert_array_equal(found.share, penetrance.share)


def test_responses_are_1_on_average():
    share = np.full(100_000, 0.25, np.float32)
    drawn = response(np.random.default_rng(0).random(100_000) < 0.25, share)
    assert set(np.unique(drawn)) == {0, 4}
    assert drawn.mean() == pytest.approx(1, abs=0.03)
    assert (response(np.ones(9, bool), np.ones(9, np.float32)) == 1).all()


def test_the_escape_of_a_simulated_screen():
    """Of a screen whose truth is known, in its ten first principal components."""
    simulated = SimulatedScreen(seed=0, n_genes=100, n_cell_types=1, escape=0.3)
    regulators = simulated.regulators[:6]
    screen = simulated.screen(regulators, cells_per_condition=300, n_controls=600)
    counts = screen.X.toarray()
    x = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    x -= x.mean(axis=0)
    z = (x @ np.linalg.svd(x, full_matrices=False)[2][:10].T).astype(np.float32)
    names = ["control", *regulators]
    conditions = [Condition(() if name == "control" else (name,)) for name in names]
    condition_of = np.array([names.index(name) for name in screen.obs["perturbation"]])
    found = fit_penetrance(lambda rows: z[rows], condition_of, conditions, np.arange(len(z)))
    told = found.penetrance.share < 1
    assert told.sum() >= 3, "most regulators of this screen move their cells clearly"
    np.testing.assert_allclose(found.penetrance.share[told], 0.7, atol=0.11)
    clear = np.isin(condition_of, 1 + np.flatnonzero(told))
    escaped = (screen.obs["truth_escaped"] != "").to_numpy()
    assert ((found.probability < 0.5) == escaped)[clear].mean() > 0.85


def test_penetrances_of_other_conditions_are_added_and_known_ones_kept():
    b = Condition(("B",))
    ours, others = Penetrance((A,), np.array([0.5], np.float32)), Penetrance((A, b), np.array([0.9, 0.7], np.float32))
    both = ours.with_others(others)
    assert both.conditions == (A, b)
    np.testing.assert_allclose(both.share, [0.5, 0.7])
