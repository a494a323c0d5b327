"""The learning rate as a function of cells seen, whatever the batch size or the number of processes."""

import math


def learning_rate_at(cells_seen: int, *, peak: float, warmup_cells: int, max_cells: int) -> float:
    """Linear warm-up from 0 to `peak` over `warmup_cells`, then half a cosine down to 0 at `max_cells`.

    (Loshchilov & Hutter 2017, eq. 5, without restarts.)
    """
    if cells_seen < warmup_cells:
        return peak * cells_seen / warmup_cells
    progress = min(1.0, (cells_seen - warmup_cells) / max(1, max_cells - warmup_cells))
    return peak * (1 + math.cos(math.pi * progress)) / 2
