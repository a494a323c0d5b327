"""How what perturbations do in one context goes along with what the same ones do in others."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Predictor
from gensim.perturbations.regression import Regression, left_out_weights
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition

Float64Array = NDArray[np.float64]
Group = Mapping[str, Condition]
"""The same perturbations at the same dose and time, by the keys of the control conditions of their contexts."""

FEWEST_SHARED = 3
"""Perturbations measured in both of two contexts, from which on they tell how these go along."""
NOISE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SMALLEST_VARIANCE = 1e-3
"""Of effects in a context, in units of a typical effect's squared length, where they seem to be noise alone."""
TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True, slots=True)
class BetweenContexts:
    """The effect in a context where other perturbations were measured, from effects of the same in other contexts.

        w = (K + diag(noise + v))^-1 k_c,    K_de = mean over perturbations of <e_pd, e_pe> = x_d · x_e

    so that what an activation does may be the opposite of what a knock-out does, or a part of it, however much their
    control cells look alike. Contexts have places x whose inner products are K: with these it is the ridge regression
    of `Regression`, on vectors as they are.

    Args:
        regression: that, with its noise, and whether effects are taken shrunk; or none, where nothing carries over.
        unexplained: share of the squared length of left-out effects that it leaves.
        places: x, by the keys of the control conditions.

    Source: Bonilla, Chai & Williams 2007, Multi-task Gaussian process prediction, NIPS 20, equations 1 and 2.
    """

    regression: Regression
    unexplained: float
    places: Mapping[str, tuple[float, ...]]

    def predictor(self) -> Predictor:
        return _predictor(self.regression, self.places)

    def in_words(self) -> str:
        along = f"as effects go along in {len(self.places)} contexts, noise {self.regression.noise:g}"
        told = "no effect" if self.regression.kind == "none" else along
        return (
            f"unmeasured contexts where other perturbations were measured: {told}; it leaves {self.unexplained:.0%} of "
            "the effects of left-out contexts unexplained (no effect: 100%)"
        )


def candidates() -> Iterator[Regression]:
    """What a choice is made from, of plain effects."""
    yield from (Regression("ridge", noise=noise, as_given=True) for noise in reversed(NOISE))


def words(predictor: Predictor) -> dict[str, Any]:
    """For JSON; see `read`."""
    table = predictor.table
    return {
        "regression": asdict(predictor.regression),
        "places": dict(zip(table.names, table.vectors.tolist(), strict=True)),
    }


def read(of: Mapping[str, Any]) -> Predictor:
    """What `words`, or the fields of `BetweenContexts`, say."""
    return _predictor(Regression(**of["regression"]), of["places"])


def _predictor(regression: Regression, places: Mapping[str, Sequence[float]]) -> Predictor:
    rows = np.array(list(places.values()), np.float32)
    return Predictor(regression, VectorTable(tuple(places), rows, "effects measured in several contexts"))


class _Measured(NamedTuple):
    """Of one group in n contexts: their places, (n, n) inner products of plain effects, (n,) noise of the squares, and
    (n, n) by how much the products count."""

    perturbations: tuple[str, ...]
    at: list[int]
    products: Float64Array
    noise: Float64Array
    weight: Float64Array


