"""Everything that is fitted before training, on training cells only, written once for all processes to read."""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import sparse

from gensim.atomic import atomic_path, require_space, write_json
from gensim.autoencoder.base import Autoencoder, ObservedCells, encode_cells, reconstruction_error
from gensim.autoencoder.count import CountAutoencoder, active_units
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.baselines.gaussian_map import GaussianMaps
from gensim.config import Config
from gensim.data.gene_selection import select_genes
from gensim.data.held_out import write_held_out
from gensim.data.screen import Screen, load_screen
from gensim.data.splits import Role, Split, describe, make_split, write_split
from gensim.errors import DataError, listing
from gensim.metrics.space import MetricSpace
from gensim.perturbations.choose_regression import choose_regressions
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.control_populations import ControlPopulations, Population
from gensim.perturbations.observed_shares import ObservedShares
from gensim.perturbations.penetrance import ALL_RESPOND, Responders, fit_penetrance, who_responds
from gensim.perturbations.time_points import TimePoints
from gensim.perturbations.vectors import VectorTable
from gensim.provenance import software
from gensim.training.checkpoint import save_weights
from gensim.training.effects_of_cells import EffectsOfCells, EncodedScreen
from gensim.training.effects_on_genes import EffectsWriter
from gensim.training.own_effects import OwnEffects
from gensim.training.reconstruction import decode_counts, decode_logs, decoded_score, what_latents_hold
from gensim.training.run_folder import (
    GAUSSIAN_MAPS,
    GENE_BY_GENE,
    IN_LATENTS,
    IN_SIMULATION,
    JUDGING,
    OBSERVED_SHARES,
    ON_THETA,
    CellIndex,
    RunFolder,
)
from gensim.training.two_ways import learn_share
from gensim.training.validation import make_tasks
from gensim.types import Condition, FloatArray, IntArray, blocks

log = logging.getLogger("gensim")

NPY_HEADER_BYTES = 128
ROWS_AT_ONCE = 65_536
MOST_COMPONENTS = 50
"""Principal components that stand beside the latents of another autoencoder."""

