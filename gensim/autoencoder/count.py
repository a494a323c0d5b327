"""An autoencoder whose decoder is a distribution of counts: negative binomial, with or without extra zeros."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gensim.autoencoder.base import Autoencoder, ObservedCells, gene_moments
from gensim.autoencoder.fitting import FitSettings, fit_by_gradient, standardisation
from gensim.autoencoder.likelihoods import CountDistribution
from gensim.autoencoder.mlp import mlp
from gensim.errors import TrainingError
from gensim.nn.blocks import initialise
from gensim.seeding import torch_generator
from gensim.types import CP10K, FloatArray, IntArray, blocks

LOG_THETA = (math.log(1e-3), math.log(1e4))
"""Bounds of the inverse dispersion: beyond them float32 differences of lgamma lose the likelihood."""
THETA_RATE = 10.0
"""Times the learning rate of the networks: a logarithm has units to go, and each gene a single number."""
LOG_NEVER_SEEN = -30.0
"""Share of the counts, as a logarithm, of a gene without any: it is simulated as zeros."""
SMALLEST_SCALE = 0.1
"""log1p CP10k; genes that vary less are not blown up to variance 1 for the encoder."""
ACTIVE = 0.01
"""Variance of a latent's posterior mean over cells, in prior units, above which it says something of the cell (Burda et
al. 2016, section 5.2)."""
CELLS_AT_ONCE = 4096


class CountAutoencoder(Autoencoder):
    """x ~ NB(L rho(z), theta), rho the share of each gene in all counts of the cell, L its library size.

        rho(z) = softmax([log share + decoder(z), log share elsewhere])    over the genes, and all others together

    The encoder sees standardised log1p CP10k. The variational one returns mean and log-variance of a Gaussian posterior
    under a standard normal prior (Kingma & Welling 2014; for counts Lopez et al. 2018, equations 1 to 4); latents are
    its means.

    Args:
        n_genes, n_latents: G and D.
        width, n_layers: of encoder and decoder.
        zero_inflated: extra zeros, with a logit for every gene that follows from z.
        variational: whether the posterior has a variance.
        generator: for the initial weights.
    """

    gene_mean: torch.Tensor
    gene_scale: torch.Tensor
    log_share: torch.Tensor
    latent_mean: torch.Tensor
    latent_scale: torch.Tensor

    def __init__(
        self,
        n_genes: int,
        n_latents: int,
        width: int,
        n_layers: int,
        *,
        zero_inflated: bool,
        variational: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_latents, self.zero_inflated, self.variational = n_latents, zero_inflated, variational
        hidden = [width] * n_layers
        self.encoder = mlp([n_genes, *hidden, n_latents * (2 if variational else 1)])
        self.decoder = mlp([n_latents, *hidden, n_genes * (2 if zero_inflated else 1)])
        initialise(self, generator)
        self.log_theta = nn.Parameter(torch.zeros(n_genes))
        self.register_buffer("gene_mean", torch.zeros(n_genes))
        self.register_buffer("gene_scale", torch.ones(n_genes))
        self.register_buffer("log_share", torch.zeros(n_genes + 1))
        self.register_buffer("latent_mean", torch.zeros(n_latents))
        self.register_buffer("latent_scale", torch.ones(()))

    def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, D) mean and (B, D) log-variance of the latents of (B, G) log1p CP10k, before they are standardised."""
        out: torch.Tensor = self.encoder((x - self.gene_mean) / self.gene_scale)
        if self.variational:
            return out[:, : self.n_latents], out[:, self.n_latents :]
        return out, torch.full_like(out, -torch.inf)

    def likelihood(
        self,
        latent: torch.Tensor,
        library_size: torch.Tensor,
        log_effect: torch.Tensor | None = None,
        log_theta_effect: torch.Tensor | None = None,
    ) -> CountDistribution:
        """Counts given (B, D) latents before standardisation and (B, 1) library sizes.

        Args:
            log_effect, log_theta_effect: (B, G) to add to the logarithms of the mean and of the inverse dispersion.
        """
        out: torch.Tensor = self.decoder(latent)
        n_genes = len(self.log_theta)
        elsewhere = self.log_share[-1:].expand(len(latent), 1)
        log_rho = functional.log_softmax(torch.cat([self.log_share[:-1] + out[:, :n_genes], elsewhere], dim=1), dim=1)
        log_mu = log_rho[:, :-1] + library_size.log()
        log_theta: torch.Tensor = self.log_theta
        if log_effect is not None:
            log_mu = log_mu + log_effect
        if log_theta_effect is not None:
            log_theta = log_theta + log_theta_effect
        theta = log_theta.clamp(*LOG_THETA).exp()
        return CountDistribution(log_mu.exp(), theta, out[:, n_genes:] if self.zero_inflated else None)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return (self.posterior(x)[0] - self.latent_mean) / self.latent_scale

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """(B, D) standardised latents to (B, G) log1p of the expected CP10k; never negative."""
        return torch.log1p(self.distribution(z, torch.full((len(z), 1), CP10K, device=z.device)).mean)

    def distribution(
        self, z: torch.Tensor, library_size: torch.Tensor, *effects: torch.Tensor | None
    ) -> CountDistribution:
        """Counts given (B, D) standardised latents; otherwise as `likelihood`."""
        return self.likelihood(z * self.latent_scale + self.latent_mean, library_size, *effects)

    def see(self, cells: ObservedCells) -> None:
        """Take means, scales and shares of the genes from training cells."""
        mean, variance = gene_moments(cells.x)
        self.gene_mean.copy_(torch.from_numpy(mean))
        self.gene_scale.copy_(torch.from_numpy(np.sqrt(variance).clip(SMALLEST_SCALE)))
        share = gene_moments(cells.counts)[0] / cells.library_size.mean(dtype=np.float64)
        logs = np.log(np.append(share, max(0.0, 1 - share.sum())).clip(math.exp(LOG_NEVER_SEEN)))
        self.log_share.copy_(torch.from_numpy(logs))


