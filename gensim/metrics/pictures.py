"""What the pages of a report show of one condition: a bounded sample, however many cells and genes there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gensim.metrics.catalogue import Side
from gensim.metrics.marginals import DETECTED_SHARE, FEWEST_DETECTING, GeneMarginals
from gensim.seeding import numpy_generator
from gensim.types import FloatArray, IntArray

Half = NDArray[np.float16]

POPULATIONS = ("control", "real", "simulated")
CELLS = 150
"""Cells of a population whose place is shown."""
GENES = 200
TOP_OF_EITHER = 50
GENES_WITH_DISTRIBUTION = 6
PROBABILITIES = np.linspace(0, 1, 21)
LEVELS = np.linspace(0.05, 0.95, 19)
SMALLEST_FDR = 1e-300


@dataclass(frozen=True, slots=True)
class ConditionPictures:
    """Numbers that are drawn, as float16 (11 bits), so about 7 kB.

    Args:
        places: by population of `POPULATIONS` (n, 2) first two coordinates in the metric space of at most 150 cells.
        genes: g <= 200 names: those with the largest |effect| in the real and in the simulated cells, and some others.
        of_genes: (g,) each, by name: `effect` (mean minus mean of all controls, log1p CP10k), `log2_fold_change`
            (may be infinite), `significance` (-log10 of the false discovery rate), `mean` and `variance` (NaN for a
            single cell), each followed by `_real` and `_simulated`.
        distributions: (t, 3, 21) values at `PROBABILITIES` of the t <= 6 genes of largest |effect| in the real cells,
            which stand first in `genes`, in each of `POPULATIONS`.
        coverage: what `noise_coverage` says at `LEVELS` of `control` and `simulated` cells, and of any `replicate`.
    """

    places: Mapping[str, Half]
    genes: tuple[str, ...]
    of_genes: Mapping[str, Half]
    distributions: Half
    coverage: Mapping[str, Half]


def picture_condition(
    genes: Sequence[str],
    controls: Side,
    real: Side,
    simulated: Side,
    halves: tuple[Side, Side] | None,
    seed: int,
) -> ConditionPictures:
    """Reduce the cells of one condition to what is drawn.

    Args:
        genes: G names.
        controls: control cells to show.
        real, simulated: all cells that are used; their effects and tests are against the same controls.
        halves: two disjoint halves of the real cells; None where there are too few.
        seed: of the draws of cells and genes.
    """
    sides = dict(zip(POPULATIONS, (controls, real, simulated), strict=True))
    shown = shown_genes(real.delta, simulated.delta, seed)
    of_genes: dict[str, NDArray[np.float64]] = {}
    for name, side in (("real", real), ("simulated", simulated)):
        tested = side.differential_expression
        of_genes |= {
            f"effect_{name}": side.delta[shown],
            f"log2_fold_change_{name}": tested.log2_fold_change[shown],
            f"significance_{name}": -np.log10(np.maximum(tested.fdr[shown], SMALLEST_FDR)),
            f"mean_{name}": side.marginals.mean[shown],
            f"variance_{name}": side.marginals.variance[shown],
        }
    top = shown[:GENES_WITH_DISTRIBUTION]
    distributions = np.stack([np.quantile(side.x[:, top], PROBABILITIES, axis=0).T for side in sides.values()], axis=1)
    pairs = {"control": (real, controls), "simulated": (real, simulated)}
    if halves is not None:
        pairs["replicate"] = halves
    return ConditionPictures(
        places={name: _half(_places(side.scores, seed, name)) for name, side in sides.items()},
        genes=tuple(genes[gene] for gene in shown),
        of_genes={name: _half(values) for name, values in of_genes.items()},
        distributions=_half(distributions),
        coverage={name: _half(noise_coverage(a.marginals, b.marginals)) for name, (a, b) in pairs.items()},
    )


def shown_genes(real_effect: NDArray[np.float64], simulated_effect: NDArray[np.float64], seed: int) -> IntArray:
    """At most 200: 50 of largest |real effect|, largest first, 50 of largest |simulated effect|, a draw of others."""
    by_real = np.argsort(-np.abs(real_effect), kind="stable")[:TOP_OF_EITHER]
    by_simulated = np.argsort(-np.abs(simulated_effect), kind="stable")[:TOP_OF_EITHER]
    top = np.concatenate([by_real, by_simulated[~np.isin(by_simulated, by_real)]])
    others = np.setdiff1d(np.arange(len(real_effect)), top)
    n = min(len(others), GENES - len(top))
    drawn = numpy_generator(seed, "shown genes").choice(others, size=n, replace=False)
    return np.concatenate([top, np.sort(drawn)]).astype(np.int64)


def noise_coverage(real: GeneMarginals, predicted: GeneMarginals) -> NDArray[np.float64]:
    """(19,) share of genes whose predicted mean is as near to the real one as sampling noise puts it, at `LEVELS`.

    share_q = mean_g [ |m_g(predicted) - m_g(real)| <= z_q SE_g ],  SE_g² = s²_g(real) / n + s²_g(predicted) / m,
    z_q the two-sided standard normal quantile

    Two samples of one population have share_q = q; effects against the same controls differ by as much. Genes count
    that are not 0 in at least 2 % of the real cells, in no fewer than 3 of them.

    Returns:
        NaN at every level where a population is a single cell, or where no gene counts.
    """
    fewest = max(FEWEST_DETECTING, DETECTED_SHARE * real.n)
    error = np.sqrt(real.variance / real.n + predicted.variance / predicted.n)
    counted = (real.detecting >= fewest) & (error > 0)
    if not counted.any():
        return np.full(len(LEVELS), np.nan)
    distance = np.abs(predicted.mean - real.mean)[counted] / error[counted]
    return np.asarray((distance[None, :] <= ndtri((1 + LEVELS) / 2)[:, None]).mean(axis=1))


def _places(scores: FloatArray, seed: int, population: str) -> FloatArray:
    """(n, 2) first two coordinates of at most 150 cells; a space of one dimension has 0 for the second."""
    rows = np.arange(len(scores))
    if len(rows) > CELLS:
        rows = np.sort(numpy_generator(seed, "shown cells", population).choice(rows, size=CELLS, replace=False))
    places = np.zeros((len(rows), 2), dtype=np.float32)
    places[:, : scores.shape[1]] = scores[rows, :2]
    return places


def _half(values: NDArray[np.floating]) -> Half:
    return np.asarray(values, dtype=np.float16)
