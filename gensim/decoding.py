"""From moved latents to cells: what of the control cell is kept, and how counts come out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from gensim.autoencoder.base import Autoencoder
from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.likelihoods import CountDistribution
from gensim.autoencoder.shares import SimulatedShares, log_decoded_share
from gensim.count_grid import draw_counts
from gensim.errors import DataError
from gensim.nonnegative import offsets_to_nonnegative
from gensim.perturbations.mean_effects import MeanEffects
from gensim.secants import raised_to
from gensim.types import CP10K, LARGEST_COUNT, Condition, FloatArray, IntArray

MOST_RAISED = 3.0
"""Natural logarithm of what means of responders may be multiplied by to bring mean logarithms where they are wanted:
rare genes would go far for nothing."""
GRID_TOLERANCE = 1e-2
"""Counts, and the same share of a hundred of them: what float32 logarithms lose."""


@dataclass(frozen=True, slots=True)
class MovedCells:
    """n cells whose latents have been moved.

    Args:
        conditions: of the plan; `condition` has (n,) rows of it.
        source: (n,) rows of the control cells.
        counts: (n, G) float32 counts of the control cells; log1p CP10k in their place where there are no counts.
        x_control: (n, G) log1p CP10k of the control cells.
        z_control, z_1: (n, D) latents before and after.
        library_size: (n,) float32 counts of the control cells over all genes of the screen.
        response: (n,) float32 how much of the mean effect each cell gets: 0 where it escapes, 1 on average.
    """

    conditions: Sequence[Condition]
    condition: IntArray
    source: IntArray
    counts: FloatArray
    x_control: torch.Tensor
    z_control: torch.Tensor
    z_1: torch.Tensor
    library_size: FloatArray
    response: FloatArray

    def __len__(self) -> int:
        return len(self.condition)

    @property
    def are_controls(self) -> torch.Tensor:
        """(n, 1) whether a cell stays what it is."""
        still = np.array([condition.changes_nothing for condition in self.conditions])
        return torch.from_numpy(still[self.condition])[:, None].to(self.z_1.device)

    def effects(self, effects: MeanEffects) -> torch.Tensor:
        """(n, F) what each cell gets of what the effects say of its condition."""
        present, row = np.unique(self.condition, return_inverse=True)
        shifts = np.stack([effects.shift(self.conditions[k]) for k in present])
        return torch.from_numpy(shifts[row] * self.response[:, None]).to(self.z_1.device)


@dataclass(frozen=True, slots=True)
class DecodedCells:
    """n cells: (n, G) log1p CP10k, (n, G) int64 counts or None, (n,) library size."""

    x: FloatArray
    counts: IntArray | None
    library_size: FloatArray


Draw = Callable[[str], FloatArray]
"""Maps a purpose to (n, G) uniform draws in [0, 1), which belong to the cells."""


class Decoder(ABC):
    """Turns moved latents into cells."""

    on_genes: MeanEffects | None
    gate: float
    """How far the mean of what was not measured is brought to what a regression says of effects `on_genes`."""

    @abstractmethod
    def population(self, condition: Condition, first: Callable[[], MovedCells]) -> torch.Tensor:
        """(..., G) what has to be known of a condition before any of its cells is made.

        Args:
            first: makes the first of its cells, which takes a while, and is for those that have to look at them.
        """

    @abstractmethod
    def mean_effect(self, cells: MovedCells) -> torch.Tensor:
        """(G,) how far the mean log1p CP10k of cells of one condition is from that of their control cells with the gate
        shut. Only latents, library sizes and who responds are looked at."""

    @abstractmethod
    def knowing_contexts(self, vectors: Mapping[str, FloatArray]) -> "Decoder":
        """The same decoder, told of further contexts (see `Likeness`)."""

    @abstractmethod
    def decode(self, cells: MovedCells, population: torch.Tensor, draw: Draw) -> DecodedCells:
        """Cells, given (n, ..., G) what is known of each one's population."""


