"""Classifier two-sample test: how well real and predicted cells can be told apart by someone who has seen examples."""

from typing import Any

import numpy as np

from gensim.errors import NotComputable
from gensim.parallel import Call, directly
from gensim.seeding import derive, numpy_generator
from gensim.types import FloatArray

FOLDS = 3
FEWEST_CELLS = 10
MOST_CELLS = 500
TREES, FEWEST_IN_LEAF = 30, 5
ITERATIONS = 1_000


def c2st_auc_logistic(x: FloatArray, y: FloatArray, seed: int, call: Call = directly) -> float:
    """AUC of a logistic regression on standardised genes (L2 penalty, C = 1), telling cells y from cells x; see `_auc`.

    It weighs genes linearly, so it sees means, and neither spread nor dependence.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return _auc(make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS)), x, y, seed, call)


def c2st_auc_forest(x: FloatArray, y: FloatArray, seed: int, call: Call = directly) -> float:
    """AUC of a random forest (30 trees, leaves of at least 5 cells), telling cells y from cells x; see `_auc`.

    Thresholds on several genes see zeros, spread, dependence, and values that no real cell has.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        n_estimators=TREES, min_samples_leaf=FEWEST_IN_LEAF, random_state=_word(seed, "forest"), n_jobs=1
    )
    return _auc(forest, x, y, seed, call)


def _auc(classifier: Any, x: FloatArray, y: FloatArray, seed: int, call: Call = directly) -> float:
    """Area under the ROC curve of a classifier that never saw the cells it judges.

    Equal numbers of both, at most 500, are drawn without replacement; of three stratified folds each is judged by a
    classifier trained on the other two, and all judgements are pooled.

    Args:
        classifier: a scikit-learn one with probabilities.
        x: (n, G) real cells.
        y: (m, G) predicted cells.
        seed: of draws and folds.
        call: how to call what holds the interpreter while it works.

    Returns:
        Between 0 and 1; 0.5 up to noise (a standard error of about 0.41 / sqrt(cells on a side)) where the
        populations are the same, 1 where every predicted cell can be told.

    Raises:
        NotComputable: fewer than ten cells on a side.

    Source: Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017 (there with accuracy).
    """
    fewest = min(len(x), len(y))
    if fewest < FEWEST_CELLS:
        raise NotComputable(f"{len(x)} real and {len(y)} predicted cells; a classifier needs {FEWEST_CELLS} of each")
    n = min(fewest, MOST_CELLS)
    generator = numpy_generator(seed, "two-sample draws")
    cells = np.concatenate([side[np.sort(generator.choice(len(side), size=n, replace=False))] for side in (x, y)])
    return float(call(_cross_validated, classifier, cells, seed))


def _cross_validated(classifier: Any, cells: FloatArray, seed: int) -> float:
    """The area of (2 n, G) cells, n real ones before n predicted ones."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    predicted = np.repeat([0, 1], len(cells) // 2)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=_word(seed, "folds"))
    probability = cross_val_predict(classifier, cells, predicted, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(predicted, probability))


def _word(seed: int, name: str) -> int:
    """A seed of the 32 bits that scikit-learn takes."""
    return derive(seed, "two-sample", name) % 2**32
