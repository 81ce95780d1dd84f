"""Properties that are computed once, in any thread and in forked processes."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")


class cached_property(Generic[_Value]):  # noqa: N801 - as Python's own
    """A property that is computed once per object, without a lock.

    Before Python 3.12, `functools.cached_property` locks the class during the computation. Threads
    wait for each other, and a process that is forked in the meantime waits forever.
    """

    def __init__(self, compute: Callable[[Any], _Value]) -> None:
        """Create the property.

        compute (Callable): computes the value from the object.
        """
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type) -> _Value:
        """Compute the value and store it in the object, where Python finds it on later access.

        instance (Any): the object.
        owner (type): its class.
        RETURNS (Any): the value.
        """
        value = instance.__dict__[self.compute.__name__] = self.compute(instance)
        return value
