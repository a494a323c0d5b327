"""The metrics of an evaluation, one frozen row each: what it is, which way is better, and where it comes from."""

from collections.abc import Iterable

from gensim.errors import ConfigError, NotComputable, listing, nearest
from gensim.metrics.combined import CombinedMetric
from gensim.metrics.combined_rows import COMBINED
from gensim.metrics.comparison import Comparison, Side
from gensim.metrics.distances import Mmd
from gensim.metrics.distribution_rows import DISTRIBUTION
from gensim.metrics.effect_rows import EFFECT
from gensim.metrics.expression_rows import EXPRESSION
from gensim.metrics.metric import ConditionMetric, Metric
from gensim.metrics.panel import PanelMetric, PooledMetric
from gensim.metrics.panel_rows import PANEL, POOLED

__all__ = [
    "CATALOGUE", "DEFAULT", "PRESETS", "CombinedMetric", "Comparison", "ConditionMetric", "Metric", "Mmd",
    "NotComputable", "PanelMetric", "PooledMetric", "Side", "choose", "in_words",
]  # fmt: skip

CATALOGUE: tuple[Metric, ...] = (*DISTRIBUTION, *EFFECT, *EXPRESSION, *PANEL, *POOLED, *COMBINED)
PRESETS: dict[str, tuple[str, ...]] = {
    "default": (
        "energy_distance_pca", "energy_distance_genes", "mmd2_rbf_pca", "variance_ratio", "zero_fraction_error",
        "correlation_error", "c2st_auc_logistic", "c2st_auc_forest", "l2_delta", "pearson_delta", "des_wilcoxon",
    ),
    "distribution": tuple(metric.key for metric in DISTRIBUTION),
    "effect": tuple(metric.key for metric in (*EFFECT, *PANEL)),
    "de": tuple(metric.key for metric in (*EXPRESSION, *POOLED)),
    "vcc2025": ("mae_delta", "pds_l1", "des_wilcoxon", "vcc2025_score"),
    "vcc2026": (
        "pds_cosine_2026", "direction_fidelity", "direction_reach", "de_jaccard", "lfc_nmae", "mse_ratio_2026",
        "vcc2026_score",
    ),
    "cole2026": ("l2_ba_ate", "l2_delta", "pearson_delta", "auprc_lfc", "deg_macro_f1"),
    "systema": ("pearson_systema", "centroid_accuracy", "pearson_delta", "pearson_delta_top20"),
    "all": tuple(metric.key for metric in CATALOGUE),
}  # fmt: skip
"""Keys by name; what published comparisons and challenges report, and what takes seconds (`default`)."""


def choose(names: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of these presets and keys, and those that these are made of, each once, in the catalogue's order.

    Raises:
        ConfigError: no name, or one that is neither.
    """
    names = list(names)
    keys: set[str] = set()
    for name in names:
        if name not in PRESETS and name not in PRESETS["all"]:
            known = [*PRESETS, *PRESETS["all"]]
            raise ConfigError(
                f"no metric or preset is called {name!r}{nearest(name, known)}; presets: {listing(PRESETS)}; "
                "`gensim metrics` lists all metrics"
            )
        keys.update(PRESETS.get(name, (name,)))
    if not keys:
        raise ConfigError(f"no metric is asked for; name presets ({listing(PRESETS)}) or keys of `gensim metrics`")
    for combined in [metric for metric in COMBINED if metric.key in keys]:
        keys.update(component.metric.key for component in combined.of)
    return tuple(metric for metric in CATALOGUE if metric.key in keys)


def in_words(metric: Metric) -> str:
    """Lines for people: key, direction, range, name, source, presets."""
    low, high = metric.range
    better = f"nearest to {metric.identical:g}" if metric.better == "nearest" else metric.better
    presets = ", ".join(name for name, keys in PRESETS.items() if metric.key in keys)
    return (
        f"{metric.key}: {better} is better, {low:g} to {high:g}, unit {metric.unit}, in {metric.space}\n"
        f"  {metric.name}\n  source: {metric.source}\n  presets: {presets}"
    )


DEFAULT = choose(["default"])
