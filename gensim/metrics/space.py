"""The space in which populations are compared: principal components of training cells, fixed once per run."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError, safe_open
from scipy import sparse

from gensim.arrays_file import save_arrays
from gensim.errors import CheckpointError, DataError
from gensim.pca import PrincipalComponents, fit_pca
from gensim.types import FloatArray


@dataclass(frozen=True, slots=True)
class MetricSpace:
    """Genes, and a projection of log1p CP10k cells over them.

    Args:
        genes: G names in the order of the cells' columns.
        components: fitted on training cells only.

    Raises:
        DataError: the projection is over another number of genes.
    """

    genes: tuple[str, ...]
    components: PrincipalComponents

    def __post_init__(self) -> None:
        if len(self.genes) != len(self.components.mean):
            raise DataError(f"{len(self.genes)} genes do not fit a projection of {len(self.components.mean)} genes")

    @classmethod
    def fit(cls, x_train: sparse.csr_matrix | Iterable[sparse.csr_matrix], genes: Sequence[str], n: int = 50) -> Self:
        """Principal components of (N, G) training cells, log1p CP10k, whole or in blocks; at most min(N - 1, G) of n.

        Raises:
            DataError: fewer than two cells, or another number of genes.
        """
        return cls(tuple(str(gene) for gene in genes), fit_pca(x_train, n))

    def project(self, x: sparse.csr_matrix | FloatArray) -> FloatArray:
        """(n, G) log1p CP10k cells over `genes` to (n, D) float32 scores; a sparse matrix is not densified.

        Raises:
            DataError: the cells have another number of genes.
        """
        if x.ndim != 2 or x.shape[1] != len(self.genes):
            raise DataError(f"cells have shape {x.shape}; {len(self.genes)} genes in the order of the run are needed")
        return self.components.project(x)

    @property
    def digest(self) -> str:
        """Of genes and components: distances of two evaluations are comparable where both have the same."""
        made = hashlib.blake2b(json.dumps(self.genes).encode(), digest_size=16)
        made.update(np.ascontiguousarray(self.components.components, dtype="<f4").data)
        return made.hexdigest()

    def save(self, path: Path) -> None:
        """Write one safetensors file, with the genes in its metadata."""
        tensors = {name: getattr(self.components, name) for name in ("mean", "components", "variance")}
        save_arrays(path, tensors, {"genes": json.dumps(self.genes)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CheckpointError: no such file, or not a metric space.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                genes = json.loads((file.metadata() or {})["genes"])
                tensors = {name: file.get_tensor(name) for name in ("mean", "components", "variance")}
        except FileNotFoundError:
            raise CheckpointError(f"no metric space at {str(path)!r}; training writes it into the run folder") from None
        except (KeyError, SafetensorError) as error:
            raise CheckpointError(f"{str(path)!r} is not a metric space ({error}); train the run again") from error
        return cls(tuple(genes), PrincipalComponents(**{k: np.asarray(v, np.float32) for k, v in tensors.items()}))
