"""How the cells of a run come out of its latents."""

from dataclasses import replace

from gensim.autoencoder.base import Autoencoder
from gensim.autoencoder.count import CountAutoencoder
from gensim.config import Config, CountAutoencoderConfig
from gensim.decoding import CountDecoder, Decoder, LogDecoder
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.mean_effects import MeanEffects
from gensim.training.run_folder import ON_LIBRARY_SIZE, ON_SHARES, ON_THETA, OUTSIDE_LATENTS, EffectsOnGenes


def build_decoder(
    config: Config,
    effects: EffectsOnGenes,
    codebook: Codebook,
    autoencoder: Autoencoder,
    missing: MeanEffects | None,
    gate: float,
    *,
    measures_all: bool,
) -> Decoder:
    """The decoder of the autoencoder.

    Args:
        effects: on genes, which are left alone where nothing is anchored.
        codebook: with what tells of effects in the latents.
        missing: effects on single genes that the trained model misses, where it decodes counts and that is known.
        gate: how far means of what was not measured are brought to the regression on genes.
        measures_all: whether the genes are all of the screen.
    """
    anchored = config.anchor != "none"
    if not isinstance(autoencoder, CountAutoencoder):
        outside = effects.around_latents(OUTSIDE_LATENTS, codebook) if anchored else None
        has_counts = config.data.scale == "counts"
        on_genes = effects.on_expression(codebook) if anchored else None
        return LogDecoder(autoencoder, outside, on_genes, gate, config.guidance, has_counts, measures_all)

    def known(name: str) -> MeanEffects:
        # How effects in the latents go along between contexts says nothing of those on library sizes or dispersions.
        return MeanEffects.load(effects.folder / name).informed(replace(codebook.likeness, between=None))

    counting: CountAutoencoderConfig = config.autoencoder  # type: ignore[assignment]
    return CountDecoder(
        autoencoder,
        gene_effects=None if missing is None else codebook.informed(missing),
        share_effects=None if missing is None else effects.around_latents(ON_SHARES, codebook),
        on_genes=None if missing is None else effects.on_expression(codebook),
        gate=gate,
        theta_effects=known(ON_THETA) if (effects.folder / ON_THETA).is_file() else None,
        library_effects=known(ON_LIBRARY_SIZE) if counting.library_size == "predicted" else None,
        guidance=config.guidance,
        carried=counting.noise == "carried",
        measures_all=measures_all,
    )
