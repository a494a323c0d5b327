"""Bounds on metrics: how they are written, when they hold, and what the command's exit code says."""

import pytest

from gensim.errors import ConfigError
from gensim.metrics.catalogue import choose
from gensim.metrics.requirements import Requirement
from gensim.metrics.results import Evaluation, GroupSummary
from gensim.metrics.scores import Estimate

METRICS = choose(["energy_distance_pca", "pearson_delta"])
EVALUATION = Evaluation(
    results=(),
    groups=(
        GroupSummary(
            "all",
            3,
            {
                ("model", "energy_distance_pca"): Estimate(0.2, None, None, 3),
                ("model", "pearson_delta"): Estimate(None, None, None, 0, "no effect"),
            },
            {("model", "energy_distance_pca"): Estimate(0.8, None, None, 3)},
        ),
    ),
    not_scored=(),
    warnings=(),
    seed=0,
    n_repeats=1,
    max_cells=10,
)


@pytest.mark.parametrize(
    ("text", "unmet"),
    [
        ("energy_distance_pca.normalised>=0.8", None),
        (
            "energy_distance_pca.normalised > 0.8",
            "energy_distance_pca.normalised > 0.8 is required, and it is 0.8 over 3",
        ),
        ("energy_distance_pca<=0.2", None),
        ("energy_distance_pca.value<0.2", "energy_distance_pca.value < 0.2 is required, and it is 0.2 over 3"),
        ("pearson_delta>=-1", "cannot be told: no effect"),
    ],
)
def test_bounds(text, unmet):
    found = Requirement.parse(text, METRICS).unmet(EVALUATION)
    assert found is None if unmet is None else unmet in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy_distance_pca", "is not of the form"),
        ("energy_distance_pca>=much", "is not of the form"),
        ("energy_distance_pca.mean>=1", "is not of the form"),
        ("energy_distance_pca=1", "is not of the form"),
        ("energy_distance_pca>=nan", "is not of the form"),
        ("pearson_delta.normalised>=0", "only metrics that are better when lower have a normalised score"),
        ("energy_distanc_pca>=1", "did you mean 'energy_distance_pca'"),
    ],
)
def test_what_is_no_bound_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        Requirement.parse(text, METRICS)
