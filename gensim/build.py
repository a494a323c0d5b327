"""The only tables from the names in a config to the classes they stand for."""

import logging
from collections.abc import Callable
from typing import Any

import torch

from gensim.autoencoder.base import Autoencoder, ObservedCells
from gensim.autoencoder.count import CountAutoencoder, fit_count
from gensim.autoencoder.fitting import FitSettings
from gensim.autoencoder.genes import GeneSpace
from gensim.autoencoder.mlp import MLPAutoencoder, fit_mlp
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.config import (
    BridgeCouplingConfig,
    Config,
    CountAutoencoderConfig,
    ExactCouplingConfig,
    FlowMatchingConfig,
    GaussianCouplingConfig,
    GenesConfig,
    IndependentCouplingConfig,
    LatentDiffusionConfig,
    LatentTransformerConfig,
    MLPAutoencoderConfig,
    PartialCouplingConfig,
    PCAConfig,
    ResidualMLPConfig,
    SchrodingerBridgeConfig,
    SetTransformerConfig,
    SinkhornCouplingConfig,
    SolverConfig,
    TableConfig,
    UnbalancedCouplingConfig,
)
from gensim.errors import ConfigError, nearest
from gensim.nn.field import ConditionalField
from gensim.nn.latent_transformer import LatentTransformer
from gensim.nn.residual_mlp import ResidualMLP
from gensim.nn.set_transformer import SetTransformer
from gensim.ot.coupling import BridgeCoupling, Coupling, ExactCoupling, IndependentCoupling, SinkhornCoupling
from gensim.ot.gaussian import GaussianCoupling
from gensim.ot.unbalanced import PartialCoupling, UnbalancedCoupling
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.encoder import ConditionEncoder
from gensim.perturbations.vectors import VectorTable, join_tables, one_hot_table, read_vector_table
from gensim.seeding import torch_generator
from gensim.solvers.base import Solver
from gensim.solvers.denoising import DDIM, Ancestral, DPMSolver2M
from gensim.solvers.ode import Euler, Heun, Midpoint, TorchDiffEq
from gensim.solvers.precision import LowPrecision, multiplies_bf16
from gensim.solvers.sde import EulerMaruyama
from gensim.transport.anchored import Anchored
from gensim.transport.base import Transport
from gensim.transport.diffusion import LatentDiffusion
from gensim.transport.flow_matching import FlowMatching
from gensim.transport.schedules import Cosine, Linear, Schedule
from gensim.transport.schrodinger_bridge import SchrodingerBridge

DEVICES = ("auto", "cpu", "cuda", "mps")

log = logging.getLogger("gensim")

FIXED_STEP: dict[str, Callable[[int], Solver]] = {
    "euler": Euler,
    "midpoint": Midpoint,
    "heun": Heun,
    "euler_maruyama": EulerMaruyama,
    "ddim": DDIM,
    "dpm_2m": DPMSolver2M,
    "ancestral": Ancestral,
}
SCHEDULES: dict[str, Callable[[], Schedule]] = {"cosine": Cosine, "linear": Linear}


def fit_autoencoder(config: Config, train: ObservedCells, validation: ObservedCells, device: str) -> Autoencoder:
    """Fit the configured autoencoder on training cells."""
    x_train = train.x

    def report(epoch: int, error: float) -> None:
        log.debug("autoencoder epoch %d: validation error %.5f", epoch, error)

    def settings(c: MLPAutoencoderConfig | CountAutoencoderConfig) -> FitSettings:
        return FitSettings(
            c.learning_rate, c.weight_decay, c.cells_per_step, c.max_epochs, c.patience_epochs, config.seed
        )

    match config.autoencoder:
        case PCAConfig(n_latents=n_latents):
            return PCAAutoencoder.fit(x_train, n_latents)
        case GenesConfig():
            return GeneSpace.fit(x_train)
        case MLPAutoencoderConfig() as c:
            autoencoder = untrained_mlp(c, x_train.shape[1], config.seed).to(device)
            fit_mlp(
                autoencoder,
                x_train,
                validation.x,
                settings(c),
                report,
            )
            return autoencoder.cpu()
        case CountAutoencoderConfig() as c:
            counting = untrained_count(c, x_train.shape[1], config.seed).to(device)
            fit_count(
                counting,
                train,
                validation,
                settings(c),
                report,
                kl_weight=c.kl_weight,
                kl_warmup_epochs=c.kl_warmup_epochs,
            )
            return counting.cpu()


def untrained_autoencoder(config: Config, n_latents: int, n_genes: int) -> Autoencoder:
    """The configured autoencoder, to be filled with saved weights."""
    match config.autoencoder:
        case PCAConfig():
            return PCAAutoencoder(n_latents, n_genes)
        case GenesConfig():
            return GeneSpace(n_genes)
        case MLPAutoencoderConfig() as c:
            return untrained_mlp(c, n_genes, config.seed)
        case CountAutoencoderConfig() as c:
            return untrained_count(c, n_genes, config.seed)


