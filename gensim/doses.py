"""One dose for all members of a combination, or one for each."""

import math
from collections.abc import Sequence
from numbers import Real
from types import NoneType

from gensim.errors import DataError

Dose = float | tuple[float, ...] | None


def in_order(names: Sequence[str], dose: Dose) -> tuple[tuple[str, ...], Dose]:
    """Sorted names, and their doses in the order of these.

    Doses that are all the same become one number. A member at dose 0 is not there where another one's dose is above 0.

    Args:
        names: of the members, each once.
        dose: of all of them; a tuple: one for each, in the order of the names.

    Raises:
        DataError: another number of doses than of names, or a dose that is negative or not finite.
    """
    if not isinstance(dose, (tuple, Real, NoneType)):
        raise DataError(
            f"condition {tuple(names)!r} has dose {dose!r}, a {type(dose).__name__}; give one number for all "
            "perturbations, or a tuple of one for each"
        )
    if isinstance(dose, tuple) and len(dose) != len(names):
        raise DataError(
            f"condition {tuple(names)!r} has {len(dose)} doses, {dose!r}; give one number for all perturbations, or a "
            f"tuple of one for each of the {len(names)}"
        )
    doses = dose if isinstance(dose, tuple) else () if dose is None else (dose,)
    if any(number is None or not math.isfinite(number) or number < 0 for number in doses):
        raise DataError(f"condition {tuple(sorted(names))!r} has dose {dose}; a dose is finite and not negative")
    if not isinstance(dose, tuple):
        return tuple(sorted(names)), None if dose is None else float(dose)
    members = sorted(zip(names, map(float, dose), strict=True))
    members = [(name, number) for name, number in members if number > 0] or members
    numbers = tuple(number for _, number in members)
    return tuple(name for name, _ in members), numbers if len(set(numbers)) > 1 else next(iter(numbers), None)
