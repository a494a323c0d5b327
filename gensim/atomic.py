"""Files and folders that appear whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from gensim.errors import StoreError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write a file or folder to; renamed to `path` on success, removed on failure.

    The temporary name keeps the suffix, so that writers which look at it are content.

    Raises:
        StoreError: the folder cannot be created or written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:  # the latter stands for the former where safetensors writes
        raise StoreError(f"cannot write {str(path)!r}: {reason_of(error)}; check space and permissions") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        elif temporary.exists():
            temporary.unlink()


def require_space(path: Path, n_bytes: int) -> None:
    """Refuse to begin a file that the disk cannot hold, for writers that crash on a full disk instead of raising.

    Args:
        path: the file; its folder need not exist yet.
        n_bytes: that it will have, about.

    Raises:
        StoreError: less is free.
    """
    folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise StoreError(
            f"cannot write {str(path)!r}: it needs {n_bytes / 1e6:,.1f} MB and {free / 1e6:,.1f} MB are free; "
            "free space, or choose another folder"
        )


def reason_of(error: Exception) -> str:
    """What the system says of a failed write, on one line: HDF5 adds several of its own."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
