"""API keys as an `Auth`: in a query parameter, or in a header.

The rule: a key prints its parameter's name, never its value.
"""

from typing import Any
from urllib.parse import unquote_plus

from ..errors import ConfigError
from ..web.messages import Request
from ..web.secret_values import SecretForm
from .contract import Auth


class UrlApiKey(Auth):
    """An API key as one query parameter; a subclass may add more to `params`."""

    __module__ = "SlyAPI.auth"

    def __init__(self, param_name: str, secret: str) -> None:
        self.params: SecretForm = SecretForm({param_name: secret})

    def __repr__(self) -> str:
        return f"UrlApiKey({', '.join(map(repr, self.params))}, '***')"

    async def sign(self, client: Any, request: Request) -> Request:
        _check(self.params)
        if "?" in request.url:  # the URL of a next page may contain the key
            for name in self.params:
                request.url = _without_parameter(request.url, name)
        request.query_params |= self.params
        return request


def _check(credential: SecretForm) -> None:
    """Raises `ConfigError` for a value that is not text, which aiohttp's error, and so a trace, would quote."""
    for name, value in credential.items():
        if not isinstance(value, str | int):
            raise ConfigError(f"The API key {name} is {type(value).__name__}, not text.")


def _without_parameter(url: str, name: str) -> str:
    bare, _, query = url.partition("?")
    pairs = [pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) != name]
    return f"{bare}?{'&'.join(pairs)}" if pairs else bare


class HeaderApiKey(Auth):
    """An API key as one header; a subclass may add more to `headers`."""

    __module__ = "SlyAPI.auth"

    def __init__(self, param_name: str, secret: str) -> None:
        self.headers: SecretForm = SecretForm({param_name: secret})

    def __repr__(self) -> str:
        return f"HeaderApiKey({', '.join(map(repr, self.headers))}, '***')"

    async def sign(self, client: Any, request: Request) -> Request:
        _check(self.headers)
        request.headers |= self.headers
        return request
