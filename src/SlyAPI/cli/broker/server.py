"""The broker's server: takes a request, checks its head, has it signed and sent, and passes the reply on.

The rule: a caller sees neither a token nor why there is none; the log says why, without query values.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

from ...errors import NetworkError, RequestTimeoutError, SlyError, TokenError, printable
from ...oauth2 import OAuth2
from ...transport.bodies import body_of
from ...transport.sessions import FOR_STREAMS
from ...web.messages import Method, Request
from .exchange import signed_exchange
from .headers import headers_to_api
from .listening import Listening
from .masked_pieces import Mask
from .refusals import Checks, Refusal
from .reply import pass_on

if TYPE_CHECKING:
    from aiohttp import ClientSession, web

_KEPT = 1 << 16
"""Bytes of a request's body that are kept, so that it can be repeated after a 401."""
_LOGIN_SECONDS = 1.0
"""How long a new login may go unnoticed."""
_IDLE_SECONDS = 75.0


class Broker:
    """The requests of one account. `say` takes a line of the log."""

    def __init__(
        self, account: str, checks: Checks, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks, self._say, self._clock = checks, say, clock
        self._auth = OAuth2.account(account)
        self._since = clock()
        self._mask: Mask | None = None

    def auth(self) -> OAuth2:
        """The account's signer; from time to time a copy, which reads the tokens anew, at the same store."""
        if self._clock() - self._since >= _LOGIN_SECONDS:
            self._auth, self._since = copy(self._auth), self._clock()
        return self._auth

    async def handle(self, request: "web.BaseRequest") -> "web.StreamResponse":
        """Answers one request, and logs it."""
        began, outcome = self._clock(), "was given up"
        try:
            answer = await self._answer(request)
            await answer.prepare(request)
            await answer.write_eof()  # before the line of the log, which takes as long
            outcome = str(answer.status)
            return answer
        except SlyError as error:
            refusal = _failure(error)
            outcome = f"{refusal.status}: {error}"
            if request.transport is None or request.transport.is_closing():  # a reply broke off midway
                raise ConnectionResetError from None
            return _refused(refusal)
        except Exception as error:
            outcome = f"500: {type(error).__name__}"
            return _refused(Refusal(500, "The broker failed at this request."))
        finally:
            shown = printable(request.raw_path.partition("?")[0], 200)
            self._say(f"{request.method} {shown} {outcome} ({1000 * (self._clock() - began):.0f} ms)")

    async def _answer(self, request: "web.BaseRequest") -> "web.StreamResponse":
        headers = list(request.headers.items())
        if refusal := self._checks.refusal(request.method, request.raw_path, headers):
            return _refused(refusal)
        auth = self.auth()
        own = await self._own_request(request, auth._base_url, headers)
        reply, secrets = await signed_exchange(auth, _session(), own)
        try:
            if self._mask is None or self._mask.secrets != secrets:
                self._mask = Mask(secrets)
            return await pass_on(request, reply, self._mask)
        finally:
            reply.close()

    async def _own_request(self, request: "web.BaseRequest", base: str, headers: list[tuple[str, str]]) -> Request:
        """The request as it goes to the API, before it is signed."""
        passed = headers_to_api(headers, self._checks.secret)
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # aiohttp writes it for an application alone
        data: Any = {}
        if request.body_exists:
            size = request.content_length
            if size is not None and size <= _KEPT:
                data = await request.read() if size else {}
            else:
                data = body_of(request.content.iter_any())
                passed |= {} if size is None else {"Content-Length": str(size)}
        return Request(Method(request.method), base.rstrip("/") + request.raw_path, headers=passed, data=data)

    @asynccontextmanager
    async def serving(self, listening: Listening, patience: float = 5.0) -> AsyncGenerator[None, None]:
        """Answers requests; at the end those under way have `patience` seconds, and a refresh is waited for."""
        from aiohttp import web

        server = web.Server(
            self.handle,
            handler_cancellation=True,  # of a caller that went away
            auto_decompress=False,
            access_log=None,
            logger=logging.Logger("broker", logging.CRITICAL + 1),  # it logs requests as they came
            lingering_time=2,
            keepalive_timeout=_IDLE_SECONDS,
        )
        loop = asyncio.get_running_loop()
        begun = [await loop.create_server(server, sock=sock) for sock in listening.sockets]
        try:
            yield
        finally:
            for one in begun:
                one.close()
            server.pre_shutdown()
            await server.shutdown(patience)
            await self._auth.wait_for_refresh()


def _session() -> "ClientSession":
    return FOR_STREAMS.join(FOR_STREAMS)  # which never leaves: the event loop closes it


def _refused(refusal: Refusal) -> "web.StreamResponse":
    from aiohttp import web

    answer = web.Response(status=refusal.status, text=f"{refusal.message}\n")
    answer.force_close()  # a body may follow that nobody reads
    if refusal.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _failure(error: SlyError) -> Refusal:
    """What the caller sees: not why, which may name files of this machine."""
    if isinstance(error, RequestTimeoutError):
        return Refusal(504, "The API took too long.")
    if isinstance(error, NetworkError) and not isinstance(error, TokenError):
        return Refusal(502, "The API could not be reached.")
    return Refusal(502, "The broker could not get a reply for this request; its log says why.")
