"""Which gene regulates which: a signed network, drawn by seed or given as a table of edges.

Production of gene i, after SERGIO (Dibaeinia & Sinha 2020), in molecules per unit of time::

    P_i = leak_i + sum_j K_ij h_j        for an activator j
                 + sum_j K_ij (1 - h_j)  for a repressor j,     h_j = x_j^n / (m_j^n + x_j^n)

The half-response of a regulator is its reference level m_j, so that every h_j is 1/2 where x = m, and the maximal
contributions K_ij are scaled such that P_i = decay_i m_i there: x = m is a steady state of any network, loops or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gensim.errors import DataError, listing, nearest
from gensim.seeding import numpy_generator

EDGE_COLUMNS = ("regulator", "target", "sign", "weight")
HILL_EXPONENT = 2.0
LEAK = 0.1
"""Share of a regulated gene's reference production that needs no regulator."""
MEDIAN_LEVEL, SPREAD_OF_LEVELS, LOWEST_LEVEL, HIGHEST_LEVEL = 20.0, 0.8, 2.0, 500.0
"""Reference levels in molecules per cell: log-normal, clipped."""
SPREAD_OF_DECAY = 0.2

MASTER_SHARE = 0.4
ACTIVATOR_SHARE = 0.7
HOUSEKEEPING_SHARE = 0.1
MOST_REGULATORS_PER_GENE = 4
REGULATORS_PER_MODULE, MODULE_PREFERENCE = 5, 8.0


@dataclass(frozen=True)
class RegulatoryNetwork:
    """E signed edges among G genes, with the kinetic constants of every gene.

    Args:
        genes: G names.
        regulator, target: (E,) int64 positions in `genes`.
        sign: (E,) int64, 1 activates and -1 represses.
        weight: (E,) relative strength among the regulators of one target, positive.
        level: (G,) reference level m, molecules per cell.
        decay: (G,) decay rate, per unit of time.
    """

    genes: tuple[str, ...]
    regulator: NDArray[np.int64]
    target: NDArray[np.int64]
    sign: NDArray[np.int64]
    weight: NDArray[np.float64]
    level: NDArray[np.float64]
    decay: NDArray[np.float64]

    @cached_property
    def regulators(self) -> NDArray[np.int64]:
        """(R,) ascending positions of the genes that regulate another, or themselves."""
        return np.unique(self.regulator)

    @property
    def regulator_names(self) -> tuple[str, ...]:
        return tuple(self.genes[i] for i in self.regulators)

    @cached_property
    def masters(self) -> NDArray[np.int64]:
        """(M,) positions of the regulators that nothing regulates; all regulators where there are none such."""
        free = np.setdiff1d(self.regulators, self.target)
        return free if len(free) else self.regulators

    @cached_property
    def signed_share(self) -> NDArray[np.float64]:
        """(R, G) sign times weight, the weights of one target's regulators summing to 1; 0 where no edge is."""
        share = np.zeros((len(self.regulators), len(self.genes)))
        total = np.bincount(self.target, self.weight, minlength=len(self.genes))
        rows = np.searchsorted(self.regulators, self.regulator)
        share[rows, self.target] = self.sign * self.weight / total[self.target]
        return share

    @cached_property
    def leak(self) -> NDArray[np.float64]:
        """(G,) production without any regulator; the whole production of a gene that has none."""
        regulated = np.isin(np.arange(len(self.genes)), self.target)
        return self.decay * self.level * np.where(regulated, LEAK, 1.0)

    @cached_property
    def contributions(self) -> NDArray[np.float64]:
        """(R, G) signed maximal contributions K: half of a gene's |K| adds up to what the leak leaves to regulators."""
        return 2 * self.signed_share * (self.decay * self.level - self.leak)

    def edges(self) -> pd.DataFrame:
        """Columns regulator, target, sign, weight; sorted by regulator and target."""
        names = np.array(self.genes, dtype=object)
        columns = (names[self.regulator], names[self.target], self.sign, self.weight)
        return pd.DataFrame(dict(zip(EDGE_COLUMNS, columns, strict=True)))

    def propagated_influence(self, damping: float = 0.5, depth: int = 4) -> NDArray[np.float64]:
        """(R, G) signed influence of each regulator along paths of up to `depth` edges, itself included.

        ``I + sum_{k=1..depth} damping^(k-1) A^k`` restricted to the rows of regulators, where A is `signed_share`:
        Katz propagation (Katz 1953) cut off at `depth`, so that loops need no convergence. It knows the wiring and
        its signs, not the levels of any cell type nor any cell.
        """
        step = self.signed_share[:, self.regulators]
        paths, influence = self.signed_share.copy(), self.signed_share.copy()
        for _ in range(depth - 1):
            paths = damping * step @ paths
            influence += paths
        influence[np.arange(len(self.regulators)), self.regulators] += 1
        return influence

    def wiring_vectors(self, n: int) -> pd.DataFrame:
        """A vector per regulator from the wiring alone: leading singular directions of its propagated influence.

        F of `propagated_influence` is decomposed as F = U S V'; the first n columns of U S are returned, signs made
        such that each column's largest entry is positive.

        Returns:
            (R, n) float32 with columns v1, v2, ...; its index ``perturbation`` holds the regulators.

        Raises:
            DataError: `n` is not between 1 and R.
        """
        most = len(self.regulators)
        if not 1 <= n <= most:
            raise DataError(f"vectors of length {n} asked for; {most} regulators give lengths from 1 to {most}")
        u, s, _ = np.linalg.svd(self.propagated_influence(), full_matrices=False)
        vectors = u[:, :n] * s[:n]
        vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n)])
        index = pd.Index(self.regulator_names, name="perturbation")
        return pd.DataFrame(vectors.astype(np.float32), index, [f"v{i + 1}" for i in range(n)])


