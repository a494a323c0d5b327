"""Regressions as predictions: control cells moved by what each kind, at its best settings, makes of known effects."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gensim.metrics.results import REGRESSIONS
from gensim.perturbations.choose_regression import choose_regressions
from gensim.perturbations.chosen import Chosen
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition


@dataclass(frozen=True, slots=True)
class Regressed:
    """Effects that one kind of regression tells of other conditions, and how it was chosen."""

    effects: MeanEffects
    chosen: Chosen


def regression_rows(
    codebook: Codebook, effects: MeanEffects, conditions: Collection[Condition]
) -> dict[str, Regressed]:
    """By the row, for `nearest`, `ridge` and `kernel_ridge`.

    Args:
        codebook: knows vectors of perturbations and of contexts. effects: of the training conditions, over genes.
        conditions: that are scored.

    Returns:
        None of them where all conditions were measured, or where nothing can tell.
    """
    contexts = None if codebook.likeness.contexts is None else codebook.likeness.contexts.table
    if {c for c in conditions if not c.is_control} <= set(effects.conditions):
        return {}
    if codebook.table.is_one_hot and contexts is None:
        return {}
    rows: dict[str, Regressed] = {}
    for row in REGRESSIONS:
        chosen = choose_regressions(effects, codebook.table, contexts, [row])
        if not chosen.tells:
            return {}
        likeness = replace(chosen.likeness(codebook.table, contexts), variance=effects.variances)
        rows[row] = Regressed(effects.informed(likeness), chosen)
    return rows


def preferred(rows: Mapping[str, Regressed], condition: Condition) -> str | None:
    """The row that training conditions choose for a condition: the regression that leaves least unexplained of
    perturbations, where one of the condition's was not measured alone, else of contexts, where these were measured in
    others only. None where no regression is asked: all rows are the same there.

    This is known before the cells of the condition are; which row comes nearest to these, is not.
    """
    (effects, *_) = (regressed.effects for regressed in rows.values())
    asked = _asked(effects, condition)
    if asked is None:
        return None

    def unexplained(row: str) -> float:
        chosen = rows[row].chosen
        judged, between = getattr(chosen, asked), chosen.between
        if asked == "contexts" and between is not None and condition.control.key in between.places:
            return between.unexplained
        return 1.0 if judged is None or judged.unexplained is None else judged.unexplained

    return min(rows, key=unexplained)


def _asked(effects: MeanEffects, condition: Condition) -> Literal["perturbations", "contexts"] | None:
    """What of a condition was not measured; see `MeasuredConditions.weights`."""
    if condition.changes_nothing:
        return None
    parts = [condition] if effects.are_measured(condition) else condition.members
    if not all(effects.are_measured(part) for part in parts):
        return "perturbations"
    return None if all(effects.are_measured_here(part) for part in parts) else "contexts"


def in_words(rows: Mapping[str, Regressed], conditions: Iterable[Condition]) -> list[str]:
    """What the regressions are, and which of them training conditions choose for those that were not measured."""
    lines = [f"{row}: {line}" for row, regressed in rows.items() for line in regressed.chosen.in_words()]
    times = Counter(row for row in (preferred(rows, c) for c in conditions if rows) if row is not None)
    if times:
        chosen = ", ".join(f"{row} for {n} of {times.total()} conditions" for row, n in times.most_common())
        lines.append(f"of these regressions, training conditions choose {chosen}")
    return lines
