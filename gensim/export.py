"""Simulated cells in the formats that others read: AnnData in one file, and the Virtual Cell Challenge's."""

import os
from pathlib import Path
from typing import Literal, get_args

import h5py

from gensim.data.export_file import copy_store
from gensim.data.export_vcc import NON_TARGETING, write_vcc
from gensim.errors import ConfigError, StoreError, nearest
from gensim.store_folder import check_target

Format = Literal["h5ad", "zarr", "vcc"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(
    cells: str | Path,
    out: str | Path,
    *,
    format: Format = "h5ad",
    sparse: bool = False,
    overwrite: bool = False,
    genes: str | Path | None = None,
    controls: str | Path | None = None,
    perturbation_column: str = "perturbation",
    control_label: str = NON_TARGETING,
) -> Path:
    """Write a finished store of cells in another format, whole or not at all, in memory that cells do not add to.

    Args:
        cells: the store that `gensim sample` wrote.
        out: ends in `.zarr` for format ``zarr`` and in `.h5ad` otherwise; missing parent folders are made.
        format: ``h5ad`` or ``zarr``: the same AnnData; ``vcc``: see `gensim.data.export_vcc.write_vcc`.
        sparse: X is CSR instead of dense; in a ``vcc`` file it always is.
        overwrite: replace an AnnData that is at `out`.
        genes, controls, perturbation_column, control_label: of ``vcc`` alone, see `write_vcc`; it needs genes.

    Returns:
        `out`.

    Raises:
        ConfigError: an unknown format, or options that do not belong to it.
        DataError: not a store, or cells that the format does not take.
        StoreError: the store is not finished, something is at `out`, or the disk is full or cannot be written.
    """
    cells, out = Path(cells), Path(out)
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is unknown{nearest(format, FORMATS)}; it is one of {FORMATS}")
    if format != "vcc" and (genes is not None or controls is not None):
        raise ConfigError(f"a gene list and control cells belong to format 'vcc', got {format!r}; leave them out")
    suffix = ".zarr" if format == "zarr" else ".h5ad"
    if out.suffix != suffix:
        raise StoreError(f"format {format!r} is written as {suffix}, got {str(out)!r}; use {out.with_suffix(suffix)}")
    _check_target(out, overwrite)
    if format != "vcc":
        copy_store(cells, out, as_sparse=sparse)
    elif genes is None:
        raise ConfigError("format 'vcc' needs the genes of the challenge, in order; give the list with --genes")
    else:
        write_vcc(
            cells,
            out,
            genes=Path(genes),
            controls=None if controls is None else Path(controls),
            perturbation_column=perturbation_column,
            control_label=control_label,
        )
    return out


def _check_target(out: Path, overwrite: bool) -> None:
    """Refuse what is at `out`, unless it is a file of the kind that is to replace it."""
    if out.suffix == ".zarr" or not overwrite:
        check_target(out, overwrite)
    elif os.path.lexists(out) and not (out.is_file() and h5py.is_hdf5(out)):
        raise StoreError(f"{str(out)!r} exists and is no .h5ad; it is not overwritten, move it away")
