"""Rows of the catalogue that are made of other rows: total scores of the Virtual Cell Challenges.

Both place a row between the mean response of the context, which is the same for every perturbation, and a ceiling. They
differ from a leaderboard's number as their components do: here these compare with one half of the real cells, and the
two sides share no control cell where that would correlate them, while a challenge takes all real cells and shares the
controls. The mean response here is that of the training conditions, with the spread of control cells; in 2025 it was
one profile repeated, and in 2026 it is that of the scored conditions themselves.
"""

import math

from gensim.metrics.combined import CombinedMetric, Component
from gensim.metrics.effect_rows import EFFECT
from gensim.metrics.expression_rows import EXPRESSION
from gensim.metrics.metric import Metric
from gensim.metrics.panel_rows import PANEL, POOLED
from gensim.metrics.scales import SHARE

_ROWS: dict[str, Metric] = {metric.key: metric for metric in (*EFFECT, *EXPRESSION, *PANEL, *POOLED)}
_HALVES = (
    "from halves of the real cells, each side with controls of its own, where the challenge takes all and the same"
)

COMBINED = (
    CombinedMetric(
        key="vcc2025_score",
        name="Total score of the challenge of 2025: mean of 1 - u / b of mae_delta and (u - b) / (1 - b) of pds_l1 and "
        "des_wilcoxon, each at least 0 and 0 where there is no number, with b the average of the row mean_response; "
        + _HALVES,
        of=(
            Component(_ROWS["mae_delta"], worst=math.inf, low=0.0),
            Component(_ROWS["pds_l1"], worst=0.0, low=0.0),
            Component(_ROWS["des_wilcoxon"], worst=0.0, low=0.0),
        ),
        ceiling="identical",
        space="genes",
        source="Virtual Cell Challenge 2025, Roohani et al. 2025, Cell 188; score_agg_metrics of cell-eval",
        **SHARE,
    ),
    CombinedMetric(
        key="vcc2026_score",
        name="Total score of the challenge of 2026: mean of (u - b) / (r - b) of pds_cosine_2026, mse_ratio_2026 (from "
        "0 to 1), direction_fidelity, direction_reach, de_jaccard and lfc_nmae (at least -6), b and r the averages "
        "of the rows mean_response and replicate, conditions of all contexts together; " + _HALVES,
        of=(
            Component(_ROWS["pds_cosine_2026"], worst=0.0),
            Component(_ROWS["mse_ratio_2026"], worst=math.inf, low=0.0, high=1.0),
            Component(_ROWS["direction_fidelity"], worst=0.0),
            Component(_ROWS["direction_reach"], worst=0.0),
            Component(_ROWS["de_jaccard"], worst=0.0),
            Component(_ROWS["lfc_nmae"], worst=math.inf, low=-6.0),
        ),
        ceiling="replicate",
        better="higher",
        range=(-math.inf, math.inf),
        identical=1.0,
        unit="1",
        space="genes",
        source="Virtual Cell Challenge 2026, The vcc2026 metric suite, section 0 and the scaled ranges of 1 to 6",
    ),
)
