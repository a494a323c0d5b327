"""What an evaluation compares, and which conditions of it can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gensim.baselines.gaussian_map import GaussianMaps
from gensim.data.batches import Batches
from gensim.data.cell_source import CellSource
from gensim.errors import DataError, listing, nearest
from gensim.metrics.results import Missing
from gensim.metrics.space import MetricSpace
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition, first_difference


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


def match(
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
