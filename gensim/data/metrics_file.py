"""An evaluation as AnnData: a row per condition, a column per metric, a layer per row of the evaluation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gensim.data.conditions import distinct
from gensim.data.h5ad_file import write_h5ad


def write_metrics(
    path: Path,
    conditions: pd.DataFrame,
    metrics: pd.DataFrame,
    layers: Mapping[str, NDArray[np.float64]],
    x: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write `.h5ad`, whole or not at all; an older file is replaced.

    Args:
        conditions: K rows, indexed by label; a label that comes again names its row ``label (2)``.
        metrics: M rows, indexed by key.
        layers: (K, M) values by the row of the evaluation; NaN where one cannot be computed.
        x: the layer that X holds too.
        provenance: JSON-serialisable.

    Raises:
        StoreError: the file cannot be written.
    """
    conditions = conditions.set_axis(distinct(conditions.index), axis=0)
    table = ad.AnnData(
        X=layers[x],
        obs=conditions,
        var=metrics,
        layers=dict(layers),
        uns={"gensim": json.dumps({**provenance, "x": x}, allow_nan=False)},
    )
    write_h5ad(path, table)
