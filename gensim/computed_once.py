"""A property that is computed when it is first asked for, and kept."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar, overload

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class computed_once(Generic[Owner, Value]):
    """`functools.cached_property` without its lock, which Python 3.11 shares between all objects of a class, so that
    threads that compute it for different objects wait for each other. Two threads that ask the same object at once both
    compute.
    """

    def __init__(self, function: Callable[[Owner], Value]) -> None:
        self.function, self.__doc__ = function, function.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Owner]) -> Self: ...

    @overload
    def __get__(self, instance: Owner, owner: type[Owner]) -> Value: ...

    def __get__(self, instance: Owner | None, owner: type[Owner]) -> Self | Value:
        if instance is None:
            return self
        value = self.function(instance)
        instance.__dict__[self.function.__name__] = value  # found before this descriptor from now on
        return value
