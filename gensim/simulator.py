"""`Simulator`: a trained run as a Python object."""

import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from gensim import build
from gensim.autoencoder.count import CountAutoencoder
from gensim.build_decoder import build_decoder
from gensim.config import Config, DataConfig, for_sampling
from gensim.data.conditions import dose_column
from gensim.data.in_memory import AnnData, read_store, write_file
from gensim.data.request import NOVELTY, NOVELTY_DISTANCE, Request, read_request, request_of
from gensim.data.screen import Screen, load_screen
from gensim.data.splits import Role
from gensim.errors import CheckpointError
from gensim.nn.compiled import compile_fields
from gensim.perturbations.control_populations import CONTROL_POPULATIONS
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.novelty import Novelty
from gensim.pseudobulk import Pseudobulk
from gensim.seeding import digest
from gensim.simulate import CELLS_PER_SOLVE, Controls, Engine, Plan, make_plan
from gensim.store import CellStore
from gensim.store_schema import StoreSchema
from gensim.training.checkpoint import load_weights
from gensim.training.run_folder import (
    IN_GENES,
    IN_LATENTS,
    IN_SIMULATION,
    ON_LIBRARY_SIZE,
    ON_SHARES,
    ON_THETA,
    OUTSIDE_LATENTS,
    REGRESSIONS,
    CellIndex,
    RunFolder,
    read_json,
)
from gensim.transport.guidance import Guided
from gensim.types import CellChunk, Condition

log = logging.getLogger("gensim")

BYTES_PER_CHUNK = 32 * 2**20
MOST_NAMED = 10


@dataclass(frozen=True)
class Simulation:
    """A request about to be simulated. Iterating yields chunks, computed as they are asked for.

    Args:
        schema: of the AnnData that the chunks make up.
    """

    engine: Engine
    plan: Plan
    controls: Controls
    schema: StoreSchema

    @property
    def n_chunks(self) -> int:
        return self.schema.n_chunks

    def chunks(self, wanted: Iterable[int]) -> Iterator[CellChunk]:
        """The chunks with the given numbers."""
        return self.engine.chunks(self.plan, self.controls, self.schema.chunk_cells, wanted)

    def __iter__(self) -> Iterator[CellChunk]:
        return self.chunks(range(self.n_chunks))

    def write_chunks(self, store: CellStore, wanted: Iterable[int]) -> Iterator[int]:
        """Simulate the chunks `wanted`, store them on the declared scale, and yield the cells of each."""
        for chunk in self.chunks(wanted):
            counts = chunk.counts if self.schema.scale == "counts" else None
            store.write(chunk, chunk.x if counts is None else counts, Pseudobulk.of(chunk.x, counts, chunk.condition))
            yield len(chunk)

    def to_anndata(self) -> AnnData:
        """All cells in memory, on the declared scale, exactly as `gensim sample` stores them."""
        with tempfile.TemporaryDirectory() as folder:
            store = CellStore.create(Path(folder) / "cells.zarr", self.schema)
            for _ in self.write_chunks(store, range(self.n_chunks)):
                pass
            return read_store(store.finish())


