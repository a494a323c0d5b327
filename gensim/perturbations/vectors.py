"""Tables of perturbation vectors: reading, checking, and the names they know."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from gensim.errors import DataError, listing, nearest
from gensim.types import FloatArray

ONE_HOT = "the perturbations seen in training (one_hot)"


@dataclass(frozen=True, slots=True)
class VectorTable:
    """One vector per perturbation name.

    Args:
        names: V unique names.
        vectors: (V, F) float32, finite.
        source: where they come from, for messages and provenance.
        widths: columns of each table, where several are joined; a row of zeros in one of them: it does not know the
            name.
    """

    names: tuple[str, ...]
    vectors: FloatArray
    source: str
    widths: tuple[int, ...] = ()
    _row: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_row", {name: i for i, name in enumerate(self.names)})
        empty = 0 in self.vectors.shape and self.source != ONE_HOT
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.names) or empty:
            raise DataError(
                f"vectors of {self.source} have shape {self.vectors.shape} for {len(self.names)} names; "
                "one row per name and at least one column are needed"
            )
        repeated = pd.Index(self.names)[pd.Index(self.names).duplicated()]
        if len(repeated):
            raise DataError(
                f"vectors of {self.source} name {listing(repeated.unique())} more than once; keep one row each"
            )
        gaps = np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))
        bad = [self.names[i] for i in gaps]
        if bad:
            raise DataError(f"vectors of {self.source} are not finite for {listing(bad)}; drop or fill these rows")

    @property
    def parts(self) -> list[slice]:
        """Columns of each table that was joined."""
        ends = np.cumsum(self.widths or (self.vectors.shape[1],)).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def of(self, names: Sequence[str]) -> FloatArray:
        """(n, F) vectors of names that the table has."""
        vectors: FloatArray = self.vectors[[self._row[name] for name in names]]
        return vectors

    def has(self, name: str) -> bool:
        return name in self._row

    @property
    def is_one_hot(self) -> bool:
        """Whether there are no vectors but of the perturbations seen in training, none like another."""
        return self.source == ONE_HOT

    def require(self, perturbations: Iterable[str]) -> None:
        """Refuse perturbations without a vector.

        Raises:
            DataError: lists up to ten missing names.
        """
        known = set(self.names)
        missing = sorted(set(perturbations) - known)
        if missing:
            hint = nearest(missing[0], known) if len(missing) == 1 else ""
            remedy = (
                "one_hot knows no others: train with perturbation.vectors.kind=table and vectors for all of them, or "
                "leave them out (of the request; when training, hold out cells, combinations or contexts instead)"
                if self.is_one_hot
                else "add rows for them (`gensim embed table --aliases` knows those of other names), or leave them out"
            )
            raise DataError(
                f"{len(missing)} perturbations have no vector in {self.source}: {listing(missing)}{hint}; {remedy}"
            )


def read_vector_table(path: str | Path) -> VectorTable:
    """Read vectors from `.parquet` or `.csv` (names in the index or first column, one numeric column per feature), or
    `.npz` with arrays `names` (text) and `vectors` (V, F); object arrays are refused, nothing is unpickled.

    Raises:
        DataError: no such file, another format, a column that is not numeric, repeated names, values not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"vectors {str(path)!r}: no such file; check the path (in a config perturbation.vectors.path)")
    source = str(path)
    try:
        match path.suffix:
            case ".parquet":
                return _from_frame(pd.read_parquet(path), source)
            case ".csv":
                as_it_stands = {0: str}  # a gene may be called NA, or 007
                return _from_frame(pd.read_csv(path, converters=as_it_stands), source)
            case ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    names = _names(pd.Index(arrays["names"]), source)
                    return VectorTable(names, np.asarray(arrays["vectors"], dtype=np.float32), source)
    except (ValueError, KeyError, OSError) as error:
        if isinstance(error, DataError):
            raise
        why = " ".join(str(error).split())
        raise DataError(f"vectors {source!r} cannot be read as {path.suffix}: {why}") from error
    raise DataError(f"vectors {source!r} end in {path.suffix!r}; .parquet, .csv or .npz is needed")


def _from_frame(frame: pd.DataFrame, source: str) -> VectorTable:
    if isinstance(frame.index, pd.MultiIndex):
        raise DataError(f"vectors of {source} have names of {frame.index.nlevels} parts; keep one column of names")
    if isinstance(frame.index, pd.RangeIndex) and len(frame.columns):
        frame = frame.set_index(frame.columns[0])
    text = [str(name) for name, kind in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if text:
        raise DataError(
            f"vectors of {source} have columns that are not numeric: {listing(text)}; keep names in the first"
        )
    return VectorTable(_names(frame.index, source), frame.to_numpy(np.float32), source)


def _names(of_rows: pd.Index, source: str) -> tuple[str, ...]:
    """As text, without spaces around them."""
    names = tuple("" if gap else str(name).strip() for name, gap in zip(of_rows, of_rows.isna(), strict=True))
    if "" in names:
        raise DataError(f"vectors of {source} have no name in data row {names.index('') + 1}; name it or drop it")
    return names


def join_tables(tables: Sequence[VectorTable]) -> VectorTable:
    """One table of all names that any of them has, with the columns of all.

    The rows of each are centred and scaled to a mean squared length of 1; names that a table lacks lie at its centre.
    """
    if len(tables) == 1:
        return tables[0]
    names = tuple(sorted({name for table in tables for name in table.names}))
    row = {name: i for i, name in enumerate(names)}
    columns = []
    for table in tables:
        centred = table.vectors - table.vectors.mean(axis=0, dtype=np.float64)
        length = np.sqrt(np.square(centred).sum(axis=1).mean())
        placed = np.zeros((len(names), table.vectors.shape[1]), dtype=np.float32)
        placed[[row[name] for name in table.names]] = centred / (length if length > 0 else 1)
        columns.append(placed)
    source = ", ".join(table.source for table in tables)
    return VectorTable(names, np.concatenate(columns, axis=1), source, tuple(c.shape[1] for c in columns))


def one_hot_table(perturbations: Iterable[str]) -> VectorTable:
    """The identity: a vector for each training perturbation, and none for any other; no row where there is none."""
    names = tuple(sorted(set(perturbations)))
    return VectorTable(names, np.eye(len(names), max(1, len(names)), dtype=np.float32), ONE_HOT)
