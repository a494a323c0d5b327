"""The job that scores predicted cells against held-out real cells, beside baselines and a replicate."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module

from gensim.baselines.mean_response import mean_response
from gensim.condition_scoring import FEWEST_FOR_REPLICATE, ConditionScoring, ScoredCondition
from gensim.errors import DataError
from gensim.evaluation_inputs import EvaluationInputs, match
from gensim.metrics.catalogue import DEFAULT, CombinedMetric, Metric, PanelMetric, PooledMetric
from gensim.metrics.class_error import RepeatedClasses
from gensim.metrics.combination import with_combined
from gensim.metrics.controls import ControlMeans
from gensim.metrics.differential_expression import ControlCells
from gensim.metrics.panel_measurement import measure_panels, pooled
from gensim.metrics.results import (
    CLASSIFIED,
    MEAN_RESPONSE,
    REAL,
    REPLICATE,
    ROWS,
    Evaluation,
    GroupSummary,
    Missing,
    summarise,
)
from gensim.parallel import default_workers, directly, in_processes, in_threads

__all__ = ["EvaluationInputs", "evaluate"]

FEWEST_FOR_PROCESSES = 8
"""Conditions, below which processes for classifiers take longer to begin than they save."""
CONTEXTS_IN_MEMORY = 4
"""Whose control cells are kept, read once for all conditions of a context that are scored near one another."""


def evaluate(
    inputs: EvaluationInputs,
    seed: int = 0,
    *,
    n_repeats: int = 5,
    max_cells: int = 2_000,
    metrics: Sequence[Metric] = DEFAULT,
    pictures: bool = False,
    missing: Missing | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Metrics of the catalogue, for every condition of the truth, for every row.

    Rows: `no_change` (held-back controls of the same context, drawn without replacement, at most as many as predicted
    cells), `training_mean` (the same controls moved by the mean training effect), `mean_response` (the same moved by
    the average over training conditions, where a combined metric asks for it), `gaussian_map` (these stretched by the
    map between Gaussians), `nearest`, `ridge` and `kernel_ridge` (the same controls moved by what these regressions
    make of the training effects), `random_embedding` and `idealised` (the same on vectors that know nothing and on
    vectors that know the answer: bounds), `replicate` and `model`.

    In each of `n_repeats` seeded repeats the real cells of a condition are split in two halves. One half is what every
    row is compared with; of the other, the replicate takes at most as many cells as were predicted, *without*
    replacement: drawing with replacement would repeat cells, and pairs at distance 0 would bias the unbiased
    within-terms. Values are averages over the repeats. A condition with fewer than 4 real cells has no replicate, and
    its rows are compared with all of them.

    The effects that Pearson correlates share no control cell's noise, which would correlate any two of them: the
    reference is taken against one half of the context's controls, the replicate against the other half, the
    baselines against the very controls they moved, and the model against all, since those started its cells. A model
    that does not start from these controls is flattered a little where they are few. No change has no effect by
    definition, so no correlation. Differential expression is tested against control cells that are parted likewise, of
    `max_cells` at most; a half of them gives the reference and the replicate less power than the model has.

    Args:
        inputs: what to compare.
        seed: of halves, draws and bootstrap. A condition's values do not depend on which others are scored, but for
            those of panel metrics, which compare it with the others of its context.
        n_repeats: repeats R.
        max_cells: of a condition at most so many real and so many predicted cells, drawn by seed, are used, so that
            neither memory nor time per condition grows with the number of cells. Control means use every control;
            differential expression uses at most `max_cells` of them.
        metrics: those of the catalogue that are asked for; a value does not depend on the others.
        pictures: whether to keep what a page shows of a condition; it takes two tests of differential expression.
        missing: what stands for the prediction of conditions that it lacks: `no_change`, the very cells of that row, as
            many as real cells at most, so that a model is not better for leaving out what is hard; None: they are not
            scored. Correlations of effects have no value there, as no change has none.
        workers: conditions that are scored at once, in threads; None for as many as there are cores, at most 8. Values
            do not depend on it.

    Returns:
        Values or reasons, averages with intervals, scores. Conditions that were not predicted (unless something stands
        for them) or have no held-back controls are listed with the reason; predicted conditions that the truth lacks
        are listed as ignored.

    Raises:
        DataError: nothing to score, values that are not finite, or values that cannot be log1p CP10k.
    """
    if n_repeats < 1 or max_cells < FEWEST_FOR_REPLICATE:
        raise DataError(
            f"n_repeats={n_repeats}, max_cells={max_cells}: at least 1 and {FEWEST_FOR_REPLICATE} are needed"
        )
    scored, not_scored, warnings = match(inputs, missing)
    if any(isinstance(metric, CombinedMetric) for metric in metrics) and inputs.effects and inputs.effects.conditions:
        response = mean_response(inputs.effects, scored)
        inputs = replace(inputs, regressions={MEAN_RESPONSE: response, **inputs.regressions})
    batch_of_control = None if inputs.batches is None else inputs.batches.controls
    controls = ControlMeans(inputs.controls, seed, n_repeats, batch_of_control)
    tested = lru_cache(CONTEXTS_IN_MEMORY)(partial(ControlCells, inputs.controls, seed=seed, max_cells=max_cells))
    repeats = RepeatedClasses() if any(metric.key == CLASSIFIED for metric in metrics) else None
    workers = default_workers() if workers is None else workers
    many = workers > 1 and len(scored) >= FEWEST_FOR_PROCESSES and any(metric.in_processes for metric in metrics)
    with in_processes(workers) if many else nullcontext(directly) as call:
        asked = (seed, n_repeats, max_cells, metrics, pictures)
        scoring = ConditionScoring(inputs, controls, tested, *asked, call, repeats)
        if scoring.distances:
            import_module("torch")  # before there are threads, each of which is to have one core
        by_context = sorted(scored, key=lambda condition: condition.control.key)  # which share control cells
        of_condition = dict(zip(by_context, in_threads(scoring.score, by_context, workers), strict=True))
    drafts = [of_condition[condition] for condition in scored]
    of_panels = [metric for metric in metrics if isinstance(metric, PanelMetric)]
    measure_panels([found.member for found in drafts], of_panels, REAL, ROWS, n_repeats)
    results = tuple(found.result(metrics) for found in drafts)
    groups = tuple(_with_pooled(group, drafts, metrics, n_repeats) for group in summarise(results, seed))
    if repeats is not None:
        groups = tuple(replace(group, class_error=repeats.error(group.has)) for group in groups)
    groups = with_combined(groups, results, metrics, seed)
    return Evaluation(results, groups, not_scored, warnings, seed, n_repeats, max_cells)


def _with_pooled(
    group: GroupSummary, drafts: Sequence[ScoredCondition], metrics: Sequence[Metric], n_repeats: int
) -> GroupSummary:
    """The summary of all, seen or unseen conditions, with the metrics that have one value for them together."""
    members = [draft.member for draft in drafts if group.has(draft.member.seen)]
    of_all = [metric for metric in metrics if isinstance(metric, PooledMetric)]
    known = {name for member in members for _, name, _ in (*member.vectors, *member.reasons)} | {REPLICATE}
    found = pooled(members, of_all, REAL, [row for row in ROWS if row in known], n_repeats)
    return replace(group, averages={**group.averages, **found})
