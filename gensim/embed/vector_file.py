"""Tables of perturbation vectors as parquet files that say what made them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gensim.atomic import atomic_path
from gensim.errors import DataError, StoreError
from gensim.perturbations.vectors import VectorTable
from gensim.provenance import software

METADATA = b"gensim"


def write_vectors(table: VectorTable, path: Path, made_from: Mapping[str, Any], overwrite: bool) -> None:
    """Write a table with pandas' index of names; what it was made from goes into the file's metadata as JSON.

    Raises:
        StoreError: the file is there and is not to be replaced, or its name is not one of parquet.
    """
    refuse_output(path, overwrite)
    features = [f"v{i + 1}" for i in range(table.vectors.shape[1])]
    frame = pd.DataFrame(table.vectors, index=pd.Index(table.names, name="perturbation"), columns=features)
    arrow = pa.Table.from_pandas(frame)
    words = json.dumps({**software(), **made_from})
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), METADATA: words.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary)


def refuse_output(path: Path, overwrite: bool) -> None:
    """Refuse a file that could not be written in the end, before anything is computed.

    Raises:
        StoreError: see `write_vectors`.
    """
    if path.suffix != ".parquet":
        raise StoreError(f"vectors are written as .parquet; got --out {str(path)!r}")
    if path.exists() and not overwrite:
        raise StoreError(f"{str(path)!r} exists; use --overwrite, or another --out")


def made_from(path: str | Path) -> dict[str, Any]:
    """What `write_vectors` wrote of a table.

    Raises:
        DataError: the file says nothing.
    """
    metadata = pq.read_schema(path).metadata or {}
    if METADATA not in metadata:
        raise DataError(f"{str(path)!r} does not say what it was made from; `gensim embed` did not write it")
    words: dict[str, Any] = json.loads(metadata[METADATA])
    return words


def file_digest(path: str | Path) -> str:
    """Hexadecimal BLAKE2b digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
