"""From columns of obs to conditions: which perturbations, in which context, at which dose and time."""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from gensim.config import DataConfig
from gensim.errors import DataError, listing, nearest
from gensim.types import Condition, IntArray


def parse_perturbation(text: str, control_label: str, separator: str) -> tuple[str, ...]:
    """Sorted names in a label: ``B+A`` is (A, B), ``A+control`` is (A,), ``control`` and ``control+control`` are ().

    Raises:
        DataError: a name is empty or repeated.
    """
    if text == control_label:
        return ()
    parts = [part.strip() for part in text.split(separator)] if separator else [text.strip()]
    if not all(parts):
        raise DataError(f"perturbation {text!r} has an empty name; names are joined by {separator!r}")
    names = sorted(part for part in parts if part != control_label)
    if len(set(names)) != len(names):
        raise DataError(f"perturbation {text!r} repeats a name; name each one once")
    return tuple(names)


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

    Labels that mean the same (``A+B`` and ``B+A``) are one condition. The dose of control cells is not read; their time
    may be missing, and is then 0.

    Args:
        obs: N rows.
        config: names of the columns.
        where: the obs is, for errors.

    Raises:
        DataError: a column is not there, a value is missing, a label cannot be parsed, the dose or time of a
            perturbed cell is missing, or one is negative or not a number. Files without a
            perturbed cell need no time column.
    """
    columns = [column_codes(obs, column, where) for column in (config.perturbation_column, *config.context_columns)]
    labels, label_of = columns[0]
    parsed = [parse_perturbation(label, config.control_label, config.combination_separator) for label in labels]
    perturbed = np.array([bool(names) for names in parsed], dtype=bool)[label_of]
    numbers = {}
    for kind, column in (("dose", config.dose_column), ("time", config.time_column)):
        if column is None or (kind == "time" and column not in obs.columns and not perturbed.any()):
            continue
        require_column(obs, column, where)
        # Of control cells a dose is not read, and a time may be missing.
        needed = perturbed if kind == "dose" else perturbed | ~_missing(obs[column])
        numbers[kind] = _number_codes(obs, column, needed, kind, where)
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
        found.append(Condition(parsed[label_of[row]], context, **measured))
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
    obs: pd.DataFrame, column: str, needed: np.ndarray, kind: str, where: str
) -> tuple[list[float | None], IntArray]:
    """Distinct doses, or times, and the code of each cell; code 0 is a missing one, where none is needed."""
    codes, values = pd.factorize(obs[column], use_na_sentinel=True)
    numbers = [parse_number(value) for value in np.asarray(values)]
    good = np.array([False, *(number is not None for number in numbers)])[codes + 1]
    bad = needed & ~good
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{where}: {kind} column {column!r} is missing, negative or not a number in {int(bad.sum())} "
            f"{'perturbed ' if kind == 'dose' else ''}cells, first {str(obs.index[row])!r} with "
            f"{obs[column].iloc[row]!r}; a {kind} is a finite number, 0 or more"
            f"{', and may be left out in control cells alone' if kind == 'time' else ''}"
        )
    return [None, *numbers], (codes + 1).astype(np.int64)


def _missing(values: pd.Series) -> np.ndarray:
    """(N,) whether nothing stands there; files that are joined may have turned it into text."""
    return (values.isna() | values.astype(str).str.strip().str.lower().isin(["", "nan", "none"])).to_numpy()


def parse_number(value: object) -> float | None:
    """A finite dose or time of 0 or more, or None. Through its text, so that float32 0.1 and "0.1" are the same."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return abs(number) if math.isfinite(number) and number >= 0 else None
