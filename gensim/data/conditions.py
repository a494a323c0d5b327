"""From columns of obs to conditions: which perturbations, in which context, at which dose and time."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from gensim.config import DataConfig
from gensim.doses import Dose
from gensim.errors import DataError, listing, nearest
from gensim.types import Condition, IntArray

NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


def parse_perturbation(text: str, control_label: str, separator: str) -> tuple[str, ...]:
    """Sorted names in a label: ``B+A`` is (A, B), ``A+control`` is (A,), ``control`` and ``control+control`` are ().

    Raises:
        DataError: a name is empty or repeated.
    """
    return tuple(sorted(names_in(text, control_label, separator)))


def names_in(text: str, control_label: str, separator: str) -> list[str]:
    """The same in the order of the label."""
    parts = _parts(text, control_label, separator)
    if not all(parts):
        raise DataError(f"perturbation {text!r} has an empty name; names are joined by {separator!r}")
    names = [part for part in parts if part != control_label]
    if len(set(names)) != len(names):
        raise DataError(f"perturbation {text!r} repeats a name; name each one once")
    return names


def _parts(text: str, control_label: str, separator: str) -> list[str]:
    if text == control_label:
        return []
    return [part.strip() for part in text.split(separator)] if separator else [text.strip()]


def parse_dose(value: object, label: str, control_label: str, separator: str) -> Dose:
    """Dose of a label's perturbations, in the order of `names_in`; None where it is none.

    A number is that of all members. Text such as ``1+10`` has one for each part of the label, of which that of control
    is not read, or one for each perturbation.
    """
    number, parts = parse_number(value), _parts(label, control_label, separator)
    if number is not None or len(parts) < 2:
        return number
    join = re.escape(separator)
    read, unread = rf"\s*({NUMBER})\s*", rf"(?:\s*{NUMBER}\s*|(?:(?!{join}).)*)"
    of_parts = [unread if part == control_label else read for part in parts]
    for pattern in (of_parts, [part for part in of_parts if part == read]):
        found = re.fullmatch(join.join(pattern), str(value))
        doses = tuple(map(float, found.groups())) if found else ()
        if doses and all(map(math.isfinite, doses)):
            return doses
    return None


def one_each(label: str, control_label: str, separator: str) -> str:
    """What else than a number a dose of a label may be, for errors."""
    several = len(_parts(label, control_label, separator)) > 1
    return f", or one for each part of {label!r} joined by {separator!r} in that order" if several else ""


def dose_column(conditions: Sequence[Condition], separator: str) -> list[float] | list[str | None]:
    """Doses as obs has them, read back by `conditions_of`: numbers; text where members have doses of their own.

    Without a dose NaN, or None.

    Raises:
        DataError: the separator could be a part of a number.
    """
    numbers = [condition.dose for condition in conditions if not isinstance(condition.dose, tuple)]
    if len(numbers) == len(conditions):
        return [math.nan if number is None else number for number in numbers]
    return [None if condition.dose is None else _dose_text(condition, separator) for condition in conditions]


def _dose_text(condition: Condition, separator: str) -> str:
    # Without exponents, whose sign may be the separator.
    texts = [np.format_float_positional(dose, trim="-") for dose in condition.doses if dose is not None]
    text = separator.join(texts if isinstance(condition.dose, tuple) else texts[:1])
    if parse_dose(text, separator.join(condition.perturbations), "", separator) != condition.dose:
        raise DataError(
            f"doses {condition.dose} of {condition.label!r} cannot be told apart when joined by {separator!r} "
            "(data.combination_separator); join names by something that is no part of a number, such as '+'"
        )
    return text


def column_codes(obs: pd.DataFrame, column: str, where: str = "obs") -> tuple[tuple[str, ...], IntArray]:
    """The sorted distinct values of a column, as text, and the (N,) code of each cell.

    Raises:
        DataError: no such column, or a value is missing or empty (number and first cell are named).
    """
    require_column(obs, column, where)
    codes, values = pd.factorize(obs[column], use_na_sentinel=True)
    texts = np.array([str(value) for value in np.asarray(values)], dtype=object)
    blank = np.array([not text.strip() for text in texts], dtype=bool)
    bad = codes < 0
    if blank.any():
        bad |= np.isin(codes, np.flatnonzero(blank))
    if bad.any():
        first = str(obs.index[int(np.argmax(bad))])
        raise DataError(
            f"{where}: column {column!r} is missing or empty in {int(bad.sum())} cells, first {first!r}; "
            "fill it in or remove those cells"
        )
    names, renumbered = np.unique(texts.astype(str), return_inverse=True)
    return tuple(names.tolist()), renumbered[codes].astype(np.int64)


def require_column(obs: pd.DataFrame, column: str, where: str) -> None:
    """Refuse an obs without `column`, naming the nearest one and those there are."""
    if column not in obs.columns:
        known = [str(c) for c in obs.columns]
        raise DataError(f"{where}: no column {column!r}{nearest(column, known)}; there are {listing(known) or 'none'}")


def conditions_of(obs: pd.DataFrame, config: DataConfig, where: str = "obs") -> tuple[tuple[Condition, ...], IntArray]:
    """Conditions of a screen, sorted by key, and the (N,) index of each cell's condition.

    Labels that mean the same (``A+B`` and ``B+A``) are one condition. A dose is that of all perturbations of a label,
    or text with one for each, in the order of the label: ``1+10`` of ``B+A`` is 1 of B and 10 of A. The dose of
    control cells is not read; their time may be missing, and is then 0.

    Args:
        obs: N rows.
        config: names of the columns.
        where: the obs is, for errors.

    Raises:
        DataError: a column is not there, a value is missing, a label cannot be parsed, the dose or time of a
            perturbed cell is missing, or one is negative or not a number, or there are not as many doses as
            perturbations. Files without a perturbed cell need no time column.
    """
    columns = [column_codes(obs, column, where) for column in (config.perturbation_column, *config.context_columns)]
    labels, label_of = columns[0]
    parsed = [names_in(label, config.control_label, config.combination_separator) for label in labels]
    perturbed = np.array([bool(names) for names in parsed], dtype=bool)[label_of]
    numbers = {}
    for kind, column in (("dose", config.dose_column), ("time", config.time_column)):
        if column is None or (kind == "time" and column not in obs.columns and not perturbed.any()):
            continue
        require_column(obs, column, where)
        # Of control cells a dose is not read, and a time may be missing.
        needed = perturbed if kind == "dose" else perturbed | ~_missing(obs[column])
        numbers[kind] = _number_codes(obs, column, needed, kind, config, columns[0], where)
        columns.append((tuple(map(str, numbers[kind][0])), numbers[kind][1]))
    row_of = np.zeros(len(obs), dtype=np.int64)
    for values, codes in columns:
        # Renumbered after every column, so that the product of the sizes cannot overflow.
        row_of = np.unique(row_of * max(len(values), 1) + codes, return_inverse=True)[1]
    _, first = np.unique(row_of, return_index=True)
    found = []
    for row in first:
        context = tuple(
            (name, values[codes[row]])
            for name, (values, codes) in zip(config.context_columns, columns[1:], strict=False)
        )
        measured = {kind: values[codes[row]] for kind, (values, codes) in numbers.items()}
        found.append(Condition(tuple(parsed[label_of[row]]), context, **measured))
    conditions = sorted(set(found), key=lambda condition: condition.key)
    position = {condition: index for index, condition in enumerate(conditions)}
    renumbered = np.array([position[condition] for condition in found], dtype=np.int64)
    return tuple(conditions), renumbered[row_of]


def distinct(labels: Iterable[object]) -> list[str]:
    """Labels as names of rows: one that comes again is ``label (2)``."""
    seen: Counter[str] = Counter()
    names = []
    for label in map(str, labels):
        seen[label] += 1
        names.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return names


def _number_codes(
    obs: pd.DataFrame,
    column: str,
    needed: np.ndarray,
    kind: str,
    config: DataConfig,
    labelled: tuple[tuple[str, ...], IntArray],
    where: str,
) -> tuple[list[Dose], IntArray]:
    """Distinct doses of labels, or times, and the code of each cell; None is a missing one, where none is needed."""
    (labels, label_of), spelling = labelled, (config.control_label, config.combination_separator)
    codes, found = pd.factorize(obs[column], use_na_sentinel=True)
    values = np.asarray(found)
    # Read once for all cells of a value, and of a label: what a dose means depends on its label.
    code_of, pairs = pd.factorize(label_of * (len(values) + 1) + codes + 1)
    numbers: list[Dose] = []
    for label, code in zip(*np.divmod(pairs, len(values) + 1), strict=True):
        value = values[code - 1] if code else None
        numbers.append(parse_dose(value, labels[label], *spelling) if kind == "dose" else parse_number(value))
    bad = needed & ~np.array([number is not None for number in numbers], dtype=bool)[code_of]
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{where}: {kind} column {column!r} is missing, negative or not a number in {int(bad.sum())} "
            f"{'perturbed ' if kind == 'dose' else ''}cells, first {str(obs.index[row])!r} with "
            f"{obs[column].iloc[row]!r}; a {kind} is a finite number, 0 or more"
            + (
                one_each(labels[label_of[row]], *spelling)
                if kind == "dose"
                else ", and may be left out in control cells alone"
            )
        )
    return numbers, code_of.astype(np.int64)


def _missing(values: pd.Series) -> np.ndarray:
    """(N,) whether nothing stands there; files that are joined may have turned it into text."""
    return (values.isna() | values.astype(str).str.strip().str.lower().isin(["", "nan", "none"])).to_numpy()


def parse_number(value: object) -> float | None:
    """A finite dose or time of 0 or more, or None. Through its text, so that float32 0.1 and "0.1" are the same.

    ``1_10`` is none, which Python takes for 110: names, and so doses, may be joined by ``_``.
    """
    text = str(value)
    try:
        number = math.nan if "_" in text else float(text)
    except ValueError:
        return None
    return abs(number) if math.isfinite(number) and number >= 0 else None
