"""Experimental batches of the real cells of an evaluation."""

from dataclasses import dataclass

import numpy as np

from gensim.data.cell_source import FileCells
from gensim.data.conditions import column_codes
from gensim.errors import DataError
from gensim.types import IntArray


@dataclass(frozen=True, slots=True)
class Batches:
    """Which batch every cell belongs to, in codes that both sources share.

    Args:
        truth: (N,) by the row of the real cells.
        controls: (M,) by the row of the control cells.
    """

    truth: IntArray
    controls: IntArray


def batches_of(truth: FileCells, controls: FileCells, column: str | None) -> tuple[Batches | None, str | None]:
    """Batches by a column of obs that both files have, else the reason why they are not known.

    Args:
        column: `data.batch_column`; None where none is declared.
    """
    if column is None:
        return None, "no batch column is declared (data.batch_column)"
    try:
        (names, codes), (control_names, control_codes) = (
            column_codes(source.file.obs, column, source.file.where) for source in (truth, controls)
        )
    except DataError as error:
        return None, str(error)
    known = np.unique([*names, *control_names])
    return Batches(np.searchsorted(known, names)[codes], np.searchsorted(known, control_names)[control_codes]), None
