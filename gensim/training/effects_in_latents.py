"""Mean effects on what the transport moves."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from gensim.autoencoder.base import encoded, residual
from gensim.autoencoder.genes import GeneSpace
from gensim.autoencoder.pca import PCAAutoencoder
from gensim.data.screen import Screen
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.types import FloatArray, IntArray


def effects_in_latents(latents: FloatArray, screen: Screen, cells: IntArray) -> MeanEffects:
    """Of the conditions that have cells and control cells among the rows `cells`, shrunk as a whole.

    Args:
        latents: (N, D) of all cells of the screen.
    """
    of_screen = screen.condition_of, screen.conditions, cells
    return fit_mean_effects(lambda of: latents[of], *of_screen, shrink=shrink_together)


def effects_in_gene_space(
    screen: Screen, cells: IntArray, x: sparse.csr_matrix, space: GeneSpace, axes: PCAAutoencoder
) -> MeanEffects:
    """The same where latents are genes: halfway between two ways to shrink them.

    One is as a whole along principal axes and gene by gene around them, which is right about what moves many genes
    together; the other gene by gene alone, which is right about few genes that move. As a whole, an effect on a few of
    thousands of genes is less than the noise of all of them.

    Args:
        x: (N, G) log1p CP10k of the screen. axes: fitted on training cells.
    """
    of_screen = screen.condition_of, screen.conditions, cells
    each = fit_mean_effects(lambda of: x[of].toarray(), *of_screen, shrink=shrink_each)
    along = fit_mean_effects(lambda of: encoded(axes, x[of]), *of_screen, shrink=shrink_together)
    around = fit_mean_effects(lambda of: residual(axes, x[of]), *of_screen, shrink=shrink_each)
    on_axes = along.delta @ axes.components.cpu().numpy() * float(axes.scale)
    scale = float(space.scale)
    return replace(
        each,
        delta=((each.delta + on_axes + around.delta) / (2 * scale)).astype(np.float32),
        plain=None if each.plain is None else each.plain / scale,
        noise=None if each.noise is None else each.noise / scale**2,
    )
