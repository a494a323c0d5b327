"""Populations moved below 0 and brought back, with their mean kept."""

import torch


def offsets_to_nonnegative(x: torch.Tensor) -> torch.Tensor:
    """What to take from every gene so that cutting off at 0 keeps the gene's mean.

        mean(max(0, x - offset)) = max(0, mean(x))

    ``max(0, x - offset)`` is the population nearest to `x` (Euclidean) among those that are not negative and have this
    mean: the projection onto a simplex (Duchi et al. 2008, figure 1). Genes that are nowhere negative have offset 0.

    Args:
        x: (N, G) cells.

    Returns:
        (G,) offsets, none of them negative.
    """
    n = len(x)
    descending = x.sort(dim=0, descending=True).values
    mean = x.mean(dim=0).clamp_min(0)
    rank = torch.arange(1, n + 1, dtype=x.dtype, device=x.device)[:, None]
    # If the k largest cells stay above 0, they share the surplus that cutting off the others leaves.
    offset_if = (descending.cumsum(dim=0) - n * mean) / rank
    stays = (descending > offset_if).sum(dim=0).clamp_min(1)
    offset = offset_if.gather(0, stays[None] - 1)[0]
    return torch.where(descending[-1] < 0, offset, 0.0)
