"""OAuth2ServiceAccount: signs requests as a program that has a key of its own, without a person (RFC 7523).

The rule: what keeps a user fresh keeps an account fresh too; only how a token is had differs.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from ..auth import rsa
from ..auth.contract import Auth
from ..errors import BadReplyError, ConfigError, CredentialsError, SlyError, TokenError, clean_traceback
from ..json_file import StrPath, display_path, read_json_file
from ..tokens.recognise import recognise
from ..tokens.scopes import split_scopes
from ..tokens.user import OAuth2User
from ..web.messages import Method, Request
from ..web.urls import check_endpoint
from .app import OAuth2App
from .client_file import text_of
from .jwt_bearer import assertion_form, claims, what_helps
from .signer import OAuth2

if TYPE_CHECKING:
    from aiohttp import ClientSession

_HINT = "Its key file comes from the provider's console."
_NEEDED = ("client_email", "private_key", "token_uri")


@dataclass(frozen=True, repr=False)
class ServiceAccount:
    """An account of a program, and its private key (PEM), as in the JSON that Google's console gives.

    `token_uri` is where the key is traded for tokens. Of `client_id` and `auth_uri` nothing is needed here.
    """

    __module__ = "SlyAPI.oauth2"

    client_email: str
    client_id: str
    private_key: str
    auth_uri: str
    token_uri: str
    private_key_id: str = ""

    def __repr__(self) -> str:
        return f"ServiceAccount({self.client_email!r}, private_key='***')"

    @classmethod
    def from_json_file(cls, path: StrPath) -> Self:
        """The account in a key file. Raises `CredentialsNotFoundError`, or `CredentialsError` saying what it is."""
        text = os.fspath(path)
        if isinstance(text, str) and (text.lstrip().startswith("{") or "-----BEGIN" in text):
            del path, text  # so that no traceback or message shows it
            raise CredentialsError("The account is given as the content of a key file, not as a path.", next_step=_TEXT)
        return cls.from_json_obj(read_json_file(path), name=display_path(path))

    @classmethod
    def from_json_obj(cls, obj: Any, *, name: str = "The account's JSON") -> Self:
        """The account in the JSON object of a key file; `name` is for messages. Raises `CredentialsError`."""
        account = cls._read(obj)
        del obj  # so that no traceback shows it
        if isinstance(account, str):
            raise CredentialsError(f"{name} {account}")
        return account

    @classmethod
    def _read(cls, obj: Any) -> Self | str:
        """The account, or what the object is instead."""
        if not isinstance(obj, Mapping):
            return f"is not the key of a service account: it is not a JSON object. {_HINT}"
        lacking = [key for key in _NEEDED if not obj.get(key)]
        if obj.get("type", "service_account") != "service_account" or ("type" not in obj and "private_key" in lacking):
            return f"is not the key of a service account: it is {recognise(obj)}. {_HINT}"
        if lacking:
            return f"is not a whole key of a service account: {', '.join(lacking)} missing. {_HINT}"
        try:
            key = obj["private_key"]
            return cls(
                client_email=text_of(obj, "client_email"),
                client_id=text_of(obj, "client_id"),
                # copied out of an environment variable, its line breaks may still be escaped
                private_key=key.replace("\\n", "\n") if isinstance(key, str) else "",
                auth_uri=text_of(obj, "auth_uri"),
                token_uri=check_endpoint(text_of(obj, "token_uri"), "token_uri", allow_http=True),
                private_key_id=text_of(obj, "private_key_id"),
            )
        except ConfigError as error:
            return f"cannot be used: {error}"


_TEXT = "Give the path, or json.loads(text)."


class OAuth2ServiceAccount(Auth):
    """Signs requests as a service account; `OAuth2ServiceAccount("key.json", ["scope", ...])`.

    `account` is a path, the JSON object in such a file, or a `ServiceAccount`. `subject` is the user
    in whose name the account acts, by domain-wide delegation. One grant serves any number of calls,
    event loops and threads, and all objects alive with the same account, scopes and subject; tokens
    are held in memory alone. `clock` gives epoch seconds. Needs the extra `[jwt]`: raises
    `MissingExtraError` without it, `CredentialsError` for what is no account.
    """

    __module__ = "SlyAPI.oauth2"

    def __init__(
        self,
        account: ServiceAccount | Mapping[str, Any] | StrPath,
        scopes: list[str],
        *,
        subject: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        found = _account(account)
        del account  # so that no traceback shows it
        if isinstance(found, SlyError):
            raise found
        self.account = found
        self.scopes = split_scopes(scopes)
        self.subject = subject
        alike = (frozenset(self.scopes), subject, id(clock))
        signers = _SIGNERS.setdefault(found, {})
        if alike not in signers:
            signers[alike] = OAuth2(_Client(found, self.scopes, subject), _NO_TOKEN, clock=clock)
        self._signer = signers[alike]

    def __repr__(self) -> str:
        told = vars(self)  # empty in a traceback of `__init__`
        subject = f", subject={told['subject']!r}" if told.get("subject") else ""
        return f"OAuth2ServiceAccount({told.get('account')!r}, {told.get('scopes')!r}{subject})"

    async def sign(self, client: Any, request: Request) -> Request:
        """The request with the account's token, which is asked for first where there is none or it is due.

        Raises `TokenError` where the provider refuses, `NetworkError` or `BadReplyError`.
        """
        return await self._signer.sign(client, request)

    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        """After a 401: signs with a newer token, had by one grant if there is none yet."""
        return await self._signer.sign_again(client, request, headers)

    async def wait_for_refresh(self) -> None:
        """Waits for a grant in flight."""
        await self._signer.wait_for_refresh()


class _Client(OAuth2App):
    """The account as the signer sees a client: its every refresh is a new grant."""

    def __init__(self, account: ServiceAccount, scopes: list[str], subject: str | None) -> None:
        super().__init__(account.client_email, None, account.auth_uri, account.token_uri, scopes=scopes)
        check_endpoint(account.token_uri, "token_uri")
        self._key = rsa.load(account.private_key, "SHA256")
        self._key_id = account.private_key_id
        self._subject = subject

    def can_refresh(self, user: OAuth2User) -> bool:
        return True

    @clean_traceback
    async def refresh(
        self, client: "ClientSession | None", user: OAuth2User, *, now: float | None = None
    ) -> OAuth2User:
        """The account with a new token. Raises `TokenError`, `BadReplyError`, `NetworkError`."""
        now, known = time.time() if now is None else now, self.clock_skew
        try:
            return await self._grant(client, now)
        except TokenError as error:
            if error.error != "invalid_grant" or abs(self.clock_skew - known) < _NOTICEABLE:
                raise
        return await self._grant(client, now)  # `iat` by the provider's clock, which its refusal has told

    async def _grant(self, client: "ClientSession | None", now: float) -> OAuth2User:
        told = claims(self.id, self.scopes, self.token_uri, subject=self._subject, now=now + self.clock_skew)
        form = assertion_form(told, self._key, self._key_id)
        request = Request(Method.POST, self.token_uri, headers={"Accept": "application/json"}, data=form)
        sent = form.secrets((form["assertion"].rpartition(".")[2],))
        try:
            return await self._ask(request, client, now, sent, requested=self.scopes)
        except (TokenError, BadReplyError) as error:
            error.kind, error.next_step = what_helps(error, self._subject)
            raise


_NOTICEABLE = 60.0
"""Seconds by which a clock has to be off before a refusal is laid to it."""
_NO_TOKEN = OAuth2User("", expires_at=datetime.fromtimestamp(0, UTC))
"""Stands for the account's token until the first request asks for one."""
_SIGNERS: WeakKeyDictionary[ServiceAccount, dict[tuple[frozenset[str], str | None, int], OAuth2]] = WeakKeyDictionary()
"""What signs for each account, by scopes, subject and clock, as long as somebody holds the account."""


def _account(given: Any) -> ServiceAccount | SlyError:
    """The account that is given; the error where it is none, for the caller to raise without it."""
    try:
        if isinstance(given, str | os.PathLike):
            return ServiceAccount.from_json_file(given)
        return given if isinstance(given, ServiceAccount) else ServiceAccount.from_json_obj(given)
    except SlyError as error:
        return error.with_traceback(None)
