"""The job that scores predicted cells against held-out real cells, beside baselines and a replicate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gensim.baselines.gaussian_map import GaussianMaps
from gensim.baselines.mean_response import average_effect, mean_response
from gensim.baselines.no_change import NoChange
from gensim.baselines.training_mean import TrainingMean
from gensim.data.batches import Batches
from gensim.data.cell_source import CellSource, draw_rows, read_dense
from gensim.errors import DataError, listing, nearest
from gensim.metrics.batch_effects import ConditionBatches
from gensim.metrics.catalogue import DEFAULT, CombinedMetric, ConditionMetric, Metric, PanelMetric, PooledMetric
from gensim.metrics.cell_errors import bootstrap_errors
from gensim.metrics.combination import with_combined
from gensim.metrics.comparison import Comparison, Side
from gensim.metrics.controls import ControlMeans
from gensim.metrics.differential_expression import ControlCells
from gensim.metrics.distances import median_squared_distance, rbf_gammas
from gensim.metrics.experimental_error import ExperimentalError, experimental_error
from gensim.metrics.library_sizes import LibrarySizes, part
from gensim.metrics.marginals import moments
from gensim.metrics.measured import Measured
from gensim.metrics.panel import OF_COUNTS, taken
from gensim.metrics.panel_measurement import Member, measure_panels, pooled
from gensim.metrics.pictures import ConditionPictures, picture_condition
from gensim.metrics.results import (
    BOUNDED,
    GAUSSIAN_MAP,
    MEAN_RESPONSE,
    MODEL,
    NO_CHANGE,
    REAL,
    REPLICATE,
    ROWS,
    TRAINING_MEAN,
    ConditionResult,
    Evaluation,
    GroupSummary,
    Missing,
    summarise,
)
from gensim.metrics.space import MetricSpace
from gensim.perturbations.mean_effects import MeanEffects
from gensim.seeding import derive, numpy_generator
from gensim.types import Condition, FloatArray, IntArray, first_difference

FEWEST_FOR_REPLICATE = 4


@dataclass(frozen=True, slots=True)
class EvaluationInputs:
    """What is compared; every source holds log1p CP10k over the genes of `space`, in their order.

    Args:
        prediction: simulated cells.
        truth: held-out real cells; its control cells are not scored.
        controls: control cells that were held back from training, for the no-change and training-mean rows.
        space: principal components fitted on training cells.
        effects: mean effects of the training conditions over genes; None: no training-mean row, no seen and unseen.
        maps: maps between Gaussians in the principal components of `space`; None: no Gaussian-map row.
        regressions: by the row, one of `REGRESSIONS` or `BOUNDS`: the same effects with what a regression makes of
            conditions that training did not have.
        batches: of real, control and perhaps predicted cells, by their rows; None: not known.

    Raises:
        DataError: a source or the effects are over other genes; the first difference is named.
    """

    prediction: CellSource
    truth: CellSource
    controls: CellSource
    space: MetricSpace
    effects: MeanEffects | None = None
    maps: GaussianMaps | None = None
    regressions: Mapping[str, MeanEffects] = field(default_factory=dict)
    batches: Batches | None = None

    def __post_init__(self) -> None:
        for name in ("prediction", "truth", "controls"):
            difference = first_difference(self.space.genes, getattr(self, name).genes)
            if difference is not None:
                raise DataError(f"the {name} has other genes than the run (run, {name}): {difference}")
        if self.effects is not None and self.effects.delta.shape[1] != len(self.space.genes):
            raise DataError(f"mean effects are over {self.effects.delta.shape[1]} genes, not {len(self.space.genes)}")


def evaluate(
    inputs: EvaluationInputs,
    seed: int = 0,
    *,
    n_repeats: int = 5,
    max_cells: int = 2_000,
    metrics: Sequence[Metric] = DEFAULT,
    pictures: bool = False,
    missing: Missing | None = None,
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
    scored, not_scored, warnings = _match(inputs, missing)
    if any(isinstance(metric, CombinedMetric) for metric in metrics) and inputs.effects and inputs.effects.conditions:
        response = mean_response(inputs.effects, scored)
        inputs = replace(inputs, regressions={MEAN_RESPONSE: response, **inputs.regressions})
    control_batches = None if inputs.batches is None else inputs.batches.controls
    controls = ControlMeans(inputs.controls, seed, n_repeats, control_batches)
    of_panels = [metric for metric in metrics if isinstance(metric, PanelMetric)]
    drafts = [_score(inputs, c, controls, seed, n_repeats, max_cells, metrics, pictures) for c in scored]
    measure_panels([draft.member for draft in drafts], of_panels, REAL, ROWS, n_repeats)
    results = tuple(draft.result(metrics) for draft in drafts)
    groups = tuple(_with_pooled(group, drafts, metrics, n_repeats) for group in summarise(results, seed))
    groups = with_combined(groups, results, metrics, seed)
    return Evaluation(results, groups, not_scored, warnings, seed, n_repeats, max_cells)


def _match(
    inputs: EvaluationInputs, missing: Missing | None
) -> tuple[list[Condition], tuple[tuple[Condition, str], ...], tuple[str, ...]]:
    """Which conditions can be scored, which cannot and why, and what is ignored."""
    wanted = [c for c in inputs.truth.conditions if not c.is_control]
    predicted = dict.fromkeys(c for c in inputs.prediction.conditions if not c.is_control)
    started = set(inputs.controls.conditions)
    scored, not_scored, lacking = [], [], []
    for condition in wanted:
        if condition not in predicted and missing is None:
            not_scored.append((condition, "no cell was predicted for this condition"))
        elif condition.control not in started:
            not_scored.append((condition, f"no held-back control cells of its context {condition.control.label!r}"))
        else:
            scored.append(condition)
            lacking += [condition.label] if condition not in predicted else []
    known = set(wanted)
    extra = [c.label for c in predicted if c not in known]
    if len(scored) == len(lacking):  # names that nobody predicted are likelier than a prediction of nothing
        why = f"; {not_scored[0][0].label!r}: {not_scored[0][1]}" if not_scored else ""
        hint = nearest(wanted[0].label, extra) if wanted else ""
        raise DataError(
            f"nothing to score: the truth has {len(wanted)} perturbed conditions, {listing(c.label for c in wanted)}, "
            f"and the prediction has {len(predicted)}, {listing(c.label for c in predicted)}{hint}{why}; "
            "perturbation, contexts, dose and time must be written alike in both"
        )
    warnings = []
    if lacking:
        warnings.append(
            f"not predicted: {len(lacking)} conditions, {listing(lacking)}; control cells (no_change) stand for their "
            "simulated cells"
        )
    if extra:
        warnings.append(f"ignored, because the truth lacks them: {len(extra)} predicted conditions, {listing(extra)}")
    return scored, tuple(not_scored), tuple(warnings)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A condition whose panel metrics are still to be measured; the rest as in `ConditionResult`."""

    member: Member
    cells: dict[str, int]
    gammas: tuple[float, ...] | None
    moments: dict[str, tuple[FloatArray, FloatArray]]
    pictures: ConditionPictures | None
    error: ExperimentalError | None

    def result(self, metrics: Sequence[Metric]) -> ConditionResult:
        measured = self.member.measured
        return ConditionResult(
            condition=self.member.condition,
            seen=self.member.seen,
            cells=self.cells,
            gammas=self.gammas,
            measurements=measured.measurements(),
            scores=measured.scores(metrics),
            moments=self.moments,
            pictures=self.pictures,
            experimental_error=self.error,
            stand_in=None if self.cells["predicted"] else "no_change",
        )


