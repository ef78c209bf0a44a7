"""OAuth2ServiceAccount: signs requests as a program that has a key of its own, without a person (RFC 7523).

The rule: only the source of its tokens differs from a user's; the refresh is the same.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from ...errors import (
    BadReplyError,
    ConfigError,
    CredentialsError,
    MissingExtraError,
    TokenError,
    clean_traceback,
    printable,
)
from ...json_file import StrPath, display_path, is_content, read_json_file
from ...tokens.recognise import recognise
from ...tokens.scopes import split_scopes
from ...tokens.user import OAuth2User
from ...web.messages import NOTICEABLE_SKEW, Method, Request
from ...web.pem import key_problem
from ...web.urls import check_endpoint
from ..client.app import OAuth2App
from ..client.client_file import text_of
from ..messages.jose import load_signing_key, signed_jwt
from ..messages.jwt_bearer import claims, jwt_bearer_form, what_helps
from ..messages.token_endpoint import read_token_reply
from ..renewal.holder import Holder
from ..renewal.state import TokenState, registry
from ..renewal.token_source import TokenSource
from .signer import Signer

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from ..messages.jose import Sign

_HINT = "Its key file comes from the provider's console."
_NEEDED = ("client_email", "private_key", "token_uri")


@dataclass(frozen=True, repr=False)
class ServiceAccount:
    """An account of a program, and its private key (PEM), as in the JSON that Google's console gives.

    `token_uri` is where the key is traded for tokens. Of `client_id` and `auth_uri` nothing is needed here. A key that
    is elsewhere is a callable in the place of the PEM, sync or async, which signs by `key_alg`; `private_key_id` is the
    key's name.
    """

    __module__ = "SlyAPI.oauth2"

    client_email: str
    client_id: str
    private_key: "str | Sign"
    auth_uri: str
    token_uri: str
    private_key_id: str = ""
    key_alg: str = "RS256"

    def __repr__(self) -> str:
        return f"ServiceAccount({self.client_email!r}, private_key='***')"

    @classmethod
    @clean_traceback
    def from_json_file(cls, path: StrPath) -> Self:
        """The account in a key file. Raises `CredentialsNotFoundError`, or `CredentialsError` saying what it is."""
        if is_content(path):
            raise CredentialsError(
                "The account is given as the content of a key file, not as a path.",
                next_step="Give the path, or json.loads(text).",
            )
        return cls.from_json_obj(read_json_file(path), name=display_path(path))

    @classmethod
    @clean_traceback
    def from_json_obj(cls, obj: Any, *, name: str = "The account's JSON") -> Self:
        """The account in the JSON object of a key file; `name` is for messages. Raises `CredentialsError`."""
        if not isinstance(obj, Mapping):
            raise CredentialsError(f"{name} is not the key of a service account: it is not a JSON object. {_HINT}")
        lacking = [key for key in _NEEDED if not obj.get(key)]
        if obj.get("type", "service_account") != "service_account" or ("type" not in obj and "private_key" in lacking):
            raise CredentialsError(f"{name} is not the key of a service account: it is {recognise(obj)}. {_HINT}")
        if lacking:
            missing = ", ".join(lacking)
            raise CredentialsError(f"{name} is not a complete service account key: {missing} missing. {_HINT}")
        try:
            key: Any = obj["private_key"]
            # copied out of an environment variable, its line breaks may still be escaped
            private_key: Any = key.replace("\\n", "\n") if isinstance(key, str) else key if callable(key) else ""
            return cls(
                client_email=text_of(obj, "client_email"),
                client_id=text_of(obj, "client_id"),
                private_key=private_key,
                auth_uri=text_of(obj, "auth_uri"),
                token_uri=check_endpoint(text_of(obj, "token_uri"), "token_uri", allow_http=True),
                private_key_id=text_of(obj, "private_key_id"),
                key_alg=text_of(obj, "key_alg") or "RS256",
            )
        except ConfigError as error:
            raise CredentialsError(f"{name} cannot be used: {error}") from None


class OAuth2ServiceAccount(Signer):
    """Signs requests as a service account; `OAuth2ServiceAccount("key.json", ["scope", ...])`.

    `account` is a path, the JSON object in such a file, or a `ServiceAccount`. `subject` is the user
    in whose name the account acts, by domain-wide delegation. One grant serves any number of calls,
    event loops and threads, and all objects alive with the same account, scopes and subject; tokens
    are held in memory alone. `leeway`: seconds before expiry at which a token is renewed. `clock` gives
    epoch seconds. Needs the package joserfc: raises `MissingExtraError` without it, `CredentialsError` for
    what is not an account. `sign` raises `TokenError` where the provider refuses, `NetworkError` or
    `BadReplyError`.
    """

    __module__ = "SlyAPI.oauth2"

    @clean_traceback
    def __init__(
        self,
        account: ServiceAccount | Mapping[str, Any] | StrPath,
        scopes: list[str],
        *,
        subject: str | None = None,
        leeway: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(account, str | os.PathLike):
            account = ServiceAccount.from_json_file(account)
        account = account if isinstance(account, ServiceAccount) else ServiceAccount.from_json_obj(account)
        self.scopes: list[str] = split_scopes(scopes)
        self.subject = subject
        self.account: ServiceAccount = account
        question = ("service account", account, frozenset(self.scopes), subject, id(clock))
        state = registry.one(question, TokenState)
        super().__init__(Holder(state, AccountSource(account, self.scopes, subject), None, None, leeway, clock))

    def __reduce__(self) -> tuple[Any, ...]:
        holder = self._holder
        build = partial(type(self), subject=self.subject, leeway=holder.leeway, clock=holder.clock)
        return build, (self.account, self.scopes)

    def __copy__(self) -> Self:
        build, arguments = self.__reduce__()
        copy: Self = build(*arguments)
        return copy

    def __repr__(self) -> str:
        fields = vars(self)  # empty in a traceback of `__init__`
        subject = f", subject={fields['subject']!r}" if fields.get("subject") else ""
        return f"OAuth2ServiceAccount({fields.get('account')!r}, {fields.get('scopes')!r}{subject})"


class AccountSource(TokenSource):
    """An assertion that the account signs itself."""

    needs_grant = False

    def __init__(self, account: ServiceAccount, scopes: list[str], subject: str | None) -> None:
        super().__init__(OAuth2App(account.client_email, None, account.auth_uri, account.token_uri, scopes=scopes))
        check_endpoint(account.token_uri, "token_uri")
        problem: ConfigError | None = None
        given = account.private_key
        try:
            key_id = account.private_key_id or None
            key = given.encode("ascii", "replace") if isinstance(given, str) else given  # bytes are never a path
            self._key = load_signing_key(key, alg=account.key_alg, key_id=key_id)
        except MissingExtraError:
            raise
        except ConfigError:
            alg = printable(account.key_alg, 20)
            why = (
                f"is not a private key in PEM that can sign with {alg} here",
                "Convert it with: openssl rsa -in KEY -out KEY.pem",
            )
            what, step = (isinstance(given, str) and key_problem(given)) or why
            problem = ConfigError(f"private_key {what}.", next_step=step)
        if problem is not None:
            raise problem
        self._subject = subject

    async def new_tokens(self, client: "ClientSession | None", user: OAuth2User, now: float) -> OAuth2User:
        known = self.app.clock_skew
        try:
            return await self._grant(client, now)
        except TokenError as error:
            if error.error != "invalid_grant" or abs(self.app.clock_skew - known) < NOTICEABLE_SKEW:
                raise
        return await self._grant(client, now)  # `iat` by the provider's clock, which its refusal has shown

    async def _grant(self, client: "ClientSession | None", now: float) -> OAuth2User:
        app = self.app
        stated = claims(app.id, app.scopes, app.token_uri, subject=self._subject, now=now + app.clock_skew)
        form = jwt_bearer_form(await app._in_time(signed_jwt(stated, self._key, {"typ": "JWT"})))
        request = Request(Method.POST, app.token_uri, headers={"Accept": "application/json"}, data=form)
        sent = form.secrets((form["assertion"].rpartition(".")[2],))
        try:
            reply = await app._round_trip(request, client, now)
            user = read_token_reply(reply, now=now + app.clock_skew, requested=app.scopes, secrets=sent)
            user.id_token = None  # nobody verified it
            return user
        except (TokenError, BadReplyError) as error:
            error.kind, error.next_step = what_helps(error, self._subject)
            raise
