"""A simulated screen as files: the screen itself, its network, and vectors of its perturbations."""

from contextlib import ExitStack
from pathlib import Path

from gensim.atomic import atomic_path
from gensim.data.h5ad_file import write_h5ad
from gensim.data.simulated_effect import Modality
from gensim.data.simulated_screen import DEFAULT_N_GENES, SimulatedScreen
from gensim.errors import DataError, StoreError, listing

CONTROL_SHARE = 0.2
"""Share of control cells."""


def write_simulated_screen(
    out: Path,
    *,
    seed: int = 0,
    n_genes: int = DEFAULT_N_GENES,
    n_cells: int = 10_000,
    n_cell_types: int = 2,
    modality: Modality = "knock_out",
    combinations: int = 10,
    overwrite: bool = False,
) -> tuple[Path, Path, Path]:
    """Write a screen of every regulator and `combinations` pairs, its network, and vectors of its perturbations.

    A fifth of the cells are controls; the rest are shared equally, so that about `n_cells` result. Each file is
    written under a temporary name and renamed, the screen last: where it is complete, so are the others.

    Returns:
        `out` (.h5ad), ``<stem>_edges.csv`` and ``<stem>_vectors.parquet`` beside it.

    Raises:
        DataError: a bad argument, or too few cells for one in every condition.
        StoreError: `out` does not end in .h5ad, its folder cannot be written to, or a file exists without `overwrite`.
    """
    out = Path(out)
    if out.suffix != ".h5ad":
        raise StoreError(f"a simulated screen is written as .h5ad; got {str(out)!r}")
    paths = (out, out.with_name(f"{out.stem}_edges.csv"), out.with_name(f"{out.stem}_vectors.parquet"))
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        raise StoreError(f"{listing(there)} exists; choose another name, or use --overwrite (overwrite=True)")
    simulated = SimulatedScreen(seed, n_genes, n_cell_types=n_cell_types, modality=modality)
    perturbations = [*simulated.regulators, *simulated.pairs(combinations)]
    n_controls = round(CONTROL_SHARE * n_cells / n_cell_types)
    cells_per_condition = round((1 - CONTROL_SHARE) * n_cells / (n_cell_types * len(perturbations)))
    if min(n_controls, cells_per_condition) < 1:
        wanted = n_cell_types * len(perturbations)
        raise DataError(f"{n_cells} cells are too few for {wanted} perturbed conditions; ask for {2 * wanted} or more")
    adata = simulated.screen(perturbations, cells_per_condition=cells_per_condition, n_controls=n_controls)
    with ExitStack() as stack:
        # Left in the reverse order, so that the screen is renamed last.
        screen, edges, vectors = (stack.enter_context(atomic_path(path)) for path in paths)
        write_h5ad(screen, adata)
        simulated.save_edges(edges)
        simulated.save_vectors(vectors)
    return paths
