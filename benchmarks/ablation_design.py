"""The variants of the ablation, and the comparisons among them that are fair."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean

STARTS = {
    ("flow_matching", "control"): ("transport.kind=flow_matching", "transport.noise=0"),
    ("flow_matching", "noise"): ("transport.kind=flow_matching", "transport.noise=1"),
    ("flow_matching", "mixed"): ("transport.kind=flow_matching", "transport.noise=0.5"),
    ("schrodinger_bridge", "control"): ("transport.kind=schrodinger_bridge",),
    ("latent_diffusion", "noise"): ("transport.kind=latent_diffusion", "transport.strength=1"),
    ("latent_diffusion", "mixed"): ("transport.kind=latent_diffusion", "transport.strength=0.5"),
}
"""(transport, source) to the overrides that choose them; `mixed` is a control cell with noise added."""
COUPLINGS = {"independent": "independent", "exact": "exact", "entropic": "sinkhorn", "unbalanced": "unbalanced"}
"""Name here to coupling.kind; the bridge has an entropic coupling of its own, whose reg follows from its sigma."""
DEFAULT_COUPLING = "exact"
BACKBONES = ("residual_mlp", "latent_transformer", "set_transformer")


@dataclass(frozen=True, slots=True)
class Variant:
    """A transport with its source, a coupling and a backbone."""

    transport: str
    source: str
    coupling: str
    backbone: str

    @property
    def name(self) -> str:
        return "/".join(asdict(self).values())

    @property
    def overrides(self) -> tuple[str, ...]:
        bridge = (self.transport, self.coupling) == ("schrodinger_bridge", "entropic")
        coupling = "bridge" if bridge else COUPLINGS[self.coupling]
        return (*STARTS[self.transport, self.source], f"coupling.kind={coupling}", f"field.kind={self.backbone}")


FACTORS: dict[str, tuple[str, ...]] = {
    "transport, source": ("transport", "source"),
    "transport": ("transport",),
    "source": ("source",),
    "coupling": ("coupling",),
    "backbone": ("backbone",),
}


def all_variants(full: bool) -> list[Variant]:
    """The whole product, or its residual MLP and its default coupling only."""
    return [
        Variant(*start, coupling, backbone)
        for start in STARTS
        for coupling in COUPLINGS
        for backbone in BACKBONES
        if full or backbone == BACKBONES[0] or coupling == DEFAULT_COUPLING
    ]


def complete_blocks(variants: Iterable[Variant], fields: Sequence[str]) -> list[dict[str, list[Variant]]]:
    """Blocks (choices of everything else) that hold all variants of every level of a factor, as level to variants.

    Over these all levels are averaged alike, whichever variants were left out or failed. Transport and source are no
    blocks for each other, since not every transport has every source: a level may have several variants in a block.

    Args:
        fields: those of `Variant` that make the factor.
    """
    others = {"transport", "source", "coupling", "backbone"} - set(fields)
    if others >= {"coupling", "backbone"}:
        others = {"coupling", "backbone"}
    blocks: dict[tuple[str, ...], dict[str, list[Variant]]] = {}
    for variant in variants:
        chosen = asdict(variant)
        block = tuple(chosen[field] for field in sorted(others))
        blocks.setdefault(block, {}).setdefault(", ".join(chosen[field] for field in fields), []).append(variant)
    whole: dict[str, int] = {}
    for block in blocks.values():
        whole |= {level: max(len(of), whole.get(level, 0)) for level, of in block.items()}
    return [block for block in blocks.values() if {level: len(of) for level, of in block.items()} == whole]


def marginal(
    blocks: list[dict[str, list[Variant]]], level: str, values: dict[Variant, list[float | None]]
) -> list[float | None]:
    """Per seed the mean of a level over blocks, each being the mean over its variants of that level."""
    per_block = [[average(seed) for seed in zip(*(values[v] for v in block[level]), strict=True)] for block in blocks]
    return [average(seed) for seed in zip(*per_block, strict=True)]


def average(values: Sequence[float | None]) -> float | None:
    """The mean, or None where one is missing."""
    return None if None in values else mean(values)
