"""What the sweeps for secrets share: a client and a user that hold them, and a look at what a call tells."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from SlyAPI import OAuth2App, OAuth2User, SlyError
from tests.support.echoing_server import NEW, raw
from tests.support.secret_search import ACCESS, CLIENT_SECRET, KEPT, REFRESH, told_by

HTTPS = "https://provider.example"
GOOD = raw(200, json.dumps({"access_token": f"a-{NEW}", "expires_in": 3600, "refresh_token": f"r-{NEW}"}))


def app_at(origin: str = HTTPS) -> OAuth2App:
    return OAuth2App("client@id", CLIENT_SECRET, f"{origin}/auth", f"{origin}/token")


def user(**more: Any) -> OAuth2User:
    return OAuth2User(ACCESS, REFRESH, scopes=["a"], **more)


def expired() -> OAuth2User:
    return OAuth2User.from_json_obj({**user().to_dict(), "expires_at": 1})


def written(path: Path, content: Any) -> Path:
    content = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def caught(call: Callable[[], Any], *kinds: type[SlyError]) -> SlyError | None:
    """The error of a call, after a look at all that it tells."""
    error: SlyError | None = None
    try:
        call()
    except SlyError as raised:
        error = raised
    if error is not None:
        KEPT.assert_hidden(told_by(error))
        assert not kinds or isinstance(error, kinds)
    return error
