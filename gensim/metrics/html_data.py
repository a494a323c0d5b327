"""What the script of a page reads: every condition's values and pictures, and the spread over all of them."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gensim.metrics.catalogue import Metric
from gensim.metrics.mean_variance import mean_variance
from gensim.metrics.pictures import LEVELS, POPULATIONS, PROBABILITIES, ConditionPictures
from gensim.metrics.results import BOUNDS, MODEL, ROWS, ConditionResult, Evaluation
from gensim.metrics.scores import Estimate

MOST_BYTES = 14_500_000
"""Of conditions in a page, so that it stays below 20 MB with its library: all their values, the spread over all, and as
many pictures of the first of them as have room; 10 kB each."""
DIGITS = 4


class Numbered(dict[str, int]):
    """Texts by number, in the order in which they came."""

    def number(self, text: str) -> int:
        return self.setdefault(text, len(self))


def page_data(evaluation: Evaluation) -> dict[str, Any]:
    """In JSON types.

    A value is a number to 4 digits, or, where there is none, a string: the number of its reason in `reasons`. Pictures
    hold little-endian arrays in base64: `genes` uint32 numbers in the list of all `genes`; `numbers` float16, one array
    after the other in C order: places of each of `populations` (`n_places` x 2), the columns of genes in the order of
    `gene_columns`, distributions, and coverage by each of `coverage`. `spread` is `mean_variance` of all conditions,
    its `numbers` the float16 logarithms in C order.
    """
    metrics, rows = evaluation.metrics, measured_rows(evaluation)
    reasons, genes = Numbered(), Numbered()
    conditions = [_condition(result, rows, metrics, reasons) for result in evaluation.results]
    spread = _spread(evaluation)
    room = MOST_BYTES - _n_bytes(conditions) - _n_bytes(spread)
    for result, entry in zip(evaluation.results, conditions, strict=True):
        pictures = None if result.pictures is None else _pictures(result.pictures, genes)
        room -= _n_bytes(pictures)
        if room < 0:
            break
        if pictures is not None:
            entry["pictures"] = pictures
    first = next((r.pictures for r in evaluation.results if r.pictures is not None), None)
    return {
        "metrics": [
            {"key": m.key, "name": m.name, "unit": m.unit, "better": m.better, "identical": m.identical}
            for m in metrics
        ],
        "rows": rows,
        "bounds": {row: bound for row, bound in BOUNDS.items() if row in rows},
        "scores": _group_scores(evaluation),
        "conditions": conditions,
        "spread": spread,
        "reasons": list(reasons),
        "genes": list(genes),
        "populations": POPULATIONS,
        "gene_columns": [] if first is None else list(first.of_genes),
        "probabilities": PROBABILITIES.tolist(),
        "levels": LEVELS.tolist(),
    }


def _n_bytes(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


def measured_rows(evaluation: Evaluation) -> list[str]:
    """Rows that the evaluation has, in their order."""
    found = {row for result in evaluation.results for row, _ in result.measurements}
    found |= {row for group in evaluation.groups for row, _ in group.averages}
    return [row for row in ROWS if row in found]


def _condition(
    result: ConditionResult, rows: Sequence[str], metrics: Sequence[Metric], reasons: Numbered
) -> dict[str, Any]:
    def value(found: Any) -> float | str | None:
        """Of a measurement or a score."""
        if found is None:
            return None
        return str(reasons.number(found.reason or "not known")) if found.value is None else rounded(found.value)

    def spread(row: str, key: str) -> float | None:
        found = result.measurements.get((row, key))
        return None if found is None or found.spread is None else rounded(found.spread, 2)

    return {
        "name": result.condition.label + (f" (not predicted: {result.stand_in})" if result.stand_in else ""),
        "seen": result.seen,
        "novelty": result.novelty,
        "novelty_distance": result.novelty_distance,
        "cells": dict(result.cells),
        "values": [[value(result.measurements.get((row, m.key))) for m in metrics] for row in rows],
        "spreads": [[spread(row, m.key) for m in metrics] for row in rows],
        "scores": [value(result.scores.get((MODEL, m.key))) for m in metrics],
    }


def _pictures(pictures: ConditionPictures, genes: Numbered) -> dict[str, Any]:
    arrays = [
        *(pictures.places[population] for population in POPULATIONS),
        *pictures.of_genes.values(),
        pictures.distributions,
        *pictures.coverage.values(),
    ]
    return {
        "n_places": [len(pictures.places[population]) for population in POPULATIONS],
        "n_distributions": len(pictures.distributions),
        "coverage": list(pictures.coverage),
        "genes": _base64(np.array([genes.number(gene) for gene in pictures.genes], dtype="<u4")),
        "numbers": _base64(np.concatenate([array.ravel() for array in arrays]).astype("<f2")),
    }


def _spread(evaluation: Evaluation) -> dict[str, Any]:
    found = mean_variance((result.moments for result in evaluation.results), evaluation.seed)
    return {
        "n": found.log10.shape[1],
        "n_all": found.n_all,
        "n_conditions": found.n_conditions,
        "quartiles": None if found.quartiles is None else [rounded(q) for q in found.quartiles],
        "numbers": _base64(found.log10.astype("<f2")),
    }


def _group_scores(evaluation: Evaluation) -> dict[str, dict[str, dict[str, Any]]]:
    """Of all conditions together, by row and metric."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    scores: Mapping[tuple[str, str], Estimate] = evaluation.group("all").scores
    for (row, key), estimate in scores.items():
        if estimate.value is not None:
            numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            found.setdefault(row, {})[key] = {name: None if n is None else rounded(n) for name, n in numbers.items()}
    return found


def rounded(value: float, digits: int = DIGITS) -> float:
    """To significant digits."""
    return float(f"{value:.{digits}g}")


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
