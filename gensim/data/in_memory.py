"""AnnData objects in memory, to and from the files that everything else works on."""

from pathlib import Path

import anndata
from anndata import AnnData

__all__ = ["AnnData", "read_store", "write_file"]


def read_store(path: Path) -> AnnData:
    """A finished store of simulated cells, whole in memory."""
    return anndata.read_zarr(path)


def write_file(adata: AnnData, folder: Path) -> Path:
    """Write cells to a `.h5ad` in `folder`, so that they pass the checks that files pass."""
    path = folder / "cells.h5ad"
    adata.write_h5ad(path)
    return path
