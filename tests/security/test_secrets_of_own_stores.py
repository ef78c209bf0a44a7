"""A store of the program's own whose errors quote what it was given, as those of a database's driver do: we show none.

The rule: each method fails, at its first call and its second, with each kind of error; before its work, or after it.
Any three of call, moment, kind, reply and encryption meet.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from SlyAPI import OAuth2, SlyError
from SlyAPI.stores import EncryptedStore, MemoryStore, TokenStore
from SlyAPI.web import Method, Request
from tests.support.combinations import meeting
from tests.support.echoing_server import SHAPES, echoing
from tests.support.secret_holders import GOOD, app_at, expired
from tests.support.secret_search import ACCESS, KEPT, shows_nothing


class DriverError(Exception):
    """As SQLAlchemy's, which has statement and parameters in its text."""


KINDS = [DriverError, OSError, KeyError, ExceptionGroup, asyncio.CancelledError]
MOMENTS = ["load", "loaded", "replace", "replaced", "lock", "unlock", "check_writable", "delete", "deleted"]
CALLS: dict[str, Callable[[OAuth2, str], Awaitable[Any]]] = {
    "sign": lambda auth, origin: auth.sign(None, Request(Method.GET, origin)),
    "refresh_now": lambda auth, origin: auth.refresh_now(),
    "revoke": lambda auth, origin: auth.revoke(),
}


class Telling(MemoryStore):
    """Fails at one moment, when it comes for this number of times, with all that it knows."""

    def __init__(self, moment: str, number: int, kind: type[BaseException]) -> None:
        super().__init__()
        self.moment, self.left, self.kind = moment, number, kind
        self.full = False

    def tell(self, moment: str, name: str, *values: Any) -> None:
        if not self.full or moment != self.moment:
            return
        self.left -= 1
        if self.left == 0:
            said = f"INSERT failed: {name} {json.dumps(values)}"
            if self.kind is ExceptionGroup:
                raise ExceptionGroup(said, [DriverError(said)])
            raise self.kind(said) if issubclass(self.kind, Exception) else self.kind()

    async def load(self, name: str) -> dict[str, Any]:
        self.tell("load", name)
        value = await super().load(name)
        self.tell("loaded", name, dict(value))
        return value

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        self.tell("replace", name, old and dict(old), dict(new or {}))
        await super().replace(name, old, new)
        self.tell("replaced", name, old and dict(old), dict(new or {}))

    async def check_writable(self, name: str) -> None:
        self.tell("check_writable", name, dict(await super().load(name)))

    async def delete(self, name: str) -> None:
        value = dict(await super().load(name))
        self.tell("delete", name, value)
        await super().delete(name)
        self.tell("deleted", name, value)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        self.tell("lock", name, dict(await super().load(name)))
        async with super().lock(name):
            yield
            self.tell("unlock", name, ACCESS)


REPLIES = ["good", "described"]


@pytest.mark.parametrize(
    ("call", "moment", "kind", "reply", "encrypted"), meeting(CALLS, MOMENTS, KINDS, REPLIES, [False, True], of=3)
)
async def test_no_error_of_an_own_store_is_shown(
    call: str, moment: str, kind: type[BaseException], reply: str, encrypted: bool
) -> None:
    for number in (1, 2):
        async with echoing((lambda sent: GOOD) if reply == "good" else SHAPES[reply]) as server:
            store = Telling(moment, number, kind)
            outer: TokenStore = EncryptedStore(store, [EncryptedStore.new_key()]) if encrypted else store
            await outer.user("alice").save(expired())
            store.full = True
            auth = OAuth2(app_at(server.origin), outer.user("alice"))
            auth.app.revoke_uri = f"{server.origin}/revoke"

            for _ in range(2):
                error = await shows_nothing(CALLS[call](auth, server.origin), auth, store, kept=KEPT)
                assert error is None or isinstance(error, SlyError | asyncio.CancelledError)
