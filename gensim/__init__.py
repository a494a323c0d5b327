"""Simulator for perturbed single cells. `Simulator` loads a trained run; `train` makes one."""

from typing import Any

__all__ = ["Simulator", "load_config", "train"]

_HOMES = {"Simulator": "gensim.simulator", "load_config": "gensim.config", "train": "gensim.jobs"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: torch and scanpy take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gensim' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
