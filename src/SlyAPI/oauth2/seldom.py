"""Attributes that few objects of a class with slots have a value for, so that the others need no room for them.

The rule: an object without such a value holds one None for all of them; reading and setting look as ever.
"""

from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class Seldom(Generic[T]):
    """An attribute that is None unless it is set. Its class has a slot `_seldom`, which begins as None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, one: None, owner: type) -> Self: ...
    @overload
    def __get__(self, one: object, owner: type) -> T | None: ...
    def __get__(self, one: Any, owner: type) -> Any:
        if one is None:
            return self
        held: dict[str, T] | None = one._seldom
        return None if held is None else held.get(self._name)

    def __set__(self, one: Any, value: T | None) -> None:
        if one._seldom is None:
            if value is None:
                return
            one._seldom = {}
        one._seldom[self._name] = value
