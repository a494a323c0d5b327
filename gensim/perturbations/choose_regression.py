"""Which regression predicts best what was left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gensim.doses import Dose
from gensim.perturbations.between_contexts import BetweenContexts, Shared
from gensim.perturbations.between_contexts import candidates as candidates_between
from gensim.perturbations.chosen import Chosen, Judged
from gensim.perturbations.dose_response import DoseResponse, MeasuredDoses, choose_dose_response, groups_by_dose
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import single_perturbations
from gensim.perturbations.regression import (
    KINDS,
    Kind,
    MeasuredVectors,
    Regression,
    Weights,
    candidates,
    left_out_weights,
)
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition, spread

Float64Array = NDArray[np.float64]

FEWEST = 3
"""Perturbations, or contexts, to choose from; with fewer it is the mean."""
FEWEST_EFFECTS = 6
"""In two contexts, of perturbations measured in both: they tell whether one says anything of the other."""
MOST_PERTURBATIONS = 2000
"""Of which a choice is made, evenly over the names: time grows with the cube of their number."""
MOST_SETTINGS = 64
MOST_WORK = 1e8
"""Settings times the cube of the number of names."""
SURELY = 2.0
"""Standard errors by which something has to carry over between contexts, to be expected in another one."""


def choose_regressions(
    effects: MeanEffects,
    perturbations: VectorTable,
    contexts: VectorTable | None,
    kinds: Sequence[Kind] = KINDS,
    *,
    judged_also_on: MeanEffects | None = None,
) -> Chosen:
    """What predicts best of the effects of training conditions, see `over_perturbations` and `over_contexts`; in a time
    course of what they do beyond development.

    Args:
        effects: that the regression will be of.
        judged_also_on: the same in another space, where a choice over perturbations has to be good too.
    """
    also = None if judged_also_on is None else judged_also_on.beyond_development()
    effects = effects.beyond_development()
    of_contexts, between = choose_for_contexts(effects, contexts, kinds)
    return Chosen(
        None if perturbations.is_one_hot else over_perturbations(effects, perturbations, kinds, also),
        of_contexts,
        over_doses(effects),
        between,
    )


def choose_for_contexts(
    effects: MeanEffects, contexts: VectorTable | None, kinds: Sequence[Kind] = KINDS
) -> tuple[Judged | None, BetweenContexts | None]:
    """The part of it that is about contexts, see `over_contexts` and `along_with_others`; None where there is one."""
    if contexts is None or len(contexts.names) < 2:
        return None, None
    effects = effects.beyond_development()
    over = over_contexts(effects, contexts, kinds)
    return over, along_with_others(effects, contexts, over, kinds)


Views = dict[tuple[bool, int | None], Float64Array]
"""By `Regression.unit` and `Regression.source` the (n, F) vectors."""


class _Setting(NamedTuple):
    """Effects of n names in the same setting (names being perturbations, a context and a dose; or the other way round).

    Args:
        x: vectors.
        gram: by `Regression.shrunk` (n, n) inner products of the effects that predictions are made of.
        cross: by the same (n, n) of the plain effects with those.
        v: (n,) variances, see `Regression`.
        counts: (n,) weight of each plain effect in the judgement; 0 where it was not measured here.
        size: weighed squared length of the plain effects.
        shared: by `Regression.shrunk` (n,) squared length of the error that effects have in common because they are
            differences from the same control cells; 0 where each has controls of its own.
    """

    x: Views
    gram: dict[bool, Float64Array]
    cross: dict[bool, Float64Array]
    v: Float64Array
    counts: Float64Array
    size: float
    shared: dict[bool, Float64Array]

    def left_out(self, regression: Regression) -> Float64Array:
        """(n, n) weights of each name in another one's effect; they do not depend on `Regression.shrunk`."""
        return left_out_weights(regression, self.x[regression.unit, regression.source], self.v)

    def unexplained(self, w: Float64Array, shrunk: bool) -> float:
        """Weighed sum of |w Y - y|² over the measured effects y, as it would be if y had control cells of its own.

        The mean of control cells has an error that is in all effects of the context. A prediction made of them seems to
        explain it in the one that was left out, and is wrong by it for any other cells. With e the error and s = sum(w)
        the prediction holds -s e, the effect -e, so that |w Y - y|² is expected to be 2 s |e|² too small.
        """
        return float(self.counts @ self.errors(w, shrunk)) + self.size

    def errors(self, w: Float64Array, shrunk: bool) -> Float64Array:
        """(n,) the same before they are weighed, less |y|²."""
        gram, cross = self.gram[shrunk], self.cross[shrunk]
        return np.asarray(((w @ gram) * w).sum(axis=1) - 2 * (w * cross).sum(axis=1) + 2 * w @ self.shared[shrunk])


