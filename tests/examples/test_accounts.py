"""docs/examples/accounts.py without a browser: its cookies over https, their end, and those that are not its own."""
from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from accounts import SESSION_SECONDS, Accounts, account_id, entry_name
from hypothesis import given
from hypothesis import strategies as st
from services import SERVICES

from SlyAPI import OAuth2App
from SlyAPI.errors import BadReplyError, ConfigError, NetworkError, StateMismatchError
from SlyAPI.stores import MemoryStore
from tests.conftest import REDIRECT_URI, Clock, Practice

if TYPE_CHECKING:
    from tests.conftest import Practise

APP = OAuth2App("client", "secret", "https://provider.example/auth", "https://provider.example/token")
KEY = b"k" * 32


def accounts_of(url: str, key: bytes = KEY) -> Accounts:
    return Accounts(APP, SERVICES["practice"], MemoryStore(), url, key, Clock())


@pytest.fixture
async def practice(practise: Practise) -> Practice:
    """A practice provider of two people, who say yes."""
    uris = [f"{REDIRECT_URI}/callback"]
    return await practise(redirect_uris=uris, openid=True, signing_algs=["ES256"], people=("Robin", "Kim"))


@pytest.fixture
async def accounts(practice: Practice) -> AsyncIterator[Accounts]:
    """Those of an application at that provider."""
    service = replace(SERVICES["practice"], api=practice.provider.api_url)
    app = await OAuth2App.discover(practice.provider.issuer, "practice-client", practice.app.secret)
    async with Accounts(app, service, MemoryStore(), REDIRECT_URI, KEY, practice.clock) as made:
        yield made


async def signed_in(accounts: Accounts, who: str = "Robin") -> dict[str, str]:
    """The cookies of a browser in which somebody has just signed in."""
    url, cookies = accounts.begin({})
    kept = {cookie.name: cookie.value for cookie in cookies}
    address = f"{url}&login_hint={who}"
    async with aiohttp.ClientSession() as browser, browser.get(address, allow_redirects=False) as answer:
        query = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    session, _ = await accounts.finish(kept, query)
    return {session.name: session.value}


def test_over_https_a_cookie_is_for_https_and_for_this_host_alone() -> None:
    accounts = accounts_of("https://app.example")
    _, (cookie,) = accounts.begin({})
    assert cookie.name.startswith("__Host-login-")
    assert accounts.cookie_flags == {"path": "/", "httponly": True, "secure": True, "samesite": "Lax"}
    assert accounts_of("http://127.0.0.1:8000").cookie_flags["secure"] is False


@pytest.mark.parametrize("settings", [{}, {"dpop": True}, {"resource": "https://api.example"}, {"scopes": ["openid"]}])
def test_no_cookie_contains_a_private_key(settings: dict[str, Any]) -> None:
    app = replace(APP, **settings)
    try:
        _, (cookie,) = Accounts(app, SERVICES["practice"], MemoryStore(), "https://app.example", KEY, Clock()).begin({})
    except ConfigError:
        assert settings == {"dpop": True}
    else:
        assert b'"d"' not in urlsafe_b64decode(cookie.value.partition(".")[0] + "==")


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
    assert person.name == "Robin"
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


def test_only_issuer_and_subject_together_name_an_entry() -> None:
    pairs = [("https://a", "1"), ("https://b", "1"), ("https://a", "2"), ("https://a1", ""), ("https://a\", \"1", "")]
    assert len({entry_name(*pair) for pair in pairs}) == len(pairs)


async def test_two_people_of_one_name_and_address_are_two(practice: Practice, accounts: Accounts) -> None:
    practice.provider.id_token_changes = {"name": "Robin", "email": "robin@example.org"}
    people = [await accounts.person(await signed_in(accounts, who)) for who in ("Robin", "Kim", "Kim")]
    assert [person.name for person in people if person] == ["Robin"] * 3
    assert len({person.entry.name for person in people if person}) == len(await accounts.store.names()) == 2


async def test_a_name_that_the_id_token_lacks_is_that_of_userinfo(practice: Practice, accounts: Accounts) -> None:
    practice.provider.id_token_changes = {"name": None}
    person = await accounts.person(await signed_in(accounts, "Kim"))
    assert person is not None
    assert person.name == "Kim"
    accounts.app.userinfo_uri = None
    nameless = await accounts.person(await signed_in(accounts, "Kim"))
    assert nameless is not None
    assert nameless.name == "Somebody"


@pytest.mark.parametrize("id_key", ["id", "no such member"])
async def test_at_a_provider_without_openid_the_apis_id_is_the_subject(accounts: Accounts, id_key: str) -> None:
    accounts.service = replace(accounts.service, scopes=("weather.read",), issuer="https://github.com", id_key=id_key)
    if id_key != "id":
        with pytest.raises(BadReplyError):
            await signed_in(accounts)
        assert await accounts.store.names() == []
        return
    person = await accounts.person(await signed_in(accounts))
    assert person is not None
    me = await accounts.api(person).get_json("/me")
    assert person.entry.name == entry_name("https://github.com", me["id"])


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


