"""What every autoencoder offers: cells in, standardised latents out, and back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from gensim.types import FloatArray, blocks

ROWS_PER_BLOCK = 4096

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ObservedCells:
    """N real cells as autoencoders are fitted on them.

    Args:
        x: (N, G) sparse float32 log1p CP10k.
        counts: (N, G) sparse, the same in the scale of the screen.
        library_size: (N,) float32 counts over all genes of the screen.
        genes: G names.
        conditions: (N,) label of every cell's condition, for errors.
    """

    x: sparse.csr_matrix
    counts: sparse.csr_matrix
    library_size: FloatArray
    genes: Sequence[str]
    conditions: Sequence[str]

    def __len__(self) -> int:
        return len(self.library_size)


class Autoencoder(nn.Module, ABC):
    """Expression (log1p CP10k) to latents and back.

    Latents have mean 0 over the training cells, and mean variance 1 over the latents: one scale for all of them, so
    that distances between cells, and with them the optimal-transport cost, keep their proportions.
    """

    n_latents: int

    @abstractmethod
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(B, G) cells to (B, D) standardised latents."""

    @abstractmethod
    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """(B, D) standardised latents to (B, G) cells; may be negative, which no cell is."""

    @property
    def device(self) -> torch.device:
        return next(self.buffers()).device


def encode_cells(autoencoder: Autoencoder, x: sparse.csr_matrix, out: FloatArray) -> None:
    """Encode (N, G) sparse cells into `out` (N, D), a block of rows at a time; `out` may be a memory-mapped file."""
    for rows in blocks(x.shape[0], ROWS_PER_BLOCK):
        out[rows] = encoded(autoencoder, x[rows])


@torch.no_grad()
def encoded(autoencoder: Autoencoder, x: sparse.csr_matrix) -> FloatArray:
    """(n, D) latents of (n, G) sparse cells."""
    dense = torch.from_numpy(x.toarray()).to(autoencoder.device)
    latents: FloatArray = autoencoder.encode(dense).cpu().numpy()
    return latents


@torch.no_grad()
def residual(autoencoder: Autoencoder, x: sparse.csr_matrix) -> FloatArray:
    """(n, G) what the latents of (n, G) sparse cells do not hold: x - decode(encode(x))."""
    dense = torch.from_numpy(x.toarray()).to(autoencoder.device)
    missed: FloatArray = (dense - autoencoder.decode(autoencoder.encode(dense))).cpu().numpy()
    return missed


@torch.no_grad()
def reconstruction_error(autoencoder: Autoencoder, x: sparse.csr_matrix) -> dict[str, float]:
    """How much of (N, G) cells the latents hold.

    Returns:
        `mse`: mean squared error over cells and genes (log1p CP10k squared); `variance_explained`: 1 - mse / variance
        (coefficient of determination over all entries, around each gene's mean); `n_cells`.
    """
    squared = 0.0
    total, total_squared = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for rows in blocks(x.shape[0], ROWS_PER_BLOCK):
        dense = x[rows].toarray()
        batch = torch.from_numpy(dense).to(autoencoder.device)
        squared += float((autoencoder.decode(autoencoder.encode(batch)) - batch).double().square().sum())
        total += dense.sum(axis=0, dtype=np.float64)
        total_squared += np.square(dense, dtype=np.float64).sum(axis=0)
    n_cells = x.shape[0]
    variance = float((total_squared - total**2 / n_cells).sum())
    explained = 1 - squared / variance if variance > 0 else float("nan")
    return {"mse": squared / x.shape[0] / x.shape[1], "variance_explained": explained, "n_cells": float(n_cells)}


def gene_moments(x: sparse.csr_matrix) -> tuple[Float64Array, Float64Array]:
    """(G,) mean and (G,) variance (over n) of (N, G) sparse cells, added up in float64 a block of rows at a time."""
    total, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for rows in blocks(x.shape[0], ROWS_PER_BLOCK):
        block = x[rows].astype(np.float64)
        total += np.asarray(block.sum(axis=0)).ravel()
        squares += np.asarray(block.multiply(block).sum(axis=0)).ravel()
    mean = total / x.shape[0]
    return mean, np.clip(squares / x.shape[0] - mean**2, 0, None)
