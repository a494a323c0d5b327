"""What regressions over perturbation vectors could reach at best and at worst, for conditions that training lacks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gensim.data.cell_source import CellSource, draw_rows, read_dense
from gensim.metrics.controls import ControlMeans
from gensim.metrics.results import IDEALISED, RANDOM_EMBEDDING
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.regression import Kind, MeasuredVectors, Regression, Weights, candidates, left_out_weights
from gensim.perturbations.vectors import VectorTable
from gensim.seeding import derive, numpy_generator
from gensim.types import Condition, FloatArray, spread

Float64Array = NDArray[np.float64]

FEWEST = 3
"""Training conditions to choose a regression by."""
MOST_FEATURES = 50
MOST_TO_CHOOSE_BY = 1_000
MOST_CELLS = 2_000
"""Real cells of a condition that its effect is measured on."""


def embedding_bounds(
    effects: MeanEffects | None, truth: CellSource, controls: CellSource, seed: int
) -> tuple[dict[str, MeanEffects], list[str]]:
    """Rows `random_embedding` and `idealised`, where conditions are asked for that training did not have.

    A condition that training had keeps its own effect in both, so that they would be the training mean again.

    Args:
        effects: of the training conditions, over genes; None: not known.
        truth: real cells. controls: control cells of their contexts. Both log1p CP10k over the genes of the effects.
        seed: of random vectors, and of the cells that effects are measured on.

    Returns:
        By the row the effects that control cells are moved by, and lines that say what was chosen or why there are no
        such rows.
    """
    none = f"no rows {RANDOM_EMBEDDING} and {IDEALISED}:"
    if effects is None:
        return {}, [f"{none} no training cells were given, so their effects are not known"]
    started = set(controls.conditions)
    known = set(effects.conditions)
    unseen = [c for c in truth.conditions if not c.is_control and c not in known and c.control in started]
    if not unseen:
        return {}, [f"{none} training had every condition, and its own effect is in the row training_mean"]
    if len(known) < FEWEST:
        return {}, [f"{none} training has {len(known)} conditions; at least {FEWEST} are needed to choose a regression"]
    measured = _measured(truth, controls, unseen, seed)
    found: dict[str, tuple[FloatArray, tuple[Kind, ...]]] = {
        RANDOM_EMBEDDING: (random_vectors(effects, unseen, seed), ("nearest", "ridge")),
        IDEALISED: (principal_components(effects, measured, seed), ("nearest",)),
    }
    rows, lines = {}, []
    for row, (vectors, kinds) in found.items():
        rows[row], regression = predicted(effects, unseen, vectors, kinds)
        lines.append(f"{row}: {regression}, chosen on left-out training conditions")
    return rows, lines


def random_vectors(effects: MeanEffects, unseen: Sequence[Condition], seed: int) -> FloatArray:
    """(K + T, d) uniform on [0, 1]^d: a vector per condition, by its key; d as many as principal components."""
    conditions = (*effects.conditions, *unseen)
    d = _n_features(len(conditions), effects.delta.shape[1])
    drawn = [numpy_generator(seed, "random embedding", condition.key).random(d) for condition in conditions]
    return np.array(drawn, dtype=np.float32)


def principal_components(effects: MeanEffects, measured: Float64Array, seed: int) -> FloatArray:
    """(K + T, d) scores of the effects of training and of (T, G) those asked for: vectors that know the answer.

    Source: idealised baseline of Cole et al. 2026.
    """
    from sklearn.decomposition import PCA

    plain = effects.delta if effects.plain is None else effects.plain
    matrix = np.concatenate([plain.astype(np.float64), measured])
    pca = PCA(_n_features(*matrix.shape), random_state=derive(seed, "idealised") % 2**32)
    return np.asarray(pca.fit_transform(matrix), dtype=np.float32)


def predicted(
    effects: MeanEffects, unseen: Sequence[Condition], vectors: FloatArray, kinds: Sequence[Kind]
) -> tuple[MeanEffects, Regression]:
    """The training effects, and with them what a regression over conditions makes of those that are asked for.

    Args:
        effects: K training conditions.
        unseen: T others.
        vectors: (K + T, d), those of the training conditions first.
        kinds: of regressions; the settings are those that predict left-out training conditions best.
    """
    names = [condition.key for condition in (*effects.conditions, *unseen)]
    table = VectorTable(tuple(names), vectors, "conditions")
    variance = np.zeros(len(effects.conditions)) if effects.variance is None else effects.variance.astype(np.float64)
    regression = _chosen(effects, table, names, variance, kinds)
    weights = Weights(regression, table, names[: len(effects.conditions)], variance)
    delta = weights.of(names[len(effects.conditions) :]) @ effects.delta.astype(np.float64)
    everything = np.concatenate([effects.delta, delta.astype(np.float32)])
    conditions = (*effects.conditions, *unseen)
    return replace(effects, conditions=conditions, delta=everything, plain=None, variance=None, noise=None), regression


def _chosen(
    effects: MeanEffects, table: VectorTable, names: Sequence[str], variance: Float64Array, kinds: Sequence[Kind]
) -> Regression:
    """That with the least |W Y - Y|² of plain effects, each condition being predicted from all others."""
    rows = spread(np.arange(len(effects.conditions)), MOST_TO_CHOOSE_BY)
    chosen = [names[k] for k in rows]
    used = effects.delta[rows].astype(np.float64)
    plain = used if effects.plain is None else effects.plain[rows].astype(np.float64)
    gram, cross = used @ used.T, plain @ used.T

    x = MeasuredVectors(table, chosen, unit=False).x

    def unexplained(regression: Regression) -> float:
        w = left_out_weights(regression, x, variance[rows])
        return float(((w @ gram) * w).sum() - 2 * (w * cross).sum())

    return min((r for r in candidates(kinds) if not r.unit), key=unexplained)


def _n_features(n_conditions: int, n_genes: int) -> int:
    return min(MOST_FEATURES, n_conditions - 1, n_genes)


def _measured(truth: CellSource, controls: CellSource, conditions: Sequence[Condition], seed: int) -> Float64Array:
    """(T, G) mean of real cells minus mean of all control cells of the context."""
    baseline, effects = ControlMeans(controls, seed, 1), []
    for condition in conditions:
        generator = numpy_generator(seed, "idealised", condition.key)
        x = read_dense(truth, draw_rows(truth.rows(condition), MOST_CELLS, generator), f"truth {condition.label!r}")
        effects.append(x.mean(axis=0, dtype=np.float64) - baseline.whole(condition.control))
    return np.stack(effects)
