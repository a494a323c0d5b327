"""Effects on genes, which stand beside those on the latents: measured and written for a run."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gensim.atomic import write_json
from gensim.perturbations.choose_regression import choose_for_contexts, choose_regressions
from gensim.perturbations.chosen import Chosen
from gensim.perturbations.condition_file import save_by_condition
from gensim.perturbations.mean_effects import fit_mean_effects
from gensim.perturbations.observed_shares import observe_shares
from gensim.perturbations.shrinkage import shrink_together
from gensim.perturbations.vectors import VectorTable
from gensim.training.effects_of_cells import EffectsOfCells, EncodedScreen
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
from gensim.training.shown import Shown
from gensim.types import IntArray


@dataclass(frozen=True, slots=True)
class EffectsWriter:
    """Writes what cells of a screen tell of effects on its genes.

    Args:
        vectors, contexts: of perturbations and of contexts, by which regressions tell of others.
    """

    encoded: EncodedScreen
    vectors: VectorTable
    contexts: VectorTable

    def write(self, folder: Path, effects: EffectsOfCells, in_latents: Chosen) -> dict[str, Chosen]:
        """Write what `EffectsOnGenes` reads.

        Args:
            in_latents: regressions that were chosen on effects on the latents.

        Returns:
            Regressions for effects on the latents, on what is around them, and on log1p CP10k.
        """
        folder.mkdir(exist_ok=True)
        if self.encoded.are_counts:
            screen = self.encoded.screen
            of_screen = screen.condition_of, screen.conditions, effects.cells
            shares = observe_shares(screen.x, screen.library_size, *of_screen)
            shares.save(folder / OBSERVED_SHARES)
            around, place = shares.effects(), ON_SHARES
            log_sizes = np.log(screen.library_size)[:, None]
            sizes = fit_mean_effects(lambda of: log_sizes[of], *of_screen, shrink=shrink_together)
            sizes.save(folder / ON_LIBRARY_SIZE)
        else:
            around, place = effects.around_latents, OUTSIDE_LATENTS
        around.save(folder / place)
        effects.on_genes.save(folder / IN_GENES)
        over, between = choose_for_contexts(around, self.contexts)
        found = {
            "latents": in_latents,
            "genes": replace(in_latents, contexts=over, between=between),
            "expression": choose_regressions(effects.on_genes, self.vectors, self.contexts),
        }
        write_json(folder / REGRESSIONS, {where: asdict(chosen) for where, chosen in found.items()})
        return found

    def write_held_back(self, folder: Path, rows: IntArray) -> None:
        """Write what a gate is learned by: mean effects of the rows `rows` of cells, and what is known of their
        controls."""
        shown = Shown.by(self.encoded.screen, self.encoded.x, rows)
        shown.effects.save(folder / HELD_BACK)
        save_by_condition(folder / HELD_BACK_CONTROLS, shown.controls, {"mean": shown.mean, "variance": shown.variance})
