"""Types and seeding: checked on construction, derived by digest."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from gensim.errors import DataError
from gensim.seeding import derive, digest, numpy_generator, torch_generator
from gensim.types import CellChunk, Condition, ConditionBatch, ControlBatch, PairBatch, blocks, first_difference


def test_a_condition_has_no_order_and_survives_its_key():
    condition = Condition(("STAT1", "IRF1"), (("cell_type", "B"), ("donor", "1")), 0.5)
    assert condition == Condition(("IRF1", "STAT1"), (("cell_type", "B"), ("donor", "1")), 0.5)
    assert Condition.from_key(condition.key) == condition
    assert condition.control == Condition((), (("cell_type", "B"), ("donor", "1")))
    assert condition.label == "IRF1+STAT1 | B | 1 | dose 0.5"


def test_keys_of_different_conditions_differ():
    """A separator inside a name must not make two conditions one."""
    assert Condition(("A+B",)).key != Condition(("A", "B")).key
    assert Condition(("A",), (("x", "B|y=C"),)).key != Condition(("A",), (("x", "B"), ("y", "C"))).key
    assert Condition(("A",), (), 1.0).key != Condition(("A",)).key


@pytest.mark.parametrize(("arguments", "message"), [
    ((("A", "A"),), "repeats"), ((("",),), "empty"), ((("A",), (), -1.0), "dose"), ((("A",), (), float("nan")), "dose"),
])  # fmt: skip
def test_bad_conditions_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        Condition(*arguments)


def test_batches_refuse_fields_of_different_lengths():
    good = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="first dimension"):
        ConditionBatch(good[:, None], good[:, None], good[:2], torch.zeros(3, 1), torch.zeros(3, 2), torch.ones(3))
    codes = ConditionBatch(good[:, None], good[:, None], good, torch.zeros(3, 1), torch.zeros(3, 2), torch.ones(3))
    with pytest.raises(ValueError, match="one row per pair"):
        PairBatch(ControlBatch.alone(torch.zeros(3, 2)), torch.zeros(3, 2), codes, good, good[:2])
    with pytest.raises(ValueError, match="population per cell"):
        ControlBatch(torch.zeros(3, 2), torch.zeros(1, 0, 2), good[:2])


def test_a_chunk_that_diverged_names_the_cell():
    x = np.zeros((2, 2), np.float32)
    x[1, 0] = np.inf
    codes = np.zeros(2, np.int64)
    with pytest.raises(DataError, match="simulated cell 101"):
        CellChunk(0, 100, x, None, codes, codes, np.ones(2, np.float32))


def test_blocks_cover_everything_once():
    assert [(b.start, b.stop) for b in blocks(7, 3)] == [(0, 3), (3, 6), (6, 7)]
    assert list(blocks(0, 3)) == []


def test_first_difference_says_where():
    assert first_difference(["a", "b"], ["a", "b"]) is None
    assert first_difference(["a", "b"], ["a", "c"]) == "position 1 is 'b' in the one and 'c' in the other"
    assert "the other goes on with 'c'" in (first_difference(["a"], ["a", "c"]) or "")


def test_streams_are_named_not_ordered():
    first = numpy_generator(0, "pairs", 3, 1).random(4)
    numpy_generator(0, "pairs", 3, 0).random(100)
    np.testing.assert_array_equal(first, numpy_generator(0, "pairs", 3, 1).random(4))
    assert derive(0, "a", "bc") != derive(0, "ab", "c")
    assert derive(0, 1) != derive(1, 0)
    assert torch.equal(
        torch.rand(3, generator=torch_generator(5, "x")), torch.rand(3, generator=torch_generator(5, "x"))
    )


def test_digests_are_the_same_in_another_process():
    code = "from gensim.seeding import digest; print(digest(1, 'STAT1', [2.5, None]))"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert other.stdout.strip() == digest(1, "STAT1", [2.5, None])
