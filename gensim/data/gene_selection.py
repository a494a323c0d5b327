"""Which genes a run models: the most variable ones among training cells, and the perturbed ones."""

import anndata as ad
import numpy as np

from gensim.data.screen import Screen
from gensim.data.splits import Role, Split
from gensim.types import IntArray


def select_genes(screen: Screen, split: Split, n: int) -> IntArray:
    """Sorted indices of the `n` most variable genes, and of every measured gene that the screen perturbs.

    Variability is the dispersion normalised within bins of mean expression (Satija et al. 2015, as in scanpy's
    flavor `seurat`), of training cells in log1p CP10k; no other cell is looked at. All genes where n >= G.
    """
    n_genes = len(screen.genes)
    if n >= n_genes:
        return np.arange(n_genes, dtype=np.int64)
    # Imported here because scanpy takes seconds to import, and only this function needs it.
    import scanpy as sc

    cells = ad.AnnData(screen.log1p_cp10k(split.rows(Role.TRAIN)))
    table = sc.pp.highly_variable_genes(cells, flavor="seurat", n_top_genes=n, inplace=False)
    # Ranked here, because scanpy's own mark takes more than n genes where dispersions tie. NaN: not expressed.
    dispersion = np.nan_to_num(table["dispersions_norm"].to_numpy(dtype=np.float64), nan=-np.inf)
    variable = np.argsort(-dispersion, kind="stable")[:n]
    perturbed = {name for condition in screen.conditions for name in condition.perturbations}
    measured = [index for index, gene in enumerate(screen.genes) if gene in perturbed]
    return np.union1d(variable, np.array(measured, dtype=np.int64)).astype(np.int64)
