"""How a request shows who asks: what every `Auth` does.

The rule: `sign` changes one request and nothing else; it may be called for many requests at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..web.messages import Request
from .middleware import send_signed

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

class Auth(ABC):
    """Signs requests: given to a `WebAPI`, or to `aiohttp.ClientSession(middlewares=(auth,))`."""

    __module__ = "SlyAPI.auth"

    __slots__ = ()

    answers_403: ClassVar[bool] = False
    """Whether `sign_again` is also called for a 403 whose challenge reports `insufficient_scope` (RFC 6750 §3.1)."""

    @abstractmethod
    async def sign(self, client: Any, request: Request) -> Request:
        """The request with what proves who asks. May change its query_params, headers and data.

        `client` is the `aiohttp.ClientSession` the request goes out on.
        """

    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        """Signs anew a request that came back with 401; False where that cannot help (the default).

        `headers` are the reply's. Called once for a request.
        """
        return False

    def secrets_to_mask(self) -> Iterable[str]:
        """What no message may repeat, beside what signing put into the request."""
        return ()

    async def wait_for_refresh(self) -> None:  # noqa: B027 - most kinds have nothing to wait for
        """Waits for work that must not be cut short, such as a refresh, before a session closes."""

    @property
    def _signs_nothing(self) -> bool:
        return type(self) is NoAuth  # a subclass may sign

    @staticmethod
    def none() -> "NoAuth":
        """For an API that asks nobody who they are."""
        return NoAuth()

    async def __call__(self, request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
        """The aiohttp client middleware. A redirect to another origin is followed, but not signed.

        Raises what `sign` raises, and `OriginError` for a redirect that would take the credential along.
        """
        return await send_signed(self.sign, self.sign_again, request, handler)


class NoAuth(Auth):
    """Leaves requests as they are."""

    __module__ = "SlyAPI.auth"

    async def sign(self, client: Any, request: Request) -> Request:
        return request
