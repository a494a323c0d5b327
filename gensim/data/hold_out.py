"""Which conditions a split holds out whole: listed in the config, or drawn by seed."""

from collections import Counter
from collections.abc import Sequence

from gensim.config import (
    CellShareSplit,
    CombinationSplit,
    ContextSplit,
    DoseSplit,
    GridSplit,
    PerturbationSplit,
    SplitConfig,
    TimeSplit,
)
from gensim.data.conditions import parse_perturbation
from gensim.data.screen import Screen
from gensim.errors import ConfigError, SplitError, listing, nearest
from gensim.seeding import derive
from gensim.types import Condition

FEWEST_FOR_VALIDATION = 10
"""Perturbations, combinations, or pairs of context and perturbation, from which whole ones are held back for
validation."""

Pair = tuple[str, tuple[str, ...]]


def held_out_conditions(screen: Screen, config: SplitConfig, seed: int) -> tuple[list[Condition], list[str]]:
    """The perturbed conditions that are held out whole, and, for ``hold_out: perturbations``, the names held out.

    What is drawn goes by the rank of a digest of (seed, name), so that it does not depend on the order of the cells.

    Raises:
        ConfigError: both or neither of `values` and `fraction` are given, or `column` is no context of the screen.
        SplitError: a listed value is not in the screen (the nearest is named), or nothing can be held out.
    """
    test = config.test
    perturbed = [condition for condition in screen.conditions if not condition.is_control]
    if isinstance(test, CellShareSplit):
        return [], []
    if (test.values is None) == (test.fraction is None):
        raise ConfigError(
            f"split.test with hold_out={test.hold_out} needs either values or fraction, not both or neither"
        )
    if isinstance(test, PerturbationSplit):
        names = _perturbations(perturbed, test, seed)
        return [c for c in perturbed if set(c.perturbations) & set(names)], names
    if isinstance(test, CombinationSplit):
        combinations = _combinations(screen, perturbed, test, seed)
        return [c for c in perturbed if c.perturbations in combinations], []
    if isinstance(test, ContextSplit):
        contexts = _contexts(perturbed, test, seed)
        return [c for c in perturbed if _value(c, test.column) in contexts], []
    if isinstance(test, DoseSplit):
        doses = _numbers([dose for c in perturbed for dose in c.doses], test, seed, "dose")
        return [c for c in perturbed if doses & set(c.doses)], []
    if isinstance(test, TimeSplit):
        times = _numbers([c.time for c in perturbed], test, seed, "time")
        return [c for c in perturbed if c.time in times], []
    pairs = _grid(screen, perturbed, test, seed)
    return [c for c in perturbed if (_value(c, test.column), c.perturbations) in pairs], []


def validation_conditions(
    screen: Screen, config: SplitConfig, held_out: Sequence[Condition], seed: int
) -> list[Condition]:
    """The conditions that are held back whole for validation, so that training stops where the model is best at what it
    will be asked: where perturbations, combinations, or pairs of context and perturbation are held out, a share of
    those that are left; else none. A context is too much to lose (decision 20).

    Where fewer than ten are left, all their conditions give cells to validation, and none goes whole.

    Args:
        held_out: whole conditions that are held out for the final score.
    """
    gone = set(held_out)
    left = [condition for condition in screen.conditions if not condition.is_control and condition not in gone]
    if isinstance(config.test, PerturbationSplit):
        known = sorted({name for condition in left for name in condition.perturbations})
        drawn = set(_drawn_for_validation(known, config.validation_fraction, seed))
        return [condition for condition in left if drawn & set(condition.perturbations)]
    if isinstance(config.test, CombinationSplit):
        join = screen.combination_separator.join
        combinations = {join(c.perturbations): c.perturbations for c in left if len(c.perturbations) > 1}
        names = _drawn_for_validation(sorted(combinations), config.validation_fraction, seed)
        wanted = {combinations[name] for name in names}
        # A member that occurs nowhere else would be unknown to training.
        known_apart = {name for c in left if c.perturbations not in wanted for name in c.perturbations}
        return [c for c in left if c.perturbations in wanted and set(c.perturbations) <= known_apart]
    if isinstance(config.test, GridSplit):
        pairs = {(_value(c, config.test.column), c.perturbations) for c in left}
        if len(pairs) < FEWEST_FOR_VALIDATION:
            return []
        chosen = _pairs_that_go(screen, pairs, config.validation_fraction, seed, "validation")
        return [c for c in left if (_value(c, config.test.column), c.perturbations) in chosen]
    return []


def _drawn_for_validation(known: list[str], fraction: float, seed: int) -> list[str]:
    return _drawn(known, fraction, seed, "validation") if len(known) >= FEWEST_FOR_VALIDATION else []


def _perturbations(perturbed: list[Condition], test: PerturbationSplit, seed: int) -> list[str]:
    known = sorted({name for condition in perturbed for name in condition.perturbations})
    if test.values is not None:
        return _listed(test.values, known, "perturbation")
    return _drawn(known, test.fraction, seed, "perturbations")


