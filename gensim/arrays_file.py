"""Arrays with words about them in one safetensors file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], words: Mapping[str, str]) -> None:
    """Write arrays, in whatever order their values lie in memory, and words.

    safetensors 0.8.0 writes the memory of an array as if it were C-contiguous: of a transposed one the values came
    back in other places, without an error.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, path, metadata=dict(words))
