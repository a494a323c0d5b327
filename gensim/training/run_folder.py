"""The folder of a run: what lies where, which version wrote it, and whether it may be resumed."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load_file, save_file

from gensim.atomic import atomic_path, write_json
from gensim.config import Config, parse_config
from gensim.errors import CheckpointError, StoreError
from gensim.types import Condition, IntArray

FORMAT_VERSION = 1

IN_GENES = "mean_effects_genes.safetensors"
"""Plain mean effects over genes: the training-mean baseline."""
OUTSIDE_LATENTS = "mean_effects_outside_latents.safetensors"
"""Mean effects on what the latents do not hold, shrunk."""


@dataclass(frozen=True, slots=True)
class CellIndex:
    """What training needs to know of the screen's cells besides their latents.

    Args:
        role: (N,) see `gensim.data.splits.Role`.
        condition_of: (N,) row of `conditions`.
        batch_of: (N,) row of `batches`.
        conditions: K conditions of the screen, controls included.
        batches: names of the experimental batches.
    """

    role: IntArray
    condition_of: IntArray
    batch_of: IntArray
    conditions: tuple[Condition, ...]
    batches: tuple[str, ...]

    @property
    def control_of(self) -> IntArray:
        """(K,) for every condition the control condition of its context."""
        row = {condition: k for k, condition in enumerate(self.conditions)}
        return np.array([row.get(condition.control, -1) for condition in self.conditions], dtype=np.int64)

    @property
    def controls(self) -> list[int]:
        return [k for k, condition in enumerate(self.conditions) if condition.is_control]

    def save(self, path: Path) -> None:
        words = {
            "conditions": json.dumps([condition.key for condition in self.conditions]),
            "batches": json.dumps(self.batches),
        }
        arrays = {"role": self.role, "condition_of": self.condition_of, "batch_of": self.batch_of}
        save_file(arrays, path, metadata=words)

    @classmethod
    def load(cls, path: Path) -> "CellIndex":
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            words = file.metadata()
        conditions = tuple(Condition.from_key(key) for key in json.loads(words["conditions"]))
        return cls(**load_file(path), conditions=conditions, batches=tuple(json.loads(words["batches"])))


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside a run. `prepared/` appears whole once all that is fitted before training has been written."""

    path: Path

    @property
    def prepared(self) -> Path:
        return self.path / "prepared"

    @property
    def held_out(self) -> Path:
        return self.path / "held_out.h5ad"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def summary(self) -> Path:
        return self.path / "trained.json"

    @property
    def is_trained(self) -> bool:
        return self.summary.is_file()

    def begin(self, config: Config, overwrite: bool) -> None:
        """Make room for a run of `config`, or find the unfinished one that it continues.

        Raises:
            StoreError: the folder holds something else, a finished run, or a run of another config.
        """
        if overwrite and (self.path / "config.yaml").is_file():
            shutil.rmtree(self.path)
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        if not (self.path / "config.yaml").is_file():
            raise StoreError(f"folder {str(self.path)!r} exists and is not a run; set run= to another folder")
        if self.is_trained:
            raise StoreError(
                f"run {str(self.path)!r} is trained already; use --overwrite, or set run= to another folder"
            )
        if self.config() != config:
            raise StoreError(
                f"run {str(self.path)!r} was begun with another config: {self._difference(config)}; "
                "use --overwrite, or set run= to another folder"
            )

    def write_config(self, config: Config) -> None:
        with atomic_path(self.path / "config.yaml") as temporary:
            temporary.write_text(config.to_yaml())

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        write_json(self.path / "provenance.json", {"format_version": FORMAT_VERSION, **provenance})

    def provenance(self) -> dict[str, Any]:
        """What made the run.

        Raises:
            CheckpointError: not a run, or written in another format.
        """
        file = self.path / "provenance.json"
        if not file.is_file():
            raise CheckpointError(f"{str(self.path)!r} is not a run folder (no {file.name}); train one, or check --run")
        provenance: dict[str, Any] = json.loads(file.read_text())
        found = provenance.get("format_version")
        if found != FORMAT_VERSION:
            raise CheckpointError(
                f"run {str(self.path)!r} has format {found}, written by gensim {provenance.get('gensim')}; "
                f"this version reads format {FORMAT_VERSION}: train it again, or install that version"
            )
        return provenance

    def config(self) -> Config:
        file = self.path / "config.yaml"
        if not file.is_file():
            raise CheckpointError(f"{str(self.path)!r} is not a run folder (no {file.name}); train one, or check --run")
        return parse_config(yaml.safe_load(file.read_text()), str(file))

    def forget_history_after(self, step: int) -> None:
        """Drop lines of the history that a resumed run will write again."""
        if self.history.is_file():
            kept = [line for line in self.history.read_text().splitlines() if json.loads(line)["step"] <= step]
            with atomic_path(self.history) as temporary:
                temporary.write_text("".join(line + "\n" for line in (kept if step > 0 else [])))

    def _difference(self, config: Config) -> str:
        before, now = self.config().model_dump(mode="json"), config.model_dump(mode="json")
        return ", ".join(f"{name} differs" for name in now if before[name] != now[name])
