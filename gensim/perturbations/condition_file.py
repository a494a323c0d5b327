"""Arrays with a row per condition, as safetensors files that know their conditions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from gensim.arrays_file import save_arrays
from gensim.types import Condition


def save_by_condition(path: Path, conditions: Sequence[Condition], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays whose rows belong to the conditions."""
    keys = json.dumps([condition.key for condition in conditions])
    save_arrays(path, arrays, {"conditions": keys})


def load_by_condition(path: Path) -> tuple[tuple[Condition, ...], dict[str, NDArray[Any]]]:
    """The conditions and the arrays of a file that `save_by_condition` wrote."""
    with safe_open(path, framework="numpy") as file:
        keys = json.loads(file.metadata()["conditions"])
    return tuple(Condition.from_key(key) for key in keys), load_file(path)
