"""The client registration at one OAuth 1 provider. Each method builds a request, sends it and reads the reply."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..auth import rsa
from ..errors import ConfigError, CredentialsError, clean_traceback
from ..json_file import StrPath, display_path, read_json_file
from ..tokens.recognise import recognise
from ..transport import requests as transport
from ..web.messages import Reply
from ..web.next_steps import PROGRAM
from ..web.secret_values import SecretForm, Secrets
from ..web.urls import check_endpoint
from . import grant
from .signature import SignatureMethod, Signing, checked_method, new_nonce
from .user import OAuth1User, TemporaryCredentials

if TYPE_CHECKING:
    from aiohttp import ClientSession


@dataclass(repr=False)
class OAuth1App:
    """A client at one provider. `dataclasses.asdict` gives the file format.

    The three URIs are the endpoints of RFC 5849 §2: temporary credentials, authorization page, token.
    They may be empty for a client that only signs with tokens it was given.
    """

    __module__ = "SlyAPI.oauth1"

    key: str
    secret: str
    request_uri: str
    authorize_uri: str
    access_uri: str

    def __repr__(self) -> str:
        uris = f"{self.request_uri!r}, {self.authorize_uri!r}, {self.access_uri!r}"
        return f"OAuth1App({self.key!r}, '***', {uris})"

    @classmethod
    @clean_traceback
    def from_json_file(cls, path: StrPath) -> Self:
        """The client in a file. Raises `CredentialsNotFoundError`, or `CredentialsError` naming what it is instead."""
        found = read_json_file(path, made_with=_MADE_WITH, is_client=True)
        return cls.from_json_obj(found, name=display_path(path))

    @classmethod
    @clean_traceback
    def from_json_obj(cls, obj: Any, *, name: str = "The client JSON") -> Self:
        """The client in a JSON object; `name` is for messages. Raises `CredentialsError`."""
        if not isinstance(obj, dict) or "key" not in obj or not any(uri in obj for uri in _URIS):
            what = recognise(obj) if isinstance(obj, dict) else "not a JSON object"
            raise CredentialsError(f"{name} is not an OAuth 1 client file: it is {what}. {_HINT}")
        members = {member: obj.get(member) or "" for member in ("key", "secret", *_URIS)}
        for member, value in members.items():
            if not isinstance(value, str) or not value.isprintable():
                raise CredentialsError(f"{name} cannot be used: {member} is not a string.")
            members[member] = value.strip()
        if not members["key"]:
            raise CredentialsError(f"{name} is not filled in: key missing. The provider's console shows it.")
        try:
            for uri in _URIS:
                if members[uri]:
                    check_endpoint(members[uri], uri, allow_http=True)
        except ConfigError as error:
            raise CredentialsError(f"{name} cannot be used: {error}") from None
        return cls(**members)

    @clean_traceback
    async def ask(
        self,
        callback_uri: str = grant.OUT_OF_BAND,
        client: "ClientSession | None" = None,
        *,
        method: SignatureMethod = "HMAC-SHA1",
        private_key: Any = None,
        allow_http: bool = False,
        now: float | None = None,
    ) -> TemporaryCredentials:
        """Temporary credentials for one grant (RFC 5849 §2.1).

        The provider redirects the user to `callback_uri`, or shows the verifier if there is none.
        `client` lends its connections; `now` is in epoch seconds. Raises `TokenError`, `BadReplyError`,
        `NetworkError`, and `ConfigError` for plain http unless `allow_http`.
        """
        now = _now(now)
        signing = self._signing(TemporaryCredentials("", ""), method, private_key)
        fields = SecretForm(oauth_callback=callback_uri)
        reply = await self._send("request_uri", fields, signing, client, now, allow_http)
        return grant.read_temporary_reply(reply, secrets=Secrets((self.secret,)), now=now)

    @clean_traceback
    def authorize_url(self, temporary: TemporaryCredentials, params: Mapping[str, str] | None = None) -> str:
        """The address to open in the user's browser (RFC 5849 §2.2); `params` are the provider's own.

        Raises `ConfigError`.
        """
        uri = self._endpoint("authorize_uri", True)
        return grant.authorize_url(uri, temporary, params or {})

    @clean_traceback
    async def exchange_verifier(
        self,
        verifier: str,
        temporary: TemporaryCredentials,
        client: "ClientSession | None" = None,
        *,
        method: SignatureMethod = "HMAC-SHA1",
        private_key: Any = None,
        allow_http: bool = False,
        now: float | None = None,
    ) -> OAuth1User:
        """Exchanges the verifier and the temporary credentials for the user's token (RFC 5849 §2.3).

        Arguments and errors as of `ask`.
        """
        now = _now(now)
        secrets = Secrets((self.secret, temporary.key, temporary.secret, verifier))
        signing = self._signing(temporary, method, private_key)
        fields = SecretForm(oauth_verifier=verifier)
        reply = await self._send("access_uri", fields, signing, client, now, allow_http)
        return grant.read_access_reply(reply, secrets=secrets, now=now)

    def _signing(self, temporary: TemporaryCredentials, method: SignatureMethod, private_key: Any) -> Signing:
        key = None if private_key is None else rsa.load(private_key)
        return Signing(self.key, self.secret, temporary.key, temporary.secret, checked_method(method, key), key)

    async def _send(
        self,
        endpoint: str,
        fields: SecretForm,
        signing: Signing,
        client: "ClientSession | None",
        now: float,
        allow_http: bool,
    ) -> Reply:
        uri = self._endpoint(endpoint, allow_http)
        request = grant.credentials_request(uri, fields, signing, timestamp=int(now), nonce=new_nonce())
        return await transport.send(request, client)

    def _endpoint(self, name: str, allow_http: bool) -> str:
        uri: str = getattr(self, name)
        if not uri:
            raise ConfigError(f"{name} is not filled in.", next_step="The provider's documentation has it.")
        return check_endpoint(uri, name, allow_http=allow_http)


_URIS = ("request_uri", "authorize_uri", "access_uri")
_MADE_WITH = f"{PROGRAM} scaffold oauth1"
_HINT = f"Make one with: {_MADE_WITH}"


def _now(now: float | None) -> float:
    return time.time() if now is None else now
