"""What each command does, as functions: train, sample, evaluate, simulate a screen."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs, PartialState
from accelerate.state import AcceleratorState

from gensim import build
from gensim.after_training import measure_trained
from gensim.atomic import write_json
from gensim.baselines.gaussian_map import GaussianMaps
from gensim.baselines.regressions import in_words, regression_rows
from gensim.config import Config
from gensim.data.cell_source import FileCells, cell_source_from_file
from gensim.data.pairs import PairSampler, make_groups
from gensim.data.pseudobulk_file import write_pseudobulk
from gensim.data.splits import Role, read_used_cells
from gensim.errors import CheckpointError, ConfigError, StoreError
from gensim.metrics.catalogue import DEFAULT, Metric
from gensim.metrics.results import ConditionResult, Evaluation, Missing
from gensim.metrics.space import MetricSpace
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.novelty import Novelty
from gensim.scoring import Asked, Known, not_trained_on, score, write
from gensim.simulator import Simulator
from gensim.solvers.base import Solver
from gensim.store import CellStore
from gensim.training.loop import Trainer
from gensim.training.prepare import Parts, prepare
from gensim.training.progress_bar import progress_bar
from gensim.training.reconstruction import what_latents_hold
from gensim.training.reflow_stage import TEACHER_SOLVER, keep_student, reflow_stage
from gensim.training.run_folder import GAUSSIAN_MAPS, IN_GENES, CellIndex, RunFolder
from gensim.training.validation import Validation, make_tasks
from gensim.types import Condition

log = logging.getLogger("gensim")

MOST_NAMED = 20
LONGEST_WAIT = timedelta(days=1)
"""For which processes wait for one that prepares data or simulates; the default of minutes ends large runs."""


def train(config: Config, *, device: str = "auto", overwrite: bool = False) -> Path:
    """Fit a run, or go on with one that was interrupted. Call it in every process of `accelerate launch`.

    Returns:
        The run folder, which `Simulator.load` reads.

    Raises:
        GensimError: see `prepare`, `Trainer.fit`, `RunFolder.begin`.
    """
    run = RunFolder(Path(config.run))
    accelerator = _accelerator(config, run, device)
    # Before anything is written: a method that does not exist is refused here.
    solver = build.build_solver(config.solver, accelerator.device)
    if accelerator.is_main_process and run.begin(config, overwrite):
        prepare(
            config,
            run,
            Parts(
                fit_autoencoder=partial(build.fit_autoencoder, config, device=accelerator.device),
                make_vectors=partial(build.make_vectors, config),
            ),
        )
    accelerator.wait_for_everyone()
    log.info("%s", config.to_yaml())
    accelerator.init_trackers("tensorboard")
    # Weights are judged as they will be used: those of a teacher by its own solver.
    reflow = config.training.reflow_cells > 0
    summary = _trainer(config, run, accelerator, TEACHER_SOLVER if reflow else solver).fit()
    if reflow:
        summary["reflow"] = reflow_stage(_trainer(config, run, accelerator, solver), run).fit()
        if accelerator.is_main_process:
            keep_student(run)
    if accelerator.is_main_process:
        measure_trained(config, run, accelerator.device, solver)
        write_json(run.summary, summary)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.path


def _trainer(config: Config, run: RunFolder, accelerator: Accelerator, solver: Solver) -> Trainer:
    """All parts of training, read from what `prepare` wrote; validation simulates with `solver`."""
    cells = CellIndex.load(run.prepared / "cells.safetensors")
    codebook = Codebook.load(run.prepared)
    # Copy-on-write mapping: on the CPU latents stay in the file, on an accelerator they are moved there once.
    latents = torch.from_numpy(np.load(run.prepared / "latents.npy", mmap_mode="c")).to(accelerator.device)
    rows = {role: np.flatnonzero(cells.role == role) for role in Role}
    hides = config.anchor != "none" and config.training.label_dropout > 0
    times = codebook.effects.times
    conditions = codebook.encode(cells.conditions, times.sources(cells.conditions), elsewhere=hides)
    batches = cells.batches or ("",)
    batch_codes = codebook.batch_codes([batches[b] for b in cells.batch_of])
    source_of = cells.source_of(times)
    groups = make_groups(cells.condition_of, source_of, cells.batch_of, rows[Role.TRAIN], cells.controls)
    sampler = PairSampler(
        latents,
        groups,
        conditions,
        [condition.label for condition in cells.conditions],
        batch_codes,
        build.build_coupling(config),
        cells_per_group=config.training.cells_per_group,
        groups_per_step=config.training.groups_per_step,
        cells_per_plan=config.coupling.cells_per_plan,
        plan_reuse=config.coupling.plan_reuse,
        cost=config.coupling.cost,
        rare_condition_power=config.training.rare_condition_power,
        seed=config.seed,
        response=torch.from_numpy(cells.response).to(accelerator.device),
        population_cells=build.population_cells(config),
    )
    most = config.training.validation_cells_per_condition
    tasks = make_tasks(cells.condition_of, source_of, rows[Role.VALIDATION], cells.controls, most)
    trained_on = set(np.unique(cells.condition_of[rows[Role.TRAIN]]).tolist())
    of_new = not trained_on & {task.condition for task in tasks}
    population_cells = build.population_cells(config)
    return Trainer(
        transport=build.build_transport(config, codebook, latents.shape[1]),
        sampler=sampler,
        validation=Validation(tasks, latents, conditions, batch_codes, solver, config.seed, population_cells, of_new),
        cells=cells,
        config=config.training,
        seed=config.seed,
        folder=run.training,
        accelerator=accelerator,
    )


def sample(
    run: Path,
    out: Path,
    *,
    request: Path | None = None,
    controls: Path | None = None,
    device: str = "auto",
    seed: int | None = None,
    overwrite: bool = False,
    chunk_cells: int | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Simulate a request into a Zarr store, or go on with one that was interrupted; pseudobulk is put beside it.

    Every process of `accelerate launch` makes whole chunks of its own. `overrides`: see `Simulator.load`.

    Returns:
        The store, an AnnData in Zarr format.
    """
    if out.suffix == ".h5ad":
        raise StoreError(
            f"cells are written as a Zarr store, not as .h5ad; use --out {out.with_suffix('.zarr')}, then gensim export"
        )
    state = PartialState(cpu=device == "cpu", timeout=LONGEST_WAIT)
    simulator = Simulator.load(run, str(state.device) if device == "auto" else device, overrides)
    simulation = simulator.simulate(controls, request, seed=seed, chunk_cells=chunk_cells)
    schema = simulation.schema
    if state.is_main_process:
        store = CellStore.create(out, schema, overwrite=overwrite)
    state.wait_for_everyone()
    if not state.is_main_process:
        store = CellStore.open(out, schema)
    mine = [i for i in store.missing_chunks() if i % state.num_processes == state.process_index]
    state.wait_for_everyone()
    with progress_bar(state.is_main_process) as bar:
        task = bar.add_task("simulating", total=schema.n_cells // state.num_processes, loss="")
        for cells in simulation.write_chunks(store, mine):
            bar.update(task, advance=cells)
    state.wait_for_everyone()
    if state.is_main_process:
        bulk_path = pseudobulk_path(out)
        write_pseudobulk(bulk_path, store.pseudobulk(), schema.conditions, schema.genes, schema.provenance)
        store.finish()
        log.info("%d cells in %s, pseudobulk in %s", schema.n_cells, out, bulk_path)
    state.wait_for_everyone()
    return out


def pseudobulk_path(cells: Path) -> Path:
    """Where the pseudobulk of a store lies: ``cells.zarr`` has ``cells.pseudobulk.h5ad`` beside it."""
    return cells.with_name(f"{cells.name.removesuffix('.zarr')}.pseudobulk.h5ad")


def _accelerator(config: Config, run: RunFolder, device: str) -> Accelerator:
    """Accelerate's handle on devices and processes, with TensorBoard where it is installed."""
    build.choose_device(device)
    trackers = ["tensorboard"] if find_spec("tensorboard") else []
    precision = config.training.mixed_precision
    AcceleratorState._reset_state()  # a process that trains twice may do so in another precision
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision=precision,
        log_with=trackers,
        project_dir=run.path,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )
    wanted, found = torch.device(device) if device != "auto" else accelerator.device, accelerator.device
    if wanted.type != found.type or wanted.index not in (None, found.index):
        raise ConfigError(f"--device {device}: Accelerate works on {found} here; use auto, or CUDA_VISIBLE_DEVICES")
    return accelerator


