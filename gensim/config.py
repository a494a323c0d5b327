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
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

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
    time_column: str | None = None
    """Time since the perturbation, in any unit: 0 (or nothing) in control cells."""
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


class DoseSplit(Section):
    """Hold out every perturbation at some doses: listed, or a fraction drawn by seed."""

    hold_out: Literal["doses"]
    values: list[float] | None = None
    fraction: Fraction | None = None


class TimeSplit(Section):
    """Hold out every perturbed condition at some times: listed, or a fraction drawn by seed."""

    hold_out: Literal["times"]
    values: list[float] | None = None
    fraction: Fraction | None = None


class GridSplit(Section):
    """Hold out (context, perturbation) pairs: listed as ``{context: ..., perturbation: ...}``, or a fraction drawn
    by seed so that every perturbation keeps a context and every context a perturbation where they can."""

    hold_out: Literal["grid"]
    column: str
    values: list[dict[Literal["context", "perturbation"], str]] | None = None
    fraction: Fraction | None = None


HoldOut = CellShareSplit | PerturbationSplit | CombinationSplit | ContextSplit | DoseSplit | TimeSplit | GridSplit


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


class GenesConfig(Section):
    """No latents: the transport moves log1p CP10k itself. For panels of up to some thousand genes."""

    kind: Literal["genes"]


class CountAutoencoderConfig(Section):
    """A decoder that is a distribution of counts: negative binomial, or with extra zeros. Needs data.scale=counts."""

    kind: Literal["nb", "zinb"]
    n_latents: PositiveInt = 20
    width: PositiveInt = 128
    n_layers: PositiveInt = 2
    variational: bool = True
    """Whether a cell's latents have a posterior, or are a function of the cell."""
    kl_weight: float = Field(0.3, gt=0)
    """Of the posterior's divergence from the prior; 1 is the evidence lower bound, less keeps more of the cell."""
    kl_warmup_epochs: int = Field(15, ge=0)
    """First epochs, in which that weight rises from 0."""
    dispersion: Literal["gene", "gene_condition"] = "gene"
    """What counts' inverse dispersion depends on."""
    noise: Literal["carried", "sampled"] = "carried"
    """Of counts around their mean: the control cell's own quantiles, or fresh draws."""
    library_size: Literal["control", "predicted"] = "control"
    """Of a simulated cell: its control cell's, or that times the mean effect of the condition on it."""
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    cells_per_step: PositiveInt = 128
    max_epochs: PositiveInt = 100
    patience_epochs: PositiveInt = 8


AutoencoderConfig = PCAConfig | MLPAutoencoderConfig | GenesConfig | CountAutoencoderConfig


class OneHotConfig(Section):
    """A learned vector per training perturbation: it cannot tell about unseen ones."""

    kind: Literal["one_hot"] = "one_hot"


class TableConfig(Section):
    """Vectors from tables: parquet or csv (first column the names), or npz with arrays `names` and `vectors`."""

    kind: Literal["table"]
    path: str | list[str]
    """One, or several that are joined; a perturbation may be missing in some of several."""


class PerturbationConfig(Section):
    vectors: Annotated[OneHotConfig | TableConfig, Field(discriminator="kind"), _tagged("kind", "one_hot")] = (
        OneHotConfig()
    )
    n_features: PositiveInt = 32
    """Length of the perturbation part of the condition vector."""
    fusion: Literal["sum", "deep_sets", "attention"] = "sum"
    """Of the members of a combination and of several tables: a sum of linear maps, a sum of small networks, or
    attention over what is known."""


class CouplingSection(Section):
    """Which control cell is paired with which perturbed cell, inside a group of context, perturbation and batch."""

    cost: Literal["latent", "after_mean_effect"] = "after_mean_effect"
    """Squared distance between latents, or between what is left once the mean effect is taken from the target."""
    cells_per_plan: PositiveInt = 1024
    """Cells of a group that one plan couples; smaller groups are coupled whole."""
    plan_reuse: PositiveInt = 32
    """Times that a plan's pairs are used on average before the plan is drawn anew."""


