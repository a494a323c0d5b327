"""Writing cells to `.h5ad`, whole or not at all."""

import sys
from pathlib import Path

from anndata import AnnData

from gensim.atomic import atomic_path, require_space

OVERHEAD_BYTES = 1 << 16
"""Of HDF5, whatever the file holds."""


def write_h5ad(path: Path, cells: AnnData) -> None:
    """Write `cells`, uncompressed.

    Raises:
        StoreError: the disk has no room for them, or the folder cannot be written.
    """
    # HDF5 raises on a full disk, but then takes the process down when it exits.
    require_space(path, sys.getsizeof(cells) + OVERHEAD_BYTES)
    with atomic_path(path) as temporary:
        cells.write_h5ad(temporary)
