"""docs/examples/accounts.py without a browser: its cookies over https, their end, and those that are not its own."""
from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from accounts import SERVICES, SESSION_SECONDS, Accounts, account_id
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import OAuth2App
from SlyAPI.errors import BadReplyError, StateMismatchError
from SlyAPI.stores import MemoryStore
from tests.conftest import REDIRECT_URI, Clock

if TYPE_CHECKING:
    from tests.conftest import Practise

APP = OAuth2App("client", "secret", "https://provider.example/auth", "https://provider.example/token")
KEY = b"k" * 32


def accounts_of(url: str, key: bytes = KEY) -> Accounts:
    return Accounts(APP, SERVICES["practice"], MemoryStore(), url, key, Clock())


@pytest.fixture
async def accounts(practise: Practise) -> AsyncIterator[Accounts]:
    """Those of an application at a practice provider that says yes."""
    practice = await practise(redirect_uris=[f"{REDIRECT_URI}/callback"])
    service = replace(SERVICES["practice"], api=practice.provider.api_url)
    async with AsyncExitStack() as stack:
        made = Accounts(practice.app, service, MemoryStore(), REDIRECT_URI, KEY, practice.clock)
        yield await stack.enter_async_context(made)


async def signed_in(accounts: Accounts) -> dict[str, str]:
    """The cookies of a browser in which somebody has just signed in."""
    url, cookies = accounts.begin({})
    kept = {cookie.name: cookie.value for cookie in cookies}
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        query = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    session, _ = await accounts.finish(kept, query)
    return {session.name: session.value}


def test_over_https_a_cookie_is_for_https_and_for_this_host_alone() -> None:
    accounts = accounts_of("https://app.example")
    _, (cookie,) = accounts.begin({})
    assert cookie.name.startswith("__Host-login-")
    assert accounts.cookie_flags == {"path": "/", "httponly": True, "secure": True, "samesite": "Lax"}
    assert accounts_of("http://127.0.0.1:8000").cookie_flags["secure"] is False


def test_of_many_logins_the_oldest_are_forgotten() -> None:
    accounts, cookies = accounts_of("https://app.example"), dict[str, str]()
    for _ in range(20):
        clock = accounts._clock
        assert isinstance(clock, Clock)
        clock.now += 1
        _, changed = accounts.begin(cookies)
        latest = changed[0].name
        for cookie in changed:
            cookies.pop(cookie.name, None)
            if cookie.seconds:
                cookies[cookie.name] = cookie.value
        assert latest in cookies
    assert len(cookies) == 5


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://app.example"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://app.example"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://app.example"}, True),
        ({"Origin": "https://app.example.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
def test_a_form_is_ours_where_the_browser_says_so(headers: dict[str, str], ours: bool) -> None:
    assert accounts_of("https://app.example").is_from_here(headers) is ours


async def test_a_session_lasts_thirty_days(accounts: Accounts) -> None:
    cookies = await signed_in(accounts)
    person = await accounts.person(cookies)
    assert person is not None
    assert person.name == "Robin Practice"
    clock = accounts._clock
    assert isinstance(clock, Clock)
    clock.now += SESSION_SECONDS + 1
    assert await accounts.person(cookies) is None


async def test_a_cookie_that_is_not_as_it_was_signed_is_nobodys(accounts: Accounts) -> None:
    (session,) = (await signed_in(accounts)).values()
    text, _, signature = session.partition(".")
    other = urlsafe_b64encode(json.dumps({"entry": "practice-1", "session": "x", "ends": 9e12}).encode()).decode()
    with_another_key = accounts_of(REDIRECT_URI, b"another")._signed("session", {"ends": 9e12})
    of_another_purpose = accounts._signed("login", {"ends": 9e12, "entry": "e", "session": "s"})
    for cookie in (
        *(text, f"{text}.", f"{text}.{signature[:-1]}", f"{text}.{signature}0", f".{signature}"),
        *(f"{other}.{signature}", with_another_key, of_another_purpose, f"{text}=.{signature}", signature, ""),
    ):
        assert await accounts.person({"session": cookie}) is None, cookie
    assert await accounts.person({"session": session})


@given(st.text(), st.dictionaries(st.sampled_from(["state", "code", "error", "iss"]), st.text()))
def test_no_cookie_and_no_redirect_of_a_stranger_breaks_anything(value: str, query: dict[str, str]) -> None:
    async def tried() -> None:
        accounts = accounts_of(REDIRECT_URI)
        async with accounts:
            assert await accounts.person({"session": value}) is None
            name = f"login-{query.get('state', '')[:16]}"
            with suppress(StateMismatchError):
                await accounts.finish({name: value, "login-" + value: value}, query)
                raise AssertionError("somebody is signed in")
            assert accounts.begin({name: value})[0].startswith(APP.auth_uri)

    asyncio.run(tried())


@pytest.mark.parametrize(("id", "key"), [("7", "7"), (7, "7"), (0, "0"), (2**70, str(2**70)), ("a b", "a b")])
def test_an_account_is_known_by_text_or_a_number(id: object, key: str) -> None:
    assert account_id({"id": id}, "id") == key


@pytest.mark.parametrize("me", [{"id": it} for it in (None, "", True, False, 7.0, [], ["7"], {}, {"id": 7})] + [{}, []])
def test_an_answer_without_an_id_is_nobodys(me: object) -> None:
    with pytest.raises(BadReplyError):
        account_id(me, "id")


async def test_a_login_without_an_id_stores_nothing(accounts: Accounts) -> None:
    accounts.service = replace(accounts.service, id_key="no such member")
    with pytest.raises(BadReplyError):
        await signed_in(accounts)
    assert await accounts.store.names() == []


async def test_tokens_that_were_refreshed_during_the_login_are_stored(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = accounts._clock
    assert isinstance(clock, Clock)
    finish_login = accounts.app.finish_login

    async def finish_slowly(*args: Any, **options: Any) -> Any:
        user = await finish_login(*args, **options)
        clock.now += 3 * 3600  # the access token has expired before the first call
        return user

    monkeypatch.setattr(accounts.app, "finish_login", finish_slowly)
    cookies = await signed_in(accounts)
    person = await accounts.person(cookies)
    assert person is not None
    clock.now += 3 * 3600
    assert (await accounts.api(person).get_json(accounts.service.me))["id"]  # the rotated refresh token works
