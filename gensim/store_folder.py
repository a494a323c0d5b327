"""What may lie where a store is to be written: what is refused, resumed, discarded or replaced."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gensim.errors import StoreError
from gensim.store_schema import StoreSchema

OURS = ("cells", "marks", "replaced", "request.json")
"""All that a folder of an unfinished store holds, besides the temporary file of its request."""

READABLE_PARTS = ("n_cells", "chunk_cells", "scale", "integers", "n_genes")
"""Parts of a request whose values say something to people; the others are digests."""


def partial_path(path: Path) -> Path:
    """Where the store is while it is not finished: beside its target, so that a rename can move it."""
    return path.with_name(path.name + ".partial")


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse a target that exists, unless it is an AnnData Zarr store that is to be replaced.

    Raises:
        StoreError: something is at `path` that must stay.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise StoreError(f"{str(path)!r} exists; choose another path, or use --overwrite to replace it")
    if not _is_anndata(path):
        raise StoreError(f"{str(path)!r} exists and is no AnnData Zarr store; it is not overwritten, move it away")


def keep_or_discard(partial: Path, schema: StoreSchema, overwrite: bool) -> None:
    """Leave an unfinished store of the same request; remove one that was not begun, or is to be overwritten.

    Raises:
        StoreError: it is of another request, or no unfinished store at all.
    """
    if not partial.is_dir() or not all(name in OURS or name.endswith(".tmp.json") for name in os.listdir(partial)):
        raise StoreError(f"{str(partial)!r} is needed for the unfinished store and is something else; move it away")
    request = read_request(partial)
    if request is not None and request.get("digest") == schema.digest:
        return
    if request is not None and not overwrite:
        raise StoreError(f"{another_request(partial, request, schema)}; remove it, or use --overwrite to discard it")
    shutil.rmtree(partial)


def read_request(partial: Path) -> dict[str, Any] | None:
    """What the unfinished store answers; None where nothing was laid out, empty where it cannot be read."""
    file = partial / "request.json"
    return _read_mapping(file) if file.is_file() else None


def another_request(partial: Path, request: dict[str, Any], schema: StoreSchema) -> str:
    """In words, how the request of an unfinished store differs from `schema`."""
    asked = schema.parts
    name = next((name for name in asked if request.get(name) != asked[name]), "request")
    values = f" ({request.get(name)!r} there, {asked[name]!r} here)" if name in READABLE_PARTS else ""
    return f"{str(partial)!r} is an unfinished store of another request, which first differs in {name}{values}"


def flush(file: Path) -> None:
    """Have the disk take a file that was written; nothing to do where there is none."""
    if file.exists():
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def disk(place: Path) -> Iterator[None]:
    """Turn an error of the file system into one that says where it happened and what to do.

    Raises:
        StoreError: from any OSError inside.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free space and run again, finished chunks are kept" if full else "check that the folder is writable"
        raise StoreError(f"cannot write {str(place)!r}: {error.strerror or error}; {advice}") from error


def _is_anndata(path: Path) -> bool:
    """Whether a folder declares itself as AnnData, in Zarr format 3 or 2."""
    attributes = _read_mapping(path / "zarr.json").get("attributes") or _read_mapping(path / ".zattrs")
    return isinstance(attributes, dict) and attributes.get("encoding-type") == "anndata"


def _read_mapping(file: Path) -> dict[str, Any]:
    """The JSON mapping in `file`; an empty one where there is no file, or something else in it."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
