"""How a request is authenticated: what every `Auth` does.

The rule: `sign` changes one request and nothing else; it may be called for many requests at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..errors import ConfigError, clean_traceback
from ..web.challenges import challenges_in, needs_scope
from ..web.messages import Request
from ..web.urls import url_origin
from .middleware import send_signed

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse


class Auth(ABC):
    """Signs requests: given to a `WebAPI`, or to `aiohttp.ClientSession(middlewares=(auth,))`.

    A subclass implements `sign`; the other methods have defaults (`docs/writing-an-auth.md`).
    """

    __module__ = "SlyAPI.auth"

    __slots__ = ("_origins",)

    answers_403: ClassVar[bool] = False
    """Whether `sign_again` is also called for a 403 whose challenge reports `insufficient_scope` (RFC 6750 §3.1)."""

    def at(self, *origins: str) -> Self:
        """Binds the auth to origins, for the aiohttp middleware and httpx; gives the auth itself.

        Elsewhere a request goes unsigned. Without `at`, the origin of the first signed request counts. A `WebAPI` signs
        for its `base_url` and binds nothing. Raises `ConfigError` for text that is not an http or https URL.

        >>> session = aiohttp.ClientSession(middlewares=(auth.at("https://api.example"),))  # doctest: +SKIP
        """
        found = frozenset(url_origin(each) if isinstance(each, str) else "" for each in origins)
        if not found or "" in found:
            raise ConfigError("at takes origins.", next_step='Write: auth.at("https://api.example")')
        self._bind(found)
        return self

    def _signs_at(self, url: str) -> bool:
        """Whether the auth is bound to the origin of `url`; binds it there if it is bound to none."""
        origin = url_origin(url)
        bound: frozenset[str] = getattr(self, "_origins", frozenset())
        if not bound and origin:
            self._bind(frozenset((origin,)))
            return True
        return origin in bound

    def _bind(self, origins: frozenset[str]) -> None:
        bound: frozenset[str] = getattr(self, "_origins", frozenset())
        object.__setattr__(self, "_origins", bound | origins)  # an Auth may be a frozen dataclass

    @abstractmethod
    async def sign(self, client: Any, request: Request) -> Request:
        """The request with its credential. May change its query_params, headers and data.

        `client` is the `aiohttp.ClientSession` that sends the request.
        """

    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        """Signs a request again after a 401; False (the default) where that cannot help.

        `headers` are the reply's. Called at most once for a request; with `answers_403` also after a 403 for a
        scope that the token lacks.
        """
        return False

    def may_sign_again(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether a reply of this status is one that `sign_again` is called for."""
        return status == 401 or (
            status == 403 and self.answers_403 and needs_scope(challenges_in(headers)) is not None
        )

    def note_reply(  # noqa: B027 - most kinds have nothing to learn
        self, url: str, status: int, headers: Mapping[str, str]
    ) -> None:
        """Called with each reply to a signed request, before `sign_again`: what can be learned from it."""

    def secrets_to_mask(self) -> Iterable[str]:
        """What no message may repeat, in addition to what signing added to the request."""
        return ()

    async def wait_for_refresh(self) -> None:  # noqa: B027 - most kinds have nothing to wait for
        """Waits for work that must not be interrupted, such as a refresh, before a session closes."""

    @property
    def _base_url(self) -> str:
        """The address of the API that the auth is for; "" where it is for any."""
        return ""

    @property
    def _signs_nothing(self) -> bool:
        return type(self) is NoAuth  # a subclass may sign

    @staticmethod
    def none() -> "NoAuth":
        """For an API without authentication."""
        return NoAuth()

    def __call__(
        self, request: "ClientRequest", handler: "ClientHandlerType | None" = None
    ) -> "Awaitable[ClientResponse]":
        """The aiohttp client middleware. A request to another origin than that of `at` goes unsigned.

        Raises what `sign` raises, and `OriginError` for a redirect to another origin whose URL contains the credential.
        """
        if handler is None:  # httpx calls its `auth=` so
            raise ConfigError(
                "httpx cannot sign by this auth alone.",
                next_step="Write: from SlyAPI.httpx import signed; httpx.AsyncClient(auth=signed(auth))",
            )
        return self._send(request, handler)

    @clean_traceback
    async def _send(self, request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
        return await (send_signed(self, request, handler) if self._signs_at(str(request.url)) else handler(request))


class NoAuth(Auth):
    """Leaves requests unchanged."""

    __module__ = "SlyAPI.auth"

    async def sign(self, client: Any, request: Request) -> Request:
        return request
