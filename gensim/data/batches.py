"""Experimental batches of the cells of an evaluation."""

from dataclasses import dataclass

import numpy as np

from gensim.data.cell_source import FileCells
from gensim.data.conditions import column_codes
from gensim.errors import DataError
from gensim.types import IntArray


@dataclass(frozen=True, slots=True)
class Batches:
    """Which batch every cell belongs to, in codes that all sources share.

    Args:
        truth: (N,) by the row of the real cells.
        controls: (M,) by the row of the control cells.
        prediction: (P,) by the row of the predicted cells; None: not known.
    """

    truth: IntArray
    controls: IntArray
    prediction: IntArray | None = None


def batches_of(
    truth: FileCells, controls: FileCells, prediction: FileCells, column: str | None
) -> tuple[Batches | None, str | None]:
    """Batches by a column of obs that real and control cells have, and what is not known, with the reason.

    Args:
        column: `data.batch_column`; None where none is declared.
    """
    if column is None:
        return None, "no batch column is declared (data.batch_column)"
    try:
        real = [column_codes(source.file.obs, column, source.file.where) for source in (truth, controls)]
    except DataError as error:
        return None, str(error)
    try:
        predicted, why = [column_codes(prediction.file.obs, column, prediction.file.where)], None
    except DataError as error:
        predicted, why = [], f"predicted cells count alike, as theirs are not known: {error}"
    # Those that only predicted cells have come last: draws go by the codes of real cells.
    of_real = sorted({name for names, _ in real for name in names})
    code: dict[str, int] = {}
    for name in (*of_real, *(name for names, _ in predicted for name in names)):
        code.setdefault(name, len(code))
    coded = (np.array([code[name] for name in names], dtype=np.int64)[codes] for names, codes in (*real, *predicted))
    return Batches(*coded), why
