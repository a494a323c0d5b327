"""Effects over batches: by hand, and through an evaluation of a screen whose batches are confounded with conditions."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from gensim.data.batches import Batches, batches_of
from gensim.data.cell_source import ArrayCells
from gensim.errors import NotComputable
from gensim.evaluate import EvaluationInputs, evaluate
from gensim.metrics import controls as of_controls
from gensim.metrics.batch_effects import batch_averaged_effect, within_batches
from gensim.metrics.catalogue import choose
from gensim.metrics.controls import ControlMeans
from gensim.metrics.means_in_batches import MeansInBatches
from gensim.metrics.space import MetricSpace
from gensim.types import Condition

CONTROL, P = Condition(()), Condition(("P",))


def means(**of_batch):
    return MeansInBatches(
        np.array([int(name[1:]) for name in of_batch]), np.array(list(of_batch.values()), dtype=float)
    )


def test_effects_by_hand():
    cells, controls = means(b1=[1.0, 5.0], b2=[3.0, 6.0], b4=[8.0, 1.0]), means(b0=[9.0, 9.0], b1=[0, 2], b4=[3, 1])
    # Batches 1 and 4 have both: 1 and 5, 3 and 0.
    np.testing.assert_allclose(batch_averaged_effect(cells, controls, True), [3, 1.5])
    # All batches of either: (1 + 3 + 8) / 3 - (9 + 0 + 3) / 3, (5 + 6 + 1) / 3 - (9 + 2 + 1) / 3.
    np.testing.assert_allclose(batch_averaged_effect(cells, controls, False), [0, 0])
    with pytest.raises(NotComputable, match="no batch has both"):
        batch_averaged_effect(cells, means(b0=[9.0, 9.0]), True)


def test_effects_are_taken_within_large_batches_that_have_controls():
    batch = np.repeat([0, 1, 2], [100, 30, 170])
    assert within_batches(batch, np.array([1, 5])), "100 cells on average"
    assert not within_batches(batch[1:], np.array([1, 5])), "99.7"
    assert not within_batches(batch, np.array([5])), "no batch has both"
    assert within_batches(np.zeros(100, dtype=int), np.zeros(1, dtype=int)), "one batch"


def test_means_in_batches():
    x = np.array([[1.0], [3.0], [8.0]], np.float32)
    found = MeansInBatches.of(x, np.array([7, 7, 2]))
    assert (found.codes.tolist(), found.means.ravel().tolist()) == ([2, 7], [8.0, 2.0])


@pytest.mark.parametrize("cells_at_once", [4, 1024])
def test_control_means_in_batches_are_of_the_halves_that_effects_are_against(monkeypatch, cells_at_once):
    """Every other cell, of a batch of its own, is of another context."""
    monkeypatch.setattr(of_controls, "CELLS_AT_ONCE", cells_at_once)
    rng = np.random.default_rng(0)
    x, batch_of = rng.gamma(2, 1, (9, 4)).astype(np.float32), np.array([0, 0, 0, 0, 3, 3, 3, 3, 5])
    of_all = np.stack([np.full_like(x, 7), x], axis=1).reshape(18, 4)
    source = ArrayCells(tuple("abcd"), (Condition((), (("line", "b"),)), CONTROL), np.arange(18) % 2, of_all)
    controls = ControlMeans(source, 0, 3, np.stack([np.full(9, 8), batch_of], axis=1).ravel())
    whole = controls.whole_in_batches(CONTROL)
    assert whole.codes.tolist() == [0, 3, 5]
    np.testing.assert_allclose(controls.whole(CONTROL), x.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(whole.means, [x[batch_of == b].mean(axis=0) for b in (0, 3, 5)], rtol=1e-6)
    for repeat in range(3):
        in_first = controls._in_first(CONTROL, 9)[repeat]
        for chosen, half, mean in zip(
            (in_first, ~in_first),
            controls.halves_in_batches(CONTROL, repeat),
            controls.halves(CONTROL, repeat),
            strict=True,
        ):
            np.testing.assert_allclose(mean, x[chosen].mean(axis=0), rtol=1e-6)
            assert half.codes.tolist() == np.unique(batch_of[chosen]).tolist(), "batch 5 is in one half alone"
            expected = [x[chosen & (batch_of == b)].mean(axis=0) for b in half.codes]
            np.testing.assert_allclose(half.means, expected, rtol=1e-6)


N_GENES = 20
GENES = tuple(f"G{i}" for i in range(N_GENES))
EFFECT = np.random.default_rng(1).normal(0, 0.4, N_GENES)
OF_BATCH = np.random.default_rng(2).normal(0, 1.0, (3, N_GENES))


def cells_in(rng, condition, batches, shift):
    x = rng.normal(4 + OF_BATCH[batches] + shift, 0.1).astype(np.float32)
    return ArrayCells(GENES, (condition,), np.zeros(len(batches), dtype=int), x)


def confounded(n=(300, 60, 40), n_controls=(40, 60, 300), seed=3):
    """Most perturbed cells are in batch 0 and most controls in batch 2; the simulated cells start from controls."""
    rng = np.random.default_rng(seed)
    batches = Batches(*(np.repeat([0, 1, 2], sizes) for sizes in (n, n_controls, n_controls)))
    truth, prediction = cells_in(rng, P, batches.truth, EFFECT), cells_in(rng, P, batches.prediction, EFFECT)
    controls = cells_in(rng, CONTROL, batches.controls, 0.0)
    space = MetricSpace.fit(sparse.csr_matrix(truth.x), GENES, n=4)
    return EvaluationInputs(prediction, truth, controls, space, batches=batches)


def measured(inputs, *, n_repeats=3, **options):
    (result,) = evaluate(inputs, n_repeats=n_repeats, metrics=choose(["l2_ba_ate", "l2_delta"]), **options).results
    return result


@pytest.mark.parametrize("predicted_batches", [True, False])
def test_what_batches_do_is_no_error_of_a_perfect_prediction(predicted_batches):
    inputs = confounded()
    if not predicted_batches:
        inputs = replace(inputs, batches=replace(inputs.batches, prediction=None))
    found = measured(inputs).measurements
    size = np.linalg.norm(EFFECT)
    # 133 cells per batch on average; means of 20 cells and more in 20 genes, over 3 batches.
    assert found["model", "l2_ba_ate"].value < 0.15
    assert found["replicate", "l2_ba_ate"].value < 0.15
    assert found["model", "l2_delta"].value > 2
    assert found["no_change", "l2_ba_ate"].value == pytest.approx(size, rel=0.1)
    assert found["replicate", "l2_delta"].value < 0.5, "both halves are in the same batches"
    # Half-sampling, as of all metrics but those of means.
    error = found["model", "l2_ba_ate"]
    assert error.standard_error == pytest.approx(error.spread * np.sqrt(3 / 2))


def test_every_side_is_taken_against_control_cells_of_its_own():
    """Real cells are all alike, so that their halves differ by nothing but their controls."""
    inputs = confounded((4, 4, 4))
    truth, prediction = (
        replace(source, x=np.full_like(source.x, value))
        for source, value in ((inputs.truth, 4), (inputs.prediction, 5))
    )
    found = measured(replace(inputs, truth=truth, prediction=prediction), n_repeats=1).measurements
    controls = ControlMeans(inputs.controls, 0, 1, inputs.batches.controls)
    first, second = (half.means.mean(axis=0) for half in controls.halves_in_batches(CONTROL, 0))
    whole = controls.whole_in_batches(CONTROL).means.mean(axis=0)
    assert found["replicate", "l2_ba_ate"].value == pytest.approx(np.linalg.norm(second - first), rel=1e-6)
    assert found["model", "l2_ba_ate"].value == pytest.approx(np.linalg.norm(1 - (whole - first)), rel=1e-6)


def test_small_batches_count_alike():
    # 300, 60 and 40 cells are few for 3 batches only if there are fewer: 30, 6 and 4, and no batch is left out.
    inputs = confounded((90, 60, 40), (20, 60, 300))
    (result,) = [measured(inputs)]
    delta = MeansInBatches.of(inputs.truth.x, inputs.batches.truth).means.mean(0)
    delta -= MeansInBatches.of(inputs.controls.x, inputs.batches.controls).means.mean(0)
    np.testing.assert_allclose(delta, EFFECT, atol=0.1)
    assert result.measurements["model", "l2_ba_ate"].value < 0.2
    assert result.measurements["model", "l2_delta"].value > 1


def test_the_real_side_is_the_formula():
    """Three real cells are the reference whole, and there is no replicate; controls are halved."""
    inputs = confounded((1, 1, 1))
    found = measured(inputs, n_repeats=1).measurements["no_change", "l2_ba_ate"].value
    half, _ = ControlMeans(inputs.controls, 0, 1, inputs.batches.controls).halves_in_batches(CONTROL, 0)
    delta = inputs.truth.x.mean(axis=0, dtype=float) - half.means.mean(axis=0)
    assert found == pytest.approx(np.linalg.norm(delta), rel=1e-6)


def test_batches_of_one_side_alone():
    inputs = confounded((150, 150, 0), (0, 200, 200))
    found = measured(inputs).measurements
    # Batch 1 has both.
    assert found["model", "l2_ba_ate"].value < 0.1
    apart = replace(inputs, batches=replace(inputs.batches, prediction=inputs.batches.prediction + 9))
    assert "no batch has both" in measured(apart).measurements["model", "l2_ba_ate"].reason
    # None has both: batches of the cells against batches of the controls, what they do included.
    found = measured(confounded((200, 0, 0), (0, 0, 200))).measurements
    assert found["no_change", "l2_ba_ate"].value == pytest.approx(
        np.linalg.norm(EFFECT + OF_BATCH[0] - OF_BATCH[2]), rel=0.05
    )


def test_whether_batches_are_large_is_told_by_all_real_cells():
    """150 per batch, of which 25 are used: by these alone the effect would hold what batches do to it."""
    result = measured(confounded((200, 100, 0), (0, 100, 200)), max_cells=50)
    assert result.measurements["model", "l2_ba_ate"].value < 0.3
    assert result.experimental_error.paired


def test_cells_and_controls_of_a_context_have_their_own_batches_in_the_experimental_error():
    """Cells are what their batch is, so that nothing is left of it in effects within batches."""
    lines = tuple((("line", name),) for name in "ab")

    def cells(n, names, shift):
        of_line = np.arange(2 * n) % 2
        batch_of = 2 * of_line + np.arange(2 * n) // 2 % 2  # batches 0 and 1 of line a, 2 and 3 of b
        x = (4 + np.concatenate([OF_BATCH, -OF_BATCH[:1]])[batch_of] + shift).astype(np.float32)
        return ArrayCells(GENES, tuple(Condition(names, line) for line in lines), of_line, x), batch_of

    (truth, batch_of), (controls, control_batch_of) = cells(200, ("P",), EFFECT), cells(60, (), 0.0)
    space = MetricSpace.fit(sparse.csr_matrix(truth.x), GENES, n=4)
    inputs = EvaluationInputs(truth, truth, controls, space, batches=Batches(batch_of, control_batch_of))
    for result in evaluate(inputs, n_repeats=1, max_cells=50, metrics=choose(["l2_ba_ate"])).results:
        error = result.experimental_error
        assert (error.n_batches, error.paired) == (2, True)
        assert error.value == pytest.approx(0, abs=1e-5)


def test_what_was_not_predicted_has_no_effect():
    inputs = confounded()
    both = replace(inputs.truth, conditions=(P, Condition(("Q",))), condition_of=np.arange(400) % 2)
    asked = replace(inputs, truth=both)
    results = evaluate(asked, n_repeats=2, metrics=choose(["l2_ba_ate"]), missing="no_change").results
    (missing,) = [r for r in results if r.stand_in]
    model, still = (missing.measurements[row, "l2_ba_ate"] for row in ("model", "no_change"))
    assert model.value == still.value == pytest.approx(np.linalg.norm(EFFECT), rel=0.15)


def test_without_batches_it_says_what_to_do():
    found = measured(replace(confounded(), batches=None)).measurements
    assert found["model", "l2_delta"].value > 0
    for row in ("model", "no_change", "replicate"):
        assert "data.batch_column" in found[row, "l2_ba_ate"].reason


def test_a_single_control_cell_leaves_none():
    found = measured(confounded(n_controls=(1, 0, 0))).measurements
    assert "1 held-back control cell" in found["model", "l2_ba_ate"].reason


def test_control_means_in_batches_are_taken_only_if_asked_for(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(ControlMeans, "_measure_in_batches", refuse)
    evaluate(confounded(), n_repeats=1, metrics=choose(["l2_delta"]))
    with pytest.raises(AssertionError):
        evaluate(confounded(), n_repeats=1, metrics=choose(["l2_ba_ate"]))


def test_batches_of_a_prediction_leave_those_of_real_cells_as_they_are():
    """Samples of batches are drawn by their codes, and an experimental error is of the real cells alone."""

    def source(*lanes):
        return SimpleNamespace(file=SimpleNamespace(obs=pd.DataFrame({"lane": lanes}), where="file"))

    real, controls = source("d", "b"), source("c", "b")
    alone, _ = batches_of(real, controls, source("b", "b"), "lane")
    found, why = batches_of(real, controls, source("z", "a", "b", "d"), "lane")
    assert why is None
    assert (found.truth.tolist(), found.controls.tolist()) == (alone.truth.tolist(), alone.controls.tolist())
    codes = dict(zip(["z", "a", "b", "d"], found.prediction.tolist(), strict=True))
    assert len(set(codes.values())) == 4
    assert [codes["d"], codes["b"]] == found.truth.tolist()