def draw_network(seed: int, n_genes: int, n_regulators: int) -> RegulatoryNetwork:
    """A drawn acyclic network: regulators come first and are regulated only by regulators before them.

    The first 40 % of the regulators are masters, which nothing regulates. One gene in ten of the others has no
    regulator either (housekeeping). The in-degree of the rest is 1 to 4, all alike. A gene's first regulator is
    chosen with probability proportional to rank^-0.8, ranks drawn, which makes a few of them hubs; its others in the
    same way, but 8 times as likely from the module of the first (5 regulators each, interleaved), so that modules
    regulate overlapping sets of genes, as in dense overlapping regulons (Shen-Orr et al. 2002). Every regulator has a
    target. 70 % of the edges activate.

    Raises:
        DataError: fewer than one regulator, or no gene left that is none.
    """
    if not 1 <= n_regulators < n_genes:
        raise DataError(
            f"n_regulators={n_regulators} of n_genes={n_genes}: at least 1 regulator and 1 other gene are needed"
        )
    rng = numpy_generator(seed, "regulatory_network", n_genes, n_regulators)
    n_masters = max(1, round(MASTER_SHARE * n_regulators))
    attraction = rng.permutation((1.0 + np.arange(n_regulators)) ** -0.8)
    module = np.arange(n_regulators) % max(1, n_regulators // REGULATORS_PER_MODULE)
    pairs: list[tuple[int, int]] = []
    for target in range(n_masters, n_genes):
        if target >= n_regulators and rng.random() < HOUSEKEEPING_SHARE:
            continue
        n_candidates = min(target, n_regulators)
        degree = min(int(rng.integers(1, MOST_REGULATORS_PER_GENE + 1)), n_candidates)
        chance = attraction[:n_candidates].copy()
        first = int(rng.choice(n_candidates, p=chance / chance.sum()))
        chance[module[:n_candidates] == module[first]] *= MODULE_PREFERENCE
        chance[first] = 0
        pairs.append((first, target))
        if degree > 1:
            others = rng.choice(n_candidates, degree - 1, replace=False, p=chance / chance.sum())
            pairs += [(int(regulator), target) for regulator in others]
    idle = np.setdiff1d(np.arange(n_regulators), [r for r, _ in pairs])
    pairs += [(int(r), int(rng.integers(n_regulators, n_genes))) for r in idle]
    pairs.sort()
    sign = np.where(rng.random(len(pairs)) < ACTIVATOR_SHARE, 1, -1)
    weight = np.round(rng.lognormal(0, 0.5, len(pairs)), 6)
    width = max(3, len(str(n_genes)))
    genes = tuple(f"G{i + 1:0{width}d}" for i in range(n_genes))
    return _with_kinetics(seed, genes, np.array(pairs, dtype=np.int64), sign, weight)


def network_from_edges(seed: int, edges: pd.DataFrame) -> RegulatoryNetwork:
    """The network of an edge table; loops and self-regulation are allowed, the order of rows does not matter.

    Args:
        seed: decides reference levels and decay rates only.
        edges: columns regulator, target, sign (1 or -1) and, where wanted, weight (positive; 1 without it).

    Raises:
        DataError: a column is missing, the table is empty, a name cannot be used, an edge is repeated,
            or a sign or weight is out of its domain; the first offending row is named.
    """
    missing = [column for column in EDGE_COLUMNS[:3] if column not in edges.columns]
    if missing:
        hint = nearest(missing[0], map(str, edges.columns))
        raise DataError(f"edge table lacks column {missing[0]!r}{hint}; it has {listing(edges.columns)}")
    if edges.empty:
        raise DataError("edge table has no rows; one regulator-target edge is needed at least")
    table = edges.assign(weight=edges["weight"] if "weight" in edges.columns else 1.0).reset_index(drop=True)
    for column in EDGE_COLUMNS[:2]:
        bad = [not isinstance(name, str) or not name or "+" in name or name == "control" for name in table[column]]
        _refuse_rows(table, bad, f"{column} must be a gene name: text, without '+', not 'control'")
    for column in EDGE_COLUMNS[2:]:
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise DataError(f"edge table has column {column!r} of type {table[column].dtype}; numbers are needed")
    _refuse_rows(table, (~table["sign"].isin([1, -1])).tolist(), "sign must be 1 (activates) or -1 (represses)")
    weight_is_bad = ~(np.isfinite(table["weight"]) & (table["weight"] > 0))
    _refuse_rows(table, weight_is_bad.tolist(), "weight must be positive and finite")
    _refuse_rows(table, table.duplicated(["regulator", "target"]).tolist(), "the edge is repeated; give it once")
    table = table.sort_values(["regulator", "target"])
    genes = tuple(sorted(set(table["regulator"]) | set(table["target"])))
    position = {gene: i for i, gene in enumerate(genes)}
    pairs = np.array([table["regulator"].map(position), table["target"].map(position)], dtype=np.int64).T
    sign, weight = table["sign"].to_numpy(np.int64), table["weight"].to_numpy(np.float64)
    return _with_kinetics(seed, genes, pairs, sign, weight)


def _with_kinetics(
    seed: int, genes: tuple[str, ...], pairs: NDArray[np.int64], sign: NDArray[np.int64], weight: NDArray[np.float64]
) -> RegulatoryNetwork:
    rng = numpy_generator(seed, "kinetics", len(genes))
    level = np.clip(MEDIAN_LEVEL * rng.lognormal(0, SPREAD_OF_LEVELS, len(genes)), LOWEST_LEVEL, HIGHEST_LEVEL)
    decay = rng.lognormal(0, SPREAD_OF_DECAY, len(genes))
    return RegulatoryNetwork(genes, pairs[:, 0], pairs[:, 1], sign, weight, level, decay)


def _refuse_rows(table: pd.DataFrame, bad: Sequence[bool], wanted: str) -> None:
    if any(bad):
        row = int(np.argmax(bad))
        came = {column: table.at[row, column] for column in EDGE_COLUMNS}
        raise DataError(f"edge table row {row} is {came} ({sum(bad)} rows like it): {wanted}")
