"""A pseudobulk as a file: one AnnData row per condition."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gensim.data.conditions import distinct
from gensim.data.h5ad_file import write_h5ad
from gensim.errors import DataError
from gensim.pseudobulk import Pseudobulk
from gensim.store_schema import obs_columns

N_CELLS = "n_cells"
MISSING = "why_missing"


def write_pseudobulk(
    path: str | Path,
    pseudobulk: Pseudobulk,
    conditions: pd.DataFrame,
    genes: Sequence[str],
    provenance: dict[str, Any],
) -> Path:
    """Write (K, G) pseudobulk as `.h5ad`, whole or not at all; an older file is replaced.

    X holds the sums (of counts, or of CP10k where the cells have no counts), the layers `mean_log1p_cp10k`,
    `variance` (unbiased) and `detection_rate`. `obs` holds the table of conditions, `n_cells`, and in `why_missing`
    why a row has no variance or no numbers at all, which are NaN then. ``uns["gensim"]`` is the provenance in JSON.

    Args:
        path: ends in `.h5ad`; missing parent folders are made.
        pseudobulk: of any of the K conditions.
        conditions: K rows in the order of the codes of the pseudobulk, with the labels in the column ``condition``;
            a label that comes again names its row ``label (2)``.
        genes: G names.
        provenance: JSON-serialisable.

    Raises:
        DataError: another file ending, a table or genes that do not fit the pseudobulk.
        StoreError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".h5ad":
        raise DataError(f"pseudobulk is written as .h5ad, got {str(path)!r}; end the name in .h5ad")
    _check(pseudobulk, conditions, genes)

    def table(values: NDArray[Any], absent: float = np.nan) -> NDArray[np.float64]:
        out = np.full((len(conditions), len(genes)), absent)
        out[pseudobulk.condition] = values
        return out

    cells = ad.AnnData(
        X=table(pseudobulk.count_sum, absent=0.0),
        obs=_obs(pseudobulk, conditions),
        var=pd.DataFrame(index=pd.Index(list(genes), dtype=object)),
        layers={
            "mean_log1p_cp10k": table(pseudobulk.mean),
            "variance": table(pseudobulk.variance),
            "detection_rate": table(pseudobulk.detection_rate),
        },
        uns={"gensim": json.dumps({**provenance, "x": _what_x_is(pseudobulk)}, allow_nan=False)},
    )
    write_h5ad(path, cells)
    return path


def _check(pseudobulk: Pseudobulk, conditions: pd.DataFrame, genes: Sequence[str]) -> None:
    if len(genes) != pseudobulk.n_genes:
        raise DataError(f"the pseudobulk has {pseudobulk.n_genes} genes and {len(genes)} names were given")
    if len(pseudobulk.condition) and not 0 <= pseudobulk.condition[0] <= pseudobulk.condition[-1] < len(conditions):
        last = pseudobulk.condition[-1]
        raise DataError(
            f"the pseudobulk has condition {last} and the table has {len(conditions)} rows; use its own table"
        )
    labels = conditions.get("condition")
    if labels is None or labels.isna().any():
        raise DataError("the table of conditions needs a column 'condition' with a label for every row")
    for name in (N_CELLS, MISSING):
        if name in conditions:
            raise DataError(f"column {name!r} of the table of conditions is needed for the pseudobulk; rename it")


def _obs(pseudobulk: Pseudobulk, conditions: pd.DataFrame) -> pd.DataFrame:
    """The table as the store of cells writes it, and what the numbers rest on."""
    n_cells = np.zeros(len(conditions), np.int64)
    n_cells[pseudobulk.condition] = pseudobulk.n
    why = np.select([n_cells == 0, n_cells == 1], ["no cells", "one cell has no variance"], default="")
    # A condition may be asked for in several rows.
    obs = pd.DataFrame(index=pd.Index(distinct(conditions["condition"]), dtype=object))
    for column in obs_columns(conditions, "condition"):
        if column.categories is None:
            obs[column.name] = column.values
        else:
            obs[column.name] = pd.Categorical.from_codes(column.values.tolist(), pd.Index(column.categories))
    obs[N_CELLS] = n_cells
    obs[MISSING] = pd.Categorical(why)
    return obs


def _what_x_is(pseudobulk: Pseudobulk) -> str:
    return "sum of counts" if pseudobulk.scale == "counts" else "sum of CP10k"