@dataclass(frozen=True, slots=True)
class LogDecoder(Decoder):
    """Decodes to log1p CP10k, and draws counts around it.

    Latents cannot hold gene-level noise. So what they miss of the control cell is carried over, moved by the mean
    effect that the condition had on it in training:

        x = decode(z_1) + [x_control - decode(z_control)] + guidance outside

    The mean of what was not measured in this context at any dose or time is told twice, by moved latents with what is
    outside them, and by a regression on genes; it is brought some of the way from the former to the latter. Cells below
    0 are cut off with their mean kept; counts are the neighbours of that on the grid of the control cell.
    Control conditions, and dose 0, come out as the control cells themselves.

    Args:
        autoencoder: whose `decode` may be negative.
        outside: mean effects on what the latents do not hold; None where nothing is owed to mean effects.
        on_genes: mean effects on log1p CP10k, with the regression that tells them of other conditions; None likewise.
        gate: how far the mean is brought to what these say.
        guidance: how much of them a cell gets; the transport guides the latents itself.
        has_counts: whether the screen is of counts. If not, one count is the smallest value of the control cell, where
            all its values are multiples of that; a cell of other values is left as it is.
        measures_all: whether the genes are all of the screen, so that a cell's library size is the sum of its counts.
    """

    autoencoder: Autoencoder
    outside: MeanEffects | None
    on_genes: MeanEffects | None
    gate: float
    guidance: float
    has_counts: bool
    measures_all: bool

    def knowing_contexts(self, vectors: Mapping[str, FloatArray]) -> "LogDecoder":
        return replace(self, outside=_knowing(self.outside, vectors), on_genes=_knowing(self.on_genes, vectors))

    def moved(self, cells: MovedCells) -> torch.Tensor:
        """(n, G) log1p CP10k, below 0 where the effect leads there."""
        return torch.where(cells.are_controls, cells.x_control, cells.x_control + self._effect(cells))

    def _effect(self, cells: MovedCells) -> torch.Tensor:
        """(n, G) of the condition on each cell."""
        effect = self.autoencoder.decode(cells.z_1) - self.autoencoder.decode(cells.z_control)
        return effect if self.outside is None else effect + self.guidance * cells.effects(self.outside)

    @torch.no_grad()
    def mean_effect(self, cells: MovedCells) -> torch.Tensor:
        return self._effect(cells).mean(dim=0)

    @torch.no_grad()
    def population(self, condition: Condition, first: Callable[[], MovedCells]) -> torch.Tensor:
        """(2, G): what cells that respond get more, on average over all; then what is taken off where cells are cut."""
        cells = first()
        moved = self.moved(cells)
        mean, more = moved.mean(dim=0), torch.zeros_like(moved[0])
        if self.on_genes is not None and is_gated(self.on_genes, condition):
            told = self.guidance * self.on_genes.shift(condition)
            wanted = gated_mean(mean, cells.x_control.mean(dim=0), told, self.gate)
            more = torch.where(wanted > 0, wanted - mean, more)
        return torch.stack([more, offsets_to_nonnegative(moved + self._in_responders(cells, more))])

    def _in_responders(self, cells: MovedCells, more: torch.Tensor) -> torch.Tensor:
        """(n, G) what each cell gets of (G,) or (n, G)."""
        return more * torch.from_numpy(cells.response).to(more.device)[:, None]

    @torch.no_grad()
    def decode(self, cells: MovedCells, population: torch.Tensor, draw: Draw) -> DecodedCells:
        more, cut = population.unbind(dim=1)
        x = (self.moved(cells) + self._in_responders(cells, more) - cut).clamp_min(0).cpu().numpy()
        if self.has_counts:
            refuse_beyond_integers(cells, cells.library_size, np.expm1(x.max(axis=1)) * cells.library_size / CP10K)
            return counted(draw_counts(x, cells.library_size, draw("counts")), cells.library_size, self.measures_all)
        control = cells.x_control.cpu().numpy()
        library_size, on_grid = implied_grid(control)
        drawn = _log(draw_counts(x, library_size, draw("counts")), library_size)
        still = cells.are_controls.cpu().numpy()
        return DecodedCells(np.where(still, control, np.where(on_grid, drawn, x)), None, cells.library_size)


