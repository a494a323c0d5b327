"""Vectors from prior knowledge: structure that was planted is found, and nothing else decides."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from annotations import annotated, cosine
from scipy import sparse
from screens import adata_of, screen_of
from small_runs import config

from gensim.cli import main
from gensim.data.splits import Role
from gensim.embed.annotation import annotation_vectors
from gensim.embed.decomposition import leading_eigen, leading_singular
from gensim.embed.expression import expression_vectors
from gensim.embed.network import network_vectors
from gensim.embed.smiles import smiles_vectors
from gensim.embed.vector_file import made_from
from gensim.errors import ConfigError, DataError
from gensim.perturbations.vectors import VectorTable, read_vector_table
from gensim.training.run_folder import CellIndex

# Annotation


GENES = annotated(A="all x y", B="all x y", C="all y", D="all p q", E="all p q r", F="all r only_f", G="all only_g")


def test_genes_are_alike_by_the_terms_that_they_share():
    """A and B have the same terms; A and D share what all have, which weighs nothing; G has nothing else."""
    table = annotation_vectors(*GENES, 4, "a test")
    assert table.names == ("A", "B", "C", "D", "E", "F")
    assert cosine(table, "A", "B") == pytest.approx(1)
    assert cosine(table, "A", "D") == pytest.approx(0, abs=1e-5)
    assert cosine(table, "D", "E") > cosine(table, "E", "F") > 0.05


def test_annotation_by_hand():
    """With all features, inner products are those of the weighted rows: y in 3 of 7 genes, x in 2."""
    table = annotation_vectors(*GENES, 5, "a test")
    x, y = np.log(7 / 2), np.log(7 / 3)
    a, c = (table.vectors[table.names.index(name)] for name in "AC")
    assert a @ c == pytest.approx(y / np.hypot(x, y), abs=1e-5)
    assert a @ a == pytest.approx(1, abs=1e-5)


def test_annotation_does_not_depend_on_order_or_repeats():
    rows = pd.DataFrame(dict(zip("gt", GENES, strict=True)))
    again = pd.concat([rows, rows.head(5)]).sample(frac=1, random_state=1)
    one, other = annotation_vectors(*GENES, 3, "a"), annotation_vectors(again["g"], again["t"], 3, "a")
    assert one.names == other.names
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


def test_annotations_that_say_nothing_are_refused():
    with pytest.raises(DataError, match="no two genes share a term"):
        annotation_vectors(*annotated(A="all a", B="all b", C="all c"), 2, "sets.csv")
    with pytest.raises(DataError, match="6 singular vectors or eigenvectors are needed; this table allows 1 to 5"):
        annotation_vectors(*GENES, 6, "sets.csv")


# Networks


def edges(text: str, directed: bool = False, n: int = 2) -> VectorTable:
    """ "AB AC-" are two edges of weight 1, the second negative; a digit is a weight."""
    words = text.split()
    weight = [float(word[2:].strip("-") or 1) * (-1 if word.endswith("-") else 1) for word in words]
    first, second = (pd.Series([word[i] for word in words]) for i in (0, 1))
    return network_vectors(first, second, np.array(weight), n, "a test", directed=directed, method="spectral")


def test_communities_of_a_network_lie_together():
    """Two cliques of four with one weak edge between them."""
    inside = " ".join(a + b for clique in ("ABCD", "WXYZ") for a in clique for b in clique if a < b)
    table = edges(f"{inside} AW0.1")
    assert min(cosine(table, "A", x) for x in "BCD") > 0.95
    assert min(cosine(table, "W", x) for x in "XYZ") > 0.95
    assert max(cosine(table, a, w) for a in "BCD" for w in "XYZ") < 0.1


def test_a_network_by_hand():
    """A star of three leaves: degrees 3, 1, 1, 1 with mean 1.5, so leaves and centre are scaled by 2.5 and 4.5.

    Eigenvalues ± sqrt(3 / (2.5 * 4.5)), and 0 twice; the leading vector is (1, 1/sqrt 3, ...) / sqrt 2.
    """
    table = edges("AB AC AD", n=1)
    value = np.sqrt(3 / (2.5 * 4.5))
    expected = np.sqrt(value) * np.array([1, *np.full(3, 3**-0.5)]) / np.sqrt(2)
    np.testing.assert_allclose(table.vectors[:, 0], expected, rtol=1e-5)


def test_edges_that_inhibit_drive_genes_apart():
    """Two friends of A, two that it inhibits, who are friends."""
    table = edges("AB AC BC XY AX- BX- CY- AY-", n=1)
    assert cosine(table, "A", "B") == cosine(table, "X", "Y") == 1
    assert cosine(table, "A", "X") == -1


def test_directions_say_who_acts_on_whom():
    """R and S act on the same genes; A and B are acted on by both, and the other way round nothing is known."""
    table = edges("RA RB RC SA SB SC TX TY UX UY", directed=True, n=4)
    acts, is_acted_on = slice(0, 2), slice(2, 4)
    assert cosine(table, "R", "S", acts) == pytest.approx(1, abs=1e-5)
    assert cosine(table, "R", "T", acts) == pytest.approx(0, abs=1e-5)
    assert cosine(table, "A", "B", is_acted_on) == pytest.approx(1, abs=1e-5)
    a, r = (table.vectors[table.names.index(name)] for name in "AR")
    np.testing.assert_allclose(a[acts], 0, atol=1e-5)
    np.testing.assert_allclose(r[is_acted_on], 0, atol=1e-5)


def test_repeated_edges_count_once_and_those_with_oneself_not_at_all():
    plain = edges("AB2 AC BC CD DE")
    np.testing.assert_allclose(edges("AB1 BA3 AC BC CD DE AA9").vectors, plain.vectors, atol=1e-6)


def test_edges_that_cancel_are_none_in_any_order():
    words = ["AB0.1", "AB0.2", "AB0.3-", "BC", "CD", "DB"]
    tables = [edges(" ".join(np.random.default_rng(k).permutation(words))) for k in range(6)]
    assert {table.names for table in tables} == {("B", "C", "D")}


@pytest.mark.parametrize("directed", [False, True])
def test_networks_of_great_symmetry_come_out_the_same_every_time(directed):
    """A ring, of which ones are an eigenvector, and parts that are all alike."""
    ring = " ".join(a + b for a, b in zip("ABCDEFGHIJ", "BCDEFGHIJA", strict=True))
    parts = " ".join(a + b for a, b in zip("abcdefgh", "ABCDEFGH", strict=True))
    for text in (ring, parts):
        tables = [edges(text, directed=directed, n=4) for _ in range(3)]
        for table in tables[1:]:
            np.testing.assert_array_equal(table.vectors, tables[0].vectors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AA BB", "no edge between two genes"),
        ("AB0 AC0", "no edge between two"),
        ("ABnan AC", "1 edges of a test"),
    ],
)
def test_networks_that_say_nothing_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        edges(text)


def test_an_odd_number_of_directed_features_is_refused():
    with pytest.raises(DataError, match="an even number"):
        edges("AB BC CD", directed=True, n=3)


@pytest.mark.parametrize("full", [0, 1])
def test_large_tables_are_decomposed_as_small_ones_are(monkeypatch, full):
    """Thirty overlapping communities: what is exact for small matrices and iterated for large ones agrees."""
    rng = np.random.default_rng(0)
    member = rng.random((400, 30)) * (rng.random((400, 30)) < 0.15) * np.arange(30, 0, -1)
    matrix = sparse.csr_matrix(member @ member.T)
    exact = [leading_singular(matrix, 6), leading_eigen(matrix, 6)]
    monkeypatch.setattr("gensim.embed.decomposition.MOST_DENSE", 10)
    monkeypatch.setattr("gensim.embed.decomposition.FULL", full)
    for found, expected in zip([leading_singular(matrix, 6), leading_eigen(matrix, 6)], exact, strict=True):
        for part, of_exact in zip(found, expected, strict=True):
            np.testing.assert_allclose(part, of_exact, rtol=1e-6, atol=1e-6)


# Expression


def modules(seed: int = 0, n: int = 400) -> ad.AnnData:
    """Two contexts, which differ in every gene; genes g0 to g3 go together in both, and g4 to g7."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(2 * n, 2))
    log_mean = 2 + 0.5 * np.repeat(np.arange(2), n)[:, None] + np.zeros((1, 9))
    log_mean[:, :4] += 0.7 * factor[:, :1]
    log_mean[:, 4:8] += 0.7 * factor[:, 1:]
    labels = ["control" if i % 2 else "A" for i in range(2 * n)]
    contexts = np.repeat(["x", "y"], n).tolist()
    return adata_of(labels, rng.poisson(np.exp(log_mean)).astype(np.float32), "cell", cell_type=contexts)


