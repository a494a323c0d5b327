"""Cells read from files are those of a plain computation, at the genes asked for."""

import json
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from gensim.config import DataConfig
from gensim.data.cell_source import ArrayCells, ScreenCells, cell_source_from_file
from gensim.data.screen import load_screen
from gensim.errors import DataError
from gensim.types import Condition

GENES = ("A", "B", "C", "D")
COUNTS = np.random.default_rng(0).poisson(3.0, size=(9, 4)).astype(np.float32) + np.eye(9, 4, dtype=np.float32)
LABELS = ["control", "P", "Q"] * 3


@pytest.fixture
def config(tmp_path):
    return DataConfig(path=str(tmp_path / "cells.h5ad"), scale="counts")


def write(config, x=COUNTS, notes=None, **columns):
    obs = pd.DataFrame({"perturbation": LABELS, **columns}, index=[f"cell{i}" for i in range(9)])
    adata = ad.AnnData(sparse.csr_matrix(x), obs=obs, var=pd.DataFrame(index=list(GENES)))
    if notes is not None:
        adata.uns["gensim"] = json.dumps(notes)
    adata.write_h5ad(config.path)
    return config.path


def log1p(counts, library_size):
    return np.log1p(1e4 * counts / library_size[:, None])


def test_rows_are_read_in_the_order_asked_for(config):
    source = cell_source_from_file(write(config), config, GENES)
    assert source.rows(Condition(("P",))).tolist() == [1, 4, 7]
    assert source.rows(Condition(("absent",))).tolist() == []
    rows = np.array([7, 0, 4])
    np.testing.assert_allclose(source.read(rows).toarray(), log1p(COUNTS, COUNTS.sum(1))[rows], rtol=1e-5)
    assert source.read(rows[:0]).shape == (0, 4)


def test_some_of_the_genes_are_normalised_by_all(config):
    source = cell_source_from_file(write(config), config, ("C", "A"))
    np.testing.assert_allclose(source.read(np.arange(9)).toarray(), log1p(COUNTS, COUNTS.sum(1))[:, [2, 0]], rtol=1e-5)


def test_named_library_sizes_are_used(config):
    sizes = COUNTS.sum(1) * 5
    path = write(config, notes={"scale": "counts", "library_size_column": "depth"}, depth=sizes)
    read = cell_source_from_file(path, config, GENES).read(np.arange(9)).toarray()
    np.testing.assert_allclose(read, log1p(COUNTS, sizes), rtol=1e-5)
    path = write(config, notes={"scale": "counts", "library_size_column": "gone"})
    with pytest.raises(DataError, match="'gone'"):
        cell_source_from_file(path, config, GENES)


def test_counts_per_cell_are_what_the_logarithms_were_divided_by(config):
    rows, sizes = np.array([7, 0, 4]), COUNTS.sum(1)
    source = cell_source_from_file(write(config), config, ("C", "A"))
    assert source.counts_per_cell(rows).tolist() == sizes[rows].tolist()
    assert source.counts_per_cell(rows[:0]).tolist() == []
    over_genes = replace(source, over_genes=True)
    assert over_genes.counts_per_cell(rows).tolist() == COUNTS[:, [2, 0]].sum(1)[rows].tolist()
    counts = np.expm1(over_genes.read(rows).toarray()) * over_genes.counts_per_cell(rows)[:, None] / 1e4
    np.testing.assert_allclose(counts, COUNTS[rows][:, [2, 0]], rtol=1e-5)
    path = write(config, notes={"scale": "counts", "library_size_column": "depth"}, depth=sizes * 5)
    assert cell_source_from_file(path, config, GENES).counts_per_cell(rows).tolist() == (sizes * 5)[rows].tolist()
    path = write(config, log1p(COUNTS, sizes).astype(np.float32), notes={"scale": "log1p_cp10k"})
    assert cell_source_from_file(path, config, GENES).counts_per_cell(rows) is None


def test_a_missing_gene_is_named(config):
    with pytest.raises(DataError, match=r"lacks 1 of 2 genes: 'Z'.*position 1 is 'Z' in the one and 'B'"):
        cell_source_from_file(write(config), config, ("A", "Z"))


def test_a_file_that_says_its_scale_is_read_in_it(config):
    """Whatever the run's own scale is: both are compared as log1p CP10k."""
    logs = DataConfig(path=config.path, scale="log1p_cp10k")
    said = cell_source_from_file(write(config, notes={"scale": "counts"}), logs, GENES).read(np.arange(9))
    read = cell_source_from_file(write(config), config, GENES).read(np.arange(9))
    np.testing.assert_array_equal(said.toarray(), read.toarray())


def test_other_scales_are_refused(config):
    logs = DataConfig(path=config.path, scale="log1p_cp10k")
    source = cell_source_from_file(write(config), logs, GENES)
    with pytest.raises(DataError, match=r"every value is an integer; declare data\.scale=counts"):
        source.read(np.arange(9))
    source = cell_source_from_file(write(config, log1p(COUNTS, COUNTS.sum(1))), config, GENES)
    with pytest.raises(DataError, match=r"look like log1p, declare data\.scale=log1p_cp10k"):
        source.read(np.arange(9))
    source = cell_source_from_file(write(config, COUNTS + 0.5), logs, GENES)
    assert source.read(np.arange(9)).shape == (9, 4)
    source = cell_source_from_file(write(config, COUNTS + 9.5), logs, GENES)
    with pytest.raises(DataError, match="median total is"):
        source.read(np.arange(9))


def test_cells_without_counts_are_named(config):
    x = COUNTS.copy()
    x[4] = 0
    with pytest.raises(DataError, match="'cell4' has no counts"):
        cell_source_from_file(write(config, x), config, GENES).read(np.arange(9))


def test_a_screen_and_arrays_are_sources_of_the_same_cells(config):
    write(config)
    screen = load_screen(config)
    held_out = ScreenCells(screen, keep=np.array([1, 2, 4]))
    assert held_out.genes == GENES
    assert set(held_out.conditions) == {Condition(("P",)), Condition(("Q",))}
    assert held_out.rows(Condition(("P",))).tolist() == [1, 4]
    assert held_out.rows(Condition(())).tolist() == []
    arrays = ArrayCells(GENES, screen.conditions, screen.condition_of, log1p(COUNTS, COUNTS.sum(1)))
    for condition in screen.conditions:
        rows = ScreenCells(screen).rows(condition)
        np.testing.assert_array_equal(rows, arrays.rows(condition))
        np.testing.assert_allclose(ScreenCells(screen).read(rows).toarray(), arrays.read(rows), rtol=1e-5)
