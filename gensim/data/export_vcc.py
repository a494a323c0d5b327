"""A prediction file for the Virtual Cell Challenge: the `.h5ad` that `cell-eval prep` packs into a `.vcc`.

What `prep` of cell-eval 0.8.2 does (`_cli/_prep.py`): it wants the label ``non-targeting`` in ``obs["target_gene"]``;
wants the genes of a list without header, all and no others; refuses more than 200,000 cells (the rules of 2025 said
100,000); casts X to float32 CSR; keeps no other obs column, except one of cell types on request, and no names of cells;
and where no value has a fraction it takes X for counts, which it scales to the median total and takes log1p of.
The challenge of 2026 (cell-eval2 0.20.0, `configs/vcc2026.yaml`) scores the counts: whole, not negative, at most 1e6 in
a cell, and every cell type in a file of its own. What is written here is in accord with both.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from anndata.io import write_elem
from numpy.typing import NDArray
from scipy import sparse

from gensim.data.cell_file import CellFile
from gensim.data.export_file import GrowingMatrix, new_file, open_store
from gensim.errors import DataError, listing, nearest
from gensim.types import IntArray

TARGET_GENE = "target_gene"
NON_TARGETING = "non-targeting"
MOST_CELLS = 200_000
MOST_COUNTS = 1_000_000
CELLS_AT_ONCE = 1024
TO_SAMPLE_COUNTS = "train with data.scale=counts, for instance autoencoder.kind=nb, and sample with cells=counts"
TO_GIVE_COUNTS = "give a file whose X holds counts"


@dataclass(frozen=True)
class _Part:
    """Cells of one file: the rows to write, their labels, where the genes of the list are, and how to get counts."""

    file: CellFile
    rows: IntArray
    labels: NDArray[np.str_]
    columns: IntArray
    remedy: str


def write_vcc(
    path: Path,
    out: Path,
    *,
    genes: Path,
    controls: Path | None,
    perturbation_column: str,
    control_label: str,
) -> None:
    """Write the cells of a store, and control cells, as float32 CSR counts with `obs` of ``target_gene`` alone.

    A combination is a label like any other. Contexts, doses and times have no place in the file, so a label may not
    stand for two conditions.

    Args:
        path: a finished store of sampled counts.
        out: `.h5ad`, which appears whole or not at all.
        genes: text or csv without header whose first column is the genes of the challenge, in order.
        controls: real control cells, counts, `.h5ad` or `.zarr`: those of its cells that are labelled as controls. None
            where the store has control cells.
        perturbation_column: of obs, in both.
        control_label: in this column of the real cells, and of a store that does not name its own; it becomes
            ``non-targeting``.

    Raises:
        DataError: the cells are on another scale, not whole, or too many; genes are missing or in excess; no control
            cells, or two kinds of them; a label of two conditions.
        StoreError: see `copy_store`.
    """
    open_store(path)
    wanted = _read_genes(genes)
    simulated = _part(CellFile(path), wanted, perturbation_column, TO_SAMPLE_COUNTS)
    if simulated.file.uns_gensim.get("scale") != "counts":
        scale = simulated.file.uns_gensim.get("scale")
        raise DataError(f"{simulated.file.where} holds {scale}, and the challenge wants counts; {TO_SAMPLE_COUNTS}")
    _refuse_ambiguous(simulated)
    # A store says itself how its control cells are labelled.
    own_label = simulated.file.uns_gensim.get("control_label", control_label)
    labelled = np.where(simulated.labels == own_label, control_label, simulated.labels)
    simulated = replace(simulated, labels=labelled)
    parts = [simulated]
    simulates_controls = bool((simulated.labels == control_label).any())
    if simulates_controls and controls is not None:
        raise DataError(f"{simulated.file.where} has control cells itself; leave out --controls, or those cells")
    if controls is not None:
        real = _part(CellFile(controls), wanted, perturbation_column, TO_GIVE_COUNTS)
        found = real.labels == control_label
        parts.append(replace(real, rows=real.rows[found], labels=real.labels[found]))
    labels = np.concatenate([part.labels for part in parts])
    if not (labels == control_label).any():
        where = " and ".join(part.file.where for part in parts)
        raise DataError(
            f"no cell of {where} is labelled {control_label!r} in {perturbation_column!r}, and the challenge wants "
            "control cells; name real ones with --controls, or their label with --control-label"
        )
    if len(labels) > MOST_CELLS:
        raise DataError(f"{len(labels):,} cells, and cell-eval takes {MOST_CELLS:,} at most; simulate or give fewer")
    obs = pd.DataFrame({TARGET_GENE: pd.Categorical(np.where(labels == control_label, NON_TARGETING, labels))})
    obs.index = obs.index.astype(str)
    with new_file(out) as root:
        write_elem(root, "obs", obs)
        write_elem(root, "var", pd.DataFrame(index=pd.Index(wanted, dtype=object)))
        shape = (len(labels), len(wanted))
        matrix = GrowingMatrix(root, out, shape, np.dtype(np.float32), CELLS_AT_ONCE, as_sparse=True)
        for part in parts:
            for block in _counts(part):
                matrix.append(block)


def _read_genes(path: Path) -> list[str]:
    """First column of the lines that are not empty."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            genes = [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"gene list {str(path)!r} cannot be read ({error}); give a text file, a gene a line") from error
    repeated = pd.Index(genes).duplicated()
    if not genes or repeated.any():
        came = f"repeats {genes[int(repeated.argmax())]!r}" if genes else "is empty"
        raise DataError(f"gene list {str(path)!r} {came}; give a text file with every gene once, a gene a line")
    return genes