def fit_count(
    autoencoder: CountAutoencoder,
    train: ObservedCells,
    validation: ObservedCells,
    settings: FitSettings,
    report: Callable[[int, float], None],
    *,
    kl_weight: float,
    kl_warmup_epochs: int,
) -> None:
    """Fit in place by the (negative) evidence lower bound, per cell; keep the best validation epoch; standardise.

        loss = -log p(x | z) + kl_weight warm-up KL(q(z | x) || N(0, 1)),    warm-up rising from 0 to 1 over its epochs

    Raises:
        TrainingError: the likelihood of a gene is not finite (the gene and the condition are named).
    """
    autoencoder.see(train)
    device = autoencoder.device

    def bound(cells: ObservedCells, rows: IntArray | slice, weight: float, *stream: object) -> torch.Tensor:
        x, counts, library_size = _tensors(cells, rows, device)
        mean, log_variance = autoencoder.posterior(x)
        latent, divergence = mean, torch.zeros((), device=device)
        if autoencoder.variational:
            eps = torch.randn(mean.shape, generator=torch_generator(settings.seed, "posterior", *stream)).to(device)
            latent = mean + (log_variance / 2).exp() * eps
            divergence = (mean.square() + log_variance.exp() - log_variance - 1).sum() / 2
        log_prob = autoencoder.likelihood(latent, library_size).log_prob(counts)
        total = weight * divergence - log_prob.sum()
        if not bool(torch.isfinite(total)):
            raise _not_finite(cells, rows, log_prob)
        return total

    def loss(rows: IntArray, epoch: int) -> torch.Tensor:
        warm = min(1.0, (epoch + 1) / max(1, kl_warmup_epochs))
        return bound(train, rows, kl_weight * warm, epoch, int(rows[0])) / len(rows)

    @torch.no_grad()
    def validation_error() -> float:
        parts = blocks(len(validation), CELLS_AT_ONCE)
        return sum(float(bound(validation, rows, kl_weight, "validation", rows.start)) for rows in parts) / len(
            validation
        )

    fit_by_gradient(
        autoencoder,
        len(train),
        loss,
        validation_error,
        settings,
        report,
        warmup_epochs=kl_warmup_epochs if autoencoder.variational else 0,
        faster={"log_theta": THETA_RATE},
    )
    mean, scale = standardisation(autoencoder, train.x)
    autoencoder.latent_mean.copy_(mean)
    autoencoder.latent_scale.fill_(scale)


def _tensors(
    cells: ObservedCells, rows: IntArray | slice, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B, G) log1p CP10k, (B, G) counts, (B, 1) library sizes."""
    x, counts = (torch.from_numpy(m[rows].toarray().astype(np.float32)).to(device) for m in (cells.x, cells.counts))
    return x, counts, torch.from_numpy(cells.library_size[rows]).to(device)[:, None]


def active_units(z: FloatArray, scale: float) -> int:
    """Latents that say something of the cell: those whose variance over cells is above 0.01 in units of the prior.

    Args:
        z: (N, D) standardised latents. scale: what they were divided by.
    """
    return int((z.var(axis=0, dtype=np.float64) * scale**2 > ACTIVE).sum())


def _not_finite(cells: ObservedCells, rows: IntArray | slice, log_prob: torch.Tensor) -> TrainingError:
    bad = ~torch.isfinite(log_prob)
    if not bool(bad.any()):
        return TrainingError(
            "the divergence of the autoencoder's posterior is not finite; lower autoencoder.learning_rate"
        )
    cell, gene = (int(i) for i in bad.nonzero()[0])
    row = int(np.arange(len(cells))[rows][cell])
    return TrainingError(
        f"the likelihood of gene {cells.genes[gene]!r} in a cell of condition {cells.conditions[row]!r} is "
        f"{float(log_prob[cell, gene].detach())} ({int(bad.sum())} such values); lower autoencoder.learning_rate"
    )