def untrained_mlp(config: MLPAutoencoderConfig, n_genes: int, seed: int) -> MLPAutoencoder:
    generator = torch_generator(seed, "autoencoder weights")
    return MLPAutoencoder(n_genes, config.n_latents, config.width, config.n_layers, generator)


def untrained_count(config: CountAutoencoderConfig, n_genes: int, seed: int) -> CountAutoencoder:
    return CountAutoencoder(
        n_genes,
        config.n_latents,
        config.width,
        config.n_layers,
        zero_inflated=config.kind == "zinb",
        variational=config.variational,
        generator=torch_generator(seed, "autoencoder weights"),
    )


def make_vectors(config: Config, training_perturbations: list[str]) -> VectorTable:
    match config.perturbation.vectors:
        case TableConfig(path=path):
            return join_tables([read_vector_table(one) for one in ([path] if isinstance(path, str) else path)])
        case _:
            return one_hot_table(training_perturbations)


def build_coupling(config: Config) -> Coupling:
    match config.coupling:
        case IndependentCouplingConfig():
            return IndependentCoupling()
        case ExactCouplingConfig():
            return ExactCoupling()
        case SinkhornCouplingConfig(reg=reg, max_iterations=max_iterations):
            return SinkhornCoupling(reg, max_iterations)
        case BridgeCouplingConfig(max_iterations=max_iterations):
            return BridgeCoupling(config.transport.sigma, max_iterations)  # type: ignore[union-attr]
        case UnbalancedCouplingConfig() as c:
            return UnbalancedCoupling(c.reg, c.reg_marginal, c.max_iterations)
        case PartialCouplingConfig(mass=mass):
            return PartialCoupling(mass)
        case GaussianCouplingConfig():
            return GaussianCoupling()


def build_transport(config: Config, codebook: Codebook, n_latents: int) -> Transport:
    """An untrained transport whose weights follow from the seed."""
    generator = torch_generator(config.seed, "transport weights")
    of = config.perturbation
    encoder = ConditionEncoder(codebook, of.n_features, generator, of.fusion)

    def field(n_outputs: int, sees_control: bool) -> ConditionalField:
        c, sizes = config.field, (n_latents, encoder.n_features, n_outputs)
        common: dict[str, Any] = {"sees_control": sees_control, "width": c.width, "n_blocks": c.n_blocks}
        match c:
            case ResidualMLPConfig():
                return ResidualMLP(*sizes, **common, generator=generator)
            case LatentTransformerConfig(n_heads=n_heads):
                return LatentTransformer(*sizes, **common, generator=generator, n_heads=n_heads)
            case SetTransformerConfig(n_heads=n_heads, n_inducing=n_inducing, population_cells=population):
                return SetTransformer(
                    *sizes,
                    **common,
                    generator=generator,
                    n_heads=n_heads,
                    n_inducing=n_inducing,
                    population_cells=population,
                )

    match config.transport:
        case FlowMatchingConfig(sigma=sigma, noise=noise):
            transport: Transport = FlowMatching(field(n_latents, sees_control=noise > 0), encoder, sigma, noise)
        case SchrodingerBridgeConfig(sigma=sigma, t_min=t_min, stochastic=stochastic):
            v_and_s = field(2 * n_latents, sees_control=False)
            transport = SchrodingerBridge(v_and_s, encoder, sigma, t_min, stochastic)
        case LatentDiffusionConfig() as c:
            transport = LatentDiffusion(
                field(n_latents, sees_control=True),
                encoder,
                SCHEDULES[c.schedule](),
                prediction=c.prediction,
                min_snr=c.min_snr,
                strength=c.strength,
                t_min=c.t_min,
                stochastic=c.stochastic,
            )
    return Anchored(transport) if config.anchor != "none" else transport


def population_cells(config: Config) -> int:
    """Control cells of a population that the configured field looks at."""
    return config.field.population_cells if isinstance(config.field, SetTransformerConfig) else 0


def with_precision(config: SolverConfig, device: torch.device) -> SolverConfig:
    """The config with the precision that `auto` stands for on this device."""
    if config.precision != "auto":
        return config
    native = config.kind != "torchdiffeq" and multiplies_bf16(device)
    return config.model_copy(update={"precision": "bf16" if native else "float32"})


def build_solver(config: SolverConfig, device: torch.device) -> Solver:
    if config.kind == "torchdiffeq":
        solver: Solver = TorchDiffEq(config.method, config.tolerance, config.n_steps)
    else:
        solver = FIXED_STEP[config.kind](config.n_steps)
    return LowPrecision(solver) if with_precision(config, device).precision == "bf16" else solver


def choose_device(name: str) -> torch.device:
    """`auto` takes the accelerator there is, else the CPU.

    Raises:
        ConfigError: the named device is not there.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name!r} is no device{nearest(name, DEVICES)}; use auto, cpu or cuda") from error
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name}: {str(error).splitlines()[0]}; use auto or cpu") from error
    return device
