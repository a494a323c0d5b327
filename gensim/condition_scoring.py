"""Everything that is measured of one condition: rows, repeats, metrics of the catalogue but those of panels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gensim.baselines.mean_response import training_centroid
from gensim.baselines.training_mean import TrainingMean
from gensim.data.cell_source import draw_rows, read_dense
from gensim.errors import NotComputable
from gensim.evaluation_inputs import EvaluationInputs
from gensim.metrics.batch_effects import ConditionBatches
from gensim.metrics.bootstrap_samples import Samples
from gensim.metrics.catalogue import ConditionMetric, Metric, PanelMetric
from gensim.metrics.cell_errors import bootstrap_errors
from gensim.metrics.class_error import RepeatedClasses
from gensim.metrics.comparison import Comparison, Side
from gensim.metrics.controls import ControlMeans
from gensim.metrics.differential_expression import ControlCells
from gensim.metrics.distances import median_squared_distance, rbf_gammas
from gensim.metrics.distribution_rows import DISTRIBUTION
from gensim.metrics.experimental_error import ExperimentalError, experimental_error
from gensim.metrics.library_sizes import LibrarySizes, part
from gensim.metrics.marginals import moments
from gensim.metrics.measured import Measured
from gensim.metrics.panel import OF_COUNTS, taken
from gensim.metrics.panel_measurement import Member
from gensim.metrics.pictures import ConditionPictures, picture_condition
from gensim.metrics.results import (
    BOUNDED,
    GAUSSIAN_MAP,
    MODEL,
    NO_CHANGE,
    REAL,
    REPLICATE,
    TRAINING_MEAN,
    ConditionResult,
)
from gensim.parallel import Call
from gensim.seeding import derive, numpy_generator
from gensim.types import Condition, FloatArray, IntArray

FEWEST_FOR_REPLICATE = 4


@dataclass(frozen=True, slots=True)
class ScoredCondition:
    """A condition whose panel metrics are still to be measured; fields as in `ConditionResult`."""

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


@dataclass(frozen=True, slots=True)
class ConditionScoring:
    """How conditions are scored; `score` may be called for several at once, in threads.

    Args:
        inputs: what is compared.
        controls: means of the control cells.
        tested: control cells of a context that populations are tested against.
        seed, n_repeats, max_cells, metrics, pictures: see `gensim.evaluate.evaluate`.
        call: how to call what holds the interpreter while it works.
        repeats: collects classes of bootstrap samples; None: no metric asks.
    """

    inputs: EvaluationInputs
    controls: ControlMeans
    tested: Callable[[Condition], ControlCells]
    seed: int
    n_repeats: int
    max_cells: int
    metrics: Sequence[Metric]
    pictures: bool
    call: Call
    repeats: RepeatedClasses | None = None

    @property
    def distances(self) -> bool:
        """Whether some metric measures distances between cells."""
        return any(metric in DISTRIBUTION for metric in self.metrics)

    def score(self, condition: Condition) -> ScoredCondition:
        """All rows of one condition, and all metrics but those of panels."""
        generator = numpy_generator(self.seed, "evaluate", condition.key)
        found = {
            "truth": self.inputs.truth.rows(condition),
            "predicted": self.inputs.prediction.rows(condition),
            "controls": self.inputs.controls.rows(condition.control),
        }
        real_rows = draw_rows(found["truth"], self.max_cells, generator)
        predicted_rows = draw_rows(found["predicted"], self.max_cells, generator)
        n_predicted = len(predicted_rows) or len(real_rows)
        control_rows = draw_rows(found["controls"], n_predicted, generator)
        real = read_dense(self.inputs.truth, real_rows, f"truth {condition.label!r}")
        real_scores = self.inputs.space.project(real)
        tested_against = self.tested(condition.control)
        takes_of_real, takes = taken(self.metrics)
        sizes = LibrarySizes()
        if OF_COUNTS & takes:
            asked = (
                (self.inputs.truth, real_rows),
                (self.inputs.prediction, predicted_rows),
                (self.inputs.controls, control_rows),
            )
            sizes = LibrarySizes.of(*(source.counts_per_cell(of) for source, of in asked), tested_against.library_size)
        batches = ConditionBatches.of(
            self.inputs.batches, self.controls, condition.control, found["truth"], found["controls"]
        )
        rows = dict(self._fixed_rows(condition, batches, tested_against.whole, predicted_rows, control_rows, sizes))
        sigma2 = median_squared_distance(real_scores) if self.distances and len(real) > 1 else None
        targets = np.flatnonzero(np.isin(self.inputs.space.genes, condition.perturbations))
        centroid = training_centroid(self.inputs.effects, condition.control, self.controls.whole(condition.control))

        def of_half(cells: IntArray, repeat: int, half: Literal[0, 1]) -> Side:
            """Real cells against one half of the controls."""
            places = tested_against.halves(repeat)[half]
            return Side(
                real[cells],
                real_scores[cells],
                self.controls.halves(condition.control, repeat)[half],
                tested_against.whole[places],
                part(sizes.real, cells),
                part(sizes.tested, places),
                batches.of_half(real_rows[cells], repeat, half),
            )

        measured = Measured()
        seen = None if self.inputs.effects is None else condition in self.inputs.effects.conditions
        member = Member(condition, measured, targets, seen)
        of_condition = [metric for metric in self.metrics if isinstance(metric, ConditionMetric)]
        compared: list[tuple[IntArray, NDArray[np.float64] | None]] = []
        for repeat in range(self.n_repeats):
            order = generator.permutation(len(real))
            n_reference = -(-len(real) // 2) if len(real) >= FEWEST_FOR_REPLICATE else len(real)
            chosen, others = order[:n_reference], order[n_reference:][:n_predicted]
            reference = of_half(chosen, repeat, 0)
            compared.append((chosen, reference.control_mean))
            if len(others):
                rows[REPLICATE] = of_half(others, repeat, 1)
            folds = derive(self.seed, "evaluate", condition.key, "comparison", repeat)
            member.keep(REAL, repeat, reference, takes_of_real)
            for row, side in rows.items():
                member.keep(row, repeat, side, takes)
                comparison = Comparison(reference, side, sigma2, folds, targets, centroid, self.call)
                for metric in of_condition:
                    if metric.in_repeat(repeat):
                        measured.take(row, metric.key, metric.function, comparison)
        measured.half_sample(MODEL, [m for m in of_condition if m.of_means is None], len(real))
        by_means = [m for m in of_condition if m.of_means is not None]
        cell_seed = derive(self.seed, "evaluate", condition.key, "cells")
        errors = bootstrap_errors(real, rows[MODEL].x, compared, rows[MODEL].control_mean, by_means, cell_seed)
        measured.standard_errors |= {(MODEL, key): error for key, error in errors.items()}
        if REPLICATE not in rows:
            few = f"the condition has {len(real)} real cells; a replicate needs at least {FEWEST_FOR_REPLICATE}"
            of_one = [metric for metric in self.metrics if isinstance(metric, ConditionMetric | PanelMetric)]
            measured.reasons.update({(REPLICATE, metric.key): few for metric in of_one})
        whole = Side(real, real_scores, self.controls.whole(condition.control), tested_against.whole)
        return ScoredCondition(
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
            moments=moments({REAL: whole.marginals, MODEL: rows[MODEL].marginals}),
            error=self._error(condition, batches, real, real_rows, tested_against, seen),
            pictures=picture_condition(
                self.inputs.space.genes,
                rows[NO_CHANGE],
                whole,
                rows[MODEL],
                (reference, rows[REPLICATE]) if REPLICATE in rows else None,
                derive(self.seed, "pictures", condition.key),
            )
            if self.pictures
            else None,
        )

    def _error(
        self,
        condition: Condition,
        batches: ConditionBatches,
        real: FloatArray,
        real_rows: IntArray,
        controls: ControlCells,
        seen: bool | None,
    ) -> ExperimentalError | None:
        """The experimental error of the effect, and classes of genes in the same samples, where these are asked for."""
        of_effect = any(metric.key in BOUNDED for metric in self.metrics)
        if not of_effect and self.repeats is None:
            return None
        try:
            samples = Samples.of(
                real,
                controls.whole,
                batches.of_real(real_rows),
                batches.of_controls(controls.rows),
                derive(self.seed, "evaluate", condition.key),
                derive(self.seed, "evaluate", condition.control.key),
                within=batches.within,
            )
        except NotComputable as error:
            if self.repeats is not None:
                self.repeats.lack(seen, str(error))
            return ExperimentalError(None, reason=str(error)) if of_effect else None
        if self.repeats is not None:
            self.repeats.take(seen, samples)
        return experimental_error(samples) if of_effect else None

    def _fixed_rows(
        self,
        condition: Condition,
        batches: ConditionBatches,
        tested_against: FloatArray,
        predicted_rows: IntArray,
        control_rows: IntArray,
        sizes: LibrarySizes,
    ) -> Iterator[tuple[str, Side]]:
        """The rows that are the same in every repeat."""
        drawn = read_dense(self.inputs.controls, control_rows, f"controls {condition.control.label!r}")
        drawn_mean = drawn.mean(axis=0, dtype=np.float64)

        def of_drawn(x: FloatArray) -> Side:
            return Side(x, self.inputs.space.project(x), drawn_mean, drawn, sizes.drawn, sizes.drawn)

        no_change = of_drawn(drawn)
        yield NO_CHANGE, no_change
        if self.inputs.effects is not None:
            yield TRAINING_MEAN, of_drawn(TrainingMean(self.inputs.effects).simulate(drawn, condition))
            if self.inputs.maps is not None:
                components = self.inputs.space.components.components
                projected = self.inputs.space.project(drawn)
                yield (
                    GAUSSIAN_MAP,
                    of_drawn(self.inputs.maps.simulate(drawn, projected, components, condition, self.inputs.effects)),
                )
        for row, effects in self.inputs.regressions.items():
            yield row, of_drawn(TrainingMean(effects).simulate(drawn, condition))
        if not len(predicted_rows):
            yield MODEL, no_change
            return
        x = read_dense(self.inputs.prediction, predicted_rows, f"prediction {condition.label!r}")
        control_mean = batches.controls.whole(condition.control)
        in_batches = batches.of_predicted(predicted_rows)
        scores = self.inputs.space.project(x)
        yield MODEL, Side(x, scores, control_mean, tested_against, sizes.predicted, sizes.tested, in_batches)
