"""Work on many items in threads, and in processes what holds the interpreter; results do not depend on their number."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from gensim.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")
Call = Callable[..., Any]
"""Calls a function with its arguments, here or elsewhere."""
ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
MOST_WORKERS = 8
"""By default; each holds cells of an item of its own in memory."""


def default_workers() -> int:
    """The cores that this process may use, at most 8."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> list[Result]:
    """The function of every item, in the order of the items.

    Every item is worked on by a single core, whatever the number of workers, so that sums are added in one order. Of
    torch that holds where it is imported already.

    Args:
        function: of one item; what items share must bear several threads.
        items: in the order in which they are begun.
        workers: threads.

    Raises:
        ConfigError: fewer than one worker. What the function raises for the first item that fails is raised as it is,
            and items that have not begun are left.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers cannot work; at least 1 is needed")
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    try:
        with threadpool_limits(1), ThreadPoolExecutor(workers, initializer=_use_one_core) as pool:
            return list(pool.map(function, items))
    finally:
        if torch:
            torch.set_num_threads(before)


def _use_one_core() -> None:
    torch = sys.modules.get("torch")
    if torch:
        torch.set_num_threads(1)  # of this thread


def directly(function: Callable[..., Result], *arguments: Any) -> Result:
    """The `Call` that does nothing but call."""
    return function(*arguments)


@contextmanager
def in_processes(workers: int) -> Iterator[Call]:
    """A `Call` in one of so many processes of one core each, for functions that hold the interpreter while they work.

    The function must be found by its name in a module, arguments and result are pickled, and errors are raised as they
    are. Processes begin with the first call, which takes a second, and end with the context. They are loky's, which
    joblib brings, because those do not run the caller's script again.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    executor = ProcessPoolExecutor(workers, env=ONE_CORE)
    try:
        yield lambda function, *arguments: executor.submit(function, *arguments).result()
    finally:
        executor.shutdown(wait=True, kill_workers=True)
