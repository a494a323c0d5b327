"""Arrays in a safetensors file come back as they were."""

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from gensim.arrays_file import save_arrays

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        np.asfortranarray(ROWS),
        ROWS.T,
        ROWS[:, ::2],
        ROWS[::-1],
        np.einsum("kg,kgc->cg", ROWS, ROWS[..., None]),
        ROWS[:0],
    ],
    ids=["C", "Fortran", "transposed", "strided", "reversed", "einsum", "empty"],
)
def test_values_stay_where_they_are_whatever_their_order_in_memory(tmp_path, array):
    save_arrays(tmp_path / "a.safetensors", {"a": array}, {"of": "six"})
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["a"], array)
    with safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        assert file.metadata() == {"of": "six"}
