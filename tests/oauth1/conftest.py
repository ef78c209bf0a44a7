"""A running judge, and a client that it knows."""
from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import OAuth1, OAuth1App, OAuth1User, WebAPI
from tests.support.oauth1_judge import CLIENT_KEY, CLIENT_SECRET, Judge, Token

if TYPE_CHECKING:
    from tests.conftest import Clock

USER = OAuth1User("token-key of the person ~ü", "token secret & + % of the person")


@pytest.fixture
async def judge(clock: Clock) -> AsyncGenerator[Judge, None]:
    async with Judge(clock).running() as judge:
        judge.tokens[USER.key] = Token(USER.secret)
        yield judge


@pytest.fixture
def app(judge: Judge) -> OAuth1App:
    uris = (f"{judge.origin}/{name}" for name in ("Request", "Authorize", "Access"))
    return OAuth1App(CLIENT_KEY, CLIENT_SECRET, *uris)


@pytest.fixture
def auth(app: OAuth1App, clock: Clock) -> OAuth1:
    return OAuth1(app, USER, clock=clock)


def api_of(auth: OAuth1, base_url: str, **more: Any) -> WebAPI:
    api = WebAPI(auth, **more)
    api.base_url = base_url
    return api
