"""A whole run, and what of it fits together."""

from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from gensim.config.autoencoder import AutoencoderConfig, PCAConfig
from gensim.config.coupling import CouplingConfig, ExactCouplingConfig
from gensim.config.data import DataConfig, DoseSplit, SplitConfig, TimeSplit
from gensim.config.field import FieldConfig, ResidualMLPConfig
from gensim.config.perturbation import PerturbationConfig
from gensim.config.section import Section, tagged
from gensim.config.solver import (
    ADAPTIVE_METHODS,
    DENOISING_ODE_SOLVERS,
    DENOISING_SDE_SOLVERS,
    ODE_SOLVERS,
    SDE_SOLVERS,
    SolverConfig,
)
from gensim.config.training import TrainingConfig
from gensim.config.transport import FlowMatchingConfig, TransportConfig

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
    autoencoder: Annotated[AutoencoderConfig, Field(discriminator="kind"), tagged("kind", "pca")] = PCAConfig()
    perturbation: PerturbationConfig = PerturbationConfig()
    coupling: Annotated[CouplingConfig, Field(discriminator="kind"), tagged("kind", "exact")] = ExactCouplingConfig()
    anchor: Literal["none", "mean_effect", "responders"] = "responders"
    """What a simulated cell owes to the training mean effect of its condition: nothing, the mean effect, or the same if
    the cell responds, the share of those that do being estimated. The network learns what that misses."""
    transport: Annotated[TransportConfig, Field(discriminator="kind"), tagged("kind", "flow_matching")] = (
        FlowMatchingConfig()
    )
    field: Annotated[FieldConfig, Field(discriminator="kind"), tagged("kind", "residual_mlp")] = ResidualMLPConfig()
    solver: SolverConfig = SolverConfig()
    guidance: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Strength of classifier-free guidance in sampling: 1 for none, more exaggerates what the condition does."""
    cells: Literal["counts", "log1p_cp10k"] | None = None
    """Scale of simulated cells; left out: that of the data. Integer counts need data.scale=counts."""
    gate: float | Literal["learned"] = "learned"
    """How far the mean of a condition that was not measured in its context is brought from what moved latents say to
    what a regression on genes expects: 0 (off), 1 (on), a share between, or learned from conditions that were held
    back for validation. Belongs to sampling; needs an anchor."""
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

    @field_validator("gate", mode="before")
    @classmethod
    def _is_a_share(cls, gate: object) -> object:
        if gate != "learned" and not (isinstance(gate, int | float) and 0 <= gate <= 1):
            raise ValueError(f"a share from 0 (off) to 1 (on), or learned, is needed, not {gate!r}")
        return gate

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
    def _gate_has_an_anchor(self) -> Self:
        if self.gate != "learned" and self.anchor == "none":
            raise ValueError(
                f"gate={self.gate} lies between two predictions of a mean, and anchor=none makes none of them; "
                "leave gate out, or train with an anchor"
            )
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