class IndependentCouplingConfig(CouplingSection):
    kind: Literal["independent"]


class ExactCouplingConfig(CouplingSection):
    kind: Literal["exact"] = "exact"


class SinkhornCouplingConfig(CouplingSection):
    kind: Literal["sinkhorn"]
    reg: float = Field(0.05, gt=0)
    """Entropic regularisation in units of the mean squared distance of the group."""
    max_iterations: PositiveInt = 1000


class BridgeCouplingConfig(CouplingSection):
    """Entropic with reg = 2 sigma², the coupling that belongs to a Schrödinger bridge; sigma is the transport's."""

    kind: Literal["bridge"]
    max_iterations: PositiveInt = 5000


class UnbalancedCouplingConfig(CouplingSection):
    """Entropic with marginals that may be missed: cells without a counterpart stay out."""

    kind: Literal["unbalanced"]
    reg: float = Field(0.05, gt=0)
    """Entropic regularisation in units of the mean squared distance of the group."""
    reg_marginal: float = Field(1.0, gt=0)
    """Price of missing the marginals (Kullback-Leibler), in the same units; large: balanced."""
    max_iterations: PositiveInt = 1000


class PartialCouplingConfig(CouplingSection):
    """Exact, of a share of the cells only: those that are cheapest to pair."""

    kind: Literal["partial"]
    mass: float = Field(0.9, gt=0, le=1)


class GaussianCouplingConfig(CouplingSection):
    """The closed-form map between Gaussians fitted to both sides, then the nearest mapped source."""

    kind: Literal["gaussian"]


CouplingConfig = (
    IndependentCouplingConfig
    | ExactCouplingConfig
    | SinkhornCouplingConfig
    | BridgeCouplingConfig
    | UnbalancedCouplingConfig
    | PartialCouplingConfig
    | GaussianCouplingConfig
)


class FlowMatchingConfig(Section):
    kind: Literal["flow_matching"] = "flow_matching"
    sigma: float = Field(0.0, ge=0)
    """Standard deviation of the noise on the path, in standardised latent units."""
    noise: float = Field(0.0, ge=0, le=1)
    """Share of the start's variance that is noise: 0 starts at the control cell, 1 at noise; the field then sees it."""


class SchrodingerBridgeConfig(Section):
    kind: Literal["schrodinger_bridge"]
    sigma: float = Field(0.5, gt=0)
    """Of the bridge's Brownian motion over the whole time, in standardised latent units."""
    t_min: float = Field(0.01, gt=0, lt=0.5)
    """Times are drawn from [t_min, 1 - t_min]: the bridge's targets grow without bound at 0 and 1."""
    stochastic: bool = True
    """Sample the stochastic differential equation, or its probability-flow ordinary one."""


class LatentDiffusionConfig(Section):
    kind: Literal["latent_diffusion"]
    schedule: Literal["cosine", "linear"] = "cosine"
    prediction: Literal["v", "clean", "noise"] = "v"
    """What the network returns."""
    min_snr: float = Field(5.0, gt=0)
    """Bound on the weight that a signal-to-noise ratio gives to a time."""
    strength: float = Field(0.5, gt=0, le=1)
    """1 starts at noise, less at the control cell with so much noise that this share of the way is left to go."""
    t_min: float = Field(0.01, gt=0, lt=0.5)
    """Times are drawn from [t_min, 1 - t_min]."""
    stochastic: bool = False
    """Sample the reverse stochastic differential equation, or its probability-flow ordinary one."""


TransportConfig = FlowMatchingConfig | SchrodingerBridgeConfig | LatentDiffusionConfig


class ResidualMLPConfig(Section):
    kind: Literal["residual_mlp"] = "residual_mlp"
    width: PositiveInt = 256
    n_blocks: PositiveInt = 3


class LatentTransformerConfig(Section):
    """Latents as tokens."""

    kind: Literal["latent_transformer"]
    width: PositiveInt = 64
    n_blocks: PositiveInt = 3
    n_heads: PositiveInt = 4