def evaluate_cells(
    cells: Path,
    run: Path,
    *,
    truth: Path | None = None,
    controls: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    metrics: Sequence[Metric] = DEFAULT,
    missing: Missing | None = None,
    workers: int | None = None,
) -> tuple[Evaluation, Path]:
    """Score simulated against real cells, in the space and beside the baselines of a run; write the report.

    Args:
        cells: simulated cells, by `sample` or by anything else that has the run's genes and columns.
        truth: real cells; None for the run's held-out cells. Cells that the run was trained or validated on are
            left out by name, so the screen itself will do.
        controls: control cells for the baselines; None for the run's held-back ones.
        out: folder of the report; None for ``cells.evaluation`` beside ``cells.zarr``.
        metrics: those of the catalogue that are asked for.
        missing: what stands for conditions that were not predicted; None: they are not scored.
        workers: conditions that are scored at once; see `gensim.evaluate.evaluate`.

    Returns:
        The evaluation, and the folder of the report; see `write_report`.

    Raises:
        DataError: nothing to score, other genes, another scale, values that are not finite.
        CheckpointError: `run` is not a run.
    """
    folder = RunFolder(run)
    provenance = folder.provenance()
    config = folder.config()
    data = config.data
    if not folder.prepared.is_dir():
        raise CheckpointError(f"run {str(run)!r} is not trained yet; finish its training first")
    space = MetricSpace.load(folder.prepared / "metric_space.safetensors")

    def source(path: Path) -> FileCells:
        return cell_source_from_file(path, data.model_copy(update={"layer": None}), space.genes)

    notes: list[str] = []
    used = read_used_cells(run)
    real, started_from = (not_trained_on(source(path or folder.held_out), used, notes) for path in (truth, controls))
    effects, codebook = MeanEffects.load(folder.prepared / IN_GENES), folder.sampling_codebook()
    regressions = regression_rows(codebook, effects, real.conditions)
    informed = {row: regressed.effects for row, regressed in regressions.items()}
    known = Known(space, effects, GaussianMaps.load(folder.prepared / GAUSSIAN_MAPS), informed)
    asked = Asked(out, seed, metrics, missing, workers)
    evaluation, of_rows = score(source(cells), real, started_from, known, data.batch_column, asked)
    scored = [result.condition for result in evaluation.results]
    novelty = _novelty(codebook, scored)
    evaluation = replace(evaluation, results=tuple(map(_with_novelty, evaluation.results, novelty)))
    notes += [
        *_novelty_notes(scored, novelty),
        _reconstruction_note(folder),
        *of_rows,
        *in_words(regressions, scored),
    ]
    of_run = {"run": str(run), "run_seed": config.seed, "split": config.split.model_dump(mode="json")}
    return evaluation, write(evaluation, cells, real, space, asked, {**provenance, **of_run}, notes)