@dataclass(frozen=True, slots=True)
class CountDecoder(Decoder):
    """Draws counts from the distribution that a count autoencoder decodes to.

        x ~ NB(L rho(z_1) exp(effect), theta exp(effect on theta))

    With `carried`, a count lies at the same quantile of its distribution as the control cell's count did of its own, so
    that gene-level noise, and what genes share beyond the latents, is the control cell's; a cell that nothing moves is
    its control cell. Else every count is drawn by itself. Control conditions, and dose 0, come out as the control
    cells.

    The effect is what was found to be missing in training. In another context, latents that are moved alike decode to
    other effects: where what is known was measured there, it is what brings the shares of all counts from where the
    latents lead them to where they are expected. Then the mean logarithms of what was not measured in this context are
    brought some of the way to what a regression expects of these, as in `LogDecoder`.

    Args:
        gene_effects: of conditions on the logarithms of means, beyond what the latents say; None for none.
        share_effects: of conditions on the logarithms of the shares of all counts; None where there are no
            `gene_effects`.
        on_genes: of conditions on log1p CP10k, with the regression that tells them of others; None likewise.
        gate: how far mean logarithms are brought to what these say.
        theta_effects: of conditions on the logarithms of inverse dispersions; None for none.
        library_effects: of conditions on the logarithm of the library size; None: that of the control cell stays.
        guidance: how much of the effects on genes a cell gets; the transport guides the latents itself.
        measures_all: as in `LogDecoder`.

    Raises:
        DataError: a predicted library size, or a count, is beyond what integers hold.
    """

    autoencoder: CountAutoencoder
    gene_effects: MeanEffects | None
    share_effects: MeanEffects | None
    on_genes: MeanEffects | None
    gate: float
    theta_effects: MeanEffects | None
    library_effects: MeanEffects | None
    guidance: float
    carried: bool
    measures_all: bool

    def knowing_contexts(self, vectors: Mapping[str, FloatArray]) -> "CountDecoder":
        return replace(
            self,
            gene_effects=_knowing(self.gene_effects, vectors),
            share_effects=_knowing(self.share_effects, vectors),
            on_genes=_knowing(self.on_genes, vectors),
            theta_effects=_knowing(self.theta_effects, vectors),
            library_effects=_knowing(self.library_effects, vectors),
        )

    @torch.no_grad()
    def population(self, condition: Condition, first: Callable[[], MovedCells]) -> torch.Tensor:
        """(G,) effect on the logarithms of means, the mean over cells."""
        if self.on_genes is None or self.gate == 0 or not is_gated(self.on_genes, condition):
            return self._learned(condition, first)
        cells = first()
        effect = self._learned(condition, lambda: cells)
        before, after = self._mean_log_of_controls(cells), self._mean_log(cells, effect)
        wanted = gated_mean(after, before, self.guidance * self.on_genes.shift(condition), self.gate)
        most = MOST_RAISED / float(cells.response.max())
        return raised_to(lambda x: self._mean_log(cells, x), effect, after, wanted, most)

    def _learned(self, condition: Condition, first: Callable[[], MovedCells]) -> torch.Tensor:
        """(G,) effect that training found, or that is expected from other contexts."""
        effects, expected = self.gene_effects, self.share_effects
        if effects is None or expected is None:
            effect = np.zeros(len(self.autoencoder.log_theta), dtype=np.float32)
        elif expected.are_borrowed(condition):
            effect = self._missing(self.guidance * expected.shift(condition), first())
        else:
            effect = self.guidance * effects.shift(condition)
        return torch.from_numpy(effect).to(self.autoencoder.device)

    @torch.no_grad()
    def mean_effect(self, cells: MovedCells) -> torch.Tensor:
        effect = self._learned(cells.conditions[int(cells.condition[0])], lambda: cells)
        return self._mean_log(cells, effect) - self._mean_log_of_controls(cells)

    def _mean_log(self, cells: MovedCells, effect: torch.Tensor) -> torch.Tensor:
        """(G,) expected mean log1p CP10k of the cells, with (G,) effects on the logarithms of means."""
        after, sizes = self._moved(cells, effect)
        return after.mean_log1p(CP10K / sizes).mean(dim=0)

    def _mean_log_of_controls(self, cells: MovedCells) -> torch.Tensor:
        """(G,) the same of their control cells, decoded."""
        own = self._own_size(cells)
        return self.autoencoder.distribution(cells.z_control, own).mean_log1p(CP10K / own).mean(dim=0)

    def _missing(self, expected: FloatArray, cells: MovedCells) -> FloatArray:
        """(G,) of what is expected of the logarithms of the cells' shares."""
        sizes, before, after = cells.library_size, cells.z_control.cpu().numpy(), cells.z_1.cpu().numpy()
        simulated = SimulatedShares.of(self.autoencoder, after, sizes, cells.response)
        by_latents = simulated.logarithm - log_decoded_share(self.autoencoder, before, sizes)
        return simulated.over_all_cells(expected - by_latents).astype(np.float32)

    def _own_size(self, cells: MovedCells) -> torch.Tensor:
        """(n, 1) library sizes of the control cells."""
        return torch.from_numpy(cells.library_size).to(cells.z_1.device)[:, None]

    def _moved(self, cells: MovedCells, effect: torch.Tensor) -> tuple[CountDistribution, torch.Tensor]:
        """Counts of the cells, by (G,) or (n, G) mean effects of their populations, and their (n, 1) library sizes."""
        sizes = self._own_size(cells)
        if self.library_effects is not None:
            sizes = sizes * cells.effects(self.library_effects).exp()
        in_responders = effect * torch.from_numpy(cells.response).to(sizes.device)[:, None]
        theta = None if self.theta_effects is None else cells.effects(self.theta_effects)
        return self.autoencoder.distribution(cells.z_1, sizes, in_responders, theta), sizes

    @torch.no_grad()
    def decode(self, cells: MovedCells, population: torch.Tensor, draw: Draw) -> DecodedCells:
        own, (moved, sizes) = self._own_size(cells), self._moved(cells, population)
        if self.carried:
            before = self.autoencoder.distribution(cells.z_control, own)
            x = moved.at_quantiles(*before.quantiles_of(cells.counts, draw("quantiles")))
            # So far out that float64 knows no quantile: the same multiple of the mean.
            x = np.where(np.isfinite(x), x, np.round(cells.counts * (moved.mean / before.mean).cpu().numpy()))
        else:
            u = draw("counts").astype(np.float64)
            x = moved.at_quantiles(u, 1 - u)
        x = np.where(cells.are_controls.cpu().numpy(), cells.counts, x)
        library_size = sizes[:, 0].cpu().numpy()
        refuse_beyond_integers(cells, library_size, x.max(axis=1))
        return counted(x.astype(np.int64), library_size, self.measures_all)


