"""Bounds of embeddings: planted effects whose neighbours are known, and what random vectors cannot know."""

import numpy as np
import pytest

from gensim.baselines.embedding_bounds import embedding_bounds, predicted, principal_components, random_vectors
from gensim.data.cell_source import ArrayCells
from gensim.metrics.results import IDEALISED, RANDOM_EMBEDDING
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition

GENES = tuple(f"G{i}" for i in range(12))
CONTROL = Condition(())


def named(*names: str) -> tuple[Condition, ...]:
    return tuple(Condition((name,)) for name in names)


def cells(conditions, shifts, n=5) -> ArrayCells:
    """Cells without noise around 3."""
    x = 3 + np.repeat(np.asarray(shifts, dtype=np.float32), n, axis=0)
    return ArrayCells(GENES, tuple(conditions), np.repeat(np.arange(len(conditions)), n), x)


def pairs(seed=0, n=6):
    """Two training effects near each of n directions, and the directions themselves, which are asked for."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(0, 1, (n, len(GENES)))
    noise = rng.normal(0, 0.05, (2 * n, len(GENES)))
    training = MeanEffects(
        named(*(f"T{i}" for i in range(2 * n))), (np.repeat(directions, 2, axis=0) + noise).astype(np.float32)
    )
    return training, named(*(f"U{i}" for i in range(n))), directions


def test_idealised_is_the_mean_of_the_training_effects_that_are_nearest_to_the_answer():
    training, asked, directions = pairs()
    controls = cells([CONTROL], np.zeros((1, len(GENES))))
    rows, lines = embedding_bounds(training, cells(asked, directions), controls, seed=0)
    assert set(rows) == {RANDOM_EMBEDDING, IDEALISED}
    # Left out, each training condition is best told by its one partner; those asked for have two, one of them nearer.
    assert f"{IDEALISED}: mean of the 1 nearest" in lines[1]
    for i, condition in enumerate(asked):
        two = training.delta[2 * i : 2 * i + 2]
        nearest = two[np.argmin(np.linalg.norm(two - directions[i], axis=1))]
        np.testing.assert_array_equal(rows[IDEALISED].shift(condition), nearest)
    for condition, own in zip(training.conditions, training.delta, strict=True):
        for row in rows.values():
            np.testing.assert_array_equal(row.shift(condition), own)


def test_random_vectors_tell_nothing_of_the_answer():
    training, asked, directions = pairs(n=20)
    controls = cells([CONTROL], np.zeros((1, len(GENES))))
    rows, lines = embedding_bounds(training, cells(asked, directions), controls, seed=0)

    def error(row):
        return np.mean([np.square(rows[row].shift(c) - d).sum() for c, d in zip(asked, directions, strict=True)])

    of_none = np.square(directions).sum(axis=1).mean()
    assert error(IDEALISED) < 0.02 * of_none
    assert error(RANDOM_EMBEDDING) > 0.8 * of_none
    assert lines[0].startswith(f"{RANDOM_EMBEDDING}: ")
    other = cells(asked, -directions)
    again, _ = embedding_bounds(training, other, controls, seed=0)
    for condition in asked:
        np.testing.assert_array_equal(again[RANDOM_EMBEDDING].shift(condition), rows[RANDOM_EMBEDDING].shift(condition))


def test_random_vectors_are_uniform_and_of_the_seed_and_the_condition():
    training, asked, _ = pairs(n=40)
    vectors = random_vectors(training, asked, seed=1)
    assert vectors.shape == (120, 12)
    assert 0 <= vectors.min() < 0.01 < 0.99 < vectors.max() <= 1
    assert vectors.mean() == pytest.approx(0.5, abs=0.03)  # 1,440 numbers: a standard error of 0.008
    np.testing.assert_array_equal(random_vectors(training, asked[1:], seed=1), np.delete(vectors, 80, axis=0))
    assert not np.array_equal(random_vectors(training, asked, seed=2), vectors)


def test_distances_between_components_are_those_between_effects():
    training, _, directions = pairs()
    x = principal_components(training, directions, seed=0)
    effects = np.concatenate([training.delta, directions])
    assert x.shape == (18, 12)
    np.testing.assert_allclose(
        np.linalg.norm(x[:, None] - x, axis=2), np.linalg.norm(effects[:, None] - effects, axis=2), atol=1e-5
    )


def test_settings_are_those_that_predict_left_out_conditions_best():
    """All training effects are alike up to noise, so the most neighbours are best."""
    rng = np.random.default_rng(0)
    delta = (1 + rng.normal(0, 0.5, (30, len(GENES)))).astype(np.float32)
    training = MeanEffects(named(*(f"T{i}" for i in range(30))), delta)
    vectors = rng.random((31, 4)).astype(np.float32)
    found, regression = predicted(training, named("U"), vectors, ("nearest",))
    assert regression.neighbours == 20
    assert np.square(found.shift(named("U")[0]) - 1).mean() < 0.1


@pytest.mark.parametrize(
    ("effects", "asked", "why"),
    [
        (None, ("U",), "no training cells were given"),
        (("A", "B"), ("U",), "training has 2 conditions; at least 3"),
        (("A", "B", "C"), ("A", "B"), "training had every condition"),
    ],
)
def test_why_there_are_none(effects, asked, why):
    training = None if effects is None else MeanEffects(named(*effects), np.ones((len(effects), 12), np.float32))
    zeros = np.zeros((1, len(GENES)))
    rows, (line,) = embedding_bounds(
        training, cells(named(*asked), np.repeat(zeros, len(asked), axis=0)), cells([CONTROL], zeros), seed=0
    )
    assert rows == {}
    assert line.startswith("no rows random_embedding and idealised: ")
    assert why in line
