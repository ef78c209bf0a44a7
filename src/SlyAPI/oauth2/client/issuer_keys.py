"""The public keys of an issuer (RFC 7517 §5), fetched when they are needed and kept for as long as the issuer says.

The rule: a failure is not kept, and callers at the same time share one request. A key that is not there costs one more
request a minute; what strangers send has a budget of its own, so that it delays nobody whose key is new.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from ...errors import ApiError, BadReplyError
from ...web.json import read_reply
from ...web.messages import Method, Reply, Request, retry_after
from ...web.urls import bare_url
from ..renewal.uncancellable import is_cancelled

if TYPE_CHECKING:
    from ..messages.signed_tokens import Jwt

SHORTEST, USUAL, LONGEST = 60.0, 3600.0, 86400.0
"""Seconds for which keys are kept: at least, where the reply does not say, at most."""
AGAIN = 60.0
"""Seconds for which a key that the issuer did not publish is not looked for again."""
UNSOLICITED = 5.0
"""Seconds between two requests for unknown keys of tokens that anybody may have sent."""
_MOST_ABSENT = 100
LIMIT = 1 << 20
"""Bytes of keys that are read."""
_MOST = 500
"""Keys of one issuer that are kept."""

Fetch = Callable[[Request], Awaitable[Reply]]


class IssuerKeys:
    """The keys at one address at a time. A copy is empty."""

    def __init__(self) -> None:
        self._uri = ""
        self._keys: list[Mapping[str, Any]] = []
        self._until = 0.0
        self._absent: dict[tuple[bool, str], float] = {}  # until when, by whether it was unsolicited, and its kid
        self._fetching: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()

    async def read(
        self, token: str, algs: Collection[str], uri: str, fetch: Fetch, now: float, *, unsolicited: bool = False
    ) -> "Jwt":
        """The token, verified with the keys at `uri`; `now` in epoch seconds.

        `unsolicited`: anybody may have sent it; other tokens are in the issuer's replies to our requests.
        Raises `IdentityError`, and what stands in the way of the keys: `NetworkError`, `ApiError`, `BadReplyError`.
        """
        from ..messages.signed_tokens import UnknownKeyError, read_jwt

        fresh = uri == self._uri and self._until - LONGEST <= now < self._until
        if not fresh:
            await self._shared(uri, fetch, now)
        try:
            return read_jwt(token, self._keys, algs)
        except UnknownKeyError as error:
            if not fresh:
                raise
            kid, wait = error.kid, self._wait(unsolicited, error.kid, now)
            if wait > 0:  # newer keys might know it, in a while
                error.kind, error.retry_after = "transient", wait
                raise
        await self._shared(uri, fetch, now)
        self._absent[unsolicited, kid] = now + AGAIN  # after the request: one that failed is no answer
        return read_jwt(token, self._keys, algs)

    def _wait(self, unsolicited: bool, kid: str, now: float) -> float:
        """Seconds until the keys may be requested for this one."""
        recent = {name: end for name, end in self._absent.items() if end - AGAIN <= now < end}
        self._absent = dict([*recent.items()][-_MOST_ABSENT:])
        ends = [end - AGAIN + UNSOLICITED for (sent, _), end in self._absent.items() if sent and unsolicited]
        return max([self._absent.get((unsolicited, kid), now), *ends]) - now

    async def _shared(self, uri: str, fetch: Fetch, now: float) -> None:
        """Waits for the one request of this event loop, and begins it if there is none."""
        loop = asyncio.get_running_loop()
        task = self._fetching.get(loop)
        if task is None:
            for ended in [other for other in list(self._fetching) if other.is_closed()]:
                self._fetching.pop(ended, None)
            task = self._fetching[loop] = loop.create_task(self._fetch(uri, fetch, now))
            task.add_done_callback(lambda done: self._forget(loop, done))
        try:
            await asyncio.shield(task)  # a caller that is cancelled does not cut the others short
        except asyncio.CancelledError:
            if is_cancelled() or not task.cancelled():
                raise
            # the program ends, and the caller is a refresh whose new refresh token is not saved yet
            await self._fetch(uri, fetch, now)

    def _forget(self, loop: asyncio.AbstractEventLoop, done: "asyncio.Task[None]") -> None:
        self._fetching.pop(loop, None)
        if not done.cancelled():
            done.exception()  # retrieved here too: all its callers may have been cancelled

    async def _fetch(self, uri: str, fetch: Fetch, now: float) -> None:
        reply = await fetch(Request(Method.GET, uri, headers={"Accept": "application/json"}))
        self._keys, self._until, self._uri = read_keys(reply), now + kept_for(reply.headers), uri


def read_keys(reply: Reply) -> list[Mapping[str, Any]]:
    """The keys in a reply (RFC 7517 §5); what is not a key is skipped. Raises `ApiError`, `BadReplyError`."""
    where = f"The keys at {bare_url(reply.url)}"
    if reply.status != 200:
        raise ApiError(
            reply.status,
            None,
            reply.without(()),
            message=f"{where} were not sent: HTTP {reply.status}.",
            next_step="Check jwks_uri in the client file." if reply.status < 500 else "Try again later.",
            retry_after=retry_after(reply.headers),
        )
    keys = read_reply(reply, Request(Method.GET, reply.url))
    if isinstance(keys, dict):
        keys = keys.get("keys")
    if not isinstance(keys, list):
        raise BadReplyError(f"{where} are not a set of keys (RFC 7517 §5).", next_step="Check jwks_uri.")
    return [key for key in keys[:_MOST] if isinstance(key, dict)]


def kept_for(headers: Mapping[str, str]) -> float:
    """For how many seconds the keys of a reply are kept (RFC 9111 §5.2.2, §5.3), within bounds."""
    control = headers.get("Cache-Control", "").casefold()
    if re.search(r"\bno-(?:store|cache)\b", control):
        return SHORTEST
    age = re.search(r"\bmax-age\s*=\s*\"?(\d{1,9})", control)
    if age is not None:
        since = headers.get("Age", "").strip()
        life = float(age[1]) - (float(since[:9]) if since.isdecimal() else 0.0)
    else:
        life = _until_expires(headers)
    return min(max(life, SHORTEST), LONGEST)


def _until_expires(headers: Mapping[str, str]) -> float:
    try:
        end, start = (parsedate_to_datetime(headers[name]) for name in ("Expires", "Date"))
        return (end - start).total_seconds()
    except (KeyError, ValueError, TypeError, OverflowError):
        return USUAL