def _with_novelty(result: ConditionResult, of: Novelty | None) -> ConditionResult:
    if of is None:
        return result
    return replace(result, novelty=of.level, novelty_distance=None if math.isnan(of.distance) else of.distance)


def _novelty(codebook: Codebook, conditions: Sequence[Condition]) -> list[Novelty | None]:
    """None in a context that the run has no control cells of: the cells themselves say what they rest on."""
    contexts = codebook.likeness.contexts
    return [
        of if contexts is None or contexts.table.has(condition.control.key) else None
        for condition, of in zip(conditions, codebook.novelty(conditions), strict=True)
    ]


def _novelty_notes(conditions: Sequence[Condition], novelty: Sequence[Novelty | None]) -> list[str]:
    """What the first conditions that were not measured rest on."""
    elsewhere = "in a context that the run has no control cells of; obs of the simulated cells has their novelty"
    notes = [
        f"{condition.label}: {elsewhere if of is None else of}"
        for condition, of in zip(conditions, novelty, strict=True)
        if of is None or of.reasons
    ]
    more = [f"and {len(notes) - MOST_NAMED} more that were not measured"] if len(notes) > MOST_NAMED else []
    return notes[:MOST_NAMED] + more


def _reconstruction_note(run: RunFolder) -> str:
    """What the latents could hold at all, which bounds every gene-level result."""
    found = json.loads((run.prepared / "reconstruction.json").read_text())
    return what_latents_hold(found["n_latents"], found["decoded"])
