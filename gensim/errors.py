"""Errors a user can cause, each saying what came, what was wanted, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class GensimError(Exception):
    """Base of every error that is the user's to mend; the command line prints it without a traceback."""


class ConfigError(GensimError, ValueError):
    """The configuration is unknown, incomplete or contradictory."""


class DataError(GensimError, ValueError):
    """A file of cells, a table of vectors or a request cannot be used as it is."""


class SplitError(GensimError, ValueError):
    """A hold-out matches nothing, leaks, or leaves a condition without controls."""


class StoreError(GensimError, RuntimeError):
    """An output folder cannot be created, resumed or overwritten."""


class CheckpointError(GensimError, RuntimeError):
    """A run folder is incomplete, or was made by an incompatible version."""


class TrainingError(GensimError, RuntimeError):
    """Training cannot go on, for instance because the loss is not finite."""


class UnmetError(GensimError, RuntimeError):
    """A prediction falls short of what was required of it."""


class NotComputable(GensimError, ValueError):
    """A metric has no value for these cells; the text is the reason, which a report carries in place of the number."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error: `` (did you mean 'x'?)``, or nothing where no known name is near."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listing(names: Iterable[object], limit: int = 10) -> str:
    """At most `limit` names, comma-separated and quoted, with the number of those left out."""
    items = list(names)
    shown = ", ".join(repr(str(item)) for item in items[:limit])
    return shown + (f" and {len(items) - limit} more" if len(items) > limit else "")
