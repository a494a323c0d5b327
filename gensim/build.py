"""The only tables from the names in a config to the classes they stand for."""

import logging
from collections.abc import Callable

import torch
from scipy import sparse

from gensim.autoencoder.base import Autoencoder
from gensim.autoencoder.mlp import MLPAutoencoder, fit_mlp
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.config import (
    Config,
    ExactCouplingConfig,
    FlowMatchingConfig,
    IndependentCouplingConfig,
    MLPAutoencoderConfig,
    PCAConfig,
    SinkhornCouplingConfig,
    SolverConfig,
    TableConfig,
)
from gensim.errors import ConfigError, nearest
from gensim.nn.field import ConditionalField
from gensim.nn.residual_mlp import ResidualMLP
from gensim.ot.coupling import Coupling, ExactCoupling, IndependentCoupling, SinkhornCoupling
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.encoder import ConditionEncoder
from gensim.perturbations.vectors import VectorTable, one_hot_table, read_vector_table
from gensim.seeding import torch_generator
from gensim.solvers.base import Solver
from gensim.solvers.ode import Euler, Heun, Midpoint, TorchDiffEq
from gensim.transport.anchored import Anchored
from gensim.transport.base import Transport
from gensim.transport.flow_matching import FlowMatching

DEVICES = ("auto", "cpu", "cuda", "mps")

log = logging.getLogger("gensim")

FIXED_STEP: dict[str, Callable[[int], Solver]] = {"euler": Euler, "midpoint": Midpoint, "heun": Heun}


def fit_autoencoder(
    config: Config, x_train: sparse.csr_matrix, x_validation: sparse.csr_matrix, device: str
) -> Autoencoder:
    """Fit the configured autoencoder on (N, G) training cells, log1p CP10k."""
    match config.autoencoder:
        case PCAConfig(n_latents=n_latents):
            return PCAAutoencoder.fit(x_train, n_latents)
        case MLPAutoencoderConfig() as c:
            autoencoder = untrained_mlp(c, x_train.shape[1], config.seed).to(device)
            fit_mlp(
                autoencoder,
                x_train,
                x_validation,
                learning_rate=c.learning_rate,
                weight_decay=c.weight_decay,
                cells_per_step=c.cells_per_step,
                max_epochs=c.max_epochs,
                patience_epochs=c.patience_epochs,
                seed=config.seed,
                report=lambda epoch, error: log.debug("autoencoder epoch %d: validation mse %.5f", epoch, error),
            )
            return autoencoder.cpu()


def untrained_autoencoder(config: Config, n_latents: int, n_genes: int) -> Autoencoder:
    """The configured autoencoder, to be filled with saved weights."""
    match config.autoencoder:
        case PCAConfig():
            return PCAAutoencoder(n_latents, n_genes)
        case MLPAutoencoderConfig() as c:
            return untrained_mlp(c, n_genes, config.seed)


def untrained_mlp(config: MLPAutoencoderConfig, n_genes: int, seed: int) -> MLPAutoencoder:
    generator = torch_generator(seed, "autoencoder weights")
    return MLPAutoencoder(n_genes, config.n_latents, config.width, config.n_layers, generator)


def make_vectors(config: Config, training_perturbations: list[str]) -> VectorTable:
    match config.perturbation.vectors:
        case TableConfig(path=path):
            return read_vector_table(path)
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


def build_transport(config: Config, codebook: Codebook, n_latents: int) -> Transport:
    """An untrained transport whose weights follow from the seed."""
    generator = torch_generator(config.seed, "transport weights")
    encoder = ConditionEncoder(codebook, config.perturbation.n_features, generator)

    def field(n_outputs: int, sees_control: bool) -> ConditionalField:
        sizes = (n_latents, encoder.n_features, n_outputs)
        c = config.field
        return ResidualMLP(*sizes, sees_control=sees_control, width=c.width, n_blocks=c.n_blocks, generator=generator)

    match config.transport:
        case FlowMatchingConfig(sigma=sigma, noise=noise):
            transport: Transport = FlowMatching(field(n_latents, noise > 0), encoder, sigma, noise)
    return Anchored(transport) if config.anchor == "mean_effect" else transport


def population_cells(config: Config) -> int:  # noqa: ARG001
    """Control cells of a population that the configured field looks at."""
    return 0


def build_solver(config: SolverConfig) -> Solver:
    if config.kind == "torchdiffeq":
        return TorchDiffEq(config.method, config.tolerance, config.n_steps)
    return FIXED_STEP[config.kind](config.n_steps)


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