@dataclass(frozen=True)
class Simulator:
    """A trained run that simulates perturbed cells.

    Example:
        >>> simulator = Simulator.load("runs/papalexi")                                          # doctest: +SKIP
        >>> request = pd.DataFrame({"perturbation": ["STAT1", "JAK2+STAT1"], "n_cells": 1000})   # doctest: +SKIP
        >>> adata = simulator.simulate(request=request).to_anndata()                             # doctest: +SKIP
    """

    run: RunFolder
    config: Config
    engine: Engine
    index: CellIndex
    genes: tuple[str, ...]
    all_genes: tuple[str, ...]

    @classmethod
    def load(cls, run: str | Path, device: str = "auto", overrides: Sequence[str] = ()) -> "Simulator":
        """Read a run folder.

        Args:
            overrides: of the run's config, in what belongs to sampling: ``["solver.n_steps=8", "guidance=1.5"]``.

        Raises:
            ConfigError: an override of something else, or settings that do not fit together.
            CheckpointError: not a run, of another version, or not trained to its first validation yet.
        """
        folder = RunFolder(Path(run))
        folder.provenance()
        config = for_sampling(folder.config(), overrides, str(run))
        if not folder.prepared.is_dir() or not folder.best.is_file():
            raise CheckpointError(f"run {str(run)!r} has no trained weights yet; finish its training first")
        genes = read_json(folder.prepared / "genes.json")
        reconstruction = read_json(folder.prepared / "reconstruction.json")
        autoencoder = build.untrained_autoencoder(config, reconstruction["n_latents"], len(genes["genes"]))
        load_weights(folder.prepared / "autoencoder.safetensors", autoencoder)
        codebook = folder.sampling_codebook()
        transport = build.build_transport(config, codebook, autoencoder.n_latents)
        load_weights(folder.best, transport)
        on = build.choose_device(device)
        # What was used is kept with the cells, so that no other device goes on with them in another precision.
        config = config.model_copy(update={"solver": build.with_precision(config.solver, on)})
        solver = build.build_solver(config.solver, on)
        transport = transport.to(on).eval()
        if config.solver.compile:
            compile_fields(transport, on)
        autoencoder = autoencoder.to(on).eval()
        measures_all = config.data.library_size_column is None and genes["genes"] == genes["all_genes"]
        missing = _missing(config, folder) if isinstance(autoencoder, CountAutoencoder) else None
        gate = folder.learned_gate.share if config.gate == "learned" else config.gate
        decoder = build_decoder(
            config, folder.on_genes, codebook, autoencoder, missing, gate, measures_all=measures_all
        )
        engine = Engine(
            Guided(transport, config.guidance) if config.guidance != 1 else transport,
            autoencoder,
            solver,
            codebook,
            decoder,
            build.population_cells(config),
            on,
        )
        index = CellIndex.load(folder.prepared / "cells.safetensors")
        return cls(folder, config, engine, index, tuple(genes["genes"]), tuple(genes["all_genes"]))

    def simulate(
        self,
        controls: AnnData | str | Path | None = None,
        request: pd.DataFrame | str | Path | Request | None = None,
        *,
        seed: int | None = None,
        chunk_cells: int | None = None,
    ) -> Simulation:
        """Simulate the requested conditions from control cells.

        Args:
            controls: control cells to start from, with the columns that the run's config names, on its scale; None
                for the run's own held-back controls.
            request: a row per condition (see `read_request`); None for every held-out condition, with as many cells
                as were measured.
            seed: decides which control cell becomes which cell; None for the run's seed.
            chunk_cells: cells per chunk, a multiple of 1,024; it changes no cell.

        Raises:
            DataError: other genes, an unknown context, a perturbation without a vector, a context without controls.
        """
        screen = self.held_back_controls if controls is None else self._read_controls(controls)
        cells = Controls.of(screen, self.genes, self.all_genes)
        if request is None:
            request = self.held_out_request()
        elif not isinstance(request, Request):
            request = read_request(request, self.config.data, self.known_contexts(cells))
        plan = make_plan(request, cells, self.config.seed if seed is None else seed)
        engine = self._knowing_contexts(cells, plan.conditions)
        engine.codebook.encode(plan.conditions)
        if chunk_cells is None:
            blocks_per_chunk = BYTES_PER_CHUNK // (4 * len(self.genes) * CELLS_PER_SOLVE)
            chunk_cells = CELLS_PER_SOLVE * max(1, blocks_per_chunk)
        novelty = engine.codebook.novelty(plan.conditions)
        _warn_of_far(plan.conditions, novelty)
        schema = self._schema(request, plan, cells, screen.digest, chunk_cells, novelty)
        return Simulation(engine, plan, cells, schema)

    def _knowing_contexts(self, controls: Controls, conditions: Sequence[Condition]) -> Engine:
        """The engine, told what the contexts of the conditions are that the run has no control cells of."""
        engine, known = self.engine, self.engine.codebook.likeness.contexts
        new = {c.control for c in conditions if known is not None and not known.table.has(c.control.key)}
        if not new:
            return engine
        encoded = {control.key: engine.encoded_population(controls, controls.rows_of(control)) for control in new}
        codebook = engine.codebook.knowing_contexts(encoded)
        return replace(engine, codebook=codebook, decoder=engine.decoder.knowing_contexts(encoded))

    def held_out_request(self) -> Request:
        """Every perturbed condition of the held-out set with as many cells as were measured."""
        held_out = self.index.condition_of[self.index.role == Role.HELD_OUT]
        number = {k: n for k, n in Counter(held_out.tolist()).items() if not self.index.conditions[k].is_control}
        conditions = [self.index.conditions[k] for k in sorted(number)]
        return request_of(conditions, [number[k] for k in sorted(number)])

    @cached_property
    def weights_digest(self) -> str:
        """Of all files that were fitted: cells of two models are not put into one store."""
        made = hashlib.blake2b(digest_size=16)
        fitted = (
            "autoencoder.safetensors",
            "vectors.npz",
            "codebook.json",
            CONTROL_POPULATIONS,
            IN_SIMULATION,
            IN_LATENTS,
            IN_GENES,
            REGRESSIONS,
        )
        maybe = (
            self.run.gene_effects,
            self.run.gate,
            *(self.run.prepared / name for name in (OUTSIDE_LATENTS, ON_SHARES, ON_THETA, ON_LIBRARY_SIZE)),
        )
        files = [self.run.best, *(self.run.prepared / name for name in fitted), *(f for f in maybe if f.is_file())]
        for file in files:
            made.update(file.read_bytes())
        return made.hexdigest()

    def known_contexts(self, controls: Controls) -> Mapping[str, set[str]]:
        """Values of every context column that have control cells."""
        columns = self.config.data.context_columns
        return {column: {dict(c.context)[column] for c in set(controls.contexts)} for column in columns}

    @cached_property
    def held_back_controls(self) -> Screen:
        """The run's held-out cells, whose control cells simulations start from unless others are given."""
        return load_screen(self._data_at(self.run.held_out))

    def _read_controls(self, controls: AnnData | str | Path) -> Screen:
        if not isinstance(controls, AnnData):
            return load_screen(self._data_at(Path(controls)))
        # Cells in memory pass through a file, and so through the same checks as any others.
        with tempfile.TemporaryDirectory() as folder:
            return load_screen(self._data_at(write_file(controls, Path(folder))))

    def _data_at(self, path: Path) -> DataConfig:
        return self.config.data.model_copy(update={"path": str(path), "layer": None})

    def _schema(
        self,
        request: Request,
        plan: Plan,
        controls: Controls,
        controls_digest: str,
        chunk_cells: int,
        novelty: Sequence[Novelty],
    ) -> StoreSchema:
        data = self.config.data
        table = pd.DataFrame({"condition": [c.label for c in plan.conditions]})
        table["perturbation"] = [
            _perturbation_text(c, data.control_label, data.combination_separator) for c in plan.conditions
        ]
        table = table.rename(columns={"perturbation": data.perturbation_column})
        for column in data.context_columns:
            table[column] = [dict(c.context)[column] for c in plan.conditions]
        if data.dose_column is not None:
            table[data.dose_column] = dose_column(plan.conditions, data.combination_separator)
        if data.time_column is not None:
            table[data.time_column] = [c.time or 0.0 for c in plan.conditions]
        table[NOVELTY] = [of.level for of in novelty]
        table[NOVELTY_DISTANCE] = [of.distance for of in novelty]
        table = pd.concat([table, request.extra.reset_index(drop=True)], axis=1)
        sources = pd.DataFrame(index=pd.Index(controls.cells, name="source_cell"))
        if data.batch_column is not None:
            sources[data.batch_column] = list(controls.batches)
        provenance = self.run.provenance()
        provenance |= {
            "run": str(self.run.path),
            "control_label": data.control_label,
            "seed": plan.seed,
            "sampling": self.config.model_dump(
                mode="json", include={"transport", "solver", "guidance", "gate", "cells", "autoencoder"}
            ),
            "request_digest": digest([c.key for c in plan.conditions], plan.ends.tolist()),
            "controls_digest": controls_digest,
            "gate": None if self.engine.decoder.on_genes is None else self.engine.decoder.gate,
            "weights_digest": self.weights_digest,
        }
        scale = self.config.cells or data.scale
        return StoreSchema(
            self.genes, scale, plan.n_cells, chunk_cells, table, sources, provenance, integers=scale == "counts"
        )


def _warn_of_far(conditions: Sequence[Condition], novelty: Sequence[Novelty]) -> None:
    far = {condition.label: of for condition, of in zip(conditions, novelty, strict=True) if of.level == "far"}
    if far:
        shown = "; ".join(f"{label!r} ({', '.join(of.reasons)})" for label, of in list(far.items())[:MOST_NAMED])
        more = f" and {len(far) - MOST_NAMED} more" if len(far) > MOST_NAMED else ""
        log.warning("%d conditions lie far from all that was measured: %s%s", len(far), shown, more)


def _missing(config: Config, run: RunFolder) -> MeanEffects | None:
    """What the trained model misses of single genes; None where nothing is anchored, or it is not known yet."""
    if config.anchor == "none":
        return None
    if not run.gene_effects.is_file():
        log.warning("run %r is still in training: what it misses of single genes is not known yet", str(run.path))
        return None
    return MeanEffects.load(run.gene_effects)


def _perturbation_text(condition: Condition, control_label: str, separator: str) -> str:
    return separator.join(condition.perturbations) or control_label
