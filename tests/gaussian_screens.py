"""Gaussian populations of a few conditions, whose scores are known beforehand."""

import numpy as np
from scipy import sparse

from gensim.data.cell_source import ArrayCells
from gensim.evaluate import EvaluationInputs
from gensim.metrics.space import MetricSpace
from gensim.types import Condition

N_GENES, NOISE, BASE = 20, 0.3, 3.0
GENES = tuple(f"G{i:02d}" for i in range(N_GENES))
CONTROL = Condition(())
CONDITIONS = tuple(Condition((f"P{i}",)) for i in range(5))
EFFECTS = np.random.default_rng(0).normal(0, 0.4, size=(len(CONDITIONS), N_GENES)).astype(np.float32)
ENERGIES = ("energy_distance_pca", "energy_distance_genes", "mmd2_rbf_pca")


def gaussian(seed, populations, n=60):
    """Cells of every condition in `populations`, (condition, shift) pairs, around BASE."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(BASE + shift, NOISE, size=(n, N_GENES)) for _, shift in populations])
    return ArrayCells(
        GENES,
        tuple(condition for condition, _ in populations),
        np.repeat(np.arange(len(populations)), n),
        x.astype(np.float32),
    )


PERTURBED = list(zip(CONDITIONS, EFFECTS, strict=True))
TRUTH = gaussian(1, PERTURBED)
CONTROLS = gaussian(2, [(CONTROL, 0.0)], n=200)
SPACE = MetricSpace.fit(sparse.csr_matrix(gaussian(3, [(CONTROL, 0.0), *PERTURBED]).x), GENES, n=8)


def inputs(prediction, truth=TRUTH, controls=CONTROLS, effects=None):
    return EvaluationInputs(prediction, truth, controls, SPACE, effects)
