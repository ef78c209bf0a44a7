"""A call that waits for its turn and is tried again, for a `WebAPI` that was given `Limits` or a `Retry`.

The rule: each try is signed anew; an error of signing is nobody's to retry; no turn is kept while a token is renewed.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..auth.contract import Auth
from ..errors import ApiError, ConfigError, SlyError
from ..limits import Limits
from ..retry import Retry
from ..web.events import tries_again
from ..web.messages import Reply, Request
from .signed_call import Origin, copied, is_repeatable


def check_policies(retry: object, limits: object) -> None:
    """Raises `ConfigError` for what was given in the place of a policy, such as a number of tries."""
    if not isinstance(retry, Retry | None):
        raise ConfigError(f"retry is {type(retry).__name__}.", next_step="Give a Retry, such as Retry(tries=3).")
    if not isinstance(limits, Limits | None):
        raise ConfigError(f"limits is {type(limits).__name__}.", next_step="Give Limits, such as Limits(concurrent=5).")


async def patient_call(
    auth: Auth,
    request: Request,
    call: Callable[[Auth, Request], Awaitable[Reply]],
    retry: object,
    limits: object,
) -> Reply:
    """The reply of `call(auth, request)`, sent as often as `retry` allows, each request at its turn by `limits`.

    Raises the last try's error, with `tries` and `tried_for` set; `LimitError`; and what `call` raises.
    """
    # a client written for 0.6 may have a method of its own by one of these names
    limits = limits if isinstance(limits, Limits) else None
    if not isinstance(retry, Retry):
        return await _once(InTurn(auth, limits), request, call)
    begun, tried = retry.clock(), 0
    while True:
        tried += 1
        turns = InTurn(auth, limits)
        try:
            return await _once(turns, copied(request), call)
        except SlyError as error:
            if turns.signing:
                raise  # not the API's answer, and perhaps the same object for all who wait for a refresh
            elapsed = retry.clock() - begun
            delay = retry.delay(tried, elapsed, request.method.value, error) if is_repeatable(request) else None
            if delay is None:
                error.tries, error.tried_for = tried, elapsed
                if tried > 1:
                    error.add_note(f"Tried {tried} times in {elapsed:.1f} s; this is the last error.")
                raise
            tries_again(request, error, tried, retry.tries, delay)
        await retry.sleep(delay)


async def _once(turns: "InTurn", request: Request, call: Callable[[Auth, Request], Awaitable[Reply]]) -> Reply:
    try:
        reply = await call(turns, request)
        if turns.obeys and _is_of(request, reply):
            turns.hear(reply.headers, reply.status)
        return reply
    except ApiError as error:
        if turns.obeys and not turns.signing and _is_of(request, error.response):
            turns.hear(error.headers, error.status)
        raise
    finally:
        turns.leave()


def _is_of(request: Request, reply: Any) -> bool:
    """Whether who was asked answered, not another host by a redirect, whose limits are not those of the API."""
    return isinstance(reply, Reply) and Origin(request.url).admits(reply.url)


class InTurn(Auth):
    """The auth of one try: a request that it has signed goes out when its turn comes."""

    def __init__(self, auth: Auth, limits: Limits | None) -> None:
        self.auth = auth
        self.signing = False
        """Whether an error that comes now is not of the API."""
        self.obeys = limits is not None and limits.obey
        self._limits = limits
        self._holds: Limits | None = None

    @property
    def _signs_nothing(self) -> bool:
        return self.auth._signs_nothing

    async def sign(self, client: Any, request: Request) -> Request:
        self.signing = True
        self.leave()  # a redirect, which asks once more
        request = await self.auth.sign(client, request)
        await self._wait(request)
        self.signing = False
        return request

    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        self.signing = True
        self.hear(headers, 401)
        self.leave()  # a hook of the refresh may call the API, and would wait for us
        again = await self.auth.sign_again(client, request, headers)
        if again:
            await self._wait(request)
        self.signing = False
        return again

    def secrets_to_mask(self) -> Iterable[str]:
        return self.auth.secrets_to_mask()

    def hear(self, headers: Mapping[str, str], status: int) -> None:
        """What a reply says of the provider's limits."""
        if self._holds is not None:
            self._holds.hear(headers, status)

    def leave(self) -> None:
        """Ends the turn, if there is one."""
        if self._holds is not None:
            self._holds.release()
            self._holds = None

    async def _wait(self, request: Request) -> None:
        if self._limits is not None:
            await self._limits.wait(request)
            self._holds = self._limits
