"""Rows of the catalogue that see all conditions of a context together."""

from functools import partial

from gensim.metrics.conformal import COVERAGE
from gensim.metrics.discrimination import centroid_accuracy, pds, pds_2026, rank_of_prediction
from gensim.metrics.expression_error import mse_ratio_2026
from gensim.metrics.macro_f1 import macro_f1
from gensim.metrics.panel import PanelMetric, PooledMetric
from gensim.metrics.scales import DISTANCE, LOSS, SHARE, UNIT

CONFORMAL = "Vovk et al. 2005, Algorithmic learning in a random world; Lei et al. 2018, JASA 113, section 2.2"

PANEL = (
    PanelMetric(
        key="pds_l1",
        name="Perturbation discrimination score, 1 - rank / K of the own real condition among the K of the context by "
        "L1 distance to the predicted mean, genes perturbed by the condition left out",
        takes="mean",
        function=partial(pds, distance="cityblock"),
        space="genes",
        source="Virtual Cell Challenge 2025, Roohani et al. 2025, Cell 188",
        **SHARE,
    ),
    PanelMetric(
        key="pds_l2",
        name="Perturbation discrimination score by L2 distance to the predicted mean, else as pds_l1",
        takes="mean",
        function=partial(pds, distance="euclidean"),
        space="genes",
        source="Virtual Cell Challenge 2025, Roohani et al. 2025, Cell 188",
        **SHARE,
    ),
    PanelMetric(
        key="pds_cosine",
        name="Perturbation discrimination score by cosine distance of effects (delta), else as pds_l1; the two effects "
        "share no control cell's noise",
        takes="delta",
        function=partial(pds, distance="cosine"),
        space="genes",
        source="Virtual Cell Challenge 2025, Roohani et al. 2025, Cell 188",
        **SHARE,
    ),
    PanelMetric(
        key="pds_cosine_2026",
        name="Perturbation discrimination score, 1 - rank / (K - 1) by cosine distance of effects of bulk profiles "
        "log(1 + 5e4 share of summed counts; cells count alike where some are logarithms); genes that any condition "
        "perturbs left out; ties share their average rank; the two effects share no control",
        takes="delta_2026",
        function=pds_2026,
        space="genes",
        source="Virtual Cell Challenge 2026, The vcc2026 metric suite, section 1",
        **SHARE,
    ),
    PanelMetric(
        key="rank",
        name="Rank of the own prediction among all predictions of the context by Euclidean distance to the real mean, "
        "divided by their number less one; ties share their average position",
        takes="mean",
        function=rank_of_prediction,
        space="genes",
        source="PerturBench, Wu et al. 2024",
        **LOSS,
    ),
    PanelMetric(
        key="centroid_accuracy",
        name="Share of the other real conditions of the context whose mean is farther from the predicted mean than the "
        "own one's, Euclidean",
        takes="mean",
        function=centroid_accuracy,
        space="genes",
        source="Systema, Viñas Torné et al. 2025, Nature Biotechnology",
        **SHARE,
    ),
    PanelMetric(
        key="conformal_coverage",
        name="Share of genes whose measured effect lies within the 0.9 interval around the predicted one that errors "
        "in the other conditions give (split conformal; of the context, seen and unseen ones apart); the average over "
        "K conditions is ceil(0.9 K) / K whatever is predicted, so that less marks those that are harder than others",
        takes="delta",
        function=lambda panel, k: panel.conformal.coverage(k),
        seen_apart=True,
        better="nearest",
        range=(0.0, 1.0),
        identical=COVERAGE,
        unit="1",
        space="genes",
        source=CONFORMAL,
    ),
    PanelMetric(
        key="conformal_width",
        name="Mean over genes of the half-width of the intervals of conformal_coverage: how far from a predicted "
        "effect the measured one of a further such condition may lie",
        takes="delta",
        function=lambda panel, k: panel.conformal.width(k),
        seen_apart=True,
        unit=UNIT,
        space="genes",
        source=CONFORMAL,
        **DISTANCE,
    ),
)
POOLED = (
    PooledMetric(
        key="deg_macro_f1",
        name="F1 of down, unchanged and up (t-test against controls, Benjamini-Hochberg 0.05) over conditions of more "
        "than 30 cells, mean over the classes that a gene has, then over genes; one value for all conditions",
        takes="response_classes",
        function=macro_f1,
        space="genes",
        source="Cole et al. 2026",
        **SHARE,
    ),
    PooledMetric(
        key="mse_ratio_2026",
        name="Squared error of bulk profiles log(1 + 5e4 share of summed counts) over their squared distance from "
        "control cells, both less sampling noise, the prediction's capped by the real cells' and by its spread over "
        "conditions; sums over conditions of means over genes not perturbed; one value for all conditions",
        takes="noisy_bulk",
        takes_of_real="noisy_shift",
        function=mse_ratio_2026,
        unit="1",
        space="genes",
        source="Virtual Cell Challenge 2026, The vcc2026 metric suite, section 2",
        **DISTANCE,
    ),
)
