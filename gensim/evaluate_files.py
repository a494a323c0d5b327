"""The job that scores any predicted cells against any real cells, made by whatever model, without a run."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import sparse

from gensim.baselines.gaussian_map import GaussianMaps
from gensim.config import DataConfig
from gensim.data.cell_file import CellFile
from gensim.data.cell_source import FileCells, cell_source_from_file
from gensim.data.screen import Screen, load_screen
from gensim.errors import DataError, listing, nearest
from gensim.metrics.catalogue import DEFAULT, Metric
from gensim.metrics.results import Evaluation, Missing
from gensim.metrics.space import MetricSpace
from gensim.pca import CELLS_AT_ONCE
from gensim.perturbations.mean_effects import fit_mean_effects
from gensim.provenance import software
from gensim.scoring import Asked, Known, not_trained_on, score, write
from gensim.types import blocks, first_difference

log = logging.getLogger("gensim")

MOST_CELLS_OF_SPACE = 5_000
"""Real cells that principal components are fitted to where there are no training cells. Of Papalexi's unseen cells 50
components explain 0.429 of the variance when fitted to 8,673 cells, and 0.425 when fitted to 5,000."""


def evaluate_files(
    cells: Path,
    truth: Path,
    data: DataConfig,
    *,
    controls: Path | None = None,
    train: Path | None = None,
    common_genes: bool = False,
    out: Path | None = None,
    seed: int = 0,
    metrics: Sequence[Metric] = DEFAULT,
    missing: Missing | None = None,
    workers: int | None = None,
) -> tuple[Evaluation, Path]:
    """Score predicted against real cells and write the report.

    Args:
        cells: predicted cells. truth: real cells; those that `train` has too are left out by name.
        data: scale and columns of all files, unless a file says otherwise; its own path is not used. Counts become
            CP10k over the compared genes, where `library_size_column` does not say more.
        controls: control cells for baselines and effects; None for those of the truth.
        train: the cells that the model was trained on: principal components, mean effects and the rows made of them
            come from these. None: components of the real cells themselves, and neither those rows nor seen and unseen.
        common_genes: compare the genes that all files have; else all must have those of the truth.
        out: folder of the report; None for ``cells.evaluation`` beside ``cells.h5ad``.
        metrics: those of the catalogue that are asked for.
        missing: what stands for conditions that were not predicted; None: they are not scored.
        workers: conditions that are scored at once; see `gensim.evaluate.evaluate`.

    Returns:
        The evaluation, and the folder of the report.

    Raises:
        DataError: nothing to score, other genes, another scale, no control cells, values that are not finite.
    """
    paths = [path for path in (truth, cells, controls, train) if path is not None]
    genes, differ = _genes(paths, common_genes)
    screen = None if train is None else _training_cells(train, data, genes)
    notes: list[str] = []
    if differ and data.scale == "counts" and data.library_size_column is None:
        notes.append(f"the files differ in their genes: CP10k is over the {len(genes)} genes that all of them have")

    def source(path: Path) -> FileCells:
        opened = replace(cell_source_from_file(path, data, genes), over_genes=True)
        if screen is None or path == cells:
            return opened
        return not_trained_on(opened, screen.cells.tolist(), notes)

    real = source(truth)
    started_from = real if controls is None else source(controls)
    if not any(condition.is_control for condition in started_from.conditions):
        where = truth if controls is None else controls
        labels = [name for condition in started_from.conditions for name in condition.perturbations]
        raise DataError(
            f"{str(where)!r} has no control cells (label {data.control_label!r} in {data.perturbation_column!r}"
            f"{nearest(data.control_label, labels)}) that training does not have; give some by --controls"
        )
    if screen is None:
        known = Known(MetricSpace.fit(_finite(real), genes))
        notes.append("principal components of the real cells themselves, as no training cells were given (--train)")
    else:
        known = _fitted(screen)
    asked = Asked(out, seed, metrics, missing, workers)
    evaluation, of_rows = score(source(cells), real, started_from, known, data.batch_column, asked)
    others = {"truth": truth, "controls": controls, "train": train}
    named = {name: str(path) for name, path in others.items() if path is not None}
    return evaluation, write(evaluation, cells, real, known.space, asked, {**software(), **named}, [*notes, *of_rows])


def _genes(paths: Sequence[Path], common: bool) -> tuple[tuple[str, ...], bool]:
    """Those of the first file, or those of them that all files have; and whether any file has others."""
    first, *others = (CellFile(path, None).genes for path in paths)
    for path, genes in zip(paths[1:], others, strict=True):
        lacking = set(first) - set(genes)
        if lacking and not common:
            raise DataError(
                f"{str(path)!r} lacks {len(lacking)} of the {len(first)} genes of {str(paths[0])!r}: "
                f"{listing(gene for gene in first if gene in lacking)} ({first_difference(first, genes)}); compare the "
                "genes that all files have with --common-genes"
            )
    shared = set(first).intersection(*others)
    kept = tuple(gene for gene in first if gene in shared)
    if not kept:
        raise DataError(f"no gene is in all of {listing(map(str, paths))}; are they named alike, symbols or ids?")
    return kept, any(len(genes) != len(kept) for genes in (first, *others))


def _training_cells(path: Path, data: DataConfig, genes: tuple[str, ...]) -> Screen:
    screen = load_screen(data.model_copy(update={"path": str(path)}))
    column = {gene: i for i, gene in enumerate(screen.genes)}
    selected = screen.select_genes(np.array([column[gene] for gene in genes], dtype=np.int64))
    noted = CellFile(path, None).uns_gensim.get("library_size_column")
    if data.scale != "counts" or noted is not None or data.library_size_column is not None:
        return selected
    totals = np.asarray(selected.x.sum(axis=1, dtype=np.float64)).ravel().astype(np.float32)
    if not (totals > 0).all():
        first = str(screen.cells[int(np.argmin(totals))])
        raise DataError(f"{str(path)!r}: cell {first!r} has no counts of the compared genes; remove such cells")
    return replace(selected, library_size=totals)


def _fitted(screen: Screen) -> Known:
    """What is known of training cells."""
    x, rows = screen.log1p_cp10k(), np.arange(len(screen))
    space = MetricSpace.fit(x, screen.genes)
    of_cells = (screen.condition_of, screen.conditions, rows)
    effects = fit_mean_effects(lambda cells: x[cells].toarray(), *of_cells)
    return Known(space, effects, GaussianMaps.fit(lambda cells: space.project(x[cells]), *of_cells))


def _finite(cells: FileCells) -> Iterator[sparse.csr_matrix]:
    """(B, G) blocks, log1p CP10k, of so many cells at most, evenly over the file."""
    known = np.flatnonzero(cells.condition_of >= 0)
    chosen = known[:: max(1, -(-len(known) // MOST_CELLS_OF_SPACE))]
    for part in blocks(len(chosen), CELLS_AT_ONCE):
        rows = chosen[part]
        x = cells.read(rows)
        bad = np.flatnonzero(~np.isfinite(x.data))
        if len(bad):
            row = int(np.searchsorted(x.indptr, bad[0], side="right")) - 1
            name = str(cells.file.cells[rows[row]])
            raise DataError(f"{cells.file.where}: cell {name!r} has a value that is not finite; mend or remove it")
        yield x
