"""What is measured once the weights of a run are trained."""

import logging
from collections.abc import Hashable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from gensim import build
from gensim.atomic import atomic_path, write_json
from gensim.autoencoder.base import Autoencoder
from gensim.autoencoder.count import CountAutoencoder
from gensim.build_decoder import build_decoder
from gensim.config import Config
from gensim.data.splits import Role
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.condition_file import load_by_condition
from gensim.perturbations.gate import Gate
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.observed_shares import ObservedShares
from gensim.solvers.base import Solver
from gensim.training.calibration import calibrate
from gensim.training.checkpoint import load_weights
from gensim.training.learn_gate import gate_of_held_back
from gensim.training.run_folder import (
    HELD_BACK,
    HELD_BACK_CONTROLS,
    OBSERVED_SHARES,
    CellIndex,
    EffectsOnGenes,
    RunFolder,
    read_json,
)
from gensim.training.validation import Validation
from gensim.transport.base import Transport
from gensim.types import Condition, IntArray

log = logging.getLogger("gensim")


def measure_trained(config: Config, run: RunFolder, device: torch.device, solver: Solver) -> None:
    """Write what the trained weights miss of single genes, and how far the regression on genes is to be trusted."""
    if config.anchor == "none":
        return
    role = CellIndex.load(run.prepared / "cells.safetensors").role
    not_held_out, training = np.flatnonzero(role != Role.HELD_OUT), np.flatnonzero(role == Role.TRAIN)
    if (run.prepared / OBSERVED_SHARES).is_file():
        effects = _Trained.load(config, run, run.sampling_codebook(), device, solver).missing(
            run.on_genes, not_held_out
        )
        with atomic_path(run.gene_effects) as temporary:
            effects.save(temporary)
    if run.judging.folder.is_dir():
        gate = _Trained.load(config, run, Codebook.load(run.prepared), device, solver).gate(training)
        log.info("%s", gate.in_words("gate", "the regression on genes", by="held-back units"))
        write_json(run.gate, asdict(gate))


@dataclass(frozen=True, slots=True)
class _Trained:
    """The best weights of a run, with what they move training latents by."""

    config: Config
    run: RunFolder
    codebook: Codebook
    cells: CellIndex
    transport: Transport
    autoencoder: Autoencoder
    simulation: Validation

    @classmethod
    def load(
        cls, config: Config, run: RunFolder, codebook: Codebook, device: torch.device, solver: Solver
    ) -> "_Trained":
        cells = CellIndex.load(run.prepared / "cells.safetensors")
        latents = torch.from_numpy(np.load(run.prepared / "latents.npy", mmap_mode="c")).to(device)
        genes, n_latents = len(read_json(run.prepared / "genes.json")["genes"]), latents.shape[1]
        autoencoder = build.untrained_autoencoder(config, n_latents, genes)
        load_weights(run.prepared / "autoencoder.safetensors", autoencoder)
        transport = build.build_transport(config, codebook, n_latents)
        load_weights(run.best, transport)
        batches = cells.batches or ("",)
        batch_codes = codebook.batch_codes([batches[b] for b in cells.batch_of])
        conditions = codebook.encode(cells.conditions, codebook.effects.times.sources(cells.conditions))
        population_cells = build.population_cells(config)
        simulation = Validation([], latents, conditions, batch_codes, solver, config.seed, population_cells)
        networks = transport.to(device).eval(), autoencoder.to(device).eval()
        return cls(config, run, codebook, cells, *networks, simulation)

    def missing(self, effects: EffectsOnGenes, rows: IntArray) -> MeanEffects:
        """What is missed of single genes where counts are decoded, by the rows of cells that the effects are of."""
        observed = ObservedShares.load(effects.folder / OBSERVED_SHARES)
        decoder: CountAutoencoder = self.autoencoder  # type: ignore[assignment]
        source_of = self.cells.source_of(self.codebook.effects.times)
        of_rows = source_of, rows, observed
        return calibrate(self.transport, decoder, self.simulation, self.cells, *of_rows, self.run.gene_by_gene)

    def gate(self, training: IntArray) -> Gate:
        """By the conditions that were held back for validation, and what the rows of training cells tell."""
        of_counts = (self.run.judging.folder / OBSERVED_SHARES).is_file()
        missing = self.missing(self.run.judging, training) if of_counts else None
        unguided = self.config.model_copy(update={"guidance": 1.0})
        decoder = build_decoder(
            unguided, self.run.judging, self.codebook, self.autoencoder, missing, gate=0.0, measures_all=False
        )
        controls, moments = load_by_condition(self.run.judging.folder / HELD_BACK_CONTROLS)
        return gate_of_held_back(
            self.transport,
            decoder,
            self.simulation,
            self.cells,
            self.cells.source_of(self.codebook.effects.times),
            self.run.judging.on_expression(self.codebook),
            MeanEffects.load(self.run.judging.folder / HELD_BACK),
            dict(zip(controls, zip(moments["mean"], moments["variance"], strict=True), strict=True)),
            self._unit_of,
        )

    def _unit_of(self, condition: Condition) -> Hashable:
        """What was held back together with a condition: a perturbation wherever it is, or perturbations together."""
        known = {name for trained in self.codebook.effects.conditions for name in trained.perturbations}
        return next((name for name in condition.perturbations if name not in known), condition.perturbations)
