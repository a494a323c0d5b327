"""Which cells train a model, which stop its training, and which are held out for the final score."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gensim.atomic import atomic_path, write_json
from gensim.config import CellShareSplit, SplitConfig
from gensim.data.hold_out import held_out_conditions, validation_conditions
from gensim.data.screen import Screen
from gensim.errors import SplitError, listing
from gensim.seeding import digest, numpy_generator
from gensim.types import Condition, IntArray

DEFINITION = "split.json"
CELLS = "split_cells.parquet"


class Role(IntEnum):
    """What a cell is for."""

    TRAIN = 0
    VALIDATION = 1
    HELD_OUT = 2


@dataclass(frozen=True, eq=False)
class Split:
    """The role of every cell of one screen.

    Args:
        role: (N,) int8 values of `Role`, in the order of the screen.
        definition: seed, config, the keys of the conditions held out whole, and the perturbations held out.
        digest: of the definition and of every (cell, role), whatever the order of the cells.
    """

    role: NDArray[np.int8]
    definition: dict[str, Any]
    digest: str

    def rows(self, role: Role) -> IntArray:
        """Rows of the screen with this role."""
        return np.flatnonzero(self.role == role)


def make_split(screen: Screen, config: SplitConfig, seed: int) -> Split:
    """Give every cell of the screen a role; the same seed gives the same roles, in whatever order the cells come.

    Conditions that are held out, or held back for validation, whole give no cell to training. Of the controls of every
    context shares of cells are taken, and of the other conditions too where validation has no whole ones, alike from
    every experimental batch as far as numbers allow. A condition with few cells first keeps one for training, then
    gives one to be held out (where it is shared), then one to validation.

    Raises:
        ConfigError, SplitError: see `held_out_conditions` and `check_split`.
    """
    whole, names = held_out_conditions(screen, config, seed)
    validation = set(validation_conditions(screen, config, whole, seed))
    of_cells = config.test.fraction if isinstance(config.test, CellShareSplit) else 0.0
    held_out = set(whole)
    role = np.full(len(screen), Role.TRAIN, dtype=np.int8)
    for condition in screen.conditions:
        rows = screen.rows_of(condition)
        if condition in held_out:
            role[rows] = Role.HELD_OUT
            continue
        if condition in validation:
            role[rows] = Role.VALIDATION
            continue
        ordered = _shuffled(screen, rows, condition, seed)
        share = config.control_fraction if condition.is_control else of_cells
        n_held_out, n_validation = _shares(len(rows), share, config.validation_fraction)
        if validation and not condition.is_control:
            n_validation = 0
        role[ordered[:n_held_out]] = Role.HELD_OUT
        role[ordered[n_held_out : n_held_out + n_validation]] = Role.VALIDATION
    definition = {
        "seed": seed,
        "config": config.model_dump(mode="json"),
        "held_out_conditions": [condition.key for condition in whole],
        "held_out_perturbations": names,
    }
    split = Split(role, definition, _digest(screen, role, definition))
    check_split(screen, split)
    return split


def check_split(screen: Screen, split: Split) -> None:
    """Search the cells for what would make the score meaningless.

    Raises:
        SplitError: the split belongs to other cells, holds out no perturbed cell, leaves no perturbed cell to training,
            a held-out condition or perturbation occurs among training or validation cells, or a held-out condition has
            no control cells in its context.
    """
    if len(split.role) != len(screen):
        raise SplitError(f"the split has {len(split.role)} cells and the screen {len(screen)}; make the split anew")
    counts = role_counts(screen, split)
    used, held_out = _conditions_in(screen, counts[:, :2].sum(axis=1)), _conditions_in(screen, counts[:, Role.HELD_OUT])
    if not any(not condition.is_control for condition in held_out):
        raise SplitError("the split holds out no perturbed cell; hold out more, or give every condition more cells")
    if not any(not condition.is_control for condition in _conditions_in(screen, counts[:, Role.TRAIN])):
        raise SplitError("the split leaves no perturbed cell to training; hold out less")
    whole = set(split.definition["held_out_conditions"])
    leaked = [condition.label for condition in used if condition.key in whole]
    if leaked:
        raise SplitError(f"held-out conditions have cells in training or validation: {listing(leaked)}; make it anew")
    names = set(split.definition["held_out_perturbations"])
    leaked = sorted({name for condition in used for name in condition.perturbations} & names)
    if leaked:
        raise SplitError(f"held-out perturbations occur in training or validation: {listing(leaked)}; make it anew")
    controls = {condition.context for condition in screen.controls}
    alone = [condition.label for condition in held_out if condition.context not in controls]
    if alone:
        raise SplitError(
            f"{len(alone)} held-out conditions have no control cells in their context: {listing(alone)}; "
            "add controls of that context, or hold out others"
        )


def role_counts(screen: Screen, split: Split) -> IntArray:
    """(K, 3) number of cells of every condition in every role."""
    joint = screen.condition_of * len(Role) + split.role
    return np.bincount(joint, minlength=len(screen.conditions) * len(Role)).reshape(-1, len(Role))


def describe(screen: Screen, split: Split) -> str:
    """A table for people: cells and conditions in every role, and what training and held-out cells share."""
    counts = role_counts(screen, split)
    control = np.array([condition.is_control for condition in screen.conditions])
    lines = [f"{'role':<12}{'cells':>10}{'controls':>10}{'perturbed':>11}{'perturbed conditions':>22}"]
    for role in Role:
        n = counts[:, role]
        name = role.name.lower().replace("_", " ")
        perturbed = n[~control]
        lines.append(f"{name:<12}{n.sum():>10}{n[control].sum():>10}{perturbed.sum():>11}{(perturbed > 0).sum():>22}")
    held_out = (counts[:, Role.HELD_OUT] > 0) & ~control
    seen = held_out & (counts[:, Role.TRAIN] > 0)
    shared = len(np.intersect1d(screen.cells[split.rows(Role.TRAIN)], screen.cells[split.rows(Role.HELD_OUT)]))
    lines.append(
        f"held out: seen conditions: {seen.sum()}; unseen: {(held_out & ~seen).sum()}; cells in both: {shared}"
    )
    return "\n".join(lines)


def write_split(folder: str | Path, screen: Screen, split: Split) -> None:
    """Write the definition, the seed, the number of cells per condition and role, and the role of every cell."""
    folder = Path(folder)
    names = np.array([role.name.lower() for role in Role])
    with atomic_path(folder / CELLS) as unfinished:
        table = pd.DataFrame({"cell": screen.cells.astype(object), "role": names[split.role]})
        table.to_parquet(unfinished, index=False)
    counts = [
        {"condition": condition.label, "key": condition.key} | dict(zip(names.tolist(), row, strict=True))
        for condition, row in zip(screen.conditions, role_counts(screen, split).tolist(), strict=True)
    ]
    content = {
        "digest": split.digest,
        "data_digest": screen.digest,
        "seed": split.definition["seed"],
        "definition": split.definition,
        "cells_per_condition": counts,
    }
    write_json(folder / DEFINITION, content)


def _digest(screen: Screen, role: NDArray[np.int8], definition: dict[str, Any]) -> str:
    """Digest of a definition and of (cell, role), sorted by cell."""
    order = np.argsort(screen.cells, kind="stable")
    return digest(definition, screen.cells[order].tolist(), role[order].tolist())


def _shares(n_cells: int, share: float, validation_fraction: float) -> tuple[int, int]:
    """How many of `n_cells` are held out, and how many of the rest are for validation."""
    n_held_out = 0
    if share > 0 and n_cells > 1:
        # From three cells on, one stays for validation beside the one for training.
        n_held_out = min(max(1, round(n_cells * share)), max(1, n_cells - 2))
    rest = n_cells - n_held_out
    return n_held_out, min(max(1, round(rest * validation_fraction)), rest - 1) if rest > 1 else 0


def _shuffled(screen: Screen, rows: IntArray, condition: Condition, seed: int) -> IntArray:
    """The rows in random order, such that any first part holds the same share of every batch, within one cell."""
    rng = numpy_generator(seed, "split", condition.key)
    by_name = rows[np.argsort(screen.cells[rows], kind="stable")]
    shuffled = rng.permutation(by_name)
    batch = screen.batch_of[shuffled]
    position = np.empty(len(rows))
    for code in np.unique(batch):
        here = np.flatnonzero(batch == code)
        position[here] = (np.arange(len(here)) + rng.random()) / len(here)
    return shuffled[np.argsort(position, kind="stable")]


def _conditions_in(screen: Screen, counts: IntArray) -> list[Condition]:
    return [condition for condition, count in zip(screen.conditions, counts, strict=True) if count > 0]


def read_used_cells(folder: str | Path) -> set[str]:
    """Names of the cells that a run was trained or validated on, from what `write_split` left in its folder.

    Raises:
        SplitError: the file is missing or damaged.
    """
    path = Path(folder) / CELLS
    try:
        table = pd.read_parquet(path, columns=["cell", "role"])
    except (ValueError, KeyError, OSError) as error:
        raise SplitError(f"the split {str(path)!r} cannot be read ({error}); train the run again") from error
    return set(table["cell"][table["role"] != Role.HELD_OUT.name.lower()])
