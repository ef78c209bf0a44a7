"""A lazy sequence from the network: iterate over it, or await it for the list.

The rule: nothing is fetched before it is needed.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ..errors import ConfigError, clean_traceback

T = TypeVar("T")
U = TypeVar("U")
P = ParamSpec("P")

__all__ = ["AsyncLazy", "AsyncTrans"]


class AsyncLazy(Generic[T]):
    """Items that are fetched when needed: `async for item in lazy`, or `await lazy` for the list.

    Each item comes once. To end early, at once, close it: `await lazy.aclose()`, or
    `async with contextlib.aclosing(lazy)`; otherwise Python does so when it collects the sequence.
    """

    __module__ = "SlyAPI"

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self.gen = generator

    def __aiter__(self) -> AsyncIterator[T]:
        return self.gen.__aiter__()

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._list().__await__()

    if not TYPE_CHECKING:  # type checkers report it themselves

        def __iter__(self) -> None:
            raise ConfigError(
                "These items come from the network.",
                next_step="Write: async for item in items, or: for item in await items",
            )

    async def _list(self) -> list[T]:
        return [item async for item in self.gen]

    async def aclose(self) -> None:
        """Ends the sequence, and the requests that it has under way."""
        close = getattr(self.gen, "aclose", None)  # 0.6 took any async iterator
        if close is not None:
            await close()

    def map(self, change: Callable[[T], U]) -> "AsyncLazy[U]":
        """A lazy sequence of `change(item)` for each item."""

        async def changed() -> AsyncGenerator[U, None]:
            try:
                async for item in self:
                    yield change(item)
            finally:
                await self.aclose()

        return AsyncLazy(changed())

    @classmethod
    def wrap(cls, function: Callable[P, AsyncGenerator[U, None]]) -> "Callable[P, AsyncLazy[U]]":
        """Decorates an async generator function so that it returns an `AsyncLazy`."""

        @wraps(function)
        def lazily(*args: P.args, **kwargs: P.kwargs) -> AsyncLazy[U]:
            return AsyncLazy(function(*args, **kwargs))

        return lazily


class PagedLazy(AsyncLazy[T]):
    """Items that arrive in pages: iterating yields single items, the list takes whole pages."""

    def __init__(self, pages: AsyncGenerator[list[T], None]) -> None:
        super().__init__(_singly(pages))
        self._pages = pages
        self._begun = False

    def __aiter__(self) -> AsyncIterator[T]:
        self._begun = True
        return self.gen

    @clean_traceback
    async def _list(self) -> list[T]:
        if self._begun:  # perhaps in the middle of a page
            return await super()._list()
        items: list[T] = []
        async for page in self._pages:
            items += page
        return items

    async def aclose(self) -> None:
        await super().aclose()
        await self._pages.aclose()


async def _singly(pages: AsyncGenerator[list[T], None]) -> AsyncGenerator[T, None]:
    item: Any
    try:
        async for page in pages:
            for item in page:
                yield item
            # `clean_traceback` would put a second generator around each item: 2 % of a walk's instructions
            page, item = [], None
    finally:
        await pages.aclose()


AsyncTrans = AsyncLazy
"""The name this class had in older libraries."""
