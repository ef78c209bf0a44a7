"""A call within `Limits`, repeated as a `Retry` allows.

The rule: each attempt is signed anew; errors of signing are never retried; no turn is held while a token is refreshed.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..errors import ApiError, ConfigError, SlyError
from ..limits import Limits
from ..retry import Retry
from ..transport.streaming import Streamed
from ..web.events import tries_again
from ..web.messages import Reply, Request
from .origin import Origin
from .signed_call import Fetch, copied, is_repeatable

if TYPE_CHECKING:
    from aiohttp import ClientSession


def check_policies(retry: object, limits: object) -> None:
    """Raises `ConfigError` for a value of another type, such as a number of tries."""
    if not isinstance(retry, Retry | None):
        raise ConfigError(f"retry is {type(retry).__name__}.", next_step="Give a Retry, such as Retry(tries=3).")
    if not isinstance(limits, Limits | None):
        raise ConfigError(f"limits is {type(limits).__name__}.", next_step="Give Limits, such as Limits(concurrent=5).")


async def retried_call(
    call: Callable[[Request, Fetch], Awaitable[Reply]], request: Request, fetch: Fetch, retry: object, limits: object
) -> Reply:
    """A signed call's reply, attempted as `retry` allows. Raises the last error, with `tries` and `tried_for` set."""
    # a client written for 0.6 may have methods of its own by these names
    limits = limits if isinstance(limits, Limits) else None
    if not isinstance(retry, Retry):
        return await call(request, _Attempt(request, fetch, limits))
    started, tried = retry.clock(), 0
    while True:
        tried += 1
        attempt = _Attempt(request, fetch, limits)
        try:
            return await call(copied(request), attempt)
        except SlyError as error:
            if not attempt.is_cause_of(error):
                raise
            elapsed = retry.clock() - started
            delay = retry.delay(tried, elapsed, request.method.value, error) if is_repeatable(request) else None
            if delay is None:
                error.tries, error.tried_for = tried, elapsed
                if tried > 1:
                    error.add_note(f"Tried {tried} times in {elapsed:.1f} s; this is the last error.")
                raise
            tries_again(request, error, tried, retry.tries, delay)
        await retry.sleep(delay)


class _Attempt:
    """A `Fetch` for one attempt: sends each request in its turn, and remembers how the last one ended."""

    def __init__(self, request: Request, fetch: Fetch, limits: Limits | None) -> None:
        self._url = request.url
        self._fetch = fetch
        self._limits = limits
        self._outcome: SlyError | int = 0

    async def __call__(self, client: "ClientSession", request: Request, limit: int) -> Reply:
        limits = self._limits
        if limits is not None:
            await limits.wait(request)
        try:
            reply = await self._fetch(client, request, limit)
            if limits is not None and limits.respect_headers and Origin(self._url).admits(request.url):
                limits.update(reply.headers, reply.status, request)  # another host's quota is not the API's
        except BaseException as error:
            if isinstance(error, SlyError):
                self._outcome = error
            if limits is not None:
                limits.release()
            raise
        if isinstance(reply, Streamed) and limits is not None:
            reply.on_close = limits.release  # its body is still to come
        elif limits is not None:
            limits.release()
        self._outcome = reply.status
        return reply

    def is_cause_of(self, error: SlyError) -> bool:
        """Whether the API failed. An error of signing is not its reply, and all calls may share that one object."""
        return error is self._outcome or (type(error) is ApiError and error.status == self._outcome)
