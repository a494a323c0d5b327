"""What a decoder misses of a condition: dispersions are told from those of the controls."""

from pathlib import Path

import numpy as np
import pytest
import torch
from screens import adata_of, screen_of

from gensim.autoencoder.count import CountAutoencoder
from gensim.nn.blocks import zero
from gensim.perturbations.observed_shares import observe_shares
from gensim.perturbations.penetrance import ALL_RESPOND, Penetrance
from gensim.perturbations.shrinkage import shrink_each, shrink_over_contexts
from gensim.seeding import torch_generator
from gensim.training.own_effects import OwnEffects
from gensim.types import Condition

A, B, CONTROL = Condition(("A",)), Condition(("B",)), Condition(())
GENES, N = 12, 1500


@pytest.fixture(scope="module")
def effects(tmp_path_factory) -> OwnEffects:
    """The decoder has theta 1 for all genes. Controls and A have 8; B has 8, but 1 in gene 0, and gene 1 tripled."""
    rng = np.random.default_rng(0)
    labels = ["control"] * N + ["A"] * N + ["B"] * N
    theta = np.full((3 * N, GENES), 8.0)
    mu = np.full((3 * N, GENES), 5.0)
    theta[2 * N :, 0] = 1.0
    mu[2 * N :, 1] = 15.0
    counts = rng.poisson(rng.gamma(theta) * mu / theta).astype(np.float32)
    folder: Path = tmp_path_factory.mktemp("own")
    adata = adata_of(labels, counts)
    adata.obs["total"] = 1000.0
    screen = screen_of(folder, adata, library_size_column="total")
    autoencoder = CountAutoencoder(GENES, 2, 8, 1, zero_inflated=False, variational=False, generator=torch_generator(0))
    zero(autoencoder.decoder[-1])
    share = np.full(GENES, 0.005)
    autoencoder.log_share.copy_(torch.from_numpy(np.log(np.append(share, 1 - share.sum()))))
    latents = rng.normal(size=(3 * N, 2)).astype(np.float32)
    rows = np.arange(3 * N)
    shares = observe_shares(screen.x, screen.library_size, screen.condition_of, screen.conditions, rows)
    return OwnEffects(autoencoder, latents, screen, np.ones(3 * N, bool), shares)


def test_effects_on_genes_are_found(effects):
    found = effects.on_genes(B)
    assert found[1] == pytest.approx(np.log(3), abs=0.1)
    assert np.abs(np.delete(found, 1)).max() < 0.1
    assert not effects.on_genes(Condition(("unknown",))).any()


def test_a_dispersion_that_controls_have_too_is_no_effect(effects):
    """Carried quantiles are the controls', so what the gene's theta misses of all cells must not be added."""
    assert np.abs(effects.on_theta([A], ALL_RESPOND).shift(A)).max() < 0.25
    of_b = effects.on_theta([A, B], ALL_RESPOND).shift(B)
    # ln(1/8), but for the prior on the shift, which 1,500 cells outweigh.
    assert of_b[0] == pytest.approx(-np.log(8), abs=0.4)
    assert np.abs(of_b[1:]).max() < 0.3


def test_the_spread_of_two_populations_is_no_dispersion(effects):
    """Where some cells of B do not respond, its spread says nothing of the dispersion in either kind of cells."""
    some = Penetrance((B,), np.array([0.5], np.float32))
    assert not effects.on_theta([A, B], some).shift(B).any()
    assert effects.on_theta([A, B], some).shift(A).any()


def test_effects_of_a_perturbation_in_several_contexts_are_found_together(tmp_path):
    """Genes 0 to 4 have 30 % more in either context, which the cells of one hardly know; gene 5 has it in one alone."""
    rng, n_genes = np.random.default_rng(4), 40
    labels, contexts = ["control", "A", "control", "A"], ["T", "T", "B cell", "B cell"]
    labels, contexts = (list(np.repeat(of, [150, 150, 150, 90])) for of in (labels, contexts))
    n = len(labels)
    mu = np.full((n, n_genes), 5.0)
    treated, in_t = np.array(labels) == "A", np.array(contexts) == "T"
    mu[np.ix_(treated, range(5))] *= 1.3
    mu[np.ix_(treated & in_t, [5])] *= 3
    counts = rng.poisson(rng.gamma(2.0, size=mu.shape) * mu / 2).astype(np.float32)
    adata = adata_of(labels, counts, cell_type=contexts)
    adata.obs["total"] = 1000.0
    screen = screen_of(tmp_path, adata, library_size_column="total", context_columns=["cell_type"])
    autoencoder = CountAutoencoder(
        n_genes, 2, 8, 1, zero_inflated=False, variational=False, generator=torch_generator(0)
    )
    zero(autoencoder.decoder[-1])
    share = np.full(n_genes, 0.005)
    autoencoder.log_share.copy_(torch.from_numpy(np.log(np.append(share, 1 - share.sum()))))
    latents = np.zeros((n, 2), np.float32)
    of_screen = screen.condition_of, screen.conditions, np.arange(n)
    shares = observe_shares(screen.x, screen.library_size, *of_screen)
    effects = OwnEffects(autoencoder, latents, screen, np.ones(n, bool), shares)
    in_contexts = [Condition(("A",), (("cell_type", of),)) for of in ("T", "B cell")]
    t, b = (effects.on_genes(condition) for condition in in_contexts)
    missed = [shares.of(c).log_share - np.log(0.005) for c in in_contexts]
    alone = [shrink_each(d, shares.variance_of(c)) for d, c in zip(missed, in_contexts, strict=True)]
    expected = shrink_over_contexts(np.stack(missed), np.stack([shares.variance_of(c) for c in in_contexts]))
    np.testing.assert_allclose([t, b], expected, atol=1e-4)
    true = np.log(np.where(np.arange(n_genes) < 5, 1.3, 1.0))

    def error(found):
        return sum(np.abs(np.delete(of - true, 5)).mean() for of in found)

    assert error([t, b]) < 0.8 * error(alone)
    assert t[5] == pytest.approx(np.log(3), abs=0.2)
    assert abs(b[5]) < 0.25 * t[5]
    assert effects.on_genes(in_contexts[0]) is t, "what was found together is kept"
