"""Peak memory of reading a screen and of writing a store: ``python benchmarks/memory.py``.

Every measurement runs in a process of its own and reports the largest resident set that the process ever had. What
the imports alone take is measured as well. The screen is sparse counts in an .h5ad, the store dense log1p CP10k.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

MIB = 2**20
CELLS_PER_BLOCK = 4096
GENES_PER_COUNT = 20  # one count in every stretch of 20 genes: 5 % of the matrix
SCREEN, SCREEN_QUICK = (100_000, 5_000), (5_000, 1_000)
STORES, STORES_QUICK = ((20_000, 2_000), (80_000, 2_000)), ((8_192, 200), (32_768, 200))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few thousand cells")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here as well")
    parser.add_argument("--measure", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        MEASUREMENTS[arguments.measure](arguments.path, *arguments.size)
        print(peak_bytes())
        return
    results = measure_all(*((SCREEN_QUICK, STORES_QUICK) if arguments.quick else (SCREEN, STORES)))
    # Imported last: on Linux a process that is started inherits the peak of the one that starts it.
    from provenance import provenance

    report = {"benchmark": "memory", "results": results, "provenance": provenance()}
    for row in results:
        print(f"{row['what']:16}{row['cells']:>9,} cells x {row['genes']:>6,} genes"
              f"  dense {row['dense_bytes'] / MIB:8.0f} MiB  peak {row['peak_bytes'] / MIB:8.0f} MiB"
              f"  above imports {row['above_imports_bytes'] / MIB:8.0f} MiB")  # fmt: skip
    for name, value in report["provenance"].items():
        print(f"{name}: {value}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def measure_all(screen: tuple[int, int], stores: tuple[tuple[int, int], ...]) -> list[dict[str, int | str]]:
    """One row per measurement, bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "screen.h5ad"
        run("write screen", file, screen)
        rows = [("read screen", screen, run("imports of read", file, screen), run("read screen", file, screen))]
        for size in stores:
            idle = run("imports of store", folder, size)
            rows.append(("write store", size, idle, run("write store", folder / f"{size[0]}.zarr", size)))
    return [
        {
            "what": what,
            "cells": n_cells,
            "genes": n_genes,
            "dense_bytes": 4 * n_cells * n_genes,
            "peak_bytes": peak,
            "above_imports_bytes": peak - idle,
        }
        for what, (n_cells, n_genes), idle, peak in rows
    ]


def run(measurement: str, path: Path, size: tuple[int, int]) -> int:
    """Peak bytes of a new process that does `measurement`."""
    command = [sys.executable, __file__, "--measure", measurement, "--path", str(path), "--size", *map(str, size)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def peak_bytes() -> int:
    """Of this process; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def import_reader(_path: Path, _n_cells: int, _n_genes: int) -> None:
    import gensim.data.screen  # noqa: F401


def import_store(_path: Path, _n_cells: int, _n_genes: int) -> None:
    import gensim.pseudobulk
    import gensim.store  # noqa: F401


def write_screen(path: Path, n_cells: int, n_genes: int) -> None:
    """(n_cells, n_genes) sparse counts, 5 % above zero; every tenth cell is a control cell."""
    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse

    rng = np.random.default_rng(0)
    per_cell = n_genes // GENES_PER_COUNT
    first = np.arange(per_cell, dtype=np.int32) * GENES_PER_COUNT
    indices = (first + rng.integers(0, GENES_PER_COUNT, (n_cells, per_cell), dtype=np.int32)).ravel()
    counts = rng.integers(1, 10, len(indices)).astype(np.float32)
    x = sparse.csr_matrix((counts, indices, np.arange(n_cells + 1) * per_cell), shape=(n_cells, n_genes))
    names = np.array(["control", *(f"P{i}" for i in range(1, 10))], dtype=object)[np.arange(n_cells) % 10]
    obs = pd.DataFrame({"perturbation": names}, index=pd.Index([f"c{i}" for i in range(n_cells)], dtype=object))
    var = pd.DataFrame(index=pd.Index([f"G{i}" for i in range(n_genes)], dtype=object))
    ad.AnnData(x, obs=obs, var=var).write_h5ad(path)


def read_screen(path: Path, n_cells: int, n_genes: int) -> None:
    from gensim.config import DataConfig
    from gensim.data.screen import load_screen

    screen = load_screen(DataConfig(path=str(path), scale="counts"))
    assert screen.x.shape == (n_cells, n_genes)


def write_store(path: Path, n_cells: int, n_genes: int) -> None:
    """A store of one condition from one source cell, in chunks of 4,096 cells, with its pseudobulk."""
    import numpy as np
    import pandas as pd

    from gensim.pseudobulk import Pseudobulk
    from gensim.store import CellStore
    from gensim.store_schema import StoreSchema
    from gensim.types import CellChunk

    genes = tuple(f"G{i}" for i in range(n_genes))
    sources = pd.DataFrame(index=pd.Index(["c0"], name="source_cell"))
    conditions = pd.DataFrame({"condition": ["P1"]})
    schema = StoreSchema(genes, "log1p_cp10k", n_cells, CELLS_PER_BLOCK, conditions, sources, {})
    store = CellStore.create(path, schema)
    rng = np.random.default_rng(0)
    for index in store.missing_chunks():
        rows = schema.rows(index)
        n = rows.stop - rows.start
        x = np.log1p(rng.poisson(0.1, (n, n_genes))).astype(np.float32)
        zeros = np.zeros(n, dtype=np.int64)
        chunk = CellChunk(index, rows.start, x, None, zeros, zeros, np.full(n, 1e4, dtype=np.float32))
        store.write(chunk, x, Pseudobulk.of(x, None, zeros))
    assert store.pseudobulk().n.tolist() == [n_cells]
    store.finish()


MEASUREMENTS = {
    "imports of read": import_reader,
    "imports of store": import_store,
    "write screen": write_screen,
    "read screen": read_screen,
    "write store": write_store,
}


if __name__ == "__main__":
    main()