def _combinations(
    screen: Screen, perturbed: list[Condition], test: CombinationSplit, seed: int
) -> set[tuple[str, ...]]:
    join = screen.combination_separator.join
    known = {join(c.perturbations): c.perturbations for c in perturbed if len(c.perturbations) > 1}
    if not known:
        raise SplitError(
            f"split.test holds out combinations, but no label of the screen joins two perturbations by "
            f"{screen.combination_separator!r} (data.combination_separator)"
        )
    if test.values is not None:
        names = [join(_parse(screen, value)) for value in test.values]
        return {known[name] for name in _listed(names, sorted(known), "combination")}
    return {known[name] for name in _drawn(sorted(known), test.fraction, seed, "combinations")}


def _numbers(measured: list[float | None], test: DoseSplit | TimeSplit, seed: int, what: str) -> set[float]:
    # Dose 0 and time 0 are control by construction.
    known = [repr(number) for number in sorted({number for number in measured if number})]
    if test.values is not None:
        return {float(text) for text in _listed([repr(float(value)) for value in test.values], known, what)}
    return {float(text) for text in _drawn(known, test.fraction, seed, f"{what}s")}


def _contexts(perturbed: list[Condition], test: ContextSplit, seed: int) -> set[str]:
    known = sorted({_value(condition, test.column) for condition in perturbed})
    if test.values is not None:
        return set(_listed(test.values, known, f"value of {test.column!r} with perturbed cells"))
    return set(_drawn(known, test.fraction, seed, "contexts"))


def _grid(screen: Screen, perturbed: list[Condition], test: GridSplit, seed: int) -> set[Pair]:
    join = screen.combination_separator.join
    pairs = {(_value(c, test.column), c.perturbations) for c in perturbed}
    known = {f"{context}: {join(names)}": (context, names) for context, names in pairs}
    if test.values is not None:
        texts = []
        for pair in test.values:
            if set(pair) != {"context", "perturbation"}:
                raise ConfigError(f"split.test.values has {dict(pair)}; each pair names a context and a perturbation")
            texts.append(f"{pair['context']}: {join(_parse(screen, pair['perturbation']))}")
        return {known[text] for text in _listed(texts, sorted(known), "pair of context and perturbation")}
    chosen = _pairs_that_go(screen, pairs, test.fraction, seed, "grid")
    if not chosen:
        raise SplitError(
            f"split.test holds out pairs of {test.column!r} and perturbation, but no pair can go: each is the only "
            "one of its perturbation or of its context; hold out perturbations or contexts instead"
        )
    return chosen


def _pairs_that_go(screen: Screen, pairs: set[Pair], fraction: float | None, seed: int, what: str) -> set[Pair]:
    """Up to a fraction of the pairs, drawn so that the last context of a perturbation, and the last perturbation of a
    context, stay."""
    join = screen.combination_separator.join
    known = {f"{context}: {join(names)}": (context, names) for context, names in pairs}
    wanted = _number(len(known), fraction)
    contexts = Counter(context for context, _ in pairs)
    perturbations = Counter(names for _, names in pairs)
    chosen: set[Pair] = set()
    for text in _ranked(sorted(known), seed, what):
        context, names = known[text]
        if len(chosen) < wanted and contexts[context] > 1 and perturbations[names] > 1:
            chosen.add((context, names))
            contexts[context] -= 1
            perturbations[names] -= 1
    return chosen


def _parse(screen: Screen, text: str) -> tuple[str, ...]:
    return parse_perturbation(text, screen.control_label, screen.combination_separator)


def _value(condition: Condition, column: str) -> str:
    context = dict(condition.context)
    if column not in context:
        raise ConfigError(
            f"split.test.column={column!r} is not a context of the screen{nearest(column, context)}; "
            f"its contexts are {listing(context) or 'none'} (data.context_columns)"
        )
    return context[column]


def _listed(values: Sequence[str], known: Sequence[str], what: str) -> list[str]:
    if not values:
        raise SplitError("split.test.values is empty, so that nothing is held out; list values, or give a fraction")
    for value in values:
        if value not in known:
            raise SplitError(
                f"split.test.values: the screen has no {what} {value!r}{nearest(value, known)}; it has {listing(known)}"
            )
    return sorted(set(values))


def _drawn(known: list[str], fraction: float | None, seed: int, what: str) -> list[str]:
    return sorted(_ranked(known, seed, what)[: _number(len(known), fraction)])


def _ranked(known: list[str], seed: int, what: str) -> list[str]:
    return sorted(known, key=lambda name: derive(seed, "split", what, name))


def _number(known: int, fraction: float | None) -> int:
    """The nearest number to the fraction, but at least one, and not all where there are several."""
    return max(1, min(round(known * (fraction or 0.0)), known - 1))
