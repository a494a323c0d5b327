"""Small perturbation screens for tests: counts whose values are known, written as AnnData files."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from gensim.config import DataConfig
from gensim.data.screen import Screen, load_screen


def counts(n_cells: int, n_genes: int, seed: int = 0) -> np.ndarray:
    """(N, G) Poisson counts with about two thirds zeros, and at least one count in every cell."""
    rng = np.random.default_rng(seed)
    x = rng.poisson(0.5, size=(n_cells, n_genes)).astype(np.float32)
    x[np.arange(n_cells), np.arange(n_cells) % n_genes] += 1
    return x


def adata_of(
    labels: Sequence[str], x: np.ndarray | None = None, prefix: str = "cell", **columns: Sequence
) -> ad.AnnData:
    """Cells with a column `perturbation` (and others), CSR counts, genes ``g0, g1, ...``."""
    x = counts(len(labels), 6) if x is None else x
    obs = pd.DataFrame({"perturbation": list(labels), **{k: list(v) for k, v in columns.items()}})
    obs.index = [f"{prefix}{i}" for i in range(len(labels))]
    var = pd.DataFrame(index=[f"g{i}" for i in range(x.shape[1])])
    return ad.AnnData(sparse.csr_matrix(x), obs=obs, var=var)


def write_zarr(adata: ad.AnnData, path: Path, zarr_format: int) -> Path:
    """anndata warns about its own defaults whenever it writes zarr; that is not what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ad.settings.override(zarr_write_format=zarr_format):
            adata.write_zarr(path)
    return path


def screen_of(folder: Path, adata: ad.AnnData, **config: object) -> Screen:
    """The screen that `load_screen` makes of these cells, through a file in `folder`."""
    path = folder / "screen.h5ad"
    adata.write_h5ad(path)
    return load_screen(DataConfig(path=str(path), **{"scale": "counts", **config}))