def test_genes_that_go_together_within_contexts_lie_together(tmp_path):
    loaded = screen_of(tmp_path, modules(), context_columns=["cell_type"])
    controls = np.flatnonzero([loaded.conditions[k].is_control for k in loaded.condition_of])
    table = expression_vectors(loaded, controls, 8, "a test")
    x = loaded.log1p_cp10k(controls).toarray().astype(np.float64)
    for k in np.unique(loaded.condition_of[controls]):
        here = loaded.condition_of[controls] == k
        x[here] -= x[here].mean(axis=0)
    # Eight of nine features: the correlations but for their smallest component.
    values, u = np.linalg.eigh(np.corrcoef(x.T))
    expected = np.corrcoef(x.T) - values[0] * np.outer(u[:, 0], u[:, 0])
    np.testing.assert_allclose(table.vectors @ table.vectors.T, expected, atol=1e-4)
    names = loaded.genes
    assert min(cosine(table, names[0], names[i]) for i in (1, 2, 3)) > 0.3
    assert max(cosine(table, names[0], names[i]) for i in (4, 5, 6, 7)) < 0.1


def test_vectors_from_expression_know_training_controls_alone(tmp_path):
    """Cells that are held out, or perturbed, may be anything."""
    adata = modules()
    adata.write_h5ad(tmp_path / "screen.h5ad")
    path = config(tmp_path / "config.yaml", tmp_path / "run", tmp_path / "screen.h5ad")
    out = tmp_path / "v.parquet"
    assert main(["embed", "expression", str(path), "--out", str(out), "--features", "4"]) == 0
    before = read_vector_table(out)
    assert made_from(out)["kind"] == "expression"
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    index = CellIndex.load(tmp_path / "run" / "prepared" / "cells.safetensors")
    controls = np.isin(index.condition_of, index.controls)
    for seen, same in ((~controls | (index.role != Role.TRAIN), True), (controls & (index.role == Role.TRAIN), False)):
        changed = adata.copy()
        changed.X = np.where(seen[:, None], np.random.default_rng(1).poisson(3.0, adata.shape), adata.X.toarray())
        changed.X = changed.X.astype(np.float32)
        changed.write_h5ad(tmp_path / "screen.h5ad")
        assert main(["embed", "expression", str(path), "--out", str(out), "--features", "4", "--overwrite"]) == 0
        assert np.allclose(read_vector_table(out).vectors, before.vectors, atol=1e-6) == same


