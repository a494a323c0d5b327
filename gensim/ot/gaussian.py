"""Optimal transport between Gaussians fitted to both sides: the closed form that needs no plan."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import ot
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from gensim.ot.coupling import Cells, Pairs, for_every_target
from gensim.ot.plans import Matrix, squared_distances

RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class GaussianMap:
    """The optimal map between two Gaussians for squared cost (Peyré & Cuturi 2019, remark 2.31).

        T(z) = m_1 + A (z - m_0),    A = S_0^-1/2 (S_0^1/2 S_1 S_0^1/2)^1/2 S_0^-1/2

    Args:
        m_0, m_1: (D,) means.
        A: (D, D), symmetric and positive.
    """

    m_0: NDArray[np.float64]
    m_1: NDArray[np.float64]
    A: Matrix

    @classmethod
    def fit(cls, z_0: Cells, z_1: Cells) -> Self:
        """From (N, D) source and (M, D) target cells.

        Covariances are shrunk towards a multiple of the identity by the share of Ledoit & Wolf (2004), which matters
        where cells are few relative to D and vanishes where they are many. A ridge of 1e-6 of the mean variance of both
        sides keeps the map defined where a side has no variance at all.
        """
        (m_0, S_0), (m_1, S_1) = _fit_gaussian(z_0), _fit_gaussian(z_1)
        variance = float(np.trace(S_0) + np.trace(S_1)) / (2 * len(m_0)) or 1.0
        ridge = RIDGE * variance * np.eye(len(m_0))
        A, _ = ot.gaussian.bures_wasserstein_mapping(m_0, m_1, S_0 + ridge, S_1 + ridge)
        return cls(m_0, m_1, A)

    def __call__(self, z_0: Cells) -> Matrix:
        """(N, D) source cells to where they are moved; A is symmetric, so it may stand on the right."""
        moved: Matrix = self.m_1 + (z_0 - self.m_0) @ self.A
        return moved


@dataclass(frozen=True, slots=True)
class GaussianCoupling:
    """Every target with the source that the Gaussian map moves nearest to it.

    The plan's marginals are kept on the target side only: a source may serve many targets or none, the more so the
    less Gaussian the cells are and the more latents there are.
    """

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> Pairs:  # noqa: ARG002
        moved = GaussianMap.fit(z_0, z_1)(z_0)
        return for_every_target(squared_distances(moved, z_1).argmin(axis=0))


def _fit_gaussian(z: Cells) -> tuple[NDArray[np.float64], Matrix]:
    """Mean and shrunk covariance of (N, D) cells; the covariance of a single cell is 0."""
    cells = np.asarray(z, np.float64)
    d = cells.shape[1]
    return cells.mean(axis=0), ledoit_wolf(cells)[0] if len(cells) > 1 else np.zeros((d, d))
