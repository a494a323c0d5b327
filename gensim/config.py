"""The configuration of a run: typed, closed (unknown keys are refused), with units in the names.

A config file is YAML; ``section.key=value`` on the command line overrides it. The resolved config is saved
beside every run and is all that is needed to repeat it.
"""

import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gensim.errors import ConfigError, nearest

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


def _tagged(key: str, default: str) -> BeforeValidator:
    """Let a section be given without the key that says which kind it is, when it is of the default kind."""
    return BeforeValidator(lambda value: {key: default, **value} if isinstance(value, dict) else value)


class Section(BaseModel):
    """A part of the config; keys it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Where the cells are and what their columns mean."""

    path: str | list[str]
    """`.h5ad` or AnnData-Zarr; several files must hold the same genes in the same order."""
    scale: Literal["counts", "log1p_cp10k"]
    """What X (or the layer) holds; declared, checked, never guessed."""
    perturbation_column: str = "perturbation"
    control_label: str = "control"
    combination_separator: str = "+"
    context_columns: list[str] = []
    batch_column: str | None = None
    dose_column: str | None = None
    layer: str | None = None
    library_size_column: str | None = None
    """Counts of each cell over all genes, where the file holds only a panel of them; else the sum of its counts."""
    n_highly_variable_genes: PositiveInt | None = None
    """Select so many genes on training cells; perturbed genes that are measured are always kept."""

    @property
    def paths(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else self.path


class CellShareSplit(Section):
    """Hold out a share of the cells of every condition (seen conditions, unseen cells)."""

    hold_out: Literal["cells"] = "cells"
    fraction: Fraction = 0.5


class PerturbationSplit(Section):
    """Hold out perturbations wherever they occur, alone or in a combination: listed, or a fraction drawn by seed."""

    hold_out: Literal["perturbations"]
    values: list[str] | None = None
    fraction: Fraction | None = None


class CombinationSplit(Section):
    """Hold out combinations such as ``A+B``: listed, or a fraction drawn by seed among those of two or more."""

    hold_out: Literal["combinations"]
    values: list[str] | None = None
    fraction: Fraction | None = None


class ContextSplit(Section):
    """Hold out the perturbed cells of contexts (their controls stay): listed by value, or a fraction drawn by seed."""

    hold_out: Literal["contexts"]
    column: str
    values: list[str] | None = None
    fraction: Fraction | None = None


class GridSplit(Section):
    """Hold out (context, perturbation) pairs: listed as ``{context: ..., perturbation: ...}``, or a fraction drawn
    by seed so that every perturbation keeps a context and every context a perturbation where they can."""

    hold_out: Literal["grid"]
    column: str
    values: list[dict[Literal["context", "perturbation"], str]] | None = None
    fraction: Fraction | None = None


HoldOut = CellShareSplit | PerturbationSplit | CombinationSplit | ContextSplit | GridSplit


class SplitConfig(Section):
    """Which cells are held out for the final score, and which train cells are held back for early stopping."""

    test: Annotated[HoldOut, Field(discriminator="hold_out"), _tagged("hold_out", "cells")] = CellShareSplit()
    control_fraction: Fraction = 0.5
    """Share of the control cells of each context that is held out, to start simulated cells from."""
    validation_fraction: Fraction = 0.15
    """Share of the remaining cells of every condition, controls included, that decides early stopping."""


class PCAConfig(Section):
    kind: Literal["pca"] = "pca"
    n_latents: PositiveInt = 50


class MLPAutoencoderConfig(Section):
    kind: Literal["mlp"]
    n_latents: PositiveInt = 50
    width: PositiveInt = 256
    n_layers: PositiveInt = 2
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    cells_per_step: PositiveInt = 256
    max_epochs: PositiveInt = 100
    patience_epochs: PositiveInt = 10


AutoencoderConfig = PCAConfig | MLPAutoencoderConfig


class OneHotConfig(Section):
    """A learned vector per training perturbation: it cannot tell about unseen ones."""

    kind: Literal["one_hot"] = "one_hot"


class TableConfig(Section):
    """Vectors from a table: parquet or csv (first column the names), or npz with arrays `names` and `vectors`."""

    kind: Literal["table"]
    path: str


class PerturbationConfig(Section):
    vectors: Annotated[OneHotConfig | TableConfig, Field(discriminator="kind"), _tagged("kind", "one_hot")] = (
        OneHotConfig()
    )
    n_features: PositiveInt = 32
    """Length of the perturbation part of the condition vector."""


class IndependentCouplingConfig(Section):
    kind: Literal["independent"]


class ExactCouplingConfig(Section):
    kind: Literal["exact"] = "exact"


class SinkhornCouplingConfig(Section):
    kind: Literal["sinkhorn"]
    reg: float = Field(0.05, gt=0)
    """Entropic regularisation in units of the mean squared distance of the group."""
    max_iterations: PositiveInt = 1000


CouplingConfig = IndependentCouplingConfig | ExactCouplingConfig | SinkhornCouplingConfig


class FlowMatchingConfig(Section):
    kind: Literal["flow_matching"] = "flow_matching"
    sigma: float = Field(0.0, ge=0)
    """Standard deviation of the noise on the path, in standardised latent units."""
    noise: float = Field(0.0, ge=0, le=1)
    """Share of the start that is noise, by variance: 0 starts at the control cell, 1 at noise with the cell as context."""


class ResidualMLPConfig(Section):
    kind: Literal["residual_mlp"] = "residual_mlp"
    width: PositiveInt = 256
    n_blocks: PositiveInt = 3


class SolverConfig(Section):
    kind: Literal["euler", "midpoint", "heun", "torchdiffeq"] = "midpoint"
    n_steps: PositiveInt = 10
    method: str = "dopri5"
    """torchdiffeq's method name; `euler`, `midpoint`, `heun` ignore it."""
    tolerance: float = Field(1e-4, gt=0)
    """Relative and absolute tolerance of torchdiffeq's adaptive methods."""


class TrainingConfig(Section):
    cells_per_group: PositiveInt = 64
    """Pairs drawn, and coupled, inside one group of context, perturbation and batch."""
    groups_per_step: PositiveInt = 8
    """Groups drawn in one optimiser step, over all processes together."""
    rare_condition_power: float = Field(0.5, ge=0, le=1)
    """Groups are drawn in proportion to (number of cells)**power: 0 all alike, 1 by size."""
    label_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the pairs whose context is hidden (and whose batch is), so that unknown ones can be simulated."""
    max_cells: PositiveInt = 1_000_000
    """Pairs seen in training at most; also the length of the cosine schedule."""
    warmup_cells: PositiveInt = 20_000
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    max_gradient_norm: float = Field(1.0, gt=0)
    ema_half_life_cells: PositiveInt = 50_000
    mixed_precision: Literal["no", "bf16"] = "no"
    cells_per_validation: PositiveInt = 50_000
    """Pairs between two validations; a checkpoint is written after each."""
    patience_validations: PositiveInt = 8
    validation_cells_per_condition: PositiveInt = 256


class Config(Section):
    """A whole run. `run` is the folder that training makes and sampling reads."""

    run: str
    seed: int = 0
    data: DataConfig
    split: SplitConfig = SplitConfig()
    autoencoder: Annotated[AutoencoderConfig, Field(discriminator="kind"), _tagged("kind", "pca")] = PCAConfig()
    perturbation: PerturbationConfig = PerturbationConfig()
    coupling: Annotated[CouplingConfig, Field(discriminator="kind"), _tagged("kind", "exact")] = ExactCouplingConfig()
    anchor: Literal["none", "mean_effect"] = "mean_effect"
    """What a simulated cell owes to the training mean effect of its condition: the network learns what that misses."""
    transport: FlowMatchingConfig = FlowMatchingConfig()
    field: ResidualMLPConfig = ResidualMLPConfig()
    solver: SolverConfig = SolverConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _columns_fit_together(self) -> Self:
        data = self.data
        columns = [data.perturbation_column, *data.context_columns]
        columns += [c for c in (data.batch_column, data.dose_column) if c]
        if len(set(columns)) != len(columns):
            raise ValueError(f"data: one obs column is named for two purposes: {columns}")
        if data.library_size_column is not None and data.scale != "counts":
            raise ValueError(f"data.library_size_column is for data.scale=counts, not {data.scale}; leave it out")
        column = getattr(self.split.test, "column", None)
        if column is not None and column not in data.context_columns:
            raise ValueError(f"split.test.column={column!r} is not among data.context_columns={data.context_columns}")
        return self

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config, apply ``dotted.key=value`` overrides (values in YAML), and check it.

    Raises:
        ConfigError: no such file, not YAML, an unknown key (the nearest known one is named), or a bad value.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"config {str(path)!r} is not a file; the shipped ones are in configs/")
    try:
        raw = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {str(path)!r} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"config {str(path)!r} holds {type(raw).__name__}; a mapping of sections is needed")
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, str(path))


def parse_config(raw: dict[str, Any], where: str) -> Config:
    """Check a nested mapping; `where` is named in the errors."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"config {where!r}: " + "; ".join(_explain(e) for e in error.errors())) from None


def _apply_override(raw: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"override {override!r} is not of the form section.key=value, e.g. training.max_cells=50000")
    *sections, last = dotted.split(".")
    node = raw
    for name in sections:
        child = node.setdefault(name, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {name!r} holds the value {child!r}, not a section")
        node = child
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not YAML: {error}") from error


def _explain(error: Any) -> str:
    """One pydantic error as `key: what came, what was wanted`, with the nearest known key for an unknown one."""
    place = [str(part) for part in error["loc"]]
    dotted = ".".join(place) or "config"
    if error["type"] == "extra_forbidden":
        known = _known_keys(Config, place[:-1])
        return f"unknown key {dotted!r}{nearest(place[-1], known)}; known here: {', '.join(sorted(known))}"
    if error["type"] == "missing":
        return f"{dotted!r} is needed and missing"
    came = "" if error["type"] == "value_error" else f" (got {error['input']!r})"
    return f"{dotted}: {error['msg'].removeprefix('Value error, ')}{came}"


def _known_keys(model: type[BaseModel], place: Sequence[str]) -> set[str]:
    """Keys allowed at `place`; a union's member is named by its tag in pydantic's path."""
    candidates = [model]
    for part in place:
        inner = [m for c in candidates if part in c.model_fields for m in _models(c.model_fields[part].annotation)]
        tagged = [c for c in candidates if any(part in _literals(f.annotation) for f in c.model_fields.values())]
        candidates = inner or tagged or candidates
    return {key for candidate in candidates for key in candidate.model_fields}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [m for arg in typing.get_args(annotation) for m in _models(arg)]
    return []


def _literals(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
