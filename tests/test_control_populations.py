"""Contexts by their control cells: an encoding of a set, which needs no name and no order."""

import numpy as np
import pytest
import torch

from gensim.errors import CheckpointError
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.control_populations import CONTROL_POPULATIONS, ControlPopulations, Population
from gensim.perturbations.encoder import ConditionEncoder
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.penetrance import ALL_RESPOND
from gensim.perturbations.vectors import one_hot_table
from gensim.types import Condition

CONTEXTS = {name: (("cell_type", name),) for name in ("B", "T", "NK", "DC")}
KEY = {name: Condition((), context).key for name, context in CONTEXTS.items()}
A_IN = {name: Condition(("A",), context) for name, context in CONTEXTS.items()}


def population(*parts: np.ndarray) -> Population:
    of = Population(parts[0].shape[1])
    for part in parts:
        of.add(part.astype(np.float32))
    return of


def encoded(*parts: np.ndarray) -> np.ndarray:
    return population(*parts).encoded


def cells(seed: int, mean: float = 0.0, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, (500, 3)).astype(np.float32)


def book(measured: tuple[str, ...], known: tuple[str, ...] = ("B", "T", "NK")) -> Codebook:
    training = [A_IN[name] for name in measured]
    of_cells = {KEY[name]: population(cells(i, i, 1 + i)) for i, name in enumerate(known)}
    populations = ControlPopulations.of(of_cells, training)
    effects = MeanEffects(tuple(training), np.zeros((len(training), 3), np.float32))
    return Codebook.fit(
        training, ["cell_type"], [], one_hot_table(["A"]), effects, ALL_RESPOND, populations=populations
    )


def features(codebook: Codebook, name: str) -> torch.Tensor:
    encoder = ConditionEncoder(codebook, 5, torch.Generator().manual_seed(0))
    return encoder(codebook.encode([A_IN[name]]))[0]


def test_neither_order_nor_parts_of_a_population_matter():
    z = cells(1)
    backwards = np.flip(z, axis=0)
    np.testing.assert_allclose(encoded(backwards[:7], backwards[7:]), encoded(z), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(encoded(z), z.mean(axis=0), rtol=1e-5, atol=1e-7)


def test_features_are_centred_at_the_measured_contexts_and_have_a_mean_square_of_one():
    populations = book(("B", "T", "NK")).populations
    found = populations.features([A_IN[name] for name in ("B", "T", "NK")])
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    # 500 cells of variance 1, 4 and 9 in each latent, whose means are 0, 1 and 2.
    assert np.square(found).mean() == pytest.approx(2 / 3 / (2 / 3 + 14 / 3 / 500), rel=1e-2)


def test_a_context_without_perturbed_cells_does_not_move_the_others():
    two, three = book(("B", "T")), book(("B", "T"), known=("B", "T", "NK", "DC"))
    for name in ("B", "T", "NK"):
        np.testing.assert_array_equal(two.populations.features([A_IN[name]]), three.populations.features([A_IN[name]]))


def test_contexts_without_names_are_told_apart_by_their_control_cells():
    """NK and DC have no perturbed training cells, and so the code of an unknown name, both."""
    codebook = book(("B", "T"), known=("B", "T", "NK", "DC"))
    batch = codebook.encode([A_IN["NK"], A_IN["DC"]])
    assert batch.contexts.tolist() == [[0], [0]]
    each = [codebook.populations.features([A_IN[name]])[0] for name in ("NK", "DC")]
    np.testing.assert_array_equal(batch.population, np.stack(each))
    assert not torch.allclose(features(codebook, "NK"), features(codebook, "DC"))


def test_a_context_that_comes_later_is_known_by_its_cells_alone():
    codebook = book(("B", "T"))
    assert not codebook.encode([A_IN["DC"]]).population.any()
    knowing = codebook.knowing_contexts({KEY["DC"]: encoded(cells(1, 1, 2))})
    # The same cells as those of T, under another name.
    np.testing.assert_array_equal(knowing.populations.features([A_IN["DC"]]), knowing.populations.features([A_IN["T"]]))
    np.testing.assert_array_equal(knowing.populations.features([A_IN["B"]]), codebook.populations.features([A_IN["B"]]))


def test_what_a_context_is_cannot_be_learned_where_one_alone_was_measured():
    codebook = book(("B",))
    assert codebook.encode([A_IN["B"]]).population.shape == (1, 0)
    assert ConditionEncoder(codebook, 5, torch.Generator().manual_seed(0)).populations is None


def test_contexts_with_equal_control_cells_stay_finite():
    """Two modalities in the same cells."""
    same = {KEY["B"]: population(np.ones((5, 3))), KEY["T"]: population(np.ones((5, 3)))}
    found = ControlPopulations.of(same, [A_IN["B"], A_IN["T"]]).features([A_IN["B"], A_IN["T"]])
    np.testing.assert_array_equal(found, 0)


def test_contexts_that_differ_by_errors_alone_are_not_drawn_apart():
    """The mean of n cells has an error of variance / n; half of what lies between two such means is that of one."""
    squares = []
    for seed in range(30):
        two = {KEY["B"]: population(cells(2 * seed)), KEY["T"]: population(cells(2 * seed + 1))}
        assert two[KEY["B"]].error == pytest.approx(3 / 500, rel=0.2)
        found = ControlPopulations.of(two, [A_IN["B"], A_IN["T"]]).features([A_IN["B"], A_IN["T"]])
        squares.append(np.square(found).mean())
    assert 0.2 < np.mean(squares) < 0.4


def test_the_network_sees_a_far_context_no_larger_than_any():
    codebook = book(("B", "T")).knowing_contexts({KEY["DC"]: encoded(cells(4, 1e6, 1e5))})
    assert float(features(codebook, "DC").detach().abs().max()) < 10


def test_of_a_hidden_name_the_population_stays_and_of_a_hidden_condition_nothing():
    batch = book(("B", "T")).encode([A_IN["B"], A_IN["T"]])
    everything = torch.tensor([True, True])
    np.testing.assert_array_equal(batch.from_elsewhere(everything).population, batch.population)
    assert batch.population.any()
    assert not batch.hidden(everything).population.any()


def test_populations_survive_a_run_folder(tmp_path):
    codebook = book(("B", "T"))
    codebook.save(tmp_path)
    loaded = Codebook.load(tmp_path)
    assert loaded.populations.measured == codebook.populations.measured
    for name in ("B", "T", "NK"):
        np.testing.assert_array_equal(loaded.encode([A_IN[name]]).population, codebook.encode([A_IN[name]]).population)


@pytest.mark.parametrize("file", ["codebook.json", "vectors.npz", CONTROL_POPULATIONS])
def test_a_run_that_lacks_a_part_of_its_vocabulary_says_so(tmp_path, file):
    book(("B", "T")).save(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(CheckpointError, match=f"no readable codebook: .*{file}.*; train it again"):
        Codebook.load(tmp_path)