def _part(file: CellFile, wanted: list[str], column: str, remedy: str) -> _Part:
    """All cells of a file."""
    position = {gene: i for i, gene in enumerate(file.genes)}
    missing = [gene for gene in wanted if gene not in position]
    known = set(wanted)
    extra = [gene for gene in file.genes if gene not in known]
    if missing:
        raise DataError(
            f"{file.where} lacks {len(missing)} of {len(wanted)} genes of the list, first {missing[0]!r}"
            f"{nearest(missing[0], extra)}; train and sample on the genes of the list"
        )
    if extra:
        raise DataError(
            f"{file.where} has {len(extra)} genes that are not in the list, first {extra[0]!r}; train and sample on "
            "the genes of the list"
        )
    if column not in file.obs:
        names = [str(name) for name in file.obs.columns]
        raise DataError(
            f"{file.where} has no obs column {column!r}{nearest(column, names)}; name that of the perturbations with "
            "--perturbation-column"
        )
    unlabelled = file.obs[column].isna().to_numpy()
    if unlabelled.any():
        cell = str(file.cells[int(unlabelled.argmax())])
        raise DataError(f"{file.where}: cell {cell!r} has no {column!r}; label or remove it")
    columns = np.array([position[gene] for gene in wanted], dtype=np.int64)
    return _Part(file, np.arange(file.n_cells), file.obs[column].to_numpy(dtype=str), columns, remedy)


def _refuse_ambiguous(part: _Part) -> None:
    conditions = pd.Series(part.file.obs["condition"].to_numpy(dtype=str)).groupby(part.labels).unique()
    for label, names in conditions.items():
        if len(names) > 1:
            raise DataError(
                f"{part.file.where}: {label!r} stands for {listing(names, 3)}, and the challenge knows a cell by its "
                "target gene alone; sample a request of one context, dose and time"
            )


def _counts(part: _Part) -> Iterator[sparse.csr_matrix]:
    """(B, G) float32 canonical blocks in the order of the gene list, checked."""
    for rows, block in part.file.blocks(part.rows, CELLS_AT_ONCE):
        odd = (block.data != np.floor(block.data)) | (block.data < 0)
        if odd.any():
            first = int(odd.argmax())
            row = int(np.searchsorted(block.indptr, first, side="right")) - 1
            raise DataError(
                f"{part.file.where}: cell {str(part.file.cells[rows[row]])!r} has the value {block.data[first]:.6g}, "
                f"and the challenge wants counts, whole and not negative; {part.remedy}"
            )
        totals = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
        if totals.max() > MOST_COUNTS:
            row = int((totals > MOST_COUNTS).argmax())
            raise DataError(
                f"{part.file.where}: cell {str(part.file.cells[rows[row]])!r} has {totals[row]:,.0f} counts, and the "
                f"challenge takes {MOST_COUNTS:,} at most; check what X holds, or remove the cell"
            )
        ordered = sparse.csr_matrix(block[:, part.columns])
        ordered.sort_indices()
        yield ordered