class SetTransformerConfig(Section):
    """A residual MLP that is told of the population of control cells."""

    kind: Literal["set_transformer"]
    width: PositiveInt = 256
    n_blocks: PositiveInt = 3
    n_heads: PositiveInt = 4
    n_inducing: PositiveInt = 16
    population_cells: PositiveInt = 64
    """Control cells of the context that are looked at."""


FieldConfig = ResidualMLPConfig | LatentTransformerConfig | SetTransformerConfig

ODE_SOLVERS = ("euler", "midpoint", "heun", "torchdiffeq")
DENOISING_ODE_SOLVERS = ("ddim", "dpm_2m")
DENOISING_SDE_SOLVERS = ("ancestral",)
SDE_SOLVERS = ("euler_maruyama",)


class SolverConfig(Section):
    kind: Literal["euler", "midpoint", "heun", "torchdiffeq", "euler_maruyama", "ddim", "dpm_2m", "ancestral"] = (
        "midpoint"
    )
    """Left out, it is the one that suits the transport: midpoint, euler_maruyama, dpm_2m or ancestral."""
    n_steps: PositiveInt = 8
    """Left out, it is what suits the kind."""
    method: str = "dopri5"
    """torchdiffeq's method name; the other kinds ignore it."""
    tolerance: float = Field(1e-4, gt=0)
    """Relative and absolute tolerance of torchdiffeq's adaptive methods."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of the network's matrix products; cells are summed up in float32. auto is bf16 for fixed steps where the device
    multiplies it natively, and float32 elsewhere."""
    compile: bool = False
    """Compile the network first, which takes up to a minute; no gain was measured on CPUs."""


class TrainingConfig(Section):
    cells_per_group: PositiveInt = 64
    """Pairs drawn from one group of context, perturbation and batch in a slot of a step."""
    groups_per_step: PositiveInt = 8
    """Groups drawn in one optimiser step, over all processes together."""
    rare_condition_power: float = Field(0.5, ge=0, le=1)
    """Groups are drawn in proportion to (number of cells)**power: 0 all alike, 1 by size."""
    label_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the pairs whose context is hidden (and whose batch is), so that unknown ones can be simulated."""
    condition_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pairs of which nothing is shown, so that guidance can be used in sampling."""
    reflow_cells: int = Field(0, ge=0)
    """Pairs of a second stage that straightens the flow, so that fewer steps suffice; 0 for none."""
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


SUITS: dict[tuple[str, bool | None], tuple[str, str]] = {
    ("schrodinger_bridge", None): ("bridge", "euler_maruyama"),
    ("schrodinger_bridge", True): ("bridge", "euler_maruyama"),
    ("schrodinger_bridge", False): ("bridge", "midpoint"),
    ("latent_diffusion", None): ("exact", "dpm_2m"),
    ("latent_diffusion", True): ("exact", "ancestral"),
    ("latent_diffusion", False): ("exact", "dpm_2m"),
}
"""Kind of transport and whether it is stochastic: coupling and solver, where they are not exact and midpoint."""


STEPS = {
    "euler": 32,
    "midpoint": 8,
    "heun": 16,
    "torchdiffeq": 1,
    "euler_maruyama": 32,
    "ddim": 32,
    "dpm_2m": 16,
    "ancestral": 100,
}
"""Steps of a kind of solver where the config names none. `benchmarks/sampling.py` measures those of flows; those of
stochastic solvers, whose error falls as 1 / n_steps, are cautious."""


ADAPTIVE_METHODS = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
"""Of torchdiffeq: they choose their steps themselves."""


def _as_bool(value: object) -> bool | None:
    """What pydantic will make of a truth value in a file or on the command line; None where there is none."""
    try:
        return None if value is None else TypeAdapter(bool).validate_python(value)
    except ValidationError:
        return None