def over_perturbations(
    effects: MeanEffects,
    table: VectorTable,
    kinds: Sequence[Kind] = KINDS,
    judged_also_on: MeanEffects | None = None,
) -> Judged:
    """The regression that predicts best, leaving one perturbation out after another with all its conditions.

    Predictions are compared with plain effects, whose noise is the same for every candidate and which count the less
    the noisier they are: in proportion to 1 / (1 + v). Only perturbations that were measured alone take part.

    Args:
        effects: of the training conditions. table: has vectors of their perturbations. kinds: to choose from.
        judged_also_on: the effects of the same conditions in another space. Weights stay those of the first, and the
            shares that they leave unexplained are averaged over both; a space without any effect does not count.
    """
    alone = np.array(single_perturbations(effects.conditions))
    if len(alone) < FEWEST:
        return Judged(Regression("mean"), None)
    names = spread(alone, MOST_PERTURBATIONS).tolist()
    alone_at = [c for c in effects.conditions if len(c.perturbations) == 1 and not c.changes_nothing]
    measured = Counter((c.context, c.dose, c.time) for c in alone_at)
    most = max(1, min(MOST_SETTINGS, int(MOST_WORK / len(names) ** 3)))
    places = sorted(measured, key=lambda place: (-measured[place], str(place)))[:most]
    x = _views(table, names)

    def at(context: tuple[tuple[str, str], ...], dose: Dose, time: float | None) -> Callable[[str], Condition]:
        return lambda name: Condition((name,), context, dose, time)

    spaces = [effects] if judged_also_on is None else [effects, judged_also_on]
    settings = [[_setting(space, x, names, at(*place)) for place in places] for space in spaces]
    return _best(settings, effects, kinds, len(table.parts))


def over_contexts(effects: MeanEffects, table: VectorTable, kinds: Sequence[Kind] = KINDS) -> Judged:
    """The same for contexts: each left out, a perturbation, dose and time at a time, among the contexts that have it.

    Args:
        effects: as above. table: vectors of contexts, named by the keys of their control conditions.
    """
    several = _in_several_contexts(effects)
    if sum(map(len, several)) < FEWEST_EFFECTS and max(map(len, several), default=0) < FEWEST:
        return Judged(Regression("mean"), None)
    return _best([_of_contexts(effects, table, _judging(several))], effects, kinds, len(table.parts))