def is_gated(on_genes: MeanEffects, condition: Condition) -> bool:
    """Whether a condition was not measured in its context at any dose or time (members at doses of their own: at
    these), so that its mean is told twice."""
    return not (condition.changes_nothing or on_genes.are_measured_here(condition))


def gated_mean(mean: torch.Tensor, before: torch.Tensor, told: FloatArray, gate: float) -> torch.Tensor:
    """(G,) mean log1p CP10k, some of the way from that of moved cells to that of their control cells, `before`, with an
    effect that is told. Either is 0 where it would be below, as cells are cut off there."""
    expected = before + torch.from_numpy(told).to(mean.device)
    return torch.lerp(mean.clamp_min(0), expected.clamp_min(0), gate)


def _knowing(effects: MeanEffects | None, vectors: Mapping[str, FloatArray]) -> MeanEffects | None:
    return None if effects is None else effects.knowing_contexts(vectors)


def counted(counts: IntArray, library_size: FloatArray, measures_all: bool) -> DecodedCells:
    """Cells from (n, G) counts; where those are all there are, they and not `library_size` say what 1e4 is."""
    if measures_all:
        # A cell in which nothing was counted has no logarithm but 0.
        library_size = counts.sum(axis=1).clip(1).astype(np.float32)
    return DecodedCells(_log(counts, library_size), counts, library_size)


def _log(counts: IntArray, library_size: FloatArray) -> FloatArray:
    """(n, G) log1p CP10k."""
    x: FloatArray = np.log1p(counts * (CP10K / library_size.astype(np.float64)[:, None])).astype(np.float32)
    return x


def refuse_beyond_integers(cells: MovedCells, library_size: FloatArray, largest: NDArray[np.floating]) -> None:
    """Refuse cells with (n,) library sizes, or (n,) largest counts, that an int32 does not hold.

    Raises:
        DataError: the condition of the largest is named.
    """
    most = np.maximum(library_size, largest)
    if not float(most.max()) <= LARGEST_COUNT:
        k = int(cells.condition[int(most.argmax())])
        raise DataError(
            f"condition {cells.conditions[k].label!r}: a simulated cell would have {float(most.max()):.3g} counts, and "
            f"integers end at {LARGEST_COUNT}; check its training cells, or use autoencoder.library_size=control"
        )


def implied_grid(x: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(n,) library sizes for which the smallest value above 0 of each of (n, G) cells, log1p CP10k, is one count, and
    (n, 1) whether all its values are counts then."""
    smallest = np.where(x > 0, x, np.inf).min(axis=1)
    one = np.where(np.isfinite(smallest), np.expm1(smallest), 1.0)
    counts = np.expm1(x.astype(np.float64)) / one[:, None]
    off = np.abs(counts - np.round(counts)) > GRID_TOLERANCE * (1 + 0.01 * counts)
    return (CP10K / one).astype(np.float32), np.asarray(~off.any(axis=1, keepdims=True))
