"""Randomness as an argument: generators derived by digest from a seed and the name of what they decide.

Nothing here depends on rank, batch size, chunk size or Python's `hash`, and no global generator is touched,
so the same name gives the same draws in any process and in any order.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def digest(*parts: object) -> str:
    """Hexadecimal BLAKE2b digest (32 characters) of JSON-serialisable `parts`; the same on every machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def derive(seed: int, *parts: object) -> int:
    """A 63-bit seed for the stream that `parts` name, for instance ``derive(seed, "source", key, block)``."""
    return int(digest(seed, *parts), 16) & (2**63 - 1)


def numpy_generator(seed: int, *parts: object) -> np.random.Generator:
    """NumPy generator of the stream that `parts` name."""
    return np.random.default_rng(derive(seed, *parts))


def torch_generator(seed: int, *parts: object) -> torch.Generator:
    """CPU generator of the stream that `parts` name. Draw on the CPU, then move: devices draw differently."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *parts))
