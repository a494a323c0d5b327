"""Gene selection looks at training cells only, and keeps perturbed genes."""

from dataclasses import replace

import numpy as np
import pytest
from screens import adata_of, screen_of

from gensim.config import SplitConfig
from gensim.data.gene_selection import select_genes
from gensim.data.splits import Role, make_split


@pytest.fixture
def screen(tmp_path):
    """60 genes of mean 20 or 200, Poisson but for g7 and g31, which vary far more; g3 and g50 are perturbed.

    Two means far apart, so that every bin of mean expression has many genes and one that varies.
    """
    rng = np.random.default_rng(0)
    x = rng.poisson(np.where(np.arange(60) < 30, 20.0, 200.0), size=(200, 60)).astype(np.float32)
    for gene, mean in ((7, 20), (31, 200)):
        x[:, gene] = mean * rng.choice([0.4, 1.6], size=200)
    return screen_of(tmp_path, adata_of(["control"] * 80 + ["g3"] * 60 + ["g50+absent"] * 60, x))


def test_variable_and_perturbed_genes_are_kept(screen):
    chosen = select_genes(screen, make_split(screen, SplitConfig(), 0), 2)
    assert chosen.tolist() == [3, 7, 31, 50]
    assert chosen.dtype == np.int64


def test_exactly_n_where_none_is_perturbed(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.poisson(2.0, size=(60, 30)).astype(np.float32)
    x[:, 20:] = 0  # genes that nobody expresses
    plain = screen_of(tmp_path, adata_of(["control", "A"] * 30, x))
    chosen = select_genes(plain, make_split(plain, SplitConfig(), 0), 10)
    assert len(chosen) == 10
    assert (chosen < 20).all()


def test_all_genes_where_more_are_asked_for(screen):
    assert select_genes(screen, make_split(screen, SplitConfig(), 0), 60).tolist() == list(range(60))


def test_other_cells_change_nothing(screen):
    split = make_split(screen, SplitConfig(), 0)
    before = select_genes(screen, split, 10)
    rng = np.random.default_rng(1)

    def scrambled(rows):
        x = screen.x.toarray()
        x[rows] = rng.poisson(30 * rng.random((len(rows), 60)))
        return select_genes(replace(screen, x=type(screen.x)(x), library_size=x.sum(axis=1)), split, 10)

    for role in (Role.HELD_OUT, Role.VALIDATION):
        np.testing.assert_array_equal(scrambled(split.rows(role)), before)
    assert scrambled(split.rows(Role.TRAIN)).tolist() != before.tolist()
