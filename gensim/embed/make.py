"""`gensim embed`: from a table of prior knowledge to a file of perturbation vectors."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gensim.config import load_config
from gensim.data.screen import load_screen, read_conditions
from gensim.data.splits import Role, make_split
from gensim.embed.aliases import Resolved, resolve
from gensim.embed.annotation import annotation_vectors
from gensim.embed.expression import expression_vectors
from gensim.embed.network import network_vectors
from gensim.embed.prior_file import column, read_prior, two_columns
from gensim.embed.smiles import smiles_vectors
from gensim.embed.vector_file import file_digest, refuse_output, write_vectors
from gensim.errors import DataError, listing
from gensim.perturbations.vectors import VectorTable, read_vector_table

log = logging.getLogger("gensim")

Pairs = tuple[Iterable[str], Iterable[str]]
"""Symbols and aliases."""
PAIRS: dict[str, Callable[[pd.Series, pd.Series, int, str], VectorTable]] = {
    "annotation": annotation_vectors,
    "smiles": smiles_vectors,
}


@dataclass(frozen=True, slots=True)
class ForScreen:
    """Whose names a table of vectors should have.

    Args:
        config: of a run on the screen, a YAML file. overrides: of it.
        aliases: a table with pairs of symbol and alias in its first two columns; None for none.
    """

    config: Path
    overrides: list[str]
    aliases: Path | None


def embed_pairs(
    kind: str,
    path: Path,
    out: Path,
    n: int,
    *,
    names: tuple[str, str] | None,
    screen: ForScreen | None,
    overwrite: bool,
) -> Path:
    """Vectors from a table of two columns: genes and what they are annotated with, or compounds and their SMILES.

    Args:
        kind: one of `PAIRS`.
        names: the columns; None for the first two.

    Raises:
        ConfigError, DataError, StoreError: rdkit, the table, the screen or `out` cannot be used.
    """

    def make() -> VectorTable:
        return PAIRS[kind](*two_columns(read_prior(path), names, path), n, str(path))

    return _embed(make, path, out, {"kind": kind, "n": n, "columns": names}, screen, overwrite)


def embed_table(path: Path, out: Path, *, screen: ForScreen, overwrite: bool) -> Path:
    """A table of vectors from elsewhere, with rows for the names of the screen that it knows under others.

    Args:
        path: see `read_vector_table`.

    Raises:
        ConfigError, DataError, StoreError: the table, the screen or `out` cannot be used.
    """
    return _embed(lambda: read_vector_table(path), path, out, {"kind": "table"}, screen, overwrite)


def embed_network(
    path: Path,
    out: Path,
    n: int,
    *,
    names: tuple[str, str] | None,
    weight: str | None,
    cost: str | None,
    sign: list[str],
    directed: bool,
    method: str,
    screen: ForScreen | None,
    overwrite: bool,
) -> Path:
    """Vectors from a table of edges; see `network_vectors`.

    Args:
        names: columns of the two genes; None for the first two.
        weight: column of weights, large for strong edges; cost: of costs from 0 to 1, small for strong ones (weight
            1 - cost). At most one of them; neither: every edge weighs 1.
        sign: a column that is below 0 for edges that inhibit (0 is unsigned); or two columns of 0 and 1, for edges that
            stimulate and for such that inhibit, of which an edge with both or neither counts as unsigned.
        method: walks or spectral.

    Raises:
        DataError, StoreError: the table, the screen or `out` cannot be used.
    """
    settings = {
        "kind": "network", "n": n, "columns": names, "weight": weight, "cost": cost, "sign": sign, "directed": directed,
        "method": method,
    }  # fmt: skip

    def make() -> VectorTable:
        edges = read_prior(path)
        first, second = two_columns(edges, names, path)

        def numbers(name: str) -> NDArray[np.float64]:
            values = pd.to_numeric(column(edges, name, path), errors="coerce").to_numpy(np.float64)
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                came = edges[name].iloc[bad[0]]
                raise DataError(
                    f"column {name!r} of {str(path)!r} is not numeric in {len(bad)} rows, first in data row "
                    f"{bad[0] + 1} with {came!r}; correct or drop them"
                )
            return values

        strength = np.ones(len(edges))
        if weight is not None:
            strength = numbers(weight)
        elif cost is not None:
            strength = 1 - numbers(cost)
            if not ((strength >= 0) & (strength <= 1)).all():
                raise DataError(f"column {cost!r} of {str(path)!r} has costs outside 0 to 1; use --weight for others")
        if sign and (strength < 0).any():
            raise DataError(f"column {weight!r} of {str(path)!r} has negative weights, and --sign gives signs; use one")
        if len(sign) == 1:
            strength = np.where(numbers(sign[0]) < 0, -strength, strength)
        elif len(sign) == 2:
            stimulates, inhibits = (numbers(name) > 0 for name in sign)
            strength = np.where(inhibits & ~stimulates, -strength, strength)
        return network_vectors(first, second, strength, n, str(path), directed=directed, method=method)

    return _embed(make, path, out, settings, screen, overwrite)


def embed_expression(
    config: Path, overrides: list[str], out: Path, n: int, *, aliases: Path | None, overwrite: bool
) -> Path:
    """Vectors of the genes that a screen measures, from the training control cells of a run; see `expression_vectors`.

    Args:
        aliases: see `ForScreen`; for perturbations that are named otherwise than the genes.

    Raises:
        ConfigError, DataError, SplitError, StoreError: the screen, its split, the aliases or `out` cannot be used.
    """
    refuse_output(out, overwrite)
    settings = load_config(config, overrides)
    pairs = _pairs(aliases)
    screen = load_screen(settings.data)
    split = make_split(screen, settings.split, settings.seed)
    is_control = np.array([condition.is_control for condition in screen.conditions])
    rows = np.flatnonzero(is_control[screen.condition_of] & (split.role == Role.TRAIN))
    table = expression_vectors(screen, rows, n, str(config))
    log.info("%d vectors of %d features from %d control cells", len(table.names), n, len(rows))
    wanted = sorted({name for condition in screen.conditions for name in condition.perturbations})
    table, resolved = _named_as(table, wanted, pairs)
    source = {"source": list(settings.data.paths), "data_digest": screen.digest, "split_digest": split.digest}
    made_from = {"kind": "expression", "n": n, **source, "renamed": resolved.renamed, **_digest_of_aliases(aliases)}
    write_vectors(table, out, made_from, overwrite)
    return out


def _embed(
    make: Callable[[], VectorTable],
    path: Path,
    out: Path,
    settings: Mapping[str, Any],
    screen: ForScreen | None,
    overwrite: bool,
) -> Path:
    """Make and write a table, with rows for the names of the screen."""
    refuse_output(out, overwrite)
    wanted = _perturbations(screen) if screen is not None else []
    pairs = _pairs(screen.aliases if screen is not None else None)
    table = make()
    log.info("%d vectors of %d features from %s", len(table.names), table.vectors.shape[1], path)
    made_from: dict[str, Any] = {**settings, "source": str(path), "source_digest": file_digest(path)}
    if screen is not None:
        table, resolved = _named_as(table, wanted, pairs)
        if not resolved.found:
            raise DataError(
                f"no perturbation of the screen has a vector in {path}: {listing(wanted)}; it names "
                f"{listing(table.names)}. Are these the same kind of names? --aliases may help{resolved.hint}"
            )
        made_from |= {"for": str(screen.config), "overrides": screen.overrides, "renamed": resolved.renamed}
        made_from |= _digest_of_aliases(screen.aliases)
    write_vectors(table, out, made_from, overwrite)
    return out


def _pairs(aliases: Path | None) -> Pairs:
    return two_columns(read_prior(aliases), None, aliases) if aliases is not None else ((), ())


def _digest_of_aliases(aliases: Path | None) -> dict[str, str]:
    return {"aliases": str(aliases), "aliases_digest": file_digest(aliases)} if aliases is not None else {}


def _perturbations(screen: ForScreen) -> list[str]:
    config = load_config(screen.config, screen.overrides)
    return sorted({name for condition in read_conditions(config.data) for name in condition.perturbations})


def _named_as(table: VectorTable, wanted: list[str], pairs: Pairs) -> tuple[VectorTable, Resolved]:
    """The table with a row more for every wanted name that it knows under another; what was found is reported."""
    resolved = resolve(wanted, table.names, *pairs)
    log.info("%s", resolved)
    row = {name: i for i, name in enumerate(table.names)}
    rows = [*range(len(table.names)), *(row[theirs] for theirs in resolved.renamed.values())]
    return VectorTable((*table.names, *resolved.renamed), table.vectors[rows], table.source), resolved
