"""What a user asks for: conditions, and how many cells of each."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gensim.config import DataConfig
from gensim.data.conditions import names_in, one_each, parse_dose, parse_number
from gensim.errors import DataError, listing, nearest
from gensim.types import Condition, IntArray

PERTURBATION, N_CELLS, DOSE, TIME = "perturbation", "n_cells", "dose", "time"
NOVELTY, NOVELTY_DISTANCE = "novelty", "novelty_distance"
WRITTEN_COLUMNS = ("condition", "source_cell", "library_size", NOVELTY, NOVELTY_DISTANCE, PERTURBATION, DOSE, TIME)
"""Columns of obs that simulated cells have; columns that a request carries along need other names."""
HEADER_LINES = 1


@dataclass(frozen=True, eq=False)
class Request:
    """Cells to simulate.

    Args:
        conditions: K conditions; one that is asked for twice gets different cells each time.
        n_cells: (K,) int64, at least 1 each.
        extra: K rows of columns that are copied to the simulated cells of each condition; may have no column.

    Raises:
        DataError: no condition, other numbers of rows, or n_cells below 1.
    """

    conditions: tuple[Condition, ...]
    n_cells: IntArray
    extra: pd.DataFrame

    def __post_init__(self) -> None:
        if not self.conditions:
            raise DataError("the request has no condition; ask for at least one")
        if not len(self.conditions) == len(self.n_cells) == len(self.extra):
            lengths = (len(self.conditions), len(self.n_cells), len(self.extra))
            raise DataError(f"the request has {lengths} rows of conditions, n_cells and extra; they must agree")
        if (self.n_cells < 1).any():
            label = self.conditions[int(np.argmax(self.n_cells < 1))].label
            raise DataError(f"the request asks for {int(self.n_cells.min())} cells of {label!r}; ask for 1 or more")


def request_of(conditions: Iterable[Condition], n_cells: int | Sequence[int] | IntArray) -> Request:
    """A request from code: `n_cells` of each condition, one number for all or one each."""
    listed = tuple(conditions)
    numbers = np.asarray(n_cells, dtype=np.int64)
    if numbers.ndim == 0:
        numbers = np.full(len(listed), numbers, dtype=np.int64)
    return Request(listed, numbers, pd.DataFrame(index=pd.RangeIndex(len(listed))))


def read_request(
    source: str | Path | pd.DataFrame, config: DataConfig, known_contexts: Mapping[str, AbstractSet[str]]
) -> Request:
    """A request from a csv (UTF-8, commas) or a table.

    Columns: `perturbation` (joined by the run's separator; the control label asks for control cells), the run's
    context columns, `dose` where the run has doses (empty for controls; one for all members of a combination, or one
    for each, joined as they are), `time` where it has times (may be empty for controls), and `n_cells`. Every other
    column is carried along in `extra`, from a csv as the text that stands there.

    Args:
        known_contexts: for each context column the values that the run knows.

    Raises:
        DataError: no such file, not a table, no row, a missing or a clashing column, or a value that cannot be used;
            rows are numbered as a spreadsheet does, the header being row 1.
    """
    if isinstance(source, pd.DataFrame):
        table = source.reset_index(drop=True)
        table.columns = pd.Index([str(column) for column in table.columns])
        where, rows = "request", list(range(HEADER_LINES + 1, HEADER_LINES + 1 + len(table)))
    else:
        where = f"request {str(source)!r}"
        table, rows = _read_csv(Path(source), where)
    numbers = _numbers_needed(config)
    needed = [PERTURBATION, *config.context_columns, *numbers, N_CELLS]
    _check_columns(table, needed, config, where)
    if len(table) == 0:
        raise DataError(f"{where} has a header but no row; ask for at least one condition")
    conditions, n_cells = [], []
    # Column by column, because a row of a DataFrame would turn float32 doses into float64.
    values = [table[column].to_numpy() for column in needed]
    for fields, row in zip(zip(*values, strict=True), rows, strict=True):
        record = dict(zip(needed, fields, strict=True))
        place = f"{where}, row {row}"
        conditions.append(_condition(record, config, known_contexts, place))
        n_cells.append(_count(record[N_CELLS], place))
    extra = table.drop(columns=needed)
    return Request(tuple(conditions), np.array(n_cells, dtype=np.int64), extra)


def _read_csv(path: Path, where: str) -> tuple[pd.DataFrame, list[int]]:
    """Fields as text, and the line of the file that each row ends on."""
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(
            f"{where} is not a file{nearest(path.name, siblings)}; a csv with one row per condition is needed"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [field.strip() for field in fields]) for fields in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is not a csv in UTF-8 ({error}); save it as comma-separated text") from error
    filled = [(line, fields) for line, fields in lines if any(fields)]
    if not filled:
        raise DataError(f"{where} is empty; a header line and one row per condition are needed")
    header = filled[0][1]
    for line, fields in filled[1:]:
        if len(fields) != len(header):
            raise DataError(
                f"{where}, row {line} has {len(fields)} fields and the header {len(header)}; mend the commas"
            )
    table = pd.DataFrame([fields for _, fields in filled[1:]], columns=header, dtype=object)
    return table, [line for line, _ in filled[1:]]


def _check_columns(table: pd.DataFrame, needed: list[str], config: DataConfig, where: str) -> None:
    columns = list(table.columns)
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise DataError(f"{where} has two columns named {repeated[0]!r}; name each one once")
    for column in needed:
        if column not in columns:
            others = [name for name in columns if name not in needed]
            separator = next((s for s in ";\t" if len(columns) == 1 and s in columns[0]), None)
            hint = (
                nearest(column, others) if separator is None else f"; it is separated by {separator!r}, not by commas"
            )
            raise DataError(
                f"{where} has no column {column!r}{hint}; "
                f"needed are {listing(needed)}, there are {listing(columns) or 'none'}"
            )
    own = (config.perturbation_column, config.batch_column, config.dose_column, config.time_column)
    reserved = {*WRITTEN_COLUMNS, *(column for column in own if column)} - set(needed)
    clashing = sorted(reserved & set(columns))
    if clashing:
        lacks = clashing[0] in (DOSE, TIME) and clashing[0] not in _numbers_needed(config)
        why = f"the run has no {clashing[0]}s" if lacks else "simulated cells get their own"
        raise DataError(f"{where} has a column {clashing[0]!r}, but {why}; rename or remove it")
    if "" in columns:
        raise DataError(f"{where} has a column without a name; name it or remove it")


def _condition(
    record: Mapping[str, object], config: DataConfig, known_contexts: Mapping[str, AbstractSet[str]], place: str
) -> Condition:
    label = _text(record[PERTURBATION])
    if not label:
        raise DataError(f"{place}: the perturbation is empty; for control cells write {config.control_label!r}")
    spelling = config.control_label, config.combination_separator
    try:
        names = names_in(label, *spelling)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    context = []
    for column in config.context_columns:
        value = _text(record[column])
        known = known_contexts[column]
        if value not in known:
            raise DataError(
                f"{place}: {column} {value!r} is not a context of the run{nearest(value, known)}; "
                f"it knows {listing(sorted(known))}"
            )
        context.append((column, value))
    measured: dict[str, Any] = {}
    for kind in _numbers_needed(config):
        # Without a perturbation there is no dose, and a time may be left out.
        if names or (kind == TIME and _text(record[TIME])):
            of_kind = record[kind]
            measured[kind] = parse_dose(of_kind, label, *spelling) if kind == DOSE else parse_number(of_kind)
            if measured[kind] is None:
                raise DataError(
                    f"{place}: {kind} {_text(of_kind)!r} of {label!r} is not a finite number, 0 or more"
                    f"{one_each(label, *spelling) if kind == DOSE else ''}"
                )
    return Condition(tuple(names), tuple(context), **measured)


def _numbers_needed(config: DataConfig) -> list[str]:
    """Columns that tell how much of a perturbation, and how long after it."""
    return [kind for kind, column in ((DOSE, config.dose_column), (TIME, config.time_column)) if column]


def _count(value: object, place: str) -> int:
    text = _text(value)
    number = parse_number(text)
    if number is None or not number.is_integer() or number < 1:
        raise DataError(f"{place}: n_cells {text!r} is not a positive whole number")
    return int(number)


def _text(value: object) -> str:
    missing = value is None or value is pd.NA or value is pd.NaT or value != value
    return "" if missing else str(value).strip()
