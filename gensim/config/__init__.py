"""The configuration of a run: typed, closed (unknown keys are refused), with units in the names.

A config file is YAML; ``section.key=value`` on the command line overrides it. The resolved config is saved
beside every run and is all that is needed to repeat it.
"""

from gensim.config.autoencoder import CountAutoencoderConfig, GenesConfig, MLPAutoencoderConfig, PCAConfig
from gensim.config.coupling import (
    BridgeCouplingConfig,
    ExactCouplingConfig,
    GaussianCouplingConfig,
    IndependentCouplingConfig,
    PartialCouplingConfig,
    SinkhornCouplingConfig,
    UnbalancedCouplingConfig,
)
from gensim.config.data import (
    CellShareSplit,
    CombinationSplit,
    ContextSplit,
    DataConfig,
    DoseSplit,
    GridSplit,
    PerturbationSplit,
    SplitConfig,
    TimeSplit,
)
from gensim.config.field import LatentTransformerConfig, ResidualMLPConfig, SetTransformerConfig
from gensim.config.load import data_config, for_sampling, load_config, parse_config
from gensim.config.perturbation import TableConfig
from gensim.config.run import Config
from gensim.config.solver import SolverConfig
from gensim.config.training import TrainingConfig
from gensim.config.transport import FlowMatchingConfig, LatentDiffusionConfig, SchrodingerBridgeConfig

__all__ = [
    "BridgeCouplingConfig",
    "CellShareSplit",
    "CombinationSplit",
    "Config",
    "ContextSplit",
    "CountAutoencoderConfig",
    "DataConfig",
    "DoseSplit",
    "ExactCouplingConfig",
    "FlowMatchingConfig",
    "GaussianCouplingConfig",
    "GenesConfig",
    "GridSplit",
    "IndependentCouplingConfig",
    "LatentDiffusionConfig",
    "LatentTransformerConfig",
    "MLPAutoencoderConfig",
    "PCAConfig",
    "PartialCouplingConfig",
    "PerturbationSplit",
    "ResidualMLPConfig",
    "SchrodingerBridgeConfig",
    "SetTransformerConfig",
    "SinkhornCouplingConfig",
    "SolverConfig",
    "SplitConfig",
    "TableConfig",
    "TimeSplit",
    "TrainingConfig",
    "UnbalancedCouplingConfig",
    "data_config",
    "for_sampling",
    "load_config",
    "parse_config",
]
