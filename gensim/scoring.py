"""What every evaluation of files does, whatever says what training knew: leave out, bound, score, write."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gensim.baselines.embedding_bounds import embedding_bounds
from gensim.baselines.gaussian_map import GaussianMaps
from gensim.data.batches import batches_of
from gensim.data.cell_source import FileCells, leave_out, names_digest
from gensim.errors import listing
from gensim.evaluate import EvaluationInputs, evaluate
from gensim.metrics.metric import Metric
from gensim.metrics.report import write_report
from gensim.metrics.results import SPACE, TRUTH_CELLS, Evaluation, Missing
from gensim.metrics.space import MetricSpace
from gensim.perturbations.mean_effects import MeanEffects

log = logging.getLogger("gensim")


@dataclass(frozen=True, slots=True)
class Known:
    """What training knew; see `EvaluationInputs`."""

    space: MetricSpace
    effects: MeanEffects | None = None
    maps: GaussianMaps | None = None
    regressions: Mapping[str, MeanEffects] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """How an evaluation is to be made: see `gensim.evaluate.evaluate`; `out` is the folder of the report, None for
    ``cells.evaluation`` beside the predicted cells."""

    out: Path | None
    seed: int
    metrics: Sequence[Metric]
    missing: Missing | None


def not_trained_on(cells: FileCells, names: Collection[str], notes: list[str]) -> FileCells:
    """Without the cells of these names; `notes` gets a line where there are such."""
    left, n = leave_out(cells, names)
    if n:
        gone = [c.label for c in cells.conditions if c not in left.conditions]
        lost = f"; nothing is left of {listing(gone)}" if gone else ""
        said = f"{n} cells of {str(cells.file.path)!r} have names of training cells and are left out{lost}"
        if said not in notes:  # real and control cells may be in one file
            log.info("%s", said)
            notes.append(said)
    return left


def score(
    prediction: FileCells,
    truth: FileCells,
    controls: FileCells,
    known: Known,
    batch_column: str | None,
    asked: Asked,
) -> tuple[Evaluation, list[str]]:
    """An evaluation with rows that bound what embeddings can do, and notes on what these and the batches rest on."""
    bounds, notes = embedding_bounds(known.effects, truth, controls, asked.seed)
    batches, why = batches_of(truth, controls, prediction, batch_column)
    if why is not None and batch_column is not None:
        notes = [*notes, f"batches: {why}"]
    regressions = {**(known.regressions or {}), **bounds}
    inputs = EvaluationInputs(prediction, truth, controls, known.space, known.effects, known.maps, regressions, batches)
    found = evaluate(inputs, asked.seed, metrics=asked.metrics, pictures=True, missing=asked.missing)
    return found, list(notes)


def write(
    evaluation: Evaluation,
    cells: Path,
    truth: FileCells,
    space: MetricSpace,
    asked: Asked,
    provenance: Mapping[str, Any],
    notes: Sequence[str],
) -> Path:
    """The folder of the report of predicted cells in the file `cells`, with digests of what they were scored on."""
    folder = asked.out or cells.with_name(f"{cells.stem}.evaluation")
    digests = {TRUTH_CELLS: names_digest(truth), SPACE: space.digest}
    write_report(evaluation, folder, {**provenance, "cells": str(cells), **digests}, notes)
    return folder
