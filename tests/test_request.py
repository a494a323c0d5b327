"""Requests are read as they stand, and what cannot be used is named by its row in the spreadsheet."""

import numpy as np
import pandas as pd
import pytest

from gensim.config import DataConfig
from gensim.data.request import Request, read_request, request_of
from gensim.errors import DataError
from gensim.types import Condition

CONFIG = DataConfig(
    path="x.h5ad",
    scale="counts",
    perturbation_column="gene",
    control_label="ctrl",
    combination_separator="_",
    context_columns=["cell_type"],
    dose_column="uM",
    batch_column="day",
)
KNOWN = {"cell_type": {"T cell", "B cell"}}
GOOD = "perturbation,cell_type,dose,n_cells,note\nB_A,T cell,0.1,5,007\nctrl,B cell,,2,\n"


def read(folder, text, config=CONFIG, known=KNOWN):
    (folder / "request.csv").write_text(text)
    return read_request(folder / "request.csv", config, known)


def check_good(request):
    assert request.conditions == (
        Condition(("A", "B"), (("cell_type", "T cell"),), 0.1),
        Condition((), (("cell_type", "B cell"),)),
    )
    assert request.n_cells.tolist() == [5, 2]
    assert request.n_cells.dtype == np.int64
    assert list(request.extra.columns) == ["note"]


def test_a_csv_by_hand(tmp_path):
    request = read(tmp_path, GOOD)
    check_good(request)
    assert request.extra["note"].tolist() == ["007", ""]


@pytest.mark.parametrize(
    "change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), lambda t: t + "\n,,,,\n"]
)
def test_what_spreadsheets_add_is_no_matter(tmp_path, change):
    check_good(read(tmp_path, change(GOOD)))


def test_a_table_by_hand():
    table = pd.DataFrame(
        {
            "n_cells": [5.0, 2.0],
            "dose": np.array([0.1, np.nan], dtype=np.float32),
            "perturbation": ["B_A", "ctrl"],
            "cell_type": pd.Categorical(["T cell", "B cell"]),
            "note": [1, 2],
        },
        index=["x", "y"],
    )
    request = read_request(table, CONFIG, KNOWN)
    check_good(request)
    assert request.extra["note"].tolist() == [1, 2]


def test_no_contexts_no_doses_and_names_that_look_missing(tmp_path):
    plain = DataConfig(path="x.h5ad", scale="counts")
    request = read(tmp_path, "perturbation,n_cells\nA+B,1\nNaN,3\nA+B,2\n", plain, {})
    assert request.conditions == (Condition(("A", "B")), Condition(("NaN",)), Condition(("A", "B")))
    assert request.extra.shape == (3, 0)


HEADER = "perturbation,cell_type,dose,n_cells\n"
FIRST = HEADER + "A,T cell,1,5\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty"]),
        ("\n\n", ["is empty"]),
        (HEADER, ["header but no row"]),
        (
            "pertubation,cell_type,dose,n_cells\nA,T cell,1,5\n",
            ["no column 'perturbation' (did you mean 'pertubation'?)"],
        ),
        ("perturbation,cell_type,n_cells\nA,T cell,5\n", ["no column 'dose'"]),
        ("perturbation;cell_type;dose;n_cells\nA;T cell;1;5\n", ["no column 'perturbation'"]),
        ("n_cells," + HEADER + "1,A,T cell,1,5\n", ["two columns named 'n_cells'"]),
        (FIRST + "A,Tcell,1,5\n", ["row 3", "cell_type 'Tcell'", "did you mean 'T cell'", "'B cell', 'T cell'"]),
        (FIRST + "\nA,T cell,1,0\n", ["row 4", "n_cells '0' is not a positive whole number"]),
        (FIRST + "A,T cell,1,-3\n", ["row 3", "n_cells '-3'"]),
        (FIRST + "A,T cell,1,2.5\n", ["row 3", "n_cells '2.5'"]),
        (FIRST + "A,T cell,1,many\n", ["row 3", "n_cells 'many'"]),
        (FIRST + "A,T cell,1,\n", ["row 3", "n_cells ''"]),
        (FIRST + "A,T cell,,5\n", ["row 3", "dose '' of 'A'"]),
        (FIRST + "A,T cell,-1,5\n", ["row 3", "dose '-1'"]),
        (FIRST + "A,T cell,nan,5\n", ["row 3", "dose 'nan'"]),
        (FIRST + ",T cell,1,5\n", ["row 3", "perturbation is empty", "'ctrl'"]),
        (FIRST + "A_,T cell,1,5\n", ["row 3", "empty name"]),
        (FIRST + "A,T cell,1\n", ["row 3 has 3 fields and the header 4"]),
        ("perturbation,cell_type,dose,n_cells,\nA,T cell,1,5,x\n", ["column without a name"]),
        *(
            (
                f"perturbation,cell_type,dose,n_cells,{name}\nA,T cell,1,5,x\n",
                [f"a column '{name}'", "rename or remove"],
            )
            for name in ("condition", "source_cell", "library_size", "day", "gene", "uM")
        ),
    ],
)
def test_bad_requests_name_row_value_and_remedy(tmp_path, text, words):
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    assert [word for word in words if word not in str(error.value)] == []
    assert "request.csv" in str(error.value)


def test_a_dose_where_the_run_has_none(tmp_path):
    with pytest.raises(DataError, match="column 'dose', but the run has no doses"):
        read(tmp_path, "perturbation,n_cells,dose\nA,1,0.5\n", DataConfig(path="x.h5ad", scale="counts"), {})


def test_files_that_are_not_there_or_not_text(tmp_path):
    read(tmp_path, GOOD)
    with pytest.raises(DataError, match=r"not a file \(did you mean 'request.csv'\?\)"):
        read_request(tmp_path / "reqest.csv", CONFIG, KNOWN)
    (tmp_path / "binary.csv").write_bytes(b"\x89HDF\xff\xfe")
    with pytest.raises(DataError, match="not a csv in UTF-8"):
        read_request(tmp_path / "binary.csv", CONFIG, KNOWN)


def test_rows_of_a_table_count_the_header_too():
    table = pd.DataFrame({"perturbation": ["A", "B"], "cell_type": "T cell", "dose": 1.0, "n_cells": [1, 0]})
    with pytest.raises(DataError, match="request, row 3: n_cells '0'"):
        read_request(table, CONFIG, KNOWN)


def test_requests_from_code():
    conditions = [Condition(("A",)), Condition(())]
    assert request_of(conditions, 7).n_cells.tolist() == [7, 7]
    request = request_of(conditions, [1, 2])
    assert (request.conditions, request.n_cells.tolist()) == (tuple(conditions), [1, 2])
    assert request.extra.shape == (2, 0)
    with pytest.raises(DataError, match="asks for 0 cells of 'control'"):
        request_of(conditions, [1, 0])
    with pytest.raises(DataError, match="no condition"):
        request_of([], 1)
    with pytest.raises(DataError, match="must agree"):
        Request(tuple(conditions), np.array([1]), pd.DataFrame(index=range(2)))
