"""The figure shows every gene that has a place on logarithmic axes, where it belongs, and is the same every time."""

import sys

import numpy as np
import pytest

from gensim.metrics.mean_variance import MOST_POINTS, draw_mean_variance, save_mean_variance

GENES = np.float32([0.5, 1, 2, 0])


def moments(mean=GENES, variance=GENES * 2, model_mean=GENES + 1, model_variance=GENES * 3):
    return {"real": (mean, variance), "model": (model_mean, model_variance)}


def points(axes):
    return [tuple(line.get_data()) for line in axes.lines if line.get_label() in ("real", "model")]


def test_points_are_the_moments_and_their_ratio():
    left, right = draw_mean_variance([moments(), {}, moments(mean=GENES * 10)]).axes
    real, model = points(left)
    # The last gene has no variance, so it is left out on both sides; the empty condition adds nothing.
    np.testing.assert_allclose(real[0], [0.5, 1, 2, 5, 10, 20])
    np.testing.assert_allclose(real[1], [1, 2, 4, 1, 2, 4])
    np.testing.assert_allclose(model[0], [1.5, 2, 3, 1.5, 2, 3])
    np.testing.assert_allclose(model[1], [1.5, 3, 6, 1.5, 3, 6])
    ((x, ratio),) = points(right)
    np.testing.assert_allclose(x, real[0])
    np.testing.assert_allclose(ratio, 1.5)
    assert [axes.get_xscale() + axes.get_yscale() for axes in (left, right)] == ["loglog", "loglog"]
    (identity,) = [line for line in right.lines if line.get_label() not in ("real", "model")]
    np.testing.assert_array_equal(identity.get_ydata(), [1, 1])


@pytest.mark.parametrize("column", range(4))
def test_a_gene_without_a_place_on_either_side_is_left_out(column):
    arrays = [np.float32([1, 2, 3]) for _ in range(4)]
    arrays[column] = np.float32([1, -1, 3])
    left, _ = draw_mean_variance([moments(*arrays)]).axes
    assert [len(x) for x, _ in points(left)] == [2, 2]


@pytest.mark.parametrize(("n", "shown"), [(MOST_POINTS, MOST_POINTS), (MOST_POINTS + 1, MOST_POINTS // 2 + 1)])
def test_of_very_many_points_every_kth_is_drawn(n, shown):
    many = np.arange(1, n + 1, dtype=np.float32)
    left, right = draw_mean_variance([moments(many, many, many, many)]).axes
    assert {len(x) for x, _ in points(left) + points(right)} == {shown}


def test_the_file_is_the_same_for_the_same_numbers_and_leaves_pyplot_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # to import it fails
    for name, found in (("a", [moments()]), ("b", [moments()]), ("c", [moments(mean=GENES * 3)]), ("none", [{}])):
        save_mean_variance(found, tmp_path / f"{name}.png")
    a, b, c, none = ((tmp_path / f"{name}.png").read_bytes() for name in ("a", "b", "c", "none"))
    assert a == b
    assert a != c
    assert none.startswith(b"\x89PNG")


def test_an_evaluation_without_variances_says_so():
    for axes in draw_mean_variance([]).axes:
        assert [text.get_text() for text in axes.texts] == ["no gene with a variance on both sides"]