def along_with_others(
    effects: MeanEffects, table: VectorTable, instead: Judged, kinds: Sequence[Kind] = KINDS
) -> BetweenContexts | None:
    """How effects in contexts go along, where that leaves less unexplained than what the vectors of contexts tell, of
    the same effects left out and counted alike; None where it does not, or contexts share too few perturbations.

    Nothing carries over where the better of both is not surely better than no effect, by `SURELY` standard errors over
    perturbations: the best of many settings explains a little of noise too.

    Args:
        effects, table: as above. instead: what `over_contexts` chose of them, by which contexts are told that share too
            few. kinds: this is a ridge regression; without none among them, no effect is no choice.
    """
    if "ridge" not in kinds:
        return None
    several = _in_several_contexts(effects)
    shared = Shared(effects, several)
    if not shared.names:
        return None
    groups, tried = _judging(several), list(candidates_between())
    taken = (True,) if effects.plain is None else (True, False)
    settings = _of_contexts(effects, table, groups)
    # By setting: the squared length that each candidate explains, and what the vectors of contexts explain.
    explained, by_vectors = np.zeros((len(tried), len(taken), len(groups))), np.zeros(len(groups))
    for k, (group, setting) in enumerate(zip(groups, settings, strict=True)):
        else_told = _told_instead(setting, instead.regression, table, sorted(group))
        by_vectors[k] = -setting.counts @ else_told
        told, weights = shared.left_out_weights(tried, group, sorted(group), setting.v)
        for i, w in enumerate(weights):
            for j, shrunk in enumerate(taken):
                explained[i, j, k] = -setting.counts @ np.where(told, setting.errors(w, shrunk), else_told)
    i, j = divmod(int(explained.sum(axis=2).argmax()), len(taken))
    is_better = bool(explained[i, j].sum() > by_vectors.sum())
    places = dict(zip(shared.names, map(tuple, shared.places().tolist()), strict=True))
    if "none" in kinds and not _is_sure(explained[i, j] if is_better else by_vectors):
        return BetweenContexts(Regression("none", shrunk=True, as_given=True), 1.0, places)
    unexplained = 1 - float(explained[i, j].sum()) / sum(setting.size for setting in settings)
    return BetweenContexts(replace(tried[i], shrunk=taken[j]), unexplained, places) if is_better else None


def _is_sure(gains: Float64Array) -> bool:
    """Whether the sum of (n,) gains is surely above 0."""
    spread = float(gains.std(ddof=1)) if len(gains) > 1 else 0.0
    return bool(gains.sum() > SURELY * len(gains) ** 0.5 * spread)


def _told_instead(setting: _Setting, regression: Regression, table: VectorTable, names: Sequence[str]) -> Float64Array:
    """(n,) errors, see `_Setting.errors`, of what `MeasuredConditions` makes of the others: of a single one, itself."""
    w, n = np.zeros((len(names), len(names))), np.arange(len(names))
    alone = len(names) == 2 and regression.kind != "none"
    for i, name in enumerate(names):
        others = n[n != i]
        w[i, others] = 1.0 if alone else Weights(
            regression, table, [names[k] for k in others], setting.v[others]
        ).of([name])[0]  # fmt: skip
    return setting.errors(w, alone or regression.shrunk)


def _in_several_contexts(effects: MeanEffects) -> list[dict[str, Condition]]:
    """Of the same perturbations, dose and time, measured in several contexts: by these."""
    contexts: dict[tuple[tuple[str, ...], Dose, float | None], dict[str, Condition]] = {}
    for condition in (c for c in effects.conditions if not c.changes_nothing):
        of = (condition.perturbations, condition.dose, condition.time)
        contexts.setdefault(of, {})[condition.control.key] = condition
    return [found for found in contexts.values() if len(found) > 1]


def _judging(several: Sequence[dict[str, Condition]]) -> list[dict[str, Condition]]:
    return [several[i] for i in spread(np.arange(len(several)), MOST_SETTINGS)]


def _of_contexts(effects: MeanEffects, table: VectorTable, groups: Sequence[dict[str, Condition]]) -> list[_Setting]:
    return [_setting(effects, _views(table, sorted(f)), sorted(f), f.__getitem__) for f in groups]


