"""Vectors from prior knowledge: planted structure is found, and tables, names and mistakes are what users meet."""

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from screens import adata_of, screen_of
from small_runs import config, screen

from gensim.cli import main
from gensim.data.splits import Role
from gensim.embed.aliases import resolve
from gensim.embed.annotation import annotation_vectors
from gensim.embed.decomposition import leading_eigen, leading_singular
from gensim.embed.expression import expression_vectors
from gensim.embed.network import network_vectors
from gensim.embed.smiles import smiles_vectors
from gensim.embed.vector_file import file_digest, made_from
from gensim.errors import ConfigError, DataError
from gensim.perturbations.vectors import VectorTable, read_vector_table
from gensim.training.run_folder import CellIndex


def cosine(table: VectorTable, a: str, b: str, columns=slice(None)) -> float:
    x, y = (table.vectors[table.names.index(name), columns] for name in (a, b))
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


# Annotation


def annotated(**terms: str) -> tuple[pd.Series, pd.Series]:
    """gene="a b" -> rows."""
    rows = [(gene, term) for gene, words in terms.items() for term in words.split()]
    return pd.Series([gene for gene, _ in rows]), pd.Series([term for _, term in rows])


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


@pytest.mark.parametrize("method", ["walks", "spectral"])
@pytest.mark.parametrize("columns", ["sign", "up,down"])
def test_signs_of_edges(work, columns, method):
    """0 is no sign, and no reason to leave an edge out."""
    (work / "e.csv").write_text("a,b,sign,up,down\nA,B,1,1,0\nB,C,-1,0,1\nC,D,0,0,0\nD,E,0,1,1\nE,A,-2.5,0,1\n")
    assert main(f"embed network e.csv --out v.parquet --features 2 --method {method} --sign {columns}".split()) == 0
    first, second = (pd.Series(list(names)) for names in ("ABCDE", "BCDEA"))
    weight = np.array([1.0, -1, 1, 1, -1])
    expected = network_vectors(first, second, weight, 2, "x", directed=False, method=method)
    np.testing.assert_array_equal(read_vector_table(work / "v.parquet").vectors, expected.vectors)


def test_versions_of_ensembl_ids_in_a_table_do_not_count(work):
    """Nor does anything else that follows a point."""
    rows = ["ENSG00000000001.1,x", "ENSG00000000001.2,y", "ENSMUSG00000000002,y", "ENSG3.1,x", "AC1.1,z", "B,z"]
    (work / "ids.csv").write_text("\n".join(["g,t", *rows]) + "\n")
    assert main(["embed", "annotation", "ids.csv", "--out", "v.parquet", "--features", "2"]) == 0
    names = read_vector_table(work / "v.parquet").names
    assert names == ("AC1.1", "B", "ENSG00000000001", "ENSG3.1", "ENSMUSG00000000002")


def test_names_stay_what_they_are(work):
    """Numbers, spaces around them, and quotes of a table that knows none."""
    (work / "ids.tsv").write_text('g\tt\n007\tx\n7\tx\n 7\ty\n1E3\ty\n"5\tx\nNA\ty\n8\tz\n9\tz\n')
    assert main(["embed", "annotation", "ids.tsv", "--out", "v.parquet", "--features", "2"]) == 0
    assert read_vector_table(work / "v.parquet").names == ('"5', "007", "1E3", "7", "8", "9", "NA")


# Names


def test_names_are_resolved_and_never_guessed():
    """ADA2 is an approved symbol and an alias of TADA2A, which is another gene; every symbol is an alias of itself."""
    text = "NEW OLD, P Q, P Q2, S1 S, S2 S, K L, TADA2A ADA2, ADA2 CECR1, ADA2 ADA2, X Y, Y Y"
    symbol, alias = zip(*(pair.split() for pair in text.split(", ")), strict=True)
    known = {"A", "NEW", "Q2", "S1", "S2", "L", "TADA2A", "Y"}
    found = resolve(["A", "OLD", "Q", "S", "K", "gone", "S1"], known, symbol, alias)
    assert found.found == {"A": "A", "OLD": "NEW", "Q": "Q2", "K": "L", "S1": "S1"}
    assert resolve(["ADA2"], known, symbol, alias).missing == ["ADA2"]
    assert resolve(["ADA2"], known | {"CECR1"}, symbol, alias).found == {"ADA2": "CECR1"}
    assert resolve(["X"], known, symbol, alias).missing == ["X"], "Y is a gene of its own"
    assert found.ambiguous == {"S": ["S1", "S2"]}
    assert found.missing == ["gone"]
    assert str(found) == (
        "5 of 7 perturbations have a vector; 3 by alias: 'K as L', 'OLD as NEW', 'Q as Q2'; "
        "1 could be several and have none: 'S (S1 or S2)'; 1 have none: 'gone'"
    )