# --- the end of a session, as the provider says it ---


async def still_signed_in(accounts: Accounts, *browsers: dict[str, str]) -> list[bool]:
    return [await accounts.person(cookies) is not None for cookies in browsers]


async def sid_of(accounts: Accounts, cookies: dict[str, str]) -> str:
    """The provider's id of the session that this browser began last."""
    person = await accounts.person(cookies)
    assert person is not None
    assert person.user.identity is not None
    return str(person.user.identity.claims["sid"])


def logout_form(practice: Practice, *names: Any, **changes: Any) -> dict[str, str]:
    return {"logout_token": practice.provider.logout_token("practice-client", *names, **changes)}


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ("the person", [False, False, True]),
        ("the person and a session", [False, True, True]),
        ("a session", [False, True, True]),
        ("the person and somebody else's session", [True, True, True]),
        ("somebody else and the session", [True, True, True]),
        ("a person who never came", [True, True, True]),
    ],
)
async def test_a_logout_ends_the_sessions_that_it_names_and_no_others(
    practice: Practice, accounts: Accounts, named: str, left: list[bool]
) -> None:
    first = await signed_in(accounts)
    sid = await sid_of(accounts, first)
    second, kim = await signed_in(accounts), await signed_in(accounts, "Kim")
    form = {
        "the person": lambda: logout_form(practice, "Robin"),
        "the person and a session": lambda: logout_form(practice, "Robin", sid),
        "a session": lambda: logout_form(practice, "Robin", sid, sub=None),
        "the person and somebody else's session": lambda: logout_form(practice, "Robin", "another"),
        "somebody else and the session": lambda: logout_form(practice, "Kim", sid),
        "a person who never came": lambda: logout_form(practice, sub="nobody"),
    }[named]()
    assert await accounts.end_sessions(form) == 200
    assert await still_signed_in(accounts, first, second, kim) == left


@pytest.mark.parametrize("sub", ["Robin", None])
async def test_a_session_whose_id_is_not_known_ends_only_with_its_person(
    practice: Practice, accounts: Accounts, sub: str | None
) -> None:
    practice.provider.id_token_changes = {"sid": None}
    robin, kim = await signed_in(accounts), await signed_in(accounts, "Kim")
    changes = {} if sub else {"sub": None}
    assert await accounts.end_sessions(logout_form(practice, "Robin", "a-session", **changes)) == 200
    assert await still_signed_in(accounts, robin, kim) == [sub is None, True]


async def test_the_last_session_takes_the_tokens_along_and_its_cookie_stays_void(
    practice: Practice, accounts: Accounts
) -> None:
    browser = await signed_in(accounts)
    assert await accounts.end_sessions(logout_form(practice, "Robin")) == 200
    assert await accounts.store.names() == []
    again = await signed_in(accounts)
    assert await still_signed_in(accounts, browser, again) == [False, True]


async def test_sessions_end_in_every_process_on_the_store(practice: Practice, accounts: Accounts) -> None:
    other = Accounts(accounts.app, accounts.service, accounts.store, REDIRECT_URI, KEY, practice.clock)
    browser = await signed_in(accounts)
    assert await still_signed_in(other, browser) == [True]
    await accounts.end_sessions(logout_form(practice, "Robin"))
    assert await still_signed_in(other, browser) == [False]


@pytest.mark.parametrize(
    "changes", [{"aud": "other"}, {"iss": "https://other"}, {"events": None}, {"iat": 1}, {"sub": None}], ids=str
)
async def test_a_logout_that_is_not_valid_ends_nothing(
    practice: Practice, accounts: Accounts, changes: dict[str, Any]
) -> None:
    browser = await signed_in(accounts)
    assert await accounts.end_sessions(logout_form(practice, "Robin", **changes)) == 400
    assert await still_signed_in(accounts, browser) == [True]


async def test_a_logout_that_fails_is_told_so(practice: Practice, accounts: Accounts) -> None:
    browser = await signed_in(accounts)

    class Away(MemoryStore):
        async def load(self, name: str) -> dict[str, Any]:
            raise NetworkError("the store is away")

    there, accounts.store = accounts.store, Away()
    assert await accounts.end_sessions(logout_form(practice, "Robin")) == 400
    accounts.store = there
    assert await still_signed_in(accounts, browser) == [True]


@pytest.mark.parametrize("form", [{}, {"logout_token": ""}, {"logout_token": "a.b.c"}, {"other": "x"}], ids=str)
async def test_a_form_without_a_logout_token_ends_nothing(accounts: Accounts, form: dict[str, str]) -> None:
    assert await accounts.end_sessions(form) == 400
