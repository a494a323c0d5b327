"""Checkpoints: safetensors and JSON, written whole or not at all, enough to go on as if nothing had happened."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from gensim.atomic import atomic_path
from gensim.errors import CheckpointError
from gensim.training.ema import ExponentialMovingAverage


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands; all randomness follows from the step, so no generator needs saving.

    Args:
        step: optimiser steps done.
        best_step, best_distance: of the best validation so far.
        validations_since_best: for early stopping.
        seconds: spent in training, over all sessions.
        untrained: energy distances of the first validation, one per task.
    """

    step: int = 0
    best_step: int = -1
    best_distance: float = float("inf")
    validations_since_best: int = 0
    seconds: float = 0.0
    untrained: tuple[float, ...] = ()

    def judged(self, distances: Sequence[float], surely: bool) -> "Progress":
        """The progress after a validation: a lower mean energy distance is a gain.

        Args:
            distances: one per task.
            surely: only what is better than the untrained network by more than the standard error of that difference
                over tasks is a gain.
        """
        if not self.untrained:
            return replace(
                self, untrained=tuple(distances), best_step=self.step, best_distance=float(np.mean(distances))
            )
        distance, gains = float(np.mean(distances)), np.subtract(self.untrained, distances)
        margin = gains.std(ddof=1) / math.sqrt(len(gains)) if surely and len(gains) > 1 else -math.inf
        if distance < self.best_distance and gains.mean() > margin:
            return replace(self, best_step=self.step, best_distance=distance, validations_since_best=0)
        return replace(self, validations_since_best=self.validations_since_best + 1)


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    average: ExponentialMovingAverage[Any],
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write ``folder/step-…`` and remove the older ones."""
    target = folder / f"step-{progress.step:09d}"
    with atomic_path(target) as temporary:
        temporary.mkdir()
        save_weights(temporary / "model.safetensors", model)
        save_weights(temporary / "average.safetensors", average.module)
        save_file(_optimiser_tensors(model, optimiser), temporary / "optimiser.safetensors")
        (temporary / "progress.json").write_text(json.dumps(asdict(progress)))
    for older in folder.glob("step-*"):
        if older != target:
            shutil.rmtree(older)


def load_checkpoint(
    folder: Path, model: nn.Module, average: ExponentialMovingAverage[Any], optimiser: torch.optim.Optimizer
) -> Progress:
    """Restore the newest checkpoint in place; a fresh `Progress` where there is none."""
    newest = max(folder.glob("step-*"), default=None)
    if newest is None:
        return Progress()
    load_weights(newest / "model.safetensors", model)
    load_weights(newest / "average.safetensors", average.module)
    saved = load_file(newest / "optimiser.safetensors")
    for name, parameter in model.named_parameters():
        state = {key.split("/", 1)[0]: value for key, value in saved.items() if key.split("/", 1)[1] == name}
        optimiser.state[parameter] = {
            key: value if key == "step" else value.to(parameter.device) for key, value in state.items()
        }
    words = json.loads((newest / "progress.json").read_text())
    return Progress(**{**words, "untrained": tuple(words["untrained"])})


def save_weights(path: Path, module: nn.Module, metadata: dict[str, str] | None = None) -> None:
    """Write the weights of `module`, whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, temporary, metadata)


def load_weights(path: Path, module: nn.Module) -> None:
    """Fill `module` from a file.

    Raises:
        CheckpointError: the file is missing or damaged, or holds weights of another shape.
    """
    try:
        module.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"weights {str(path)!r} are missing; train the run to its first validation") from error
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"weights {str(path)!r} do not fit this model: {error}") from error


def _optimiser_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{key}/{name}": value.contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state[parameter].items()
    }
