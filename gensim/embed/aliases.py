"""Names of genes that changed: what a screen calls a gene, and what a table of vectors calls it."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from gensim.errors import listing

ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{11})(\.\d+)?")
"""Ids of genes, of any species, with or without a version."""


def without_version(name: str) -> str:
    """`ENSG00000115415` of `ENSG00000115415.12`; any other name as it is."""
    match = ENSEMBL.fullmatch(name)
    return match[1] if match else name


def is_ensembl(name: str) -> bool:
    """Whether a name looks like an Ensembl id of a gene."""
    return ENSEMBL.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a table calls each of the wanted names.

    Args:
        found: wanted name -> name in the table.
        ambiguous: wanted name -> the several names in the table that it could be.
        missing: wanted names that nothing is known of.
        untranslated: those of them that are Ensembl ids where the table has other names, or the other way round, and
            that no alias translates.
    """

    found: dict[str, str]
    ambiguous: dict[str, list[str]]
    missing: list[str]
    untranslated: list[str] = field(default_factory=list)

    @property
    def renamed(self) -> dict[str, str]:
        """Wanted names that the table has under another."""
        return {ours: theirs for ours, theirs in self.found.items() if ours != theirs}

    @property
    def hint(self) -> str:
        """What would find the untranslated names, to append to a message; nothing where there are none."""
        if not self.untranslated:
            return ""
        ours, theirs = ("are", "are not") if is_ensembl(self.untranslated[0]) else ("are not", "are")
        return (
            f"; {len(self.untranslated)} of the screen's names {ours} Ensembl ids, and the table's {theirs}: "
            "a table of symbol and Ensembl id, given by --aliases, would translate them"
        )

    def __str__(self) -> str:
        total = len(self.found) + len(self.ambiguous) + len(self.missing)
        parts = [f"{len(self.found)} of {total} perturbations have a vector"]
        for same_id, how in ((True, "but for the version of an Ensembl id"), (False, "by alias")):
            names = [
                f"{ours} as {theirs}"
                for ours, theirs in self.renamed.items()
                if (without_version(ours) == without_version(theirs)) == same_id
            ]
            if names:
                parts.append(f"{len(names)} {how}: {listing(names)}")
        if self.ambiguous:
            several = [f"{ours} ({' or '.join(theirs)})" for ours, theirs in self.ambiguous.items()]
            parts.append(f"{len(several)} could be several and have none: {listing(several)}")
        if self.missing:
            parts.append(f"{len(self.missing)} have none: {listing(self.missing)}")
        return "; ".join(parts) + self.hint


def resolve(wanted: Iterable[str], known: Collection[str], symbol: Iterable[str], alias: Iterable[str]) -> Resolved:
    """Find the wanted names in a table, under themselves or under a name that means the same gene.

    A name that the table has is never replaced. Else an approved symbol may have any of its own aliases, but for such
    that are approved symbols of other genes; and a name that is no approved symbol may be any symbol of which it is an
    alias, or another alias of that. Where several names of the table are possible, none is taken. Versions of Ensembl
    ids do not count, on any side.

    Args:
        known: the names of the table.
        symbol, alias: the pairs of a table of aliases.
    """
    aliases = _Aliases(symbol, alias)
    named = defaultdict(set)
    for name in known:
        named[without_version(name)].add(name)
    table_has_ids = 2 * sum(map(is_ensembl, named)) > len(named)
    found: dict[str, str] = {}
    ambiguous: dict[str, list[str]] = {}
    missing, untranslated = [], []
    for name in sorted(set(wanted)):
        plain = without_version(name)
        others = aliases.of(plain)
        # The name, but for its version, or else what it is called elsewhere.
        possible = named.get(plain) or {k for other in others for k in named.get(other, ())}
        candidates = [name] if name in possible else sorted(possible)
        if len(candidates) == 1:
            found[name] = candidates[0]
        elif candidates:
            ambiguous[name] = candidates
        else:
            missing.append(name)
            if all(is_ensembl(one) != table_has_ids for one in (plain, *others)):
                untranslated.append(name)
    return Resolved(found, ambiguous, missing, untranslated)


class _Aliases:
    """Pairs of symbol and alias, both ways, Ensembl ids without versions."""

    def __init__(self, symbol: Iterable[str], alias: Iterable[str]) -> None:
        self._symbols_of, self._aliases_of = defaultdict(set), defaultdict(set)
        for s, a in zip(map(without_version, symbol), map(without_version, alias), strict=True):
            if s != a:
                self._symbols_of[a].add(s)
            self._aliases_of[s].add(a)

    def of(self, name: str) -> set[str]:
        """Other names that may mean the gene of a name."""
        approved = self._aliases_of.keys()
        if name in approved:
            return self._aliases_of[name] - approved
        symbols = self._symbols_of.get(name, set())
        return symbols | {a for s in symbols for a in self._aliases_of[s] - approved}
