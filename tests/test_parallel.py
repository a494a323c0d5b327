"""Threads: order, errors, settings; conditions of an evaluation at once, with the values that one worker gives."""

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from threading import Barrier

import numpy as np
import pytest
import torch
from scipy import sparse
from threadpoolctl import threadpool_info, threadpool_limits

from gensim import evaluate as evaluation
from gensim.computed_once import computed_once
from gensim.data.cell_source import ArrayCells
from gensim.errors import ConfigError, DataError, NotComputable
from gensim.evaluate import EvaluationInputs, evaluate
from gensim.metrics import two_sample
from gensim.metrics.catalogue import CATALOGUE, choose
from gensim.metrics.report import as_json
from gensim.metrics.space import MetricSpace
from gensim.metrics.two_sample import c2st_auc_logistic
from gensim.parallel import ONE_CORE, default_workers, directly, in_processes, in_threads
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition

GENES = tuple(f"G{i}" for i in range(12))
CONTROLS = (Condition((), (("cell_type", "A"),)), Condition((), (("cell_type", "B"),)))
CONDITIONS = tuple(Condition((f"G{i}",), (("cell_type", context),)) for context in "AB" for i in range(3))


def cells(seed, conditions, n=40):
    rng = np.random.default_rng(seed)
    shift = np.random.default_rng(9).normal(0, 0.5, (len(conditions), 1, len(GENES)))
    x = np.maximum(rng.normal(1, 0.6, (len(conditions), n, len(GENES))) + shift, 0).reshape(-1, len(GENES))
    return ArrayCells(GENES, conditions, np.repeat(np.arange(len(conditions)), n), x.astype(np.float32))


def inputs(conditions=CONDITIONS):
    controls = cells(3, CONTROLS)
    space = MetricSpace.fit(sparse.csr_matrix(controls.x), GENES, n=4)
    return EvaluationInputs(cells(1, conditions), cells(2, conditions), controls, space)


def test_results_come_in_the_order_of_the_items_from_threads_that_run_at_once():
    both = Barrier(2, timeout=60)

    def wait_for_the_other(item):
        both.wait()
        return item * item

    assert in_threads(wait_for_the_other, range(6), 2) == [0, 1, 4, 9, 16, 25]
    assert in_threads(str, [], 2) == []


def threads_of_blas():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_items_have_one_core_each_and_settings_are_left_as_they_were():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert in_threads(lambda _: torch.get_num_threads(), range(3), 2) == [1, 1, 1]
        assert torch.get_num_threads() == 2
        with threadpool_limits(2):
            assert in_threads(lambda _: threads_of_blas(), range(3), 2) == [{1}] * 3
            assert threads_of_blas() == {2}
    finally:
        torch.set_num_threads(before)


def test_the_first_error_is_raised_as_it_is():
    def fail(item):
        if item:
            raise DataError(f"item {item}")

    with pytest.raises(DataError, match="item 1"):
        in_threads(fail, [0, 1, 2], 2)


def test_no_worker_is_refused_and_the_default_is_bounded():
    with pytest.raises(ConfigError, match="0 workers cannot work; at least 1"):
        in_threads(str, [1], 0)
    assert 1 <= default_workers() <= 8


def test_values_do_not_depend_on_the_number_of_workers():
    one, several = (
        evaluate(inputs(), n_repeats=2, metrics=CATALOGUE, pictures=True, workers=workers) for workers in (1, 3)
    )
    assert json.dumps(as_json(one)) == json.dumps(as_json(several))
    for a, b in zip(one.results, several.results, strict=True):
        np.testing.assert_equal(asdict(a.pictures), asdict(b.pictures))


def test_conditions_are_scored_at_once():
    both = Barrier(2, timeout=60)

    def meet(comparison):
        both.wait()
        return 0.0

    metric = replace(choose(["l2_delta"])[0], function=meet)
    evaluate(inputs(CONDITIONS[:2]), n_repeats=1, metrics=[metric], workers=2)


@dataclass(frozen=True)
class Squared:
    root: int
    asked: list
    together: Barrier | None = None

    @computed_once
    def value(self) -> int:
        """Its square."""
        self.asked.append(self.root)
        if self.together is not None:
            self.together.wait()
        return self.root**2


def test_a_property_is_computed_once():
    squared = Squared(3, [])
    assert (squared.value, squared.value, squared.asked) == (9, 9, [3])
    assert Squared.value.__doc__ == "Its square."


def test_two_objects_compute_at_once():
    both = Barrier(2, timeout=60)
    assert in_threads(lambda root: Squared(root, [], both).value, [2, 3], 2) == [4, 9]


def test_functions_are_called_in_other_processes_and_errors_come_back_as_they_are(monkeypatch):
    for name in ONE_CORE:
        monkeypatch.setenv(name, "2")
    with in_processes(2) as call:
        assert [call(os.getenv, name) for name in ONE_CORE] == ["1"] * 3, "each has one core"
        found = in_threads(lambda x: call(round, x), [1.2, 2.7, 3.4], 2)
        elsewhere = call(os.getpid)
        with pytest.raises(NotComputable, match="needs 10 of each"):
            call(c2st_auc_logistic, np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32), 0)
    assert found == [1, 3, 3]
    assert elsewhere != os.getpid()
    assert directly(os.getpid) == os.getpid()


def test_classifiers_give_the_same_in_processes(monkeypatch):
    monkeypatch.setattr(evaluation, "FEWEST_FOR_PROCESSES", 2)
    monkeypatch.setattr(two_sample, "TREES", 30)  # as in other processes, which no fixture reaches
    called = []

    @contextmanager
    def remember(workers):
        with in_processes(workers) as call:
            yield lambda function, *arguments: called.append(function.__name__) or call(function, *arguments)

    monkeypatch.setattr(evaluation, "in_processes", remember)
    metrics = choose(["c2st_auc_logistic", "c2st_auc_forest"])
    here, there = (evaluate(inputs(), n_repeats=2, metrics=metrics, workers=workers) for workers in (1, 2))
    assert json.dumps(as_json(here)) == json.dumps(as_json(there))
    # 6 conditions, 3 rows: the forest once, the regression in both repeats.
    assert called == ["_cross_validated"] * (18 + 36)


def test_few_conditions_need_no_process(monkeypatch):
    monkeypatch.setattr(evaluation, "in_processes", None)
    evaluate(inputs(CONDITIONS[:2]), n_repeats=1, metrics=choose(["c2st_auc_forest"]), workers=2)


def test_effects_that_another_thread_forgets():
    """So it does where there are more conditions than shifts are kept."""

    class Forgotten(dict):
        def __contains__(self, condition):
            known = super().__contains__(condition)
            self.clear()
            return known

    effects = MeanEffects(CONDITIONS[:2], np.eye(2, dtype=np.float32))
    object.__setattr__(effects, "_shifts", Forgotten())
    for _ in range(2):
        np.testing.assert_array_equal(effects.shift(CONDITIONS[1]), [0, 1])