class Config(Section):
    """A whole run. `run` is the folder that training makes and sampling reads."""

    run: str
    seed: int = 0
    data: DataConfig
    split: SplitConfig = SplitConfig()
    autoencoder: Annotated[AutoencoderConfig, Field(discriminator="kind"), _tagged("kind", "pca")] = PCAConfig()
    perturbation: PerturbationConfig = PerturbationConfig()
    coupling: Annotated[CouplingConfig, Field(discriminator="kind"), _tagged("kind", "exact")] = ExactCouplingConfig()
    anchor: Literal["none", "mean_effect", "responders"] = "responders"
    """What a simulated cell owes to the training mean effect of its condition: nothing, the mean effect, or the same if
    the cell responds, the share of those that do being estimated. The network learns what that misses."""
    transport: Annotated[TransportConfig, Field(discriminator="kind"), _tagged("kind", "flow_matching")] = (
        FlowMatchingConfig()
    )
    field: Annotated[FieldConfig, Field(discriminator="kind"), _tagged("kind", "residual_mlp")] = ResidualMLPConfig()
    solver: SolverConfig = SolverConfig()
    guidance: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Strength of classifier-free guidance in sampling: 1 for none, more exaggerates what the condition does."""
    cells: Literal["counts", "log1p_cp10k"] | None = None
    """Scale of simulated cells; left out: that of the data. Integer counts need data.scale=counts."""
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="before")
    @classmethod
    def _suit_the_transport(cls, raw: Any) -> Any:
        """Coupling and solver follow the transport where they are not named, so that one line changes it."""
        if not isinstance(raw, dict):
            return raw
        transport, coupling, solver = (raw.get(name, {}) for name in ("transport", "coupling", "solver"))
        if not all(isinstance(section, dict) for section in (transport, coupling, solver)):
            return raw
        stochastic = _as_bool(transport.get("stochastic"))
        fits, solves = SUITS.get((str(transport.get("kind")), stochastic), ("exact", "midpoint"))
        solver = {"kind": solves, **solver}
        steps = STEPS.get(str(solver["kind"]), 8)
        if solver["kind"] == "torchdiffeq" and solver.get("method", "dopri5") not in ADAPTIVE_METHODS:
            steps = STEPS["euler"]
        return {**raw, "coupling": {"kind": fits, **coupling}, "solver": {"n_steps": steps, **solver}}

    @model_validator(mode="after")
    def _columns_fit_together(self) -> Self:
        data = self.data
        columns = [data.perturbation_column, *data.context_columns]
        columns += [c for c in (data.batch_column, data.dose_column, data.time_column) if c]
        if len(set(columns)) != len(columns):
            raise ValueError(f"data: one obs column is named for two purposes: {columns}")
        taken = {"dose": data.dose_column, "time": data.time_column}
        clashing = [name for name, column in taken.items() if column is not None and name in data.context_columns]
        if clashing:
            raise ValueError(
                f"data.context_columns has {clashing[0]!r}, which a request needs for data.{clashing[0]}_column; "
                "rename that context in the file, or leave one of them out"
            )
        if data.library_size_column is not None and data.scale != "counts":
            raise ValueError(f"data.library_size_column is for data.scale=counts, not {data.scale}; leave it out")
        if self.cells == "counts" and data.scale != "counts":
            raise ValueError(
                f"cells=counts needs data.scale=counts, not {data.scale}: logarithms do not tell what one count was; "
                "give raw counts, or leave cells out"
            )
        if self.autoencoder.kind in ("nb", "zinb") and data.scale != "counts":
            raise ValueError(
                f"autoencoder.kind={self.autoencoder.kind} is a distribution of counts and needs data.scale=counts, "
                f"not {data.scale}; give raw counts, or use autoencoder.kind=pca"
            )
        if isinstance(self.split.test, DoseSplit) and data.dose_column is None:
            raise ValueError("split.test.hold_out=doses needs data.dose_column")
        if isinstance(self.split.test, TimeSplit) and data.time_column is None:
            raise ValueError("split.test.hold_out=times needs data.time_column")
        column = getattr(self.split.test, "column", None)
        if column is not None and column not in data.context_columns:
            raise ValueError(f"split.test.column={column!r} is not among data.context_columns={data.context_columns}")
        return self

    @model_validator(mode="after")
    def _transport_fits(self) -> Self:
        transport, solver, training = self.transport, self.solver.kind, self.training
        noise_alone = getattr(transport, "noise", 0) == 1 or getattr(transport, "strength", 0) == 1
        if self.data.time_column is not None and noise_alone:
            raise ValueError(
                "data.time_column needs a transport that starts at cells, to go on from one time to the next; "
                "set transport.noise or transport.strength below 1"
            )
        if self.data.time_column is not None and self.field.kind == "set_transformer":
            raise ValueError(
                "field.kind=set_transformer looks at the population that cells start from, which is not known at later "
                "times (data.time_column); use another field"
            )
        stochastic = getattr(transport, "stochastic", False)
        fitting = {
            ("latent_diffusion", False): ODE_SOLVERS + DENOISING_ODE_SOLVERS,
            ("latent_diffusion", True): SDE_SOLVERS + DENOISING_SDE_SOLVERS,
        }.get((transport.kind, stochastic), SDE_SOLVERS if stochastic else ODE_SOLVERS)
        if solver not in fitting:
            equation = "a stochastic differential equation" if stochastic else "an ordinary differential equation"
            raise ValueError(
                f"solver.kind={solver} cannot solve transport.kind={transport.kind}, which is {equation} here; "
                f"use one of {', '.join(fitting)}, or change transport.stochastic where the transport has it"
            )
        if self.coupling.kind == "bridge" and transport.kind != "schrodinger_bridge":
            raise ValueError(
                f"coupling.kind=bridge takes its sigma from a Schrödinger bridge, not from {transport.kind}; "
                "use coupling.kind=sinkhorn, whose reg is its own"
            )
        if self.guidance != 1 and training.condition_dropout == 0:
            raise ValueError(
                f"guidance={self.guidance} needs a network that has seen cells without their condition; "
                "train with training.condition_dropout=0.1, or leave guidance at 1"
            )
        if self.perturbation.fusion == "attention" and self.perturbation.n_features % 4:
            raise ValueError(
                f"perturbation.n_features={self.perturbation.n_features} is not a multiple of 4, the heads of "
                "perturbation.fusion=attention"
            )
        n_heads = getattr(self.field, "n_heads", 1)
        if self.field.width % n_heads:
            raise ValueError(
                f"field.width={self.field.width} is not a multiple of field.n_heads={n_heads}; every head gets an "
                "equal share of it"
            )
        if training.reflow_cells and transport.kind != "flow_matching":
            raise ValueError(f"training.reflow_cells straightens transport.kind=flow_matching, not {transport.kind}")
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


def data_config(overrides: Sequence[str], path: str) -> DataConfig:
    """What files without a run hold, from ``data.key=value`` overrides.

    Raises:
        ConfigError: an override of something else, no ``data.scale``, or a bad value.
    """
    raw: dict[str, Any] = {"run": path, "data": {"path": path}}
    for override in overrides:
        if not override.startswith("data."):
            raise ConfigError(f"override {override!r} is not of data; without a run only data.key=value has a meaning")
        _apply_override(raw, override)
    return parse_config(raw, "data").data


SAMPLING_KEYS = (
    "solver", "guidance", "cells", "transport.stochastic", "transport.strength", "autoencoder.noise",
    "autoencoder.library_size",
)  # fmt: skip
"""What may differ between training and sampling, since no weight depends on it."""


def for_sampling(config: Config, overrides: Sequence[str], where: str) -> Config:
    """A run's config with ``dotted.key=value`` overrides of what belongs to sampling.

    Raises:
        ConfigError: an override of something that was trained, or a bad value.
    """
    raw = config.model_dump(mode="json")
    if {override.partition("=")[0] for override in overrides} & {
        "solver.kind",
        "solver.method",
        "transport.stochastic",
    }:
        del raw["solver"]["n_steps"]  # what suits the new kind, unless it is named
    for override in overrides:
        dotted = override.partition("=")[0]
        if not any(dotted == key or dotted.startswith(f"{key}.") for key in SAMPLING_KEYS):
            raise ConfigError(
                f"override {override!r} is not of sampling; the run {where!r} was trained with another value. "
                f"Sampling takes {', '.join(SAMPLING_KEYS)}"
            )
        _apply_override(raw, override)
    return parse_config(raw, where) if overrides else config


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
