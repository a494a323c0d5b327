"""Tables of prior knowledge, as they come: csv, tsv or parquet, packed or not."""

import csv
import warnings
import zlib
from pathlib import Path

import pandas as pd

from gensim.embed.aliases import without_version
from gensim.errors import DataError, listing, nearest

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


def read_prior(path: str | Path) -> pd.DataFrame:
    """Read `.csv`, `.tsv`, `.txt` (tab) or `.parquet`, text files also packed as `.gz`; of text files all is text.

    Raises:
        DataError: no such file, another format, or it cannot be parsed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{str(path)!r}: no such file")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    try:
        if suffix == ".parquet":
            return pd.read_parquet(path)
        if suffix in SEPARATORS:
            return _read_text(path, SEPARATORS[suffix])
    except (ValueError, OSError, EOFError, zlib.error, pd.errors.ParserWarning) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error
    raise DataError(f"{str(path)!r} ends in {suffix!r}; .csv, .tsv, .txt (also .gz) or .parquet is needed")


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """All as text: "NA" is a name of genes, and so are 007 and 7, which are not the same."""
    with warnings.catch_warnings():
        # Rows of more fields than the header.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            na_values=[""],
            index_col=False,
            quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
        )
    return frame.rename(columns=str.strip)


def column(frame: pd.DataFrame, name: str, source: object) -> pd.Series:
    """A column by name.

    Raises:
        DataError: there is none.
    """
    if name not in frame:
        names = [str(c) for c in frame]
        raise DataError(f"{str(source)!r} has no column {name!r}{nearest(name, names)}; it has {listing(names)}")
    return frame[name]


def two_columns(frame: pd.DataFrame, names: tuple[str, str] | None, source: object) -> tuple[pd.Series, pd.Series]:
    """Two columns of text: the named ones, else the first two. Ensembl ids lose their versions.

    Raises:
        DataError: there are no such columns, or they have gaps.
    """
    if names is None:
        if frame.shape[1] < 2:
            raise DataError(f"{str(source)!r} has {frame.shape[1]} columns; two columns of names are needed")
        names = (str(frame.columns[0]), str(frame.columns[1]))
    first, second = (column(frame, name, source) for name in names)
    for name, values in zip(names, (first, second), strict=True):
        gaps = int(values.isna().sum())
        if gaps:
            raise DataError(f"column {name!r} of {str(source)!r} has {gaps} gaps; drop these rows")
    first, second = (values.astype(str).str.strip().map(without_version) for values in (first, second))
    return first, second
