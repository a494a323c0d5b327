"""The held-out cells of a run as a file of their own, for whoever scores."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from gensim.config import DataConfig
from gensim.data.h5ad_file import write_h5ad
from gensim.data.screen import Screen
from gensim.data.splits import Role, Split
from gensim.store_schema import LIBRARY_SIZE


def write_held_out(path: str | Path, screen: Screen, split: Split, config: DataConfig) -> None:
    """Write the held-out cells, controls included, to an `.h5ad` that `load_screen` reads with the run's config.

    X is CSR in the screen's scale, obs has the screen's columns and `library_size` (which replaces a column of that
    name), and uns["gensim"] is a JSON string with scale, library_size_column, split_digest, data_digest and the
    meaning of the columns. The file appears whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    path = Path(path)
    rows = split.rows(Role.HELD_OUT)
    obs = screen.obs.iloc[rows].copy()
    obs.index = pd.Index(screen.cells[rows].astype(object))
    obs[LIBRARY_SIZE] = screen.library_size[rows]
    for column in obs.columns:
        # anndata refuses nullable strings unless a global option is set.
        if isinstance(obs[column].dtype, pd.StringDtype):
            obs[column] = obs[column].astype(object)
    notes = {
        "scale": screen.scale,
        "library_size_column": LIBRARY_SIZE,
        "split_digest": split.digest,
        "data_digest": screen.digest,
        "data": config.model_dump(mode="json", exclude={"path", "scale", "layer", "n_highly_variable_genes"}),
    }
    var = pd.DataFrame(index=pd.Index(np.array(screen.genes, dtype=object)))
    cells = ad.AnnData(screen.x[rows], obs=obs, var=var, uns={"gensim": json.dumps(notes)})
    write_h5ad(path, cells)
