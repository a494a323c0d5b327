"""The catalogue as a whole: keys, presets, and how metrics are asked for."""

import math

import pytest

from gensim.cli import main
from gensim.errors import ConfigError
from gensim.metrics.catalogue import CATALOGUE, DEFAULT, PRESETS, choose, in_words

KEYS = [metric.key for metric in CATALOGUE]


def test_keys_are_unique_and_presets_name_them():
    assert len(set(KEYS)) == len(KEYS)
    assert set().union(*PRESETS.values()) == set(KEYS) == set(PRESETS["all"])
    assert not set(PRESETS) & set(KEYS)
    assert [metric.key for metric in DEFAULT] == [key for key in KEYS if key in PRESETS["default"]]


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.key)
def test_a_row_says_what_it_is(metric):
    low, high = metric.range
    assert low <= metric.identical <= high
    best = {"lower": low, "higher": high, "nearest": metric.identical}[metric.better]
    # Of two samples of one population the best value may be out of reach, never the other end.
    assert best == metric.identical or low < metric.identical < high
    assert metric.name
    assert metric.source
    assert metric.key in in_words(metric)


def test_presets_and_keys_are_asked_for_together_in_the_order_of_the_catalogue():
    chosen = [metric.key for metric in choose(["des_wilcoxon", "pds_l1", "energy_distance_pca", "pds_l1"])]
    assert chosen == ["energy_distance_pca", "des_wilcoxon", "pds_l1"]
    assert choose(["all"]) == CATALOGUE
    assert choose(["default", "l2_delta"]) == DEFAULT


def test_unknown_names_are_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"'energy_distance_pc' \(did you mean 'energy_distance_pca'"):
        choose(["energy_distance_pc"])
    with pytest.raises(ConfigError, match="no metric is asked for"):
        choose([])


def test_the_command_lists_every_metric(capsys):
    assert main(["metrics"]) == 0
    listed = capsys.readouterr().out
    for metric in CATALOGUE:
        assert f"\n{metric.key}: " in "\n" + listed
        assert metric.name in listed
    assert math.isinf(CATALOGUE[0].range[1])
    assert "energy_distance_pca: lower is better, 0 to inf, unit log1p CP10k, in PCA" in listed
    assert "variance_ratio: nearest to 1 is better" in listed


def test_a_mistyped_metric_ends_the_command_before_anything_is_read(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "none.zarr"), "--run", str(tmp_path), "--metrics", "energy"]) == 2
    assert "no metric or preset is called 'energy'" in capsys.readouterr().err
