"""How near a predicted mean effect (delta: mean of perturbed minus mean of control cells) is to the measured one."""

import numpy as np
from numpy.typing import NDArray

from gensim.errors import DataError, NotComputable

CONSTANT = 1e-9
"""A standard deviation over genes below this share of the largest value is rounding: no effect, or the same on all."""

Vector = NDArray[np.floating]


def l2_delta(delta: Vector, predicted: Vector) -> float:
    """||delta - predicted||_2 over all genes.

    Args:
        delta: (G,) measured effect, log1p CP10k.
        predicted: (G,) predicted effect, same genes and unit.

    Returns:
        Distance in log1p CP10k, 0 where the effects are equal.

    Raises:
        DataError: other shapes, or values that are not finite.
    """
    measured, guess = _checked(delta, predicted)
    return float(np.linalg.norm(measured - guess))


def mse_delta(delta: Vector, predicted: Vector) -> float:
    """mean_g (delta_g - predicted_g)^2; arguments and errors as in `l2_delta`, in (log1p CP10k)^2."""
    measured, guess = _checked(delta, predicted)
    return float(np.square(measured - guess).mean())


def mae_delta(delta: Vector, predicted: Vector) -> float:
    """mean_g |delta_g - predicted_g|; arguments and errors as in `l2_delta`, in log1p CP10k.

    Source: MAE of the Virtual Cell Challenge 2025, `mae` and `mae_delta` of cell-eval.
    """
    measured, guess = _checked(delta, predicted)
    return float(np.abs(measured - guess).mean())


def pearson_delta(delta: Vector, predicted: Vector) -> float:
    """Pearson correlation over genes of the measured with the predicted effect, both (G,) log1p CP10k.

    Returns:
        Between -1 and 1; 1 where the one is a positive multiple of the other plus a constant.

    Raises:
        NotComputable: fewer than two genes, or an effect that is the same on all genes (for instance no effect).
        DataError: other shapes, or values that are not finite.
    """
    measured, guess = _varying(delta, predicted)
    a, b = measured - measured.mean(), guess - guess.mean()
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def spearman_delta(delta: Vector, predicted: Vector) -> float:
    """`pearson_delta` of the ranks over genes; equal values share their average rank."""
    from scipy.stats import rankdata  # the package takes a third of a second to be imported

    return pearson_delta(*(rankdata(effect) for effect in _varying(delta, predicted)))


def pearson_squared_delta(delta: Vector, predicted: Vector) -> float:
    """`pearson_delta` squared, which some publications call R2: blind to scale, offset and sign."""
    return pearson_delta(delta, predicted) ** 2


def r2_delta(delta: Vector, predicted: Vector) -> float:
    """R2 = 1 - sum_g (delta_g - predicted_g)^2 / sum_g (delta_g - mean delta)^2, the coefficient of determination.

    Returns:
        At most 1; 0 for a prediction of the mean measured effect for all genes, and below 0 for worse ones.

    Raises:
        NotComputable: fewer than two genes, or a measured effect that is the same on all.
        DataError: other shapes, or values that are not finite.
    """
    measured, guess = _checked(delta, predicted)
    _check_varies("measured", measured)
    return float(1 - np.square(measured - guess).sum() / np.square(measured - measured.mean()).sum())


def _varying(delta: Vector, predicted: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    measured, guess = _checked(delta, predicted)
    _check_varies("measured", measured)
    _check_varies("predicted", guess)
    return measured, guess


def _check_varies(name: str, effect: NDArray[np.float64]) -> None:
    if len(effect) < 2:
        raise NotComputable(f"a correlation over genes needs at least 2 genes, got {len(effect)}")
    if effect.std() <= CONSTANT * np.abs(effect).max():
        value = "0" if not effect.any() else "the same"
        raise NotComputable(f"the {name} effect is {value} on all genes, so it has no correlation")


def _checked(delta: Vector, predicted: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    measured, guess = np.asarray(delta, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if measured.shape != guess.shape or measured.ndim != 1 or len(measured) == 0:
        raise DataError(f"effects have shapes {measured.shape} and {guess.shape}; one value per gene in both is needed")
    if not (np.isfinite(measured).all() and np.isfinite(guess).all()):
        raise DataError("an effect holds values that are not finite; check the cells that it is the mean of")
    return measured, guess
