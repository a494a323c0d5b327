"""Names of genes that changed: what a screen calls a gene, and what a table of vectors calls it."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from gensim.errors import listing


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a table calls each of the wanted names.

    Args:
        found: wanted name -> name in the table.
        ambiguous: wanted name -> the several names in the table that it could be.
        missing: wanted names that nothing is known of.
    """

    found: dict[str, str]
    ambiguous: dict[str, list[str]]
    missing: list[str]

    def __str__(self) -> str:
        renamed = [f"{ours} as {theirs}" for ours, theirs in self.found.items() if ours != theirs]
        total = len(self.found) + len(self.ambiguous) + len(self.missing)
        parts = [f"{len(self.found)} of {total} perturbations have a vector"]
        if renamed:
            parts.append(f"{len(renamed)} by alias: {listing(renamed)}")
        if self.ambiguous:
            several = [f"{ours} ({' or '.join(theirs)})" for ours, theirs in self.ambiguous.items()]
            parts.append(f"{len(several)} could be several and have none: {listing(several)}")
        if self.missing:
            parts.append(f"{len(self.missing)} have none: {listing(self.missing)}")
        return "; ".join(parts)


def resolve(wanted: Iterable[str], known: Collection[str], symbol: Iterable[str], alias: Iterable[str]) -> Resolved:
    """Find the wanted names in a table, under themselves or under a name that means the same gene.

    A name that the table has is never replaced. Else an approved symbol may have any of its own aliases, but for such
    that are approved symbols of other genes; and a name that is no approved symbol may be any symbol of which it is an
    alias, or another alias of that. Where several names of the table are possible, none is taken.

    Args:
        known: the names of the table.
        symbol, alias: the pairs of a table of aliases.
    """
    symbols_of, aliases_of = defaultdict(set), defaultdict(set)
    for s, a in zip(symbol, alias, strict=True):
        if s != a:
            symbols_of[a].add(s)
        aliases_of[s].add(a)
    known, approved = set(known), set(aliases_of)
    found: dict[str, str] = {}
    ambiguous: dict[str, list[str]] = {}
    missing = []
    for name in sorted(set(wanted)):
        if name in known:
            possible = {name}
        elif name in approved:
            possible = aliases_of[name] - approved
        else:
            symbols = symbols_of[name]
            possible = symbols | {a for s in symbols for a in aliases_of[s] - approved}
        candidates = sorted(possible & known)
        if len(candidates) == 1:
            found[name] = candidates[0]
        elif candidates:
            ambiguous[name] = candidates
        else:
            missing.append(name)
    return Resolved(found, ambiguous, missing)