def over_doses(effects: MeanEffects) -> DoseResponse | None:
    """The dose response that predicts best, leaving one dose out after another; None where there are no doses.

    Members of a combination at doses of their own do not take part.
    """
    plain = effects.delta if effects.plain is None else effects.plain
    doses = [None if c.changes_nothing or isinstance(c.dose, tuple) else c.dose for c in effects.conditions]
    of = [(c.perturbations, c.context, c.time) for c in effects.conditions]
    groups = groups_by_dose(list(zip(of, doses, strict=True)))
    if not groups:
        return None
    variances, v = effects.variances, np.zeros(len(effects.conditions))
    v[:] = [variances.get(c, 0.0) for c in effects.conditions]
    dose = np.array([number or 0.0 for number in doses])
    chosen = [groups[i] for i in spread(np.arange(len(groups)), MOST_SETTINGS)]
    shared = np.zeros(len(dose)) if effects.noise is None else effects.noise[:, 1]
    return choose_dose_response(
        [MeasuredDoses(dose[rows], plain[rows].astype(np.float64), v[rows], float(shared[rows[0]])) for rows in chosen]
    )


def _views(table: VectorTable, names: Sequence[str]) -> Views:
    of = product((False, True), [None, *range(len(table.parts))] if len(table.parts) > 1 else [None])
    return {(unit, source): MeasuredVectors(table, names, unit, source).x for unit, source in of}


def _setting(
    effects: MeanEffects, x: Views, names: Sequence[str], condition_of: Callable[[str], Condition]
) -> _Setting:
    conditions = [condition_of(name) for name in names]
    row = {condition: k for k, condition in enumerate(effects.conditions)}
    here = np.array([condition in row for condition in conditions])
    shrunk = plain = _stacked(effects.shift(c) for c in conditions)
    if effects.plain is not None:
        before = MeanEffects(effects.conditions, effects.plain)
        plain = _stacked(before.shift(c) for c in conditions)
    variances = effects.variances
    v = np.array([variances.get(c, 0.0) if h else _typical(variances) for c, h in zip(conditions, here, strict=True)])
    counts = here / (1 + v)
    shared = np.zeros(len(names))
    if len({condition.control for condition in conditions}) == 1:
        shared[:] = [effects.shared_error(condition) for condition in conditions]
    # A shrunk effect holds so much of its error as of itself.
    kept = (shrunk * plain).sum(axis=1) / np.square(plain).sum(axis=1).clip(np.finfo(float).tiny)
    return _Setting(
        x=x,
        gram={True: shrunk @ shrunk.T, False: plain @ plain.T},
        cross={True: plain @ shrunk.T, False: plain @ plain.T},
        v=v,
        counts=counts,
        size=float(counts @ np.square(plain).sum(axis=1)),
        shared={True: shared * kept, False: shared},
    )


def _stacked(effects: Iterable[NDArray[np.float32]]) -> Float64Array:
    return np.stack(list(effects)).astype(np.float64)


def _typical(variances: dict[Condition, float]) -> float:
    """Of an effect that was measured elsewhere."""
    return float(np.median(list(variances.values()))) if variances else 0.0


def _best(spaces: Sequence[Sequence[_Setting]], effects: MeanEffects, kinds: Sequence[Kind], n_sources: int) -> Judged:
    """By the average over spaces; weights are those of the first, and `effects` are those of the first."""
    best, least = Regression("none", shrunk=True), np.inf
    judged = [settings for settings in spaces if sum(setting.size for setting in settings) > 0]
    for regression in candidates(kinds, n_sources):
        weights = [setting.left_out(regression) for setting in spaces[0]]
        for shrunk in (True,) if effects.plain is None else (True, False):
            error = sum(_share_unexplained(settings, weights, shrunk) for settings in judged)
            if error < least:
                best, least = replace(regression, shrunk=shrunk), error
    return Judged(best, least / len(judged) if judged else 1.0, max(1, len(judged)))


def _share_unexplained(settings: Sequence[_Setting], weights: Sequence[Float64Array], shrunk: bool) -> float:
    """Of the squared length of the effects."""
    errors = [setting.unexplained(w, shrunk) for setting, w in zip(settings, weights, strict=True)]
    return sum(errors) / sum(setting.size for setting in settings)