STAT1, JAK2, MYC = "ENSG00000115415", "ENSG00000096968", "ENSG00000136997"


def test_ensembl_ids_are_found_whatever_their_version():
    """By an alias, in a table of symbols; by themselves, in a table of ids."""
    aliases = (("STAT1", "JAK2", "MYC"), (STAT1, f"{JAK2}.3", MYC))
    found = resolve([STAT1, f"{STAT1}.12", f"{JAK2}.9", "MYC"], {"STAT1", "JAK2", "MYC"}, *aliases)
    assert found.found == {STAT1: "STAT1", f"{STAT1}.12": "STAT1", f"{JAK2}.9": "JAK2", "MYC": "MYC"}
    found = resolve([STAT1, f"{JAK2}.9", "MYC", "ENSG1.2"], {f"{STAT1}.12", f"{JAK2}.3", MYC, "ENSG1"}, *aliases)
    assert found.found == {STAT1: f"{STAT1}.12", f"{JAK2}.9": f"{JAK2}.3", "MYC": MYC}
    assert found.missing == ["ENSG1.2"]
    assert str(found).startswith(
        f"3 of 4 perturbations have a vector; 2 but for the version of an Ensembl id: '{JAK2}.9 as {JAK2}.3', "
        f"'{STAT1} as {STAT1}.12'; 1 by alias: 'MYC as {MYC}'; 1 have none"
    )


def test_versions_of_one_id_are_several_names_but_for_the_one_that_was_asked_for():
    known = {f"{STAT1}.1", f"{STAT1}.2"}
    assert resolve([f"{STAT1}.2"], known, (), ()).found == {f"{STAT1}.2": f"{STAT1}.2"}
    assert resolve([STAT1], known, (), ()).ambiguous == {STAT1: [f"{STAT1}.1", f"{STAT1}.2"]}


@pytest.mark.parametrize(
    ("wanted", "known", "pairs", "hinted"),
    [
        ([STAT1, "JAK2"], {"STAT1", "JAK2"}, [], [STAT1]),
        ([STAT1, "JAK2"], {"STAT1", "JAK2"}, [("JAK2", JAK2), ("STAT1", "ISGF3")], [STAT1]),
        (["STAT1"], {STAT1, JAK2}, [("STAT1", "ISGF3")], ["STAT1"]),
        # Nothing to translate: the gene is known by both names, or both speak of ids, or of symbols.
        ([STAT1], {"JAK2"}, [("STAT1", STAT1)], []),
        (["STAT1"], {JAK2}, [("STAT1", STAT1)], []),
        ([STAT1], {JAK2}, [], []),
        (["STAT1"], {"JAK2"}, [], []),
    ],
)
def test_names_of_another_kind_come_with_a_hint(wanted, known, pairs, hinted):
    found = resolve(wanted, known, [symbol for symbol, _ in pairs], [alias for _, alias in pairs])
    assert found.untranslated == hinted
    assert ("a table of symbol and Ensembl id, given by --aliases" in str(found)) == bool(hinted)