FitAutoencoder = Callable[[ObservedCells, ObservedCells], Autoencoder]
MakeVectors = Callable[[list[str]], VectorTable]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the config chose, ready to be called.

    Args:
        fit_autoencoder: training cells, validation cells to a fitted autoencoder.
        make_vectors: names of the training perturbations to a table of vectors.
    """

    fit_autoencoder: FitAutoencoder
    make_vectors: MakeVectors


def prepare(config: Config, run: RunFolder, parts: Parts) -> None:
    """Load, check and split the screen, fit autoencoder and metric space, encode all cells, write the results.

    Nothing is written, and no earlier run removed, before the data, the split and the vectors have passed their checks.

    Raises:
        DataError, SplitError: see `load_screen`, `make_split`, `VectorTable.require`, `make_tasks`.
        StoreError: the run folder cannot be written.
    """
    screen = load_screen(config.data)
    split = make_split(screen, config.split, config.seed)
    described = describe(screen, split)
    all_genes = screen.genes
    if config.data.n_highly_variable_genes is not None:
        screen = screen.select_genes(select_genes(screen, split, config.data.n_highly_variable_genes))
    rows = {role: np.flatnonzero(split.role == role) for role in Role}
    training = _perturbed(screen, rows[Role.TRAIN])
    vectors = parts.make_vectors([p for condition in training for p in condition.perturbations])
    vectors.require(p for condition in screen.conditions for p in condition.perturbations)

    _refuse_without_controls(screen, rows[Role.TRAIN], training)
    index = _index(screen, split, np.ones(len(screen.cells), np.float32))
    source_of = index.source_of(TimePoints(training))
    make_tasks(index.condition_of, source_of, rows[Role.VALIDATION], index.controls, most_cells=2)

    log.info("%s", described)
    run.clear()
    run.write_provenance(
        {**software(), "data_digest": screen.digest, "split_digest": split.digest, "vectors": vectors.source}
    )
    run.write_config(config)
    x = screen.log1p_cp10k()
    observed = {role: _observed(screen, x, rows[role]) for role in Role}
    x_train = observed[Role.TRAIN].x
    _warn_of_unseen_genes(observed[Role.TRAIN])
    autoencoder = parts.fit_autoencoder(observed[Role.TRAIN], observed[Role.VALIDATION])
    error: dict[str, Any] = {}
    if not isinstance(autoencoder, CountAutoencoder):
        error = {role.name.lower(): reconstruction_error(autoencoder, x[rows[role]]) for role in Role}
    write_split(run.path, screen, split)
    write_held_out(run.held_out, screen, split, config.data)
    with atomic_path(run.prepared) as folder:
        folder.mkdir()
        shape = (len(screen.cells), autoencoder.n_latents)
        # A disk that fills up under a mapped file kills the process.
        require_space(folder / "latents.npy", 4 * math.prod(shape) + NPY_HEADER_BYTES)
        latents = np.lib.format.open_memmap(folder / "latents.npy", mode="w+", dtype=np.float32, shape=shape)
        encode_cells(autoencoder, x, latents)
        latents.flush()

        # Validation judges with effects that it did not see; what is simulated afterwards has the best there are.
        not_held_out = np.flatnonzero(split.role != Role.HELD_OUT)

        def responders(cells: IntArray) -> Responders:
            # Who escaped cannot be told from who has not responded yet.
            if config.anchor != "responders" or config.data.time_column is not None:
                return Responders(ALL_RESPOND, np.ones(len(latents), np.float32), cells)
            return fit_penetrance(lambda of: latents[of], screen.condition_of, screen.conditions, cells)

        axes = _principal_components(autoencoder, x_train)

        encoded = EncodedScreen(screen, x, latents, autoencoder, axes)
        of_training = responders(rows[Role.TRAIN])
        batches = _batches_of_perturbed(screen, rows[Role.TRAIN])
        populations = ControlPopulations.of(_control_populations(latents, screen, rows[Role.TRAIN]), training)
        contexts = populations.table
        vocabulary = (training, config.data.context_columns, batches, vectors)
        share = 0.0
        if encoded.take_a_share and config.anchor != "none":
            gene_by_gene = learn_share(screen, x, axes.n_latents, rows[Role.TRAIN])
            log.info("%s", gene_by_gene.in_words("effects on genes", "those shrunk gene by gene", by="conditions"))
            write_json(folder / GENE_BY_GENE, asdict(gene_by_gene))
            share = gene_by_gene.share
        judging = EffectsOfCells(encoded, rows[Role.TRAIN], share)
        writer = EffectsWriter(encoded, vectors, contexts)
        also = None if vectors.is_one_hot else judging.on_genes
        judged = choose_regressions(judging.in_latents, vectors, contexts, judged_also_on=also)
        likeness = judged.likeness(vectors, contexts)
        Codebook.fit(*vocabulary, judging.in_latents, of_training.penetrance, likeness, populations).save(folder)
        log.info("%s", who_responds(of_training.penetrance))
        simulating = EffectsOfCells(encoded, not_held_out, share)
        simulating.in_latents.save(folder / IN_LATENTS)
        penetrance = of_training.penetrance
        if len(simulating.in_latents.conditions) > len(judging.in_latents.conditions):
            penetrance = penetrance.with_others(responders(not_held_out).penetrance)
        penetrance.save(folder / IN_SIMULATION)
        held_back = np.setdiff1d(screen.condition_of[rows[Role.VALIDATION]], screen.condition_of[rows[Role.TRAIN]])
        if len(held_back) and config.anchor != "none" and config.data.time_column is None:
            writer.write(folder / JUDGING, judging, judged)
            writer.write_held_back(folder / JUDGING, rows[Role.VALIDATION])
        chosen = choose_regressions(simulating.in_latents, vectors, contexts, judged_also_on=simulating.on_genes)
        regressions = writer.write(folder, simulating, chosen)
        for where, found in regressions.items() if config.anchor != "none" else []:
            for line in found.in_words():
                log.info("%s: %s", where, line)
        decoded = {"pca": decode_logs(axes)}
        if isinstance(autoencoder, CountAutoencoder):
            shares = ObservedShares.load(folder / OBSERVED_SHARES)
            own = OwnEffects(autoencoder, latents, screen, split.role != Role.HELD_OUT, shares)
            if config.autoencoder.dispersion == "gene_condition":  # type: ignore[union-attr]
                own.on_theta(simulating.in_latents.conditions, penetrance).save(folder / ON_THETA)
            decoded["model"] = decode_counts(autoencoder, own.on_genes, config.seed)
            no_effect = np.zeros(len(screen.genes), dtype=np.float32)
            decoded["latents"] = decode_counts(autoencoder, lambda _: no_effect, config.seed)
            active = active_units(latents[rows[Role.TRAIN]], float(autoencoder.latent_scale))
            log.info("autoencoder: %d of %d latents are active", active, autoencoder.n_latents)
            if not active:
                log.warning(
                    "no latent is active: the autoencoder tells no cell from another; lower autoencoder.kl_weight"
                )
            error["active_units"] = active
        elif not isinstance(autoencoder, PCAAutoencoder):
            decoded["model"] = decode_logs(autoencoder)
        held_out = (screen.condition_of[rows[Role.HELD_OUT]], screen.conditions)
        error["decoded"] = {
            name: decoded_score(observed[Role.HELD_OUT], *held_out, decode, config.seed)
            for name, decode in decoded.items()
        }
        space = MetricSpace.fit(x_train, screen.genes)
        space.save(folder / "metric_space.safetensors")
        maps = GaussianMaps.fit(
            lambda cells: space.project(x[cells]), screen.condition_of, screen.conditions, not_held_out
        )
        maps.save(folder / GAUSSIAN_MAPS)
        save_weights(folder / "autoencoder.safetensors", autoencoder)
        index = _index(screen, split, of_training.drawn(screen.condition_of, screen.conditions, config.seed))
        index.save(folder / "cells.safetensors")
        write_json(folder / "genes.json", {"genes": screen.genes, "all_genes": all_genes})
        write_json(folder / "reconstruction.json", {"n_latents": autoencoder.n_latents, **error})
        log.info("%s", what_latents_hold(autoencoder.n_latents, error["decoded"]))


def _perturbed(screen: Screen, rows: IntArray) -> list[Condition]:
    present = np.unique(screen.condition_of[rows])
    return [screen.conditions[k] for k in present if not screen.conditions[k].is_control]


def _batches_of_perturbed(screen: Screen, rows: IntArray) -> list[str]:
    """Experimental batches that have perturbed cells among `rows`: those that a network can learn."""
    is_control = np.array([condition.is_control for condition in screen.conditions])
    present = np.unique(screen.batch_of[rows[~is_control[screen.condition_of[rows]]]])
    return [screen.batches[b] for b in present] if screen.batches else []


def _refuse_without_controls(screen: Screen, rows: IntArray, training: list[Condition]) -> None:
    present = {screen.conditions[k] for k in np.unique(screen.condition_of[rows])}
    alone = [condition.label for condition in training if condition.control not in present]
    if alone:
        raise DataError(
            f"{len(alone)} training conditions have no control cells in their context: {listing(alone)}; "
            "add controls of that context, or remove its cells"
        )


def _control_populations(latents: FloatArray, screen: Screen, rows: IntArray) -> dict[str, Population]:
    """Of the control cells among `rows`, by the keys of the control conditions."""
    populations = {}
    for k in np.unique(screen.condition_of[rows]):
        if screen.conditions[k].is_control:
            of_cells = rows[screen.condition_of[rows] == k]
            populations[screen.conditions[k].key] = Population(latents.shape[1])
            for part in blocks(len(of_cells), ROWS_AT_ONCE):
                populations[screen.conditions[k].key].add(latents[of_cells[part]])
    return populations


def _index(screen: Screen, split: Split, response: FloatArray) -> CellIndex:
    of_cells = (split.role.astype(np.int64), screen.condition_of, screen.batch_of, screen.library_size, response)
    return CellIndex(*of_cells, screen.conditions, screen.batches)


def _principal_components(autoencoder: Autoencoder, x_train: sparse.csr_matrix) -> PCAAutoencoder:
    """As many as the autoencoder has latents, to compare it with."""
    if isinstance(autoencoder, PCAAutoencoder):
        return autoencoder
    return PCAAutoencoder.fit(x_train, min(autoencoder.n_latents, MOST_COMPONENTS))


def _observed(screen: Screen, x: sparse.csr_matrix, rows: IntArray) -> ObservedCells:
    labels = [screen.conditions[k].label for k in screen.condition_of[rows]]
    return ObservedCells(x[rows], screen.x[rows], screen.library_size[rows], screen.genes, labels)


def _warn_of_unseen_genes(train: ObservedCells) -> None:
    unseen = np.flatnonzero(train.x.getnnz(axis=0) == 0)
    if len(unseen):
        names = listing(np.array(train.genes)[unseen])
        log.warning("%d genes are 0 in all training cells and nothing can be learned of them: %s", len(unseen), names)
