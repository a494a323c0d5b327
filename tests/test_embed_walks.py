"""Genes by where random walks from them go: profiles are those of a linear system, vectors those of profiles."""

import numpy as np
import pandas as pd
import pytest

from gensim.embed import walks
from gensim.embed.graph import Graph, merge_edges
from gensim.embed.network import network_vectors
from gensim.embed.walks import RESTART, walk_profiles, walk_vectors
from gensim.errors import DataError

UNSIGNED = "AB2 BC CD0.5 DA BD3 DE"
SIGNED = "AB2 BC- CD0.5 DA- BD3 DE-"
SINKS = "AB2 CB DC BD3 EB-"
"""As a directed network: nothing leads to E, and E's edge inhibits."""
# Walks of more than 19 steps, left out, make 0.001 of the visits, and in these networks genes are visited from each
# other 0.007 of the time or more, or never: square roots are wrong by 0.001 / (2 * 0.007^1/2) at most.
LONG_WALKS = 0.006


def table_of(text: str) -> tuple[pd.Series, pd.Series, np.ndarray]:
    """ "AB2 CD-" are two edges, of weights 2 and -1."""
    words = text.split()
    weight = [float(word[2:].strip("-") or 1) * (-1 if word.endswith("-") else 1) for word in words]
    return pd.Series([w[0] for w in words]), pd.Series([w[1] for w in words]), np.array(weight)


def graph_of(text: str, directed: bool = False) -> Graph:
    return merge_edges(*table_of(text), "a test", directed=directed)


def profiles(text: str, directed: bool = False) -> np.ndarray:
    return walk_profiles(graph_of(text, directed)).toarray()


def solved(adjacency: np.ndarray) -> np.ndarray:
    """The oracle: x = r (I - (1 - r) T')^-1 e for each gene, |x| scaled to 1, signed square roots."""
    degrees = np.abs(adjacency).sum(axis=1, keepdims=True)
    step = np.divide(adjacency, degrees, out=np.zeros_like(adjacency), where=degrees > 0)
    x = RESTART * np.linalg.inv(np.eye(len(step)) - (1 - RESTART) * step.T).T
    x /= np.abs(x).sum(axis=1, keepdims=True)
    return np.sign(x) * np.sqrt(np.abs(x))


def two_communities(seed: int = 0) -> str:
    """Nine and eight genes, dense inside, with one weak edge between."""
    rng = np.random.default_rng(seed)
    parts = ("ABCDEFGHI", "STUVWXYZ")
    inside = [a + b for part in parts for a in part for b in part if a < b]
    weights = rng.uniform(0.5, 2, len(inside)).round(3)
    return " ".join([*(f"{edge}{w}" for edge, w in zip(inside, weights, strict=True)), "AS0.1"])


def test_two_genes_by_hand():
    """At home after an even number of steps: r (1 + q^2 + q^4 ...) = r / (1 - q^2), with q = 1 - r = 0.7."""
    home = 0.3 / (1 - 0.7**2)
    expected = np.sqrt([[home, 1 - home], [1 - home, home]])
    np.testing.assert_allclose(profiles("AB"), expected, atol=LONG_WALKS)


def test_three_genes_in_a_row_by_hand():
    """From the middle: home after an even number of steps, else one of the ends, three times as often the strong one.

    From the end A: steps go to B, then to A with 3/4 or C with 1/4; so A and C share the even steps but for the first,
    3 to 1.
    """
    even, odd = 0.3 / (1 - 0.7**2), 0.7 * 0.3 / (1 - 0.7**2)
    a, b, c = profiles("AB3 BC1")
    np.testing.assert_allclose(b**2, [odd * 3 / 4, even, odd / 4], atol=0.001)
    np.testing.assert_allclose(a**2, [0.3 + (even - 0.3) * 3 / 4, odd, (even - 0.3) / 4], atol=0.001)
    np.testing.assert_allclose(c**2, [(even - 0.3) * 3 / 4, odd, 0.3 + (even - 0.3) / 4], atol=0.001)


@pytest.mark.parametrize("text", [UNSIGNED, SIGNED, SINKS])
def test_walks_of_any_length_solve_the_linear_system(monkeypatch, text):
    adjacency = graph_of(text).adjacency.toarray()
    np.testing.assert_allclose(profiles(text), solved(adjacency), atol=LONG_WALKS)
    monkeypatch.setattr(walks, "N_STEPS", 100)
    monkeypatch.setattr(walks, "LEAST_VISITS", 0)
    np.testing.assert_allclose(profiles(text), solved(adjacency), atol=1e-5)