class Shared:
    """Effects of the same perturbations in several contexts, of which every two share `FEWEST_SHARED` or more.

    Args:
        effects: their plain ones are looked at; the noise of two contexts is independent, each having its own controls.
        groups: of conditions that were measured in two contexts or more.
    """

    def __init__(self, effects: MeanEffects, groups: Sequence[Group]) -> None:
        of = [(next(iter(group.values())).perturbations, group) for group in groups]
        self.names = _sharing(of)
        self._place = {name: i for i, name in enumerate(self.names)}
        plain = effects.delta if effects.plain is None else effects.plain
        v = np.zeros(len(plain)) if effects.variance is None else effects.variance.astype(np.float64)
        row = {condition: k for k, condition in enumerate(effects.conditions)}
        # In units of a typical effect's squared length, which are those of v, and |e|² is 1 + v on average.
        self._unit, noise = None, v
        if effects.noise is not None and v.any():
            noise = effects.noise.sum(axis=1, dtype=np.float64)
            self._unit = float(noise.sum() / v.sum())
            noise /= self._unit
        self._measured = []
        for perturbations, group in of:
            here = [(self._place[name], row[c]) for name, c in group.items() if name in self._place]
            at, rows = [place for place, _ in here], [k for _, k in here]
            e, sure = plain[rows].astype(np.float64), 1 / (1 + v[rows])
            self._measured.append(_Measured(perturbations, at, e @ e.T, noise[rows], np.outer(sure, sure)))
        squared = np.square(plain, dtype=np.float64).sum(axis=1)
        self._sizes = [(c, squared[k], 1 + v[k]) for c, k in row.items() if not c.changes_nothing]

    def places(self, without: tuple[str, ...] | None = None) -> Float64Array:
        """(C, C) whose rows have the inner products K of the C `names`: the nearest to the measured ones that a
        covariance may have.

            K_cd = sum_p n_pc n_pd (<e_pc, e_pd> - [c = d] noise_pc) / sum_p n_pc n_pd,    n = 1 / (1 + v)

        in units of a typical effect's squared length.

        Args:
            without: perturbations of whose effects, in any context, nothing is looked at.
        """
        products, noise, counts = np.zeros((3, len(self.names), len(self.names)))
        for measured in self._measured:
            if measured.perturbations != without:
                of = np.ix_(measured.at, measured.at)
                products[of] += measured.weight * measured.products
                noise[of] += measured.weight * np.diag(measured.noise)
                counts[of] += measured.weight
        unit = self._unit or self._typical(without)
        k = (products / max(unit, TINY) - noise) / counts.clip(TINY)
        np.fill_diagonal(k, np.diag(k).clip(SMALLEST_VARIANCE))
        values, directions = np.linalg.eigh(k)
        return np.asarray(directions * np.sqrt(values.clip(0)))

    def left_out_weights(
        self, regressions: Sequence[Regression], group: Group, names: Sequence[str], v: Float64Array
    ) -> tuple[NDArray[np.bool_], list[Float64Array]]:
        """Of n names of contexts, whether their effects can be told from others of the group, and by each regression
        the (n, n) weights of these; none of them knows any effect of the perturbations that it tells.

        Args:
            group: of which a context after another is left out. v: (n,) variances of its effects.
        """
        known = np.array([name in self._place for name in names])
        told = known if known.sum() > 1 else np.zeros_like(known)
        weights = [np.zeros((len(names), len(names))) for _ in regressions]
        if told.any():
            x = self.places(next(iter(group.values())).perturbations)
            x = x[[self._place[name] for name, here in zip(names, told, strict=True) if here]]
            for regression, w in zip(regressions, weights, strict=True):
                w[np.ix_(told, told)] = left_out_weights(regression, x, v[told])
        return told, weights

    def _typical(self, without: tuple[str, ...] | None) -> float:
        """Squared length of an effect of other perturbations, where its noise is known by v alone."""
        sizes = [(squared, expected) for c, squared, expected in self._sizes if c.perturbations != without]
        return float(sum(squared for squared, _ in sizes) / max(1.0, sum(expected for _, expected in sizes)))


def _sharing(groups: Iterable[tuple[tuple[str, ...], Group]]) -> tuple[str, ...]:
    """Contexts of which every two share enough perturbations: beginning with those that have most, one after another
    that does with all before; fewer than two are none."""
    of: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for perturbations, group in groups:
        for name in group:
            of[name].add(perturbations)
    chosen: list[str] = []
    for name in sorted(of, key=lambda name: (-len(of[name]), name)):
        if all(len(of[name] & of[other]) >= FEWEST_SHARED for other in chosen):
            chosen.append(name)
    return tuple(sorted(chosen)) if len(chosen) > 1 else ()
