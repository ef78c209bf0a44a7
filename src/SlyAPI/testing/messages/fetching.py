"""The provider's own requests: a client's metadata document, its keys, its back-channel logout.

The rule: https, or http on loopback; no redirects; a small reply in a short time.
"""
from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

_LIMIT = 16 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class FetchFailed(Exception):
    """The request failed, and why."""


def is_fetchable(url: object) -> bool:
    """Whether this is an https URL, or an http URL on loopback."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    )


async def fetch_json(url: str) -> dict[str, Any]:
    """The JSON object at a URL; FetchFailed for anything else."""
    async with _reply("GET", url, headers={"Accept": "application/json"}) as reply:
        if reply.status != 200:
            raise FetchFailed(f"the reply has the status {reply.status}")
        body = await reply.content.read(_LIMIT + 1)
        while len(body) <= _LIMIT and (more := await reply.content.read(_LIMIT + 1 - len(body))):
            body += more
    try:
        if len(body) > _LIMIT:
            raise ValueError("too long")
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FetchFailed("the reply is not a short JSON document") from error
    if not isinstance(document, dict):
        raise FetchFailed("the reply is not a JSON object")
    return document


async def post_form(url: str, form: dict[str, str]) -> int:
    """Send a form, and return the status of the reply; FetchFailed where there is none."""
    async with _reply("POST", url, data=form) as reply:
        return reply.status


@asynccontextmanager
async def _reply(method: str, url: str, **sent: Any) -> AsyncGenerator[aiohttp.ClientResponse, None]:
    if not is_fetchable(url):
        raise FetchFailed("not an https URL")
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.request(method, url, allow_redirects=False, **sent) as reply,
        ):
            yield reply
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise FetchFailed("there is no reply") from error
