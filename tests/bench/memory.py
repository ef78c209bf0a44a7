"""What a held user costs: bytes for each of 10,000 users, alone, with their auth, and with their client.

The rule: what is counted is what Python allocates and keeps (`tracemalloc`), two tokens of 64 characters included.
"""

import gc
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI

USERS = 10_000
TOKEN_LENGTH = 64


class Weather(WebAPI):
    """A client as people derive it, with no attributes of its own."""

    base_url = "https://api.example"


def _stored(number: int) -> str:
    """A user as a store has it."""
    told = {
        "token": f"{number:0{TOKEN_LENGTH}}",
        "refresh_token": f"{-number:0{TOKEN_LENGTH}}",
        "expires_at": "2099-01-02T03:04:05.678901Z",
        "token_type": "Bearer",
        "scopes": ["weather.read", "notes.write"],
    }
    return json.dumps(told)


def bytes_each(make: Callable[[str], object]) -> float:
    """Bytes that each of many objects keeps, made from a user's JSON."""
    texts = [_stored(number) for number in range(USERS)]
    make(texts[0])
    held: list[object] = [None] * USERS
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number, text in enumerate(texts):
        held[number] = make(text)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / USERS


def measured() -> dict[str, float]:
    app = OAuth2App("id", "secret", "https://provider.example/auth", "https://provider.example/token")
    shared: Any = object()  # a session, which nothing here uses

    def user(text: str) -> OAuth2User:
        return OAuth2User.from_json_obj(json.loads(text))

    return {
        "user": bytes_each(user),
        "user, auth": bytes_each(lambda text: OAuth2(app, user(text))),
        "user, auth, client": bytes_each(lambda text: Weather(OAuth2(app, user(text)), session=shared)),
        "user, auth, client without a shared session": bytes_each(lambda text: Weather(OAuth2(app, user(text)))),
    }


if __name__ == "__main__":
    print(json.dumps(measured()))
