"""What a perturbation is known by."""

from typing import Annotated, Literal

from pydantic import Field

from gensim.config.section import PositiveInt, Section, tagged


class OneHotConfig(Section):
    """A learned vector per training perturbation: it cannot tell about unseen ones."""

    kind: Literal["one_hot"] = "one_hot"


class TableConfig(Section):
    """Vectors from tables: parquet or csv (first column the names), or npz with arrays `names` and `vectors`."""

    kind: Literal["table"]
    path: str | list[str]
    """One, or several that are joined; a perturbation may be missing in some of several."""


class PerturbationConfig(Section):
    vectors: Annotated[OneHotConfig | TableConfig, Field(discriminator="kind"), tagged("kind", "one_hot")] = (
        OneHotConfig()
    )
    n_features: PositiveInt = 32
    """Length of the perturbation part of the condition vector."""
    fusion: Literal["sum", "deep_sets", "attention"] = "sum"
    """Of the members of a combination and of several tables: a sum of linear maps, a sum of small networks, or
    attention over what is known."""