@pytest.mark.parametrize("text", [UNSIGNED, SIGNED, SINKS])
def test_a_directed_network_is_walked_along_and_against(monkeypatch, text):
    """Each with half of the squared length, and not as if edges had no direction."""
    monkeypatch.setattr(walks, "N_STEPS", 100)
    adjacency = graph_of(text, directed=True).adjacency.toarray()
    expected = np.hstack([solved(adjacency), solved(adjacency.T)]) / np.sqrt(2)
    found = profiles(text, directed=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    undirected = profiles(text)
    assert np.abs(found @ found.T - undirected @ undirected.T).max() > 0.1


def test_who_acts_on_nothing_walks_nowhere():
    """A acts on B: from B no walk leads on, and against the edges none from A."""
    home = 0.3 / (0.3 + 0.21)
    expected = np.array([[home, 1 - home, 1, 0], [0, 1, 1 - home, home]]) / 2
    np.testing.assert_allclose(profiles("AB", directed=True) ** 2, expected, atol=1e-6)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("text", [UNSIGNED, SIGNED, SINKS, two_communities()])
def test_rows_have_length_one(text, directed):
    np.testing.assert_allclose((profiles(text, directed) ** 2).sum(axis=1), 1, atol=1e-6)


def test_small_visits_are_left_out_and_made_up_for(monkeypatch):
    full = profiles(two_communities())
    monkeypatch.setattr(walks, "LEAST_VISITS", 0.02)
    found = profiles(two_communities())
    seen = found > 0
    # Rows are scaled for the 0.001 of walks that are left out, so 0.02 is a little more afterwards.
    assert (full[seen] ** 2).min() >= 0.02
    assert (full[~seen] ** 2).max() < 0.0201
    assert 0.1 < seen.mean() < 0.6
    scaled = np.where(seen, full, 0)
    np.testing.assert_allclose(found, scaled / np.linalg.norm(scaled, axis=1, keepdims=True), atol=1e-6)


def test_parts_without_an_edge_between_them_are_orthogonal():
    table = network_vectors(*table_of("AB BC2 CA XY YZ0.3"), 5, "a test", directed=False, method="walks")
    inner = table.vectors @ table.vectors.T
    assert table.names == tuple("ABCXYZ")
    assert np.abs(inner[:3, 3:]).max() < 1e-6
    assert inner[:3, :3].min() > 0.5


def test_an_edge_that_inhibits_turns_the_sign_of_what_lies_behind_it():
    """In a tree: C and D are behind B's edge with C, and D is inhibited twice over from E's side."""
    behind = np.array([1, 1, -1, -1, 1])
    plain, signed = profiles("AB2 BC CD DE"), profiles("AB2 BC- CD DE-")
    np.testing.assert_allclose(signed, plain * np.outer(behind, behind), atol=1e-6)
    assert (plain > 0).all()


def test_walks_of_opposite_sign_cancel():
    """From A to D over B, or over C, which inhibits D: as often the one as the other."""
    a = profiles("AB AC BD CD-")[0]
    np.testing.assert_allclose(a[3], 0)
    assert (a[:3] > 0).all()


@pytest.mark.parametrize("directed", [False, True])
def test_vectors_are_the_best_of_their_number(directed):
    """Inner products differ from those of profiles by the next squared singular value, as Eckart and Young found."""
    graph = graph_of(two_communities(), directed)
    x = walk_profiles(graph).toarray().astype(np.float64)
    for n in (2, 5, 16):
        vectors = walk_vectors(graph, n)
        assert vectors.shape == (17, n)
        error = np.linalg.norm(vectors @ vectors.T - x @ x.T, ord=2)
        assert error == pytest.approx(np.linalg.svd(x)[1][n] ** 2, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("directed", [False, True])
def test_neither_the_order_of_edges_nor_names_matter(directed):
    first, second, weight = table_of(two_communities())
    order = np.random.default_rng(1).permutation(len(weight))
    one = network_vectors(first, second, weight, 4, "a test", directed=directed, method="walks")
    other = network_vectors(
        first[order].reset_index(drop=True), second[order].reset_index(drop=True), weight[order], 4, "a test",
        directed=directed, method="walks",
    )  # fmt: skip
    assert one.names == other.names
    np.testing.assert_array_equal(one.vectors, other.vectors)

    new_name = dict(zip(one.names, np.random.default_rng(2).permutation(list("abcdefghijklmnopq")), strict=True))
    renamed = network_vectors(
        first.map(new_name), second.map(new_name), weight, 4, "a test", directed=directed, method="walks"
    )
    row = [renamed.names.index(new_name[name]) for name in one.names]
    inner = one.vectors @ one.vectors.T
    np.testing.assert_allclose((renamed.vectors @ renamed.vectors.T)[np.ix_(row, row)], inner, atol=1e-5)


def test_undirected_edges_may_be_listed_either_way_and_repeated():
    np.testing.assert_array_equal(profiles("AB1 BA3 BC DC AA9"), profiles("BA2 CB CD"))


@pytest.mark.parametrize("size", [1, 4, 17])
def test_blocks_change_nothing(monkeypatch, size):
    whole = walk_profiles(graph_of(two_communities(), directed=True))
    monkeypatch.setattr(walks, "BLOCK", size)
    parts = walk_profiles(graph_of(two_communities(), directed=True))
    assert parts.shape == whole.shape == (17, 34)
    np.testing.assert_allclose(parts.toarray(), whole.toarray(), atol=1e-7)


def test_communities_lie_together():
    vectors = walk_vectors(graph_of(two_communities()), 2)
    inner = vectors @ vectors.T
    assert min(inner[:9, :9].min(), inner[9:, 9:].min()) > 0.7
    assert inner[:9, 9:].max() < 0.2


def test_more_features_than_a_network_allows_are_refused_before_it_is_walked(monkeypatch):
    monkeypatch.delattr(walks, "walk_profiles")
    with pytest.raises(DataError, match=r"5 singular vectors .* this table allows 1 to 4, see --features"):
        walk_vectors(graph_of(UNSIGNED), 5)
