"""Evaluations with pictures of Gaussian cells, and names that try to run a script."""

import numpy as np

from gensim.metrics.catalogue import DEFAULT, Side
from gensim.metrics.marginals import GeneMarginals, moments
from gensim.metrics.pictures import picture_condition
from gensim.metrics.results import ROWS, SCORED_ROWS, ConditionResult, Evaluation, Measurement, summarise
from gensim.metrics.scores import Estimate
from gensim.types import Condition

EVIL = "</script><img src=x onerror=document.title='run'><b>&amp;'\"`${1}"
VALUES = dict.fromkeys(ROWS, 3.0) | {"no_change": 5.0, "replicate": 1.0, "model": 2.0}


def evaluation_with_pictures(n_conditions: int, n_genes: int = 12, n_cells: int = 30) -> Evaluation:
    """Conditions P0, one named `EVIL`, P2, ... with scores i / 10; P2 lacks the first metric, and variances."""
    results = tuple(_result(i, n_genes, n_cells) for i in range(n_conditions))
    not_scored = ((Condition(("never",), (("donor", "D, 1"),)), "no cell"),)
    return Evaluation(results, summarise(results, 0), not_scored, ("ignored: x",), 3, 5, 2000)


def _result(i: int, n_genes: int, n_cells: int) -> ConditionResult:
    measurements = {
        (row, metric.key): Measurement(VALUES[row] + i / 7, 0.1)
        if (i, row, metric) != (2, "model", DEFAULT[0])
        else Measurement(None, reason="too few cells")
        for row in ROWS
        for metric in DEFAULT
    }
    scores = {(row, m.key): Estimate(i / 10, None, None, 1) for row in SCORED_ROWS for m in DEFAULT}
    if i == 2:
        scores["model", DEFAULT[0].key] = Estimate(None, None, None, 1, "too few cells")
    cells = {
        "truth": n_cells + 9, "truth_used": n_cells, "predicted": n_cells, "predicted_used": n_cells,
        "controls": 50, "controls_drawn": n_cells,
    }  # fmt: skip
    name = EVIL if i == 1 else f"P{i}"
    pictures, spread = _shown(i, n_genes, n_cells)
    return ConditionResult(
        Condition((name,)), i != 1, cells, None, measurements, scores, {} if i == 2 else spread, pictures
    )


def _shown(i: int, n_genes: int, n_cells: int):
    """Pictures and moments."""
    rng = np.random.default_rng(i)
    controls, real, simulated, replicate = (
        rng.gamma(2.0, size=(n_cells, n_genes)).astype(np.float32) for _ in range(4)
    )
    real[:, 0] += 3 + i

    def side(x):
        return Side(x, x[:, :3], controls.mean(axis=0, dtype=np.float64), controls)

    genes = [EVIL, *(f"G{g}" for g in range(1, n_genes))]
    halves = (side(real), side(replicate))
    pictures = picture_condition(genes, side(controls), side(real), side(simulated), halves, seed=i)
    return pictures, moments({"real": GeneMarginals.of(real), "model": GeneMarginals.of(simulated)})