# The command


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A screen of A and B, a config for it, gene sets that name A and B2, and edges."""
    screen().write_h5ad(tmp_path / "screen.h5ad")
    config(tmp_path / "config.yaml", tmp_path / "run", tmp_path / "screen.h5ad")
    gene, term = annotated(A="x y", B2="x", C="x y z", D="z w", E="w y", F="w z", NA="x z")
    pd.DataFrame({"gene": gene, "term": term}).to_csv(tmp_path / "sets.csv", index=False)
    (tmp_path / "aliases.tsv").write_text("symbol\talias\nB2\tB\n")
    pairs = ["A\tB2\t0.2\t1\t0", "A\tC\t0.9\t0\t1", "C\tD\t0.5\t1\t1", "D\tE\t0.5\t0\t0", "E\tF\t1\t1\t0"]
    with gzip.open(tmp_path / "edges.tsv.gz", "wt") as file:
        file.write("\n".join(["from\tto\tcost\tup\tdown", *pairs]) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_gene_sets_to_a_table_that_a_run_reads(work, capsys):
    command = "embed annotation sets.csv --out v.parquet --features 3 --for config.yaml --aliases aliases.tsv"
    assert main(command.split()) == 0
    out, err = capsys.readouterr()
    assert "2 of 2 perturbations have a vector; 1 by alias: 'B as B2'" in err
    assert out == "vectors: v.parquet\n"
    table = read_vector_table(work / "v.parquet")
    assert table.names == ("A", "B2", "C", "D", "E", "F", "NA", "B")
    np.testing.assert_array_equal(table.vectors[7], table.vectors[1])
    words = made_from(work / "v.parquet")
    assert words["kind"] == "annotation"
    assert words["renamed"] == {"B": "B2"}
    assert words["source_digest"] == file_digest(work / "sets.csv")
    vectors = {"vectors": {"kind": "table", "path": str(work / "v.parquet")}}
    config(work / "with.yaml", work / "run", work / "screen.h5ad", perturbation=vectors)
    assert main(["train", "--config", "with.yaml", "--device", "cpu"]) == 0


def test_a_screen_of_ensembl_ids(work, capsys):
    """A table of symbols says nothing of it, and what would help; with ids as aliases it does."""
    adata = screen()
    adata.obs["perturbation"] = adata.obs["perturbation"].map(
        {"control": "control", "A": f"{STAT1}.12", "B": JAK2, "A+B": f"{STAT1}.12+{JAK2}"}
    )
    adata.write_h5ad(work / "screen.h5ad")
    command = "embed annotation sets.csv --out v.parquet --features 3 --for config.yaml"
    assert main(command.split()) == 2
    hint = "2 of the screen's names are Ensembl ids, and the table's are not: a table of symbol and Ensembl id, given"
    assert hint in capsys.readouterr().err.split("error: ")[1]
    (work / "ids.csv").write_text(f"symbol,id\nA,{STAT1}\nB2,{JAK2}.1\n")
    assert main([*command.split(), "--aliases", "ids.csv"]) == 0
    assert (
        f"2 of 2 perturbations have a vector; 2 by alias: '{JAK2} as B2', '{STAT1}.12 as A'" in capsys.readouterr().err
    )
    table = read_vector_table(work / "v.parquet")
    assert table.names[-2:] == (JAK2, f"{STAT1}.12")
    np.testing.assert_array_equal(table.vectors[-1], table.vectors[table.names.index("A")])


def test_a_screen_whose_genes_are_ensembl_ids(work, capsys):
    """Vectors from expression are those of its genes; perturbations that are symbols find theirs by alias."""
    adata = screen()
    adata.var_names = [f"ENSG{i:011d}.1" for i in range(adata.n_vars)]
    adata.write_h5ad(work / "screen.h5ad")
    (work / "ids.csv").write_text("symbol,id\nA,ENSG00000000003\nB,ENSG00000000005.7\n")
    command = "embed expression config.yaml --out v.parquet --features 4"
    assert main(command.split()) == 0
    assert "2 of the screen's names are not Ensembl ids, and the table's are: a table of" in capsys.readouterr().err
    assert main([*command.split(), "--overwrite", "--aliases", "ids.csv"]) == 0
    table = read_vector_table(work / "v.parquet")
    assert table.names[-2:] == ("A", "B")
    np.testing.assert_array_equal(table.vectors[-2:], table.vectors[[3, 5]])
    words = made_from(work / "v.parquet")
    assert words["renamed"] == {"A": "ENSG00000000003.1", "B": "ENSG00000000005.1"}
    assert words["aliases_digest"] == file_digest(work / "ids.csv")


@pytest.mark.parametrize(("method", "option"), [("walks", ""), ("spectral", "--method spectral")])
def test_a_network_by_command_is_the_network_by_function(work, method, option):
    command = f"embed network edges.tsv.gz --out v.parquet --features 2 --cost cost --sign up,down {option}"
    assert main(command.split()) == 0
    assert made_from(work / "v.parquet")["method"] == method
    frame = pd.read_csv(work / "edges.tsv.gz", sep="\t")
    # Only C's edge with A inhibits and nothing else; that of E with F has cost 1.
    weight = np.array([0.8, -0.1, 0.5, 0.5, 0.0])
    expected = network_vectors(frame["from"], frame["to"], weight, 2, "x", directed=False, method=method)
    table = read_vector_table(work / "v.parquet")
    assert table.names == expected.names == ("A", "B2", "C", "D", "E")
    np.testing.assert_array_equal(table.vectors, expected.vectors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("annotation nothing.csv --out v.parquet", "'nothing.csv': no such file"),
        ("annotation sets.csv --out v.csv", "written as .parquet; got --out 'v.csv'"),
        ("annotation sets.csv --out there.parquet", "'there.parquet' exists; use --overwrite"),
        ("annotation config.yaml --out v.parquet", "ends in '.yaml'"),
        ("annotation sets.csv --out v.parquet --columns gene terms", "no column 'terms' (did you mean 'term'?)"),
        ("annotation gaps.csv --out v.parquet", "column 'term' of 'gaps.csv' has 1 gaps"),
        (
            "annotation sets.csv --out v.parquet --features 99",
            "99 singular vectors or eigenvectors are needed",
        ),
        ("annotation sets.csv --out v.parquet --aliases aliases.tsv", "name its config with --for"),
        ("annotation other.csv --out v.parquet --features 1 --for config.yaml", "no perturbation of the screen has"),
        (
            "network edges.tsv.gz --out v.parquet --weight from",
            "'edges.tsv.gz' is not numeric in 5 rows",
        ),
        ("network costs.csv --out v.parquet --weight sign --sign sign", "negative weights, and --sign gives signs"),
        ("annotation long.csv --out v.parquet", "'long.csv' cannot be read"),
        ("annotation torn.csv.gz --out v.parquet", "'torn.csv.gz' cannot be read"),
        ("annotation sets.csv --out v.parquet --for config.yaml data.path=[]", "data.path lists no file"),
        ("annotation sets.csv --out v.parquet --for config.yaml --aliases no.csv", "'no.csv': no such file"),
        ("smiles sets.csv --out v.parquet --features 0", "0 bits asked for"),
        ("smiles empty.csv --out v.parquet", "has no compounds"),
        ("network edges.tsv.gz --out v.parquet --cost big", "no column 'big'"),
        ("network costs.csv --out v.parquet --cost cost", "costs outside 0 to 1; use --weight"),
        ("network edges.tsv.gz --out v.parquet --sign up,down,cost", "--sign takes one or two columns"),
        ("network edges.tsv.gz --out v.parquet --features 3 --directed --method spectral", "an even number"),
        ("network edges.tsv.gz --out v.parquet", "512 singular vectors or eigenvectors are needed"),
        ("network edges.tsv.gz --out v.parquet --method spectral", "64 singular vectors or eigenvectors are needed"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(work, capsys, arguments, message):
    (work / "there.parquet").write_text("mine")
    (work / "gaps.csv").write_text("gene,term\nA,x\nB,\n")
    (work / "costs.csv").write_text("a,b,cost,sign\nA,B,2,-1\nB,C,0,1\n")
    (work / "long.csv").write_text("gene,term\nA,x,1\nB,y,2\n")
    (work / "torn.csv.gz").write_bytes(gzip.compress(b"gene,term\n" + b"A,x\n" * 1000)[:40])
    (work / "empty.csv").write_text("name,smiles\n")
    pd.read_csv(work / "sets.csv", keep_default_na=False).replace({"gene": {"A": "ENSG1"}}).to_csv(
        work / "other.csv", index=False
    )
    assert main(["embed", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert not (work / "v.parquet").exists()
    assert (work / "there.parquet").read_text() == "mine"


def test_one_pathway_lies_together_in_real_annotation(real_data):
    """STAT1, JAK2 and IFNGR1 are nearer to each other than to most of the screen's other targets."""
    pairs = pd.read_csv(real_data / "priors" / "go_human_bp_with_ancestors.tsv.gz", sep="\t", keep_default_na=False)
    table = annotation_vectors(pairs["symbol"], pairs["go_id"], 64, "GO")
    pathway, others = ("STAT1", "JAK2", "IFNGR1"), ("CAV1", "CD86", "CMTM6", "MYC", "BRD4", "TNFRSF14", "POU2F2")
    inside = np.mean([cosine(table, a, b) for a in pathway for b in pathway if a < b])
    outside = [np.mean([cosine(table, a, b) for a in pathway]) for b in others]
    assert inside > np.max(outside)
