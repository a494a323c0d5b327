"""Effects on genes, which stand beside those on the latents: measured and written for a run."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy import sparse

from gensim.atomic import write_json
from gensim.autoencoder.base import Autoencoder, gene_moments, residual
from gensim.autoencoder.count import CountAutoencoder
from gensim.data.screen import Screen
from gensim.perturbations.choose_regression import choose_for_contexts, choose_regressions
from gensim.perturbations.chosen import Chosen
from gensim.perturbations.condition_file import save_by_condition
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.perturbations.observed_shares import observe_shares
from gensim.perturbations.shrinkage import shrink_each, shrink_together
from gensim.perturbations.vectors import VectorTable
from gensim.training.run_folder import (
    HELD_BACK,
    HELD_BACK_CONTROLS,
    IN_GENES,
    OBSERVED_SHARES,
    ON_LIBRARY_SIZE,
    ON_SHARES,
    OUTSIDE_LATENTS,
    REGRESSIONS,
)
from gensim.types import IntArray


@dataclass(frozen=True, slots=True)
class GenesOfScreen:
    """What cells of a screen tell of effects on its genes.

    Args:
        x: (N, G) log1p CP10k of the screen.
        vectors, contexts: of perturbations and of contexts, by which regressions tell of others.
    """

    screen: Screen
    x: sparse.csr_matrix
    autoencoder: Autoencoder
    vectors: VectorTable
    contexts: VectorTable

    def mean_effects(self, cells: IntArray) -> MeanEffects:
        """Plain, over genes, of the conditions that have cells and control cells among the rows `cells`."""
        of_screen = self.screen.condition_of, self.screen.conditions
        return fit_mean_effects(lambda of: self.x[of].toarray(), *of_screen, cells, shrink=None)

    def write(self, folder: Path, cells: IntArray, on_genes: MeanEffects, in_latents: Chosen) -> dict[str, Chosen]:
        """Write what `EffectsOnGenes` reads, of the rows `cells`.

        Args:
            on_genes: their mean effects, see `mean_effects`.
            in_latents: regressions that were chosen on effects on the latents.

        Returns:
            Regressions for effects on the latents, on what is around them, and on log1p CP10k.
        """
        folder.mkdir(exist_ok=True)
        of_screen = self.screen.condition_of, self.screen.conditions, cells
        if isinstance(self.autoencoder, CountAutoencoder):
            shares = observe_shares(self.screen.x, self.screen.library_size, *of_screen)
            shares.save(folder / OBSERVED_SHARES)
            around, place = shares.effects(), ON_SHARES
            log_sizes = np.log(self.screen.library_size)[:, None]
            sizes = fit_mean_effects(lambda of: log_sizes[of], *of_screen, shrink=shrink_together)
            sizes.save(folder / ON_LIBRARY_SIZE)
        else:
            around = fit_mean_effects(lambda of: residual(self.autoencoder, self.x[of]), *of_screen, shrink=shrink_each)
            place = OUTSIDE_LATENTS
        around.save(folder / place)
        on_genes.save(folder / IN_GENES)
        over, between = choose_for_contexts(around, self.contexts)
        found = {
            "latents": in_latents,
            "genes": replace(in_latents, contexts=over, between=between),
            "expression": choose_regressions(on_genes, self.vectors, self.contexts),
        }
        write_json(folder / REGRESSIONS, {where: asdict(chosen) for where, chosen in found.items()})
        return found

    def write_held_back(self, folder: Path, cells: IntArray) -> None:
        """Write what a gate is learned by: mean effects of the rows `cells`, and what is known of their controls."""
        effects = self.mean_effects(cells)
        effects.save(folder / HELD_BACK)
        controls = tuple(dict.fromkeys(condition.control for condition in effects.conditions))
        of_controls = [cells[self.screen.condition_of[cells] == self.screen.conditions.index(c)] for c in controls]
        moments = [gene_moments(self.x[rows]) for rows in of_controls]
        shape = (len(controls), self.x.shape[1])
        arrays = {
            "mean": np.reshape([mean for mean, _ in moments], shape),
            "variance": np.reshape(
                [of / max(1, len(rows) - 1) for (_, of), rows in zip(moments, of_controls, strict=True)], shape
            ),
        }
        save_by_condition(folder / HELD_BACK_CONTROLS, controls, arrays)
