"""What share of all counts each gene has in a population that a count autoencoder decodes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gensim.autoencoder.count import CountAutoencoder
from gensim.types import FloatArray, blocks

Float64Array = NDArray[np.float64]

CELLS_AT_ONCE = 4096
LEAST_LEFT = 0.02
"""Of what responders have of a gene: others alone may have more than the whole condition was seen to have."""


@torch.no_grad()
def log_decoded_share(autoencoder: CountAutoencoder, z: FloatArray, library_size: FloatArray) -> Float64Array:
    """(G,) logarithm of the share that each gene is expected to have in all counts of n cells together."""
    total = np.zeros(autoencoder.log_theta.shape[0])
    for rows in blocks(len(z), CELLS_AT_ONCE):
        latents, sizes = (torch.from_numpy(a[rows]).to(autoencoder.device) for a in (z, library_size))
        total += autoencoder.distribution(latents, sizes[:, None]).mean.double().sum(dim=0).cpu().numpy()
    share: Float64Array = np.log(total / library_size.sum(dtype=np.float64))
    return share


@dataclass(frozen=True, slots=True)
class SimulatedShares:
    """A condition's simulated cells together.

    Where a share p of the cells responds, the effect e on them that has an effect d on the whole population's shares is

        exp(e) simulated_responders = exp(d) simulated - simulated_others

    Args:
        of_responders, of_others: (G,) parts of every gene's share in all counts that lie in cells that respond, or not.
        response: what a cell that responds gets of the mean effect, 1 / p.
    """

    of_responders: Float64Array
    of_others: Float64Array
    response: float

    @classmethod
    def of(
        cls, autoencoder: CountAutoencoder, z_1: FloatArray, sizes: FloatArray, response: FloatArray
    ) -> "SimulatedShares":
        """Of n cells: (n, D) latents after they were moved, (n,) library sizes, and (n,) 0 or 1 / p."""
        responds = response > 0
        most = 1.0 if responds.all() else float(response.max())
        of_responders = np.exp(log_decoded_share(autoencoder, z_1[responds], sizes[responds])) / most
        of_others = np.zeros_like(of_responders)
        if not responds.all():
            others = ~responds
            of_others = np.exp(log_decoded_share(autoencoder, z_1[others], sizes[others])) * (1 - 1 / most)
        return cls(of_responders, of_others, most)

    @property
    def logarithm(self) -> Float64Array:
        """(G,) of the shares of all cells together."""
        return np.asarray(np.log(self.of_responders + self.of_others))

    def over_all_cells(self, effect: Float64Array) -> Float64Array:
        """(G,) p e, the mean over cells of the effect on responders that has `effect` on the whole population."""
        whole = self.of_responders + self.of_others
        wanted = np.maximum(np.exp(effect) * whole - self.of_others, LEAST_LEFT * self.of_responders)
        return np.asarray(np.log(wanted / self.of_responders) / self.response)