def _with_pooled(
    group: GroupSummary, drafts: Sequence[_Draft], metrics: Sequence[Metric], n_repeats: int
) -> GroupSummary:
    """The summary of all, seen or unseen conditions, with the metrics that have one value for them together."""
    members = [draft.member for draft in drafts if group.has(draft.member.seen)]
    of_all = [metric for metric in metrics if isinstance(metric, PooledMetric)]
    known = {name for member in members for _, name, _ in (*member.vectors, *member.reasons)} | {REPLICATE}
    found = pooled(members, of_all, REAL, [row for row in ROWS if row in known], n_repeats)
    return replace(group, averages={**group.averages, **found})


def _score(
    inputs: EvaluationInputs,
    condition: Condition,
    controls: ControlMeans,
    seed: int,
    n_repeats: int,
    max_cells: int,
    metrics: Sequence[Metric],
    pictures: bool,
) -> _Draft:
    """All rows of one condition, and all metrics but those of panels."""
    generator = numpy_generator(seed, "evaluate", condition.key)
    found = {
        "truth": inputs.truth.rows(condition),
        "predicted": inputs.prediction.rows(condition),
        "controls": inputs.controls.rows(condition.control),
    }
    real_rows = draw_rows(found["truth"], max_cells, generator)
    predicted_rows = draw_rows(found["predicted"], max_cells, generator)
    n_predicted = len(predicted_rows) or len(real_rows)
    control_rows = draw_rows(found["controls"], n_predicted, generator)
    real = read_dense(inputs.truth, real_rows, f"truth {condition.label!r}")
    real_scores = inputs.space.project(real)
    tested_against = ControlCells(inputs.controls, condition.control, seed, max_cells)
    takes_of_real, takes = taken(metrics)
    sizes = LibrarySizes()
    if OF_COUNTS & takes:
        of_controls = [(inputs.controls, control_rows), (inputs.controls, tested_against.rows)]
        sizes = LibrarySizes.of((inputs.truth, real_rows), (inputs.prediction, predicted_rows), *of_controls)
    batches = ConditionBatches.of(inputs.batches, controls, condition.control, found["truth"], found["controls"])
    rows = dict(_fixed_rows(inputs, condition, batches, tested_against.whole, predicted_rows, control_rows, sizes))
    sigma2 = median_squared_distance(real_scores) if len(real) > 1 else None
    targets = np.flatnonzero(np.isin(inputs.space.genes, condition.perturbations))
    centroid = None
    if inputs.effects and inputs.effects.conditions:
        centroid = controls.whole(condition.control) + average_effect(inputs.effects, condition.control)

    def of_half(cells: IntArray, repeat: int, half: Literal[0, 1]) -> Side:
        """Real cells against one half of the controls."""
        places = tested_against.halves(repeat)[half]
        return Side(
            real[cells],
            real_scores[cells],
            controls.halves(condition.control, repeat)[half],
            tested_against.whole[places],
            part(sizes.real, cells),
            part(sizes.tested, places),
            batches.of_half(real_rows[cells], repeat, half),
        )

    measured = Measured()
    seen = None if inputs.effects is None else condition in inputs.effects.conditions
    member = Member(condition, measured, targets, seen)
    of_condition = [metric for metric in metrics if isinstance(metric, ConditionMetric)]
    compared: list[tuple[IntArray, NDArray[np.float64] | None]] = []
    for repeat in range(n_repeats):
        order = generator.permutation(len(real))
        n_reference = -(-len(real) // 2) if len(real) >= FEWEST_FOR_REPLICATE else len(real)
        chosen, others = order[:n_reference], order[n_reference:][:n_predicted]
        reference = of_half(chosen, repeat, 0)
        compared.append((chosen, reference.control_mean))
        if len(others):
            rows[REPLICATE] = of_half(others, repeat, 1)
        folds = derive(seed, "evaluate", condition.key, "comparison", repeat)
        member.keep(REAL, repeat, reference, takes_of_real)
        for row, side in rows.items():
            member.keep(row, repeat, side, takes)
            comparison = Comparison(reference, side, sigma2, folds, targets, centroid)
            for metric in of_condition:
                if metric.in_repeat(repeat):
                    measured.take(row, metric.key, metric.function, comparison)
    measured.half_sample(MODEL, [m for m in of_condition if m.of_means is None], len(real))
    by_means = [m for m in of_condition if m.of_means is not None]
    cell_seed = derive(seed, "evaluate", condition.key, "cells")
    errors = bootstrap_errors(real, rows[MODEL].x, compared, rows[MODEL].control_mean, by_means, cell_seed)
    measured.standard_errors |= {(MODEL, key): error for key, error in errors.items()}
    if REPLICATE not in rows:
        few = f"the condition has {len(real)} real cells; a replicate needs at least {FEWEST_FOR_REPLICATE}"
        of_one = [metric for metric in metrics if isinstance(metric, ConditionMetric | PanelMetric)]
        measured.reasons.update({(REPLICATE, metric.key): few for metric in of_one})
    return _Draft(
        member=member,
        cells={
            "truth": len(found["truth"]),
            "truth_used": len(real_rows),
            "predicted": len(found["predicted"]),
            "predicted_used": len(predicted_rows),
            "controls": len(found["controls"]),
            "controls_drawn": len(control_rows),
        },
        gammas=rbf_gammas(sigma2) if sigma2 else None,
        moments=moments({REAL: real, MODEL: rows[MODEL].x}),
        error=experimental_error(
            real,
            tested_against.whole,
            batches.of_real(real_rows),
            batches.of_controls(tested_against.rows),
            derive(seed, "evaluate", condition.key),
            within=batches.within,
        )
        if any(metric.key in BOUNDED for metric in metrics)
        else None,
        pictures=picture_condition(
            inputs.space.genes,
            rows[NO_CHANGE],
            Side(real, real_scores, controls.whole(condition.control), tested_against.whole),
            rows[MODEL],
            (reference, rows[REPLICATE]) if REPLICATE in rows else None,
            derive(seed, "pictures", condition.key),
        )
        if pictures
        else None,
    )


def _fixed_rows(
    inputs: EvaluationInputs,
    condition: Condition,
    batches: ConditionBatches,
    tested_against: FloatArray,
    predicted_rows: IntArray,
    control_rows: IntArray,
    sizes: LibrarySizes,
) -> Iterator[tuple[str, Side]]:
    """The rows that are the same in every repeat."""
    drawn = read_dense(inputs.controls, control_rows, f"controls {condition.control.label!r}")
    drawn_mean = drawn.mean(axis=0, dtype=np.float64)

    def of_drawn(x: FloatArray) -> Side:
        return Side(x, inputs.space.project(x), drawn_mean, drawn, sizes.drawn, sizes.drawn)

    no_change = of_drawn(NoChange().simulate(drawn, condition))
    yield NO_CHANGE, no_change
    if inputs.effects is not None:
        yield TRAINING_MEAN, of_drawn(TrainingMean(inputs.effects).simulate(drawn, condition))
        if inputs.maps is not None:
            components = inputs.space.components.components
            projected = inputs.space.project(drawn)
            yield GAUSSIAN_MAP, of_drawn(inputs.maps.simulate(drawn, projected, components, condition, inputs.effects))
    for row, effects in inputs.regressions.items():
        yield row, of_drawn(TrainingMean(effects).simulate(drawn, condition))
    if not len(predicted_rows):
        yield MODEL, no_change
        return
    x = read_dense(inputs.prediction, predicted_rows, f"prediction {condition.label!r}")
    control_mean = batches.controls.whole(condition.control)
    in_batches = batches.of_predicted(predicted_rows)
    scores = inputs.space.project(x)
    yield MODEL, Side(x, scores, control_mean, tested_against, sizes.predicted, sizes.tested, in_batches)
