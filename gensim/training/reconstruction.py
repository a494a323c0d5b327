"""What the latents can hold at all: held-out cells encoded and decoded, against other held-out cells."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch

from gensim.autoencoder.base import Autoencoder, ObservedCells
from gensim.autoencoder.count import CountAutoencoder
from gensim.data.scale import to_log1p_cp10k
from gensim.metrics.distances import NotComputable, energy_distance
from gensim.metrics.marginals import GeneMarginals, variance_ratio
from gensim.seeding import numpy_generator
from gensim.types import Condition, FloatArray, IntArray

MOST_CELLS = 400
"""Of each half of a condition, and of its controls."""
MOST_CONDITIONS = 200
FEWEST_CELLS = 8

Decode = Callable[[ObservedCells, Condition], FloatArray]


def decoded_score(
    cells: ObservedCells, condition_of: IntArray, conditions: Sequence[Condition], decode: Decode, seed: int
) -> dict[str, float | int | None]:
    """How far decoded cells are from real ones: the ceiling of any transport that ends in these latents.

    The held-out cells of every condition are halved. One half is decoded and compared with the other; so is the half
    itself (replicate), and the held-out control cells (no change).

    Args:
        cells: N held-out cells. condition_of: (N,) row of `conditions`.
        decode: (n,) cells of a condition to (n, G) log1p CP10k, drawn anew.

    Returns:
        Averages over `n_conditions` conditions of the energy distances in gene space; `energy_score`, the decoded
        half's between no change (0) and the replicate (1), None where nothing separates those; `variance_ratio`, the
        median over genes of decoded to real variance. Conditions of fewer than 8 held-out cells are left out.
    """
    present = [
        k for k in np.unique(condition_of) if not conditions[k].is_control and (condition_of == k).sum() >= FEWEST_CELLS
    ]
    distances, ratios = [], []
    few = np.linspace(0, len(present) - 1, min(len(present), MOST_CONDITIONS)).astype(int)
    for k in [present[i] for i in few]:
        rng = numpy_generator(seed, "reconstruction", conditions[k].key)
        rows = rng.permutation(np.flatnonzero(condition_of == k))
        n = min(len(rows) // 2, MOST_CELLS)
        reference, other = cells.x[rows[:n]].toarray(), some(cells, rows[n : 2 * n])
        control = [c for c, condition in enumerate(conditions) if condition == conditions[k].control]
        controls = np.flatnonzero(np.isin(condition_of, control))
        if len(controls) < 2:
            continue
        still = cells.x[rng.permutation(controls)[:MOST_CELLS]].toarray()
        decoded, real = decode(other, conditions[k]), other.x.toarray()
        distances.append([energy_distance(reference, x, block=1024) for x in (decoded, still, real)])
        with suppress(NotComputable):
            ratios.append(variance_ratio(GeneMarginals.of(real), GeneMarginals.of(decoded)))
    if not distances:
        return {"n_conditions": 0, "energy_score": None}
    u, u_no_change, u_replicate = (float(mean) for mean in np.mean(distances, axis=0))
    separates = u_no_change > u_replicate
    return {
        "n_conditions": len(distances),
        "energy_distance": u,
        "energy_distance_no_change": u_no_change,
        "energy_distance_replicate": u_replicate,
        "energy_score": (u_no_change - u) / (u_no_change - u_replicate) if separates else None,
        "variance_ratio": float(np.mean(ratios)) if ratios else None,
    }


def what_latents_hold(n_latents: int, decoded: Mapping[str, Mapping[str, float | int | None]]) -> str:
    """The scores of an autoencoder and of principal components in words.

    Args:
        decoded: by `model`, which has the effects of conditions on single genes that are measured beside the latents of
            counts; `latents`, without these; and `pca`.
    """

    def words(found: Mapping[str, float | int | None]) -> str:
        score, ratio = (found.get(name) for name in ("energy_score", "variance_ratio"))
        if score is None:
            return "no score (too few held-out cells, or nothing that separates them from controls)"
        return f"energy score {score:.2f} in gene space, variance ratio {'–' if ratio is None else f'{ratio:.2f}'}"

    with_effects = ", with what its conditions do to single genes" if "latents" in decoded else ""
    names = {
        "model": f"the autoencoder's{with_effects}",
        "latents": "its latents alone",
        "pca": "of principal components",
    }
    of = "; ".join(f"{names[name]}: {words(decoded[name])}" for name in names if name in decoded)
    return (
        f"held-out cells, coded into {n_latents} latents and decoded anew without anything carried over (1: as good as "
        f"other real cells, 0: as far off as controls): {of}"
    )


def some(cells: ObservedCells, rows: IntArray) -> ObservedCells:
    """The cells at `rows`."""
    labels = [cells.conditions[i] for i in rows]
    return ObservedCells(cells.x[rows], cells.counts[rows], cells.library_size[rows], cells.genes, labels)


def decode_logs(autoencoder: Autoencoder) -> Decode:
    """Decoding to log1p CP10k, cut off at 0."""

    @torch.no_grad()
    def decode(cells: ObservedCells, condition: Condition) -> FloatArray:  # noqa: ARG001 - the same for all
        x = torch.from_numpy(cells.x.toarray()).to(autoencoder.device)
        decoded: FloatArray = autoencoder.decode(autoencoder.encode(x)).clamp_min(0).cpu().numpy()
        return decoded

    return decode


def decode_counts(autoencoder: CountAutoencoder, effect: Callable[[Condition], FloatArray], seed: int) -> Decode:
    """Decoding to counts, each drawn by itself, with the effect of the condition on the logarithm of the means."""

    @torch.no_grad()
    def decode(cells: ObservedCells, condition: Condition) -> FloatArray:
        x = torch.from_numpy(cells.x.toarray()).to(autoencoder.device)
        sizes = torch.from_numpy(cells.library_size).to(x.device)[:, None]
        log_effect = torch.from_numpy(effect(condition)).to(x.device)
        u = numpy_generator(seed, "decoded counts", condition.key).random(x.shape)
        counts = autoencoder.distribution(autoencoder.encode(x), sizes, log_effect).at_quantiles(u, 1 - u)
        return to_log1p_cp10k(counts.astype(np.float32), "counts", cells.library_size)

    return decode
