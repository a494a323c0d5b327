"""Classes of genes against scanpy, and F1 by hand and against scikit-learn."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from sklearn.metrics import f1_score

from gensim.errors import NotComputable
from gensim.metrics.macro_f1 import macro_f1
from gensim.metrics.marginals import GeneMarginals
from gensim.metrics.panel import Panel
from gensim.metrics.response_classes import response_classes


def panel(real, predicted):
    return Panel(np.array(real, dtype=float), np.array(predicted, dtype=float), [np.empty(0, np.int64)] * len(real))


def test_classes_are_those_of_scanpy():
    rng = np.random.default_rng(0)
    controls = rng.normal(4, 0.5, size=(60, 30)).astype(np.float32)
    x = rng.normal(4, 0.5, size=(40, 30)).astype(np.float32)
    x[:, :4] += np.float32([1.0, -1.0, 0.4, -0.4])
    x[:, 5], controls[:, 5] = 2.0, 2.0  # a gene that does not vary
    obs = pd.DataFrame({"group": pd.Categorical(["x"] * 40 + ["control"] * 60)}, index=[str(i) for i in range(100)])
    cells = anndata.AnnData(
        np.concatenate([x, controls]), obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(30)])
    )
    scanpy.tl.rank_genes_groups(cells, "group", groups=["x"], reference="control", method="t-test")
    table = scanpy.get.rank_genes_groups_df(cells, "x").set_index("names").loc[cells.var_names]
    expected = np.where(table["pvals_adj"] < 0.05, np.sign(table["scores"]), 0)
    found = response_classes(GeneMarginals.of(x), GeneMarginals.of(controls))
    assert found.tolist() == expected.tolist()
    assert found[:2].tolist() == [1, -1]
    assert np.abs(found).sum() < 8


def test_few_cells_have_no_classes():
    cells = GeneMarginals.of(np.random.default_rng(1).normal(size=(31, 3)).astype(np.float32))
    few = GeneMarginals.of(np.zeros((30, 3), np.float32))
    assert response_classes(cells, cells).tolist() == [0, 0, 0]
    with pytest.raises(NotComputable, match="30 cells against 31 control cells"):
        response_classes(few, cells)
    with pytest.raises(NotComputable, match="31 cells against 1 control cells"):
        response_classes(cells, GeneMarginals.of(np.zeros((1, 3), np.float32)))


def test_f1_by_hand():
    # Gene 0: up is found in one of two, unchanged in one of one with a false one: F1 2/3 and 2/3.
    # Gene 1: unchanged throughout and found so: 1. No gene is down on either side of either.
    given = panel([[1, 0], [1, 0], [0, 0]], [[1, 0], [0, 0], [0, 0]])
    assert macro_f1(given) == pytest.approx((2 / 3 + 1) / 2)
    # The opposite direction is neither: F1 0 for up and down.
    assert macro_f1(panel([[1], [1]], [[-1], [-1]])) == 0.0
    assert macro_f1(panel([[1], [-1]], [[1], [-1]])) == 1.0


def test_f1_against_scikit_learn():
    rng = np.random.default_rng(2)
    real, predicted = rng.integers(-1, 2, size=(2, 9, 12))
    expected = np.mean([f1_score(real[:, g], predicted[:, g], average="macro") for g in range(12)])
    assert macro_f1(panel(real, predicted)) == pytest.approx(expected)
