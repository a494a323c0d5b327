"""`gensim embed` by command: tables that runs read, names that are looked up, mistakes that are named."""

import gzip

import numpy as np
import pandas as pd
import pytest
from annotations import JAK2, STAT1, annotated
from small_runs import config, screen

from gensim.cli import main
from gensim.embed.network import network_vectors
from gensim.embed.vector_file import file_digest, made_from
from gensim.perturbations.vectors import read_vector_table


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


def test_a_table_of_ones_own_with_the_names_of_the_screen(work, capsys):
    """What the screen calls otherwise is found, said and written beside the table's own names; a run reads it."""
    own = pd.DataFrame({"one": [1.0, 2, 3], "two": [4.0, 5, 6]}, index=[" A", "ENSG00000000005.7", "NA"])
    own.to_csv(work / "own.csv")
    (work / "ids.csv").write_text("symbol,id\nB,ENSG00000000005\n")
    command = "embed table own.csv --for config.yaml --out v.parquet"
    assert main(command.split()) == 0
    assert "1 of 2 perturbations have a vector; 1 have none: 'B'" in capsys.readouterr().err
    assert main([*command.split(), "--aliases", "ids.csv", "--overwrite"]) == 0
    out, err = capsys.readouterr()
    assert out == "vectors: v.parquet\n"
    assert "2 of 2 perturbations have a vector; 1 by alias: 'B as ENSG00000000005.7'" in err
    table = read_vector_table(work / "v.parquet")
    assert table.names == ("A", "ENSG00000000005.7", "NA", "B")
    np.testing.assert_array_equal(table.vectors, [[1, 4], [2, 5], [3, 6], [2, 5]])
    words = made_from(work / "v.parquet")
    assert (words["kind"], words["renamed"]) == ("table", {"B": "ENSG00000000005.7"})
    assert words["source_digest"] == file_digest(work / "own.csv")
    vectors = {"vectors": {"kind": "table", "path": str(work / "v.parquet")}}
    config(work / "with.yaml", work / "run", work / "screen.h5ad", perturbation=vectors)
    assert main(["train", "--config", "with.yaml", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("X,1\nY,2\n", "no perturbation of the screen has a vector in own.csv: 'A', 'B'; it names 'X', 'Y'"),
        ("A,1\nA,2\n", "vectors of own.csv name 'A' more than once; keep one row each"),
        ("A,1\nB,\n", "vectors of own.csv are not finite for 'B'"),
        ("A,1\n,2\n", "vectors of own.csv have no name in data row 2"),
    ],
)
def test_a_table_of_ones_own_that_cannot_be_used(work, capsys, rows, message):
    (work / "own.csv").write_text("name,one\n" + rows)
    assert main(["embed", "table", "own.csv", "--for", "config.yaml", "--out", "v.parquet"]) == 2
    assert message in capsys.readouterr().err
    assert not (work / "v.parquet").exists()


def test_a_table_of_ones_own_needs_a_screen(work, capsys):
    (work / "own.csv").write_text("name,one\nA,1\n")
    with pytest.raises(SystemExit) as end:
        main(["embed", "table", "own.csv", "--out", "v.parquet"])
    assert end.value.code == 2
    assert "--for" in capsys.readouterr().err
