"""Vectors of compounds from their structure."""

from importlib.util import find_spec

import numpy as np
import pandas as pd

from gensim.errors import ConfigError, DataError, listing
from gensim.perturbations.vectors import VectorTable

RADIUS = 2
"""Bonds around an atom that a fingerprint looks at: 2 is ECFP4."""
MOST_BITS = 65_536
DESCRIPTORS = (
    "MolWt", "MolLogP", "TPSA", "NumHDonors", "NumHAcceptors", "NumRotatableBonds", "RingCount", "FractionCSP3",
)  # fmt: skip


def smiles_vectors(name: pd.Series, smiles: pd.Series, n: int, source: str) -> VectorTable:
    """Extended-connectivity fingerprints folded to n bits, then eight standardised physical descriptors.

    Args:
        name, smiles: a row per compound; rows that say the same count once.
        n: bits; vectors have n + 8 features.

    Raises:
        ConfigError: rdkit is not installed, or n is no number of bits.
        DataError: text that is no SMILES (the compounds are listed), or names with several.

    Source: Rogers & Hahn 2010, J. Chem. Inf. Model. 50; RDKit.
    """
    if not 1 <= n <= MOST_BITS:
        raise ConfigError(f"{n} bits asked for; a fingerprint has 1 to {MOST_BITS}")
    if not len(name):
        raise DataError(f"{source} has no compounds")
    if find_spec("rdkit") is None:
        raise ConfigError("vectors from SMILES need rdkit; pip install 'gensim-cells[chemistry]'")
    from rdkit.Chem import Descriptors, MolFromSmiles
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
    from rdkit.rdBase import BlockLogs

    compounds = pd.DataFrame({"name": list(name), "smiles": list(smiles)}).drop_duplicates()
    name, smiles = compounds["name"], compounds["smiles"]
    with BlockLogs():
        parsed = [MolFromSmiles(text) for text in smiles]
    # An empty text is a molecule of no atoms to rdkit.
    valid = [molecule is not None and molecule.GetNumAtoms() > 0 for molecule in parsed]
    bad = name[np.logical_not(valid)].tolist()
    if bad:
        raise DataError(f"{len(bad)} compounds of {source} have no valid SMILES: {listing(bad)}; correct or drop them")
    fingerprint = GetMorganGenerator(radius=RADIUS, fpSize=n)
    bits = np.stack([fingerprint.GetFingerprintAsNumPy(molecule) for molecule in parsed])
    physical = np.array([[getattr(Descriptors, d)(molecule) for d in DESCRIPTORS] for molecule in parsed])
    spread = physical.std(axis=0)
    standardised = (physical - physical.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return VectorTable(tuple(name), np.hstack([bits, standardised]).astype(np.float32), source)
