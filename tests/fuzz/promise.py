"""What every target of the fuzzer shares: the planted secrets, what an error may show, and replies made of bytes.

The rule: the outcome is a right result or an error of ours that one line of a terminal can take, and whatever
else comes of any input is a finding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from SlyAPI.errors import SlyError
from SlyAPI.oauth2 import OAuth2User
from SlyAPI.web import Reply

NOW = 1_800_000_000.0
PLANTED = "pl4nted/5ecret+q=1"
"""Stands for each secret: what we sent to a provider, and what stands in a file."""
STATE = "5tate-0f-ours"
OLD = OAuth2User("old-token", PLANTED, datetime.fromtimestamp(NOW, UTC), scopes=["a"])
STATUSES = [200, 201, 204, 301, 302, 400, 401, 403, 404, 405, 429, 500, 502, 503]
TYPES = ["application/json", "application/x-www-form-urlencoded", "text/html; charset=utf-16", "", "a; charset=utf-7"]


@dataclass(frozen=True)
class Target:
    """One reader: `check` raises for an input that breaks its promise; `samples` are inputs known to matter."""

    check: Callable[[bytes], None]
    samples: list[bytes]


def check_error(error: SlyError, *secrets: str) -> None:
    """One or two printable lines that hold no secret, also not in what the error keeps of a reply."""
    assert len(str(error)) <= 4096
    assert str(error).isprintable()
    shown = [str(error), repr(error), *(str(value) for value in vars(error).values())]
    reply = getattr(error, "response", None)
    if isinstance(reply, Reply):
        shown += [reply.text(), reply.url, repr(dict(reply.headers))]
    for text in shown:
        for secret in secrets:
            assert secret not in text
            assert secret not in unquote_plus(text)


def json_of(data: bytes) -> Any:
    """The JSON value in the data; None for what is none."""
    with suppress(ValueError, RecursionError):
        return json.loads(data)
    return None


def as_json(values: list[object]) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def reply_of(data: bytes, more: Mapping[str, str] | None = None, url: str = "https://provider.example/x?a=b") -> Reply:
    """A byte for the status, a byte for the type, and the body."""
    head, body = data[:2].ljust(2, b"\0"), data[2:]
    headers = {"Content-Type": TYPES[head[1] % len(TYPES)], "X-Echo": PLANTED, **(more or {})}
    return Reply(STATUSES[head[0] % len(STATUSES)], headers, body, url)


def as_replies(values: list[object], refusals: bool = True) -> list[bytes]:
    """Each value as the body of a good reply; then some refusals that echo what was sent."""
    samples = [b"\0\0" + body for body in as_json(values)]
    if refusals:
        echo = {"error": "invalid_request", "error_description": PLANTED}
        samples += [head + json.dumps(echo).encode() for head in (b"\x05\0", b"\x06\2", b"\x0a\3", b"\0\0")]
        samples += [
            b"\x0b\2<html>" + PLANTED.encode(),
            b"\x05\1error=invalid_token&error_description=" + PLANTED.encode(),
        ]
    return samples
