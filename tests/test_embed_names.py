"""Names of a screen are found in tables of vectors: symbols, aliases, Ensembl ids; never guessed."""

import pytest
from annotations import JAK2, MYC, STAT1

from gensim.embed.aliases import resolve


def test_names_are_resolved_and_never_guessed():
    """ADA2 is an approved symbol and an alias of TADA2A, which is another gene; every symbol is an alias of itself."""
    text = "NEW OLD, P Q, P Q2, S1 S, S2 S, K L, TADA2A ADA2, ADA2 CECR1, ADA2 ADA2, X Y, Y Y"
    symbol, alias = zip(*(pair.split() for pair in text.split(", ")), strict=True)
    known = {"A", "NEW", "Q2", "S1", "S2", "L", "TADA2A", "Y"}
    found = resolve(["A", "OLD", "Q", "S", "K", "gone", "S1"], known, symbol, alias)
    assert found.found == {"A": "A", "OLD": "NEW", "Q": "Q2", "K": "L", "S1": "S1"}
    assert resolve(["ADA2"], known, symbol, alias).missing == ["ADA2"]
    assert resolve(["ADA2"], known | {"CECR1"}, symbol, alias).found == {"ADA2": "CECR1"}
    assert resolve(["X"], known, symbol, alias).missing == ["X"], "Y is a gene of its own"
    assert found.ambiguous == {"S": ["S1", "S2"]}
    assert found.missing == ["gone"]
    assert str(found) == (
        "5 of 7 perturbations have a vector; 3 by alias: 'K as L', 'OLD as NEW', 'Q as Q2'; "
        "1 could be several and have none: 'S (S1 or S2)'; 1 have none: 'gone'"
    )


def test_ensembl_ids_are_found_whatever_their_version():
    """By an alias, in a table of symbols; by themselves, in a table of ids."""
    aliases = (("STAT1", "JAK2", "MYC"), (STAT1, f"{JAK2}.3", MYC))
    found = resolve([STAT1, f"{STAT1}.12", f"{JAK2}.9", "MYC"], {"STAT1", "JAK2", "MYC"}, *aliases)
    assert found.found == {STAT1: "STAT1", f"{STAT1}.12": "STAT1", f"{JAK2}.9": "JAK2", "MYC": "MYC"}
    found = resolve([STAT1, f"{JAK2}.9", "MYC", "ENSG1.2"], {f"{STAT1}.12", f"{JAK2}.3", MYC, "ENSG1"}, *aliases)
    assert found.found == {STAT1: f"{STAT1}.12", f"{JAK2}.9": f"{JAK2}.3", "MYC": MYC}
    assert found.missing == ["ENSG1.2"]
    assert str(found).startswith(
        f"3 of 4 perturbations have a vector; 2 but for the version of an Ensembl id: '{JAK2}.9 as {JAK2}.3', "
        f"'{STAT1} as {STAT1}.12'; 1 by alias: 'MYC as {MYC}'; 1 have none"
    )


def test_versions_of_one_id_are_several_names_but_for_the_one_that_was_asked_for():
    known = {f"{STAT1}.1", f"{STAT1}.2"}
    assert resolve([f"{STAT1}.2"], known, (), ()).found == {f"{STAT1}.2": f"{STAT1}.2"}
    assert resolve([STAT1], known, (), ()).ambiguous == {STAT1: [f"{STAT1}.1", f"{STAT1}.2"]}


@pytest.mark.parametrize(
    ("wanted", "known", "pairs", "hinted"),
    [
        ([STAT1, "JAK2"], {"STAT1", "JAK2"}, [], [STAT1]),
        ([STAT1, "JAK2"], {"STAT1", "JAK2"}, [("JAK2", JAK2), ("STAT1", "ISGF3")], [STAT1]),
        (["STAT1"], {STAT1, JAK2}, [("STAT1", "ISGF3")], ["STAT1"]),
        # Nothing to translate: the gene is known by both names, or both speak of ids, or of symbols.
        ([STAT1], {"JAK2"}, [("STAT1", STAT1)], []),
        (["STAT1"], {JAK2}, [("STAT1", STAT1)], []),
        ([STAT1], {JAK2}, [], []),
        (["STAT1"], {"JAK2"}, [], []),
    ],
)
def test_names_of_another_kind_come_with_a_hint(wanted, known, pairs, hinted):
    found = resolve(wanted, known, [symbol for symbol, _ in pairs], [alias for _, alias in pairs])
    assert found.untranslated == hinted
    assert ("a table of symbol and Ensembl id, given by --aliases" in str(found)) == bool(hinted)