# Structures


def test_compounds_are_alike_by_their_structure():
    pytest.importorskip("rdkit", reason="vectors from SMILES need rdkit")
    smiles = {"ethanol": "CCO", "the same": "OCC", "propanol": "CCCO", "benzene": "c1ccccc1", "toluene": "Cc1ccccc1"}
    table = smiles_vectors(pd.Series(list(smiles)), pd.Series(list(smiles.values())), 256, "a test")
    assert table.vectors.shape == (5, 264)
    np.testing.assert_array_equal(table.vectors[0], table.vectors[1])
    bits = slice(0, 256)
    assert set(np.unique(table.vectors[:, bits])) == {0, 1}
    assert cosine(table, "ethanol", "propanol", bits) > 0.4 > cosine(table, "ethanol", "benzene", bits)
    assert cosine(table, "benzene", "toluene", bits) > cosine(table, "benzene", "propanol", bits)
    np.testing.assert_allclose(table.vectors[:, 256:].mean(axis=0), 0, atol=1e-6)
    # Weights of 46.07, twice, 60.10, 78.11 and 92.14, standardised.
    weights = np.array([46.07, 46.07, 60.10, 78.11, 92.14])
    np.testing.assert_allclose(table.vectors[:, 256], (weights - weights.mean()) / weights.std(), atol=1e-3)


def test_text_that_is_no_structure_is_refused():
    pytest.importorskip("rdkit", reason="vectors from SMILES need rdkit")
    with pytest.raises(DataError, match=r"2 compounds of drugs\.csv have no valid SMILES: 'bad', 'empty'"):
        smiles_vectors(pd.Series(["good", "bad", "empty"]), pd.Series(["CCO", "C(C", ""]), 16, "drugs.csv")


def test_without_rdkit_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("gensim.embed.smiles.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gensim-cells\[chemistry\]"):
        smiles_vectors(pd.Series(["a"]), pd.Series(["CCO"]), 16, "drugs.csv")


def test_real_drugs_have_structures(real_data, tmp_path):
    pytest.importorskip("rdkit", reason="vectors from SMILES need rdkit")
    out = tmp_path / "drugs.parquet"
    assert main(["embed", "smiles", str(real_data / "priors" / "drug_smiles.csv"), "--out", str(out)]) == 0
    table = read_vector_table(out)
    assert len(table.names) == pd.read_csv(real_data / "priors" / "drug_smiles.csv")["drug"].nunique()
    assert table.vectors.shape[1] == 1032


def test_one_pathway_lies_together_in_real_annotation(real_data):
    """STAT1, JAK2 and IFNGR1 are nearer to each other than to most of the screen's other targets."""
    pairs = pd.read_csv(real_data / "priors" / "go_human_bp_with_ancestors.tsv.gz", sep="\t", keep_default_na=False)
    table = annotation_vectors(pairs["symbol"], pairs["go_id"], 64, "GO")
    pathway, others = ("STAT1", "JAK2", "IFNGR1"), ("CAV1", "CD86", "CMTM6", "MYC", "BRD4", "TNFRSF14", "POU2F2")
    inside = np.mean([cosine(table, a, b) for a in pathway for b in pathway if a < b])
    outside = [np.mean([cosine(table, a, b) for a in pathway]) for b in others]
    assert inside > np.max(outside)
