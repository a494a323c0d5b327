"""Ranks among conditions: hand-worked panels, ties, and what a context of one condition has."""

from dataclasses import replace

import numpy as np
import pytest

from gensim.errors import NotComputable
from gensim.metrics.comparison import Side
from gensim.metrics.discrimination import centroid_accuracy, pds, pds_2026, rank_of_prediction
from gensim.metrics.measured import Measured
from gensim.metrics.panel import Panel
from gensim.metrics.panel_measurement import Member, measure_panels
from gensim.metrics.panel_rows import PANEL
from gensim.types import Condition

NO_TARGET = np.empty(0, dtype=np.int64)
TAKES = ("mean", "delta")
REAL = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])


def panel(predicted, targets=(NO_TARGET,) * 3, real=REAL):
    return Panel(real, np.array(predicted, dtype=float), targets)


def test_pds_by_hand():
    # Prediction 0 at (3, 1): L1 4, 2, 5 to the three, so its own is second of three.
    given = panel([[3, 1], [4, 0], [2.5, 1.5]])
    assert pds(given, 0, "cityblock") == pytest.approx(1 - 1 / 3)
    assert pds(given, 1, "cityblock") == 1.0
    # Prediction 2 at (2.5, 1.5): L1 4, 3, 4 and squared L2 8.5, 4.5, 8.5, a tie of 0 and 2 that goes to the first.
    assert pds(given, 2, "cityblock") == pds(given, 2, "euclidean") == pytest.approx(1 - 2 / 3)


def test_pds_by_cosine_sees_directions_alone():
    real = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    given = panel([[100.0, 1.0], [0.0, -1.0], [1e-3, 0.9e-3]], real=real)
    # (0, -1): cosines 0, -.71, -1; (1, .9): the nearest is (1, 1), then (1, 0), then the own (0, 1).
    assert [pds(given, k, "cosine") for k in range(3)] == pytest.approx([1.0, 1 - 1 / 3, 1 - 2 / 3])
    with pytest.raises(NotComputable, match="no direction"):
        pds(panel(np.zeros((3, 2)), real=real), 0, "cosine")


def test_the_perturbed_gene_is_left_out():
    # By both genes (0, 3) is nearest to condition 2; without the second all predictions at 0 tie, the first wins.
    targets = (NO_TARGET, NO_TARGET, np.array([1]))
    given = panel([[0, 0], [0, 0], [0, 3]], targets)
    assert pds(given, 2, "cityblock") == pytest.approx(1 - 1 / 3)
    assert pds(panel([[0, 0], [0, 0], [0, 3]]), 2, "cityblock") == 1.0
    with pytest.raises(NotComputable, match="all genes are perturbed"):
        pds(panel(REAL, (np.array([0, 1]),) * 3), 0, "cityblock")


def test_the_challenge_of_2026_leaves_out_what_any_condition_perturbs():
    rng = np.random.default_rng(0)
    real, predicted = rng.normal(size=(2, 3, 8))
    predicted[:, :3] = -9 * np.eye(3)
    given = Panel(real, predicted, [np.array([k]) for k in range(3)])
    cut = Panel(real[:, 3:], predicted[:, 3:], (NO_TARGET,) * 3)
    assert [pds_2026(given, k) for k in range(3)] == [pds_2026(cut, k) for k in range(3)]


def test_rank_by_hand():
    # From real condition 1 at (4, 0) the predictions are 1, 4 and 0 away.
    given = panel([[3, 0], [0, 0], [4, 0]])
    assert rank_of_prediction(given, 1) == 1.0
    assert rank_of_prediction(given, 0) == 0.5
    assert [rank_of_prediction(panel([[1, 1]] * 3), k) for k in range(3)] == [0.5] * 3
    assert [rank_of_prediction(panel(REAL), k) for k in range(3)] == [0.0] * 3


def test_centroid_accuracy_by_hand():
    # Prediction 0 at (3, 0) is 3, 1 and 4.2 away: one of two others is farther than the own.
    given = panel([[3, 0], [4, 0], [4, 0]])
    assert [centroid_accuracy(given, k) for k in range(3)] == [0.5, 1.0, 0.0]


def test_ranks_of_chance_average_to_one_half():
    rng = np.random.default_rng(0)
    given = Panel(rng.normal(size=(200, 5)), rng.normal(size=(200, 5)), [NO_TARGET] * 200)
    for metric in (rank_of_prediction, centroid_accuracy):
        # Uniform on [0, 1]: a standard error of 0.29 / sqrt(200), 0.02.
        assert np.mean([metric(given, k) for k in range(200)]) == pytest.approx(0.5, abs=0.08)


def side(mean, control_mean=0.0):
    x = np.array([mean, mean], dtype=np.float32)
    return Side(x, x, None if control_mean is None else np.full(x.shape[1], control_mean), x[:0])


def members_of(conditions, real, predicted):
    members = []
    for condition, r, p in zip(conditions, real, predicted, strict=True):
        members.append(Member(condition, Measured(), NO_TARGET))
        members[-1].keep("real", 0, side(r), TAKES)
        members[-1].keep("model", 0, side(p), TAKES)
    return members


def test_panels_are_of_one_context():
    conditions = [Condition((name,), (("donor", d),)) for name in "ABC" for d in "XY"]
    real = np.stack([REAL, REAL + 0.1], axis=1)
    swapped = real[:, ::-1]  # nearest to that of the other donor
    members = members_of(conditions, *(effects.reshape(len(conditions), -1) + 1 for effects in (real, swapped)))
    measure_panels(members, PANEL, "real", ["model"], 1)
    for member in members:
        assert member.measured.values["model", "centroid_accuracy"] == [1.0]
        assert member.measured.values["model", "rank"] == [0.0]


def test_what_a_panel_lacks_has_its_reason():
    conditions = [Condition(("A",)), Condition(("B",)), Condition(("C",), (("donor", "X"),))]
    members = members_of(conditions, REAL, REAL)
    members[1].keep("baseline", 0, side([1, 1], None), TAKES)
    measure_panels(members, PANEL, "real", ["model", "baseline"], 1)
    a, b, alone = (member.measured for member in members)
    assert a.values["model", "pds_l1"] == [1.0]
    assert "no other of this context" in alone.reasons["model", "pds_l1"]
    assert "no other of this context" in b.reasons["baseline", "pds_l1"]
    assert "1 held-back control cell" in b.reasons["baseline", "pds_cosine"]
    assert not [place for place in a.reasons if place[0] == "baseline"]


def test_a_panel_metric_may_be_taken_in_the_first_repeat_alone():
    members = members_of([Condition(("A",)), Condition(("B",))], REAL[:2], REAL[:2])
    for member, mean in zip(members, REAL, strict=False):
        member.keep("real", 1, side(mean), TAKES)
        member.keep("model", 1, side(mean), TAKES)
    once = replace(PANEL[0], key="once", repeats=1)
    measure_panels(members, [PANEL[0], once], "real", ["model"], 2)
    assert members[0].measured.values == {("model", PANEL[0].key): [1.0, 1.0], ("model", "once"): [1.0]}
