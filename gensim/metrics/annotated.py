"""An evaluation as AnnData, for those who go on with the numbers in scanpy or pandas."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gensim.data.metrics_file import write_metrics
from gensim.metrics.html_data import measured_rows
from gensim.metrics.metric import Metric
from gensim.metrics.results import MODEL, Evaluation, GroupSummary


def write_annotated(evaluation: Evaluation, path: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write `.h5ad`: conditions by metrics, with a layer per row of the evaluation; X is the model's.

    obs, indexed by label, has the condition's `key`, `seen` (missing where that is not known), `stand_in` (the row
    whose cells stand for the model's where it has none), `novelty` (empty where that is not known) and
    `novelty_distance`, `experimental_error` and numbers of cells; var, indexed by
    key, the metric's `name`, `direction`, `unit`, `space` and `source`, and the model's average over each group of
    conditions, e.g. `average_unseen`. NaN: no value, the reason being in metrics.json. Metrics with one value for all
    conditions together, such as scores of challenges, have it there, and NaN for every condition.

    Args:
        evaluation: what `evaluate` returned.
        path: replaced where it is there.
        provenance: JSON-serialisable.

    Raises:
        StoreError: the file cannot be written.
    """
    results, metrics = evaluation.results, evaluation.metrics
    conditions = pd.DataFrame(
        {
            "key": [r.condition.key for r in results],
            "seen": pd.array([r.seen for r in results], dtype="boolean"),
            "stand_in": [r.stand_in or "" for r in results],
            "novelty": [r.novelty or "" for r in results],
            "novelty_distance": np.array([r.novelty_distance for r in results], dtype=np.float64),
            "experimental_error": np.array(
                [r.experimental_error.value if r.experimental_error else None for r in results], dtype=np.float64
            ),
            **{f"n_{name}": [r.cells[name] for r in results] for name in results[0].cells},
        },
        index=[r.condition.label for r in results],
    )
    catalogue = pd.DataFrame(
        {
            "name": [m.name for m in metrics],
            "direction": [m.better for m in metrics],
            "unit": [m.unit for m in metrics],
            "space": [m.space for m in metrics],
            "source": [m.source for m in metrics],
            **{f"average_{group.name}": _averages(group, metrics) for group in evaluation.groups},
        },
        index=[m.key for m in metrics],
    )
    layers = {row: _values(evaluation, row) for row in measured_rows(evaluation) or [MODEL]}
    write_metrics(path, conditions, catalogue, layers, MODEL, dict(provenance or {}))


def _averages(group: GroupSummary, metrics: Sequence[Metric]) -> NDArray[np.float64]:
    """(M,) of the model."""
    found = [group.averages.get((MODEL, metric.key)) for metric in metrics]
    return np.array([None if average is None else average.value for average in found], dtype=np.float64)


def _values(evaluation: Evaluation, row: str) -> NDArray[np.float64]:
    """(K, M) values of a row."""
    found = np.full((len(evaluation.results), len(evaluation.metrics)), np.nan)
    for k, result in enumerate(evaluation.results):
        for m, metric in enumerate(evaluation.metrics):
            measurement = result.measurements.get((row, metric.key))
            if measurement is not None and measurement.value is not None:
                found[k, m] = measurement.value
    return found
