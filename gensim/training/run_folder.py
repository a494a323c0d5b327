"""The folder of a run: what lies where, which version wrote it, and whether it may be resumed."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.numpy import load_file

from gensim.arrays_file import save_arrays
from gensim.atomic import atomic_path, write_json
from gensim.config import Config, parse_config
from gensim.errors import CheckpointError, StoreError
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.gate import Gate
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness
from gensim.perturbations.penetrance import Penetrance
from gensim.perturbations.time_points import TimePoints
from gensim.store_folder import disk
from gensim.training.stage_folder import StageFolder
from gensim.types import Condition, FloatArray, IntArray

FORMAT_VERSION = 11

CONFIG, PROVENANCE = "config.yaml", "provenance.json"
OURS = (
    CONFIG, PROVENANCE, "split.json", "split_cells.parquet", "held_out.h5ad", "prepared", "checkpoints",
    "best.safetensors", "gate.json", "gene_effects.safetensors", "history.jsonl", "reflow", "trained.json",
    "tensorboard",
)  # fmt: skip
"""All that a run folder holds, besides temporary files of a run that was killed."""

IN_GENES = "mean_effects_genes.safetensors"
"""Plain mean effects over genes: the training-mean baseline."""
GAUSSIAN_MAPS = "gaussian_maps.safetensors"
"""Maps between Gaussians in the metric space: the Gaussian-map baseline."""
IN_LATENTS = "mean_effects_in_latents.safetensors"
"""Mean effects on the latents, shrunk, that simulations start from."""
REGRESSIONS = "regressions.json"
"""What tells from vectors what a perturbation does that was not measured, or not in this context: in the latents, and
(other contexts) on genes; chosen on all cells that are not held out."""
IN_SIMULATION = "penetrance_in_simulation.safetensors"
"""Penetrances that cells are simulated with: those of training, and of conditions that were held back whole."""
OUTSIDE_LATENTS = "mean_effects_outside_latents.safetensors"
"""Mean effects on what the latents do not hold, shrunk; of decoders of logarithms."""
ON_SHARES = "mean_effects_on_shares.safetensors"
"""Effects on the logarithms of the shares of all counts that genes have, shrunk; of decoders of counts."""
ON_THETA = "mean_effects_on_theta.safetensors"
"""Effects on the logarithm of the inverse dispersion of counts."""
ON_LIBRARY_SIZE = "mean_effects_on_library_size.safetensors"
"""Mean effects on the logarithm of the library size, shrunk."""
GENE_BY_GENE = "gene_by_gene.json"
"""Share of the way to effects that are shrunk gene by gene, and how it was learned."""
JUDGING = "judging"
"""Folder of effects on genes that training cells alone tell of, where validation has whole conditions."""
HELD_BACK = "held_back.safetensors"
"""In it, plain mean effects over genes of those conditions against validation controls."""
HELD_BACK_CONTROLS = "held_back_controls.safetensors"
"""In it, means of those controls over genes, and the variances of these."""
OBSERVED_SHARES = "observed_shares.safetensors"
"""What was counted of every gene in every condition that is not held out."""


@dataclass(frozen=True, slots=True)
class CellIndex:
    """What training needs to know of the screen's cells besides their latents.

    Args:
        role: (N,) see `gensim.data.splits.Role`.
        condition_of: (N,) row of `conditions`.
        batch_of: (N,) row of `batches`.
        library_size: (N,) float32 counts over all genes of the screen.
        response: (N,) float32 how much of the mean effect a training cell seems to have got: 0 where it escaped, 1 on
            average; 1 for other cells.
        conditions: K conditions of the screen, controls included.
        batches: names of the experimental batches.
    """

    role: IntArray
    condition_of: IntArray
    batch_of: IntArray
    library_size: FloatArray
    response: FloatArray
    conditions: tuple[Condition, ...]
    batches: tuple[str, ...]

    def source_of(self, times: TimePoints) -> IntArray:
        """(K,) for every condition the one that its cells come from, see `TimePoints.source`; -1 where it is not in
        the screen."""
        row = {condition: k for k, condition in enumerate(self.conditions)}
        return np.array([row.get(times.source(condition), -1) for condition in self.conditions], dtype=np.int64)

    @property
    def controls(self) -> list[int]:
        return [k for k, condition in enumerate(self.conditions) if condition.is_control]

    def save(self, path: Path) -> None:
        words = {
            "conditions": json.dumps([condition.key for condition in self.conditions]),
            "batches": json.dumps(self.batches),
        }
        arrays: dict[str, NDArray[Any]] = {
            "role": self.role,
            "condition_of": self.condition_of,
            "batch_of": self.batch_of,
        }
        arrays |= {"library_size": self.library_size, "response": self.response}
        save_arrays(path, arrays, words)

    @classmethod
    def load(cls, path: Path) -> "CellIndex":
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            words = file.metadata()
        conditions = tuple(Condition.from_key(key) for key in json.loads(words["conditions"]))
        return cls(**load_file(path), conditions=conditions, batches=tuple(json.loads(words["batches"])))


@dataclass(frozen=True, slots=True)
class EffectsOnGenes:
    """Effects on genes, and what tells of those of conditions that were not measured.

    Args:
        folder: where they lie.
    """

    folder: Path

    def around_latents(self, name: str, codebook: Codebook) -> MeanEffects:
        """Those of `OUTSIDE_LATENTS` or `ON_SHARES`, with what tells of other conditions: contexts by a regression that
        was chosen on them, all else as in the latents."""
        effects = MeanEffects.load(self.folder / name)
        told, variance = self.told("genes", codebook), effects.variances
        contexts, between = (p and replace(p, variance=variance) for p in (told.contexts, told.between))
        return effects.informed(replace(codebook.likeness, contexts=contexts, between=between))

    def on_expression(self, codebook: Codebook) -> MeanEffects:
        """Those on log1p CP10k, with what tells of other conditions by regressions that were chosen on these."""
        effects = MeanEffects.load(self.folder / IN_GENES)
        return effects.informed(replace(self.told("expression", codebook), variance=effects.variances))

    def told(self, space: str, codebook: Codebook) -> Likeness:
        """The regressions that were chosen in one space."""
        judged = read_json(self.folder / REGRESSIONS)[space]
        regressions = {over: found and found.get("regression", found) for over, found in judged.items()}
        settings = {**regressions, "between": judged["between"]}
        return codebook.told(settings)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON mapping of a run.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"run file {str(file)!r} cannot be read ({error}); train the run again (--overwrite)"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"run file {str(file)!r} holds no JSON mapping; train the run again (--overwrite)")
    return value


def _gate(file: Path) -> Gate:
    try:
        gate = Gate(**read_json(file))
        if not 0 <= gate.share <= 1:
            raise TypeError(f"share {gate.share!r} is not between 0 and 1")
    except TypeError as error:
        raise CheckpointError(
            f"run file {str(file)!r} holds no gate ({error}); train the run again (--overwrite)"
        ) from error
    return gate


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
    def training(self) -> StageFolder:
        return StageFolder(self.path, "training")

    @property
    def reflow(self) -> StageFolder:
        return StageFolder(self.path / "reflow", "reflow")

    @property
    def teacher(self) -> Path:
        """The best weights of the first stage, where a second follows."""
        return self.reflow.path / "teacher.safetensors"

    @property
    def best(self) -> Path:
        """The weights that cells are simulated with."""
        return self.training.best

    def sampling_codebook(self) -> Codebook:
        """The vocabulary with the effects that cells are simulated with: those of all cells that are not held out."""
        codebook = replace(Codebook.load(self.prepared), penetrance=Penetrance.load(self.prepared / IN_SIMULATION))
        return codebook.knowing(MeanEffects.load(self.prepared / IN_LATENTS), self.on_genes.told("latents", codebook))

    @property
    def on_genes(self) -> EffectsOnGenes:
        """What cells are simulated with."""
        return EffectsOnGenes(self.prepared)

    @property
    def judging(self) -> EffectsOnGenes:
        """What training cells alone tell, where whole conditions were held back for validation."""
        return EffectsOnGenes(self.prepared / JUDGING)

    @property
    def gate(self) -> Path:
        """What those conditions say of `Config.gate`."""
        return self.path / "gate.json"

    @property
    def learned_gate(self) -> Gate:
        return _gate(self.gate) if self.gate.is_file() else Gate()

    @property
    def gene_by_gene(self) -> float:
        """How far effects are brought to those shrunk gene by gene, see `TwoWays`."""
        return _gate(self.prepared / GENE_BY_GENE).share

    @property
    def gene_effects(self) -> Path:
        """Effects on single genes that the trained model misses, where its cells are counts."""
        return self.path / "gene_effects.safetensors"

    @property
    def summary(self) -> Path:
        return self.path / "trained.json"

    @property
    def is_trained(self) -> bool:
        return self.summary.is_file()

    def begin(self, config: Config, overwrite: bool) -> bool:
        """Whether `config` has to be prepared here, because there is no run yet, or one that is to be replaced, or one
        whose preparation was cut off; otherwise the run that is here goes on. Nothing is changed.

        Raises:
            StoreError: there is something else, a finished run, or a run of another config.
            CheckpointError: the run that is here was written in another format.
        """
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{str(self.path)!r} is a file, and a run is a folder; set run= to another path")
        if not self.path.exists() or all(child.name.startswith(".") for child in self.path.iterdir()):
            return True
        if not (self.path / PROVENANCE).is_file():
            raise StoreError(f"folder {str(self.path)!r} exists and is not a run; set run= to another folder")
        if overwrite:
            return True
        self.provenance()
        if not (self.path / CONFIG).is_file():
            return True
        if self.is_trained:
            raise StoreError(
                f"run {str(self.path)!r} is trained already; use --overwrite, or set run= to another folder"
            )
        differences = self._differences(config)
        if differences:
            raise StoreError(
                f"run {str(self.path)!r} was begun with another config: {', '.join(differences)}; "
                "use --overwrite, or set run= to another folder"
            )
        return not self.prepared.is_dir()

    def clear(self) -> None:
        """Remove what an earlier run, or one that was cut off, left here; files that no run writes stay.

        Raises:
            StoreError: the folder cannot be written.
        """
        if not (self.path / PROVENANCE).is_file():
            return
        with disk(self.path):
            for child in self.path.iterdir():
                if child.name not in OURS and not fnmatch(child.name, ".*.tmp*"):
                    continue
                if child.is_dir():
                    shutil.rmtree(child)
                else:
                    child.unlink()

    def write_config(self, config: Config) -> None:
        with atomic_path(self.path / CONFIG) as temporary:
            temporary.write_text(config.to_yaml())

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        write_json(self.path / PROVENANCE, {"format_version": FORMAT_VERSION, **provenance})

    def provenance(self) -> dict[str, Any]:
        """What made the run.

        Raises:
            CheckpointError: not a run, damaged, or written in another format.
        """
        file = self.path / PROVENANCE
        if not file.is_file():
            raise CheckpointError(f"{str(self.path)!r} is not a run folder (no {file.name}); train one, or check --run")
        provenance = read_json(file)
        found = provenance.get("format_version")
        if found != FORMAT_VERSION:
            raise CheckpointError(
                f"run {str(self.path)!r} has format {found}, written by gensim {provenance.get('gensim')}; "
                f"this version reads format {FORMAT_VERSION}: train it again, or install that version"
            )
        return provenance

    def config(self) -> Config:
        file = self.path / CONFIG
        if not file.is_file():
            raise CheckpointError(f"{str(self.path)!r} is not a run folder (no {file.name}); train one, or check --run")
        return parse_config(yaml.safe_load(file.read_text()), str(file))

    def _differences(self, config: Config) -> list[str]:
        """In words, key by key; where the folder lies (`run`) does not matter, so that a run may be moved."""
        before, now = (dict(_leaves(c.model_dump(mode="json", exclude={"run"}))) for c in (self.config(), config))
        keys = dict.fromkeys([*before, *now])
        return [f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in keys if before.get(k) != now.get(k)]


def _leaves(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of a nested mapping, and their values."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner
