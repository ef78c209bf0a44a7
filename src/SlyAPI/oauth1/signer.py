"""OAuth1: signs requests as one user of one client (RFC 5849 §3).

The rule: the signature covers what is on the wire: method, address, query, and the fields of a form; no other body.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from ..auth import rsa
from ..auth.contract import Auth
from ..errors import ConfigError, clean_traceback
from ..json_file import StrPath
from ..web.messages import FORM, Request
from .app import OAuth1App
from .signature import Pair, SignatureMethod, Signing, checked_method, checked_realm, form_pairs, new_nonce
from .user import OAuth1User


class OAuth1(Auth):
    """Signs requests as one user of one client; `OAuth1("app.json", "user.json")`.

    `app` and `user` are objects or paths. `method`: HMAC-SHA1 unless the provider requires another;
    RSA-SHA1 needs `private_key` (PEM) and the package cryptography; PLAINTEXT needs https. `realm` goes into the
    header if the provider requires one. `clock` returns epoch seconds.
    """

    __module__ = "SlyAPI.oauth1"

    @clean_traceback
    def __init__(
        self,
        app: OAuth1App | StrPath,
        user: OAuth1User | StrPath,
        *,
        method: SignatureMethod = "HMAC-SHA1",
        private_key: Any = None,
        realm: str | None = None,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = new_nonce,
    ) -> None:
        self.app: OAuth1App = app if isinstance(app, OAuth1App) else OAuth1App.from_json_file(app)
        self.user: OAuth1User = user if isinstance(user, OAuth1User) else OAuth1User.from_json_file(user)
        self._private_key = None if private_key is None else rsa.load(private_key)
        self.method: SignatureMethod = checked_method(method, self._private_key)
        self.realm: str | None = checked_realm(realm)
        self._clock = clock
        self._nonce = nonce

    def __repr__(self) -> str:
        members = vars(self)  # empty while `__init__` runs
        return f"OAuth1({members.get('app')!r}, {members.get('user')!r})"

    async def sign(self, client: Any, request: Request) -> Request:
        """The request with its signature in the Authorization header.

        Raises `ConfigError` for a form that cannot be read before it is sent, and for PLAINTEXT over http.
        """
        request.headers["Authorization"] = self._signing().header(
            request.method.value,
            request.url,
            [*_query_fields(request), *_form_fields(request)],
            timestamp=int(self._clock()),
            nonce=self._nonce(),
        )
        return request

    def secrets_to_mask(self) -> tuple[str, ...]:
        """The client's secret, the user's token and its secret."""
        return self.app.secret, self.user.secret, self.user.key

    def _signing(self) -> Signing:
        app, user = self.app, self.user
        return Signing(app.key, app.secret, user.key, user.secret, self.method, self._private_key, self.realm)


def _query_fields(request: Request) -> list[Pair]:
    """The parameters beside those of the URL; a list repeats its name."""
    repeated = ((name, value if isinstance(value, list) else [value]) for name, value in request.query_params.items())
    return [(name, str(value)) for name, values in repeated for value in values]


def _form_fields(request: Request) -> list[Pair]:
    """The fields of the request's form, decoded (RFC 5849 §3.4.1.3.1); none for any other body."""
    data = request.data
    if request.data_is_json or (isinstance(data, Mapping | str | bytes) and not data):
        return []
    types = [value for name, value in request.headers.items() if name.lower() == "content-type"]
    kind = types[0].partition(";")[0].strip().lower() if types else None
    fields = isinstance(data, Mapping | list | tuple)
    if fields and kind is None and not any(_is_file(value) for value in _values(data)):
        kind = FORM  # the Content-Type that aiohttp sends for them
    if kind is None and getattr(data, "is_multipart", True) is False:
        kind = FORM  # an `aiohttp.FormData` without files
    if kind != FORM:
        return []
    if fields:
        return form_pairs(urlencode(data, doseq=True))
    if isinstance(data, str):
        return form_pairs(data)
    if isinstance(data, bytes | bytearray):
        return form_pairs(data.decode("utf-8", "surrogateescape"))
    raise ConfigError(
        f"{request.name} has a form that cannot be read before it is sent, and OAuth 1 signs its fields.",
        next_step="Give the form as a mapping or as text.",
    )


def _values(data: Any) -> list[Any]:
    return list(data.values()) if isinstance(data, Mapping) else [pair[1] for pair in data]


def _is_file(value: Any) -> bool:
    return isinstance(value, bytes | bytearray | memoryview) or hasattr(value, "read")  # aiohttp makes it multipart
