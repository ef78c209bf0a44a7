"""One request of an auth, without its IO: what signing adds, and whether a reply is worth signing again for.

`WebAPI`, the aiohttp middleware and the authentication of httpx send it. The rule: it is signed again at most once for
a newer credential and once for a nonce, and no redirect takes what signing added to another origin.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..errors import OriginError
from ..web.challenges import wants_nonce
from ..web.masking import masked
from ..web.messages import REDIRECTS, Request
from ..web.secret_values import Secrets
from ..web.urls import url_origin


class Signs(Protocol):
    """The part of `Auth` that an exchange calls."""

    async def sign(self, client: Any, request: Request) -> Request: ...
    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool: ...
    def may_sign_again(self, status: int, headers: Mapping[str, str]) -> bool: ...
    def note_reply(self, url: str, status: int, headers: Mapping[str, str]) -> None: ...


class Exchange:
    """The signatures of one request, by `auth` on `session`."""

    __slots__ = ("_auth", "_session", "_signed_for_nonce")

    def __init__(self, auth: Signs, session: Any = None) -> None:
        self._auth = auth
        self._session = session
        self._signed_for_nonce: set[bool] = set()
        """Why it was signed again: for a nonce (True), for a newer credential (False)."""

    async def sign(self, request: Request) -> Request:
        """The request with its credential."""
        return await self._auth.sign(self._session, request)

    async def sign_again(
        self, request: Request, status: int, headers: Mapping[str, str], repeatable: bool = True
    ) -> bool:
        """Notes the reply to `request`; whether the request now has a newer credential, and is worth sending again."""
        self._auth.note_reply(request.url, status, headers)
        if status < 400 or not repeatable or not self._auth.may_sign_again(status, headers):
            return False
        if (for_nonce := wants_nonce(headers)) in self._signed_for_nonce:
            return False
        self._signed_for_nonce.add(for_nonce)
        return await self._auth.sign_again(self._session, request, headers)


def added_by_signing(own: Request, signed: Request) -> Secrets:
    """The values that signing put into a request, which neither another origin nor a message may see."""
    added = [value for name, value in signed.headers.items() if own.headers.get(name) != value]
    added += [str(value) for name, value in signed.query_params.items() if own.query_params.get(name) != value]
    if isinstance(signed.data, dict) and isinstance(own.data, dict):
        added += [str(value) for name, value in signed.data.items() if own.data.get(name) != value]
    elif isinstance(signed.data, str) and signed.data != own.data:
        added.append(signed.data)
    return Secrets(part for value in added for part in (value, value.rpartition(" ")[2]))


def check_redirect(url: str, status: int, headers: Mapping[str, str], secrets: Iterable[str]) -> None:
    """Raises `OriginError` for a redirect from `url` that would take a secret to another origin in its URL."""
    location = headers.get("Location") or headers.get("URI") or ""  # aiohttp follows both
    if status not in REDIRECTS or masked(location, secrets) == location:
        return
    here, target = url_origin(url), url_origin(location, url)
    if target != here:
        raise OriginError(f"{here} redirects to {target or 'no URL'} with the credential in the URL; not followed.")
