"""What a target of the fuzzer is, and what every error that it meets must keep to.

The rule: the outcome is a right result or an error of ours that one line of a terminal can take.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from SlyAPI.errors import SlyError
from SlyAPI.web import Reply

NOW = 1_800_000_000.0
PLANTED = "pl4nted/5ecret+q=1"
"""Stands for each secret: what we sent to a provider, and what stands in a file."""
STATE = "5tate-0f-ours"


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
