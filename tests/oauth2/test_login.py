"""A login in two calls: what is kept, what may come back, and that it ends once."""
from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict, MultiDictProxy

from SlyAPI import OAuth2App, TokenError
from SlyAPI.errors import ConfigError, DeniedError, LoginEndedError, NetworkError, RedirectError, StateMismatchError
from SlyAPI.oauth2.client.login import FinishedLogins, Login
from tests.conftest import REDIRECT_URI, Practice

if TYPE_CHECKING:
    from tests.conftest import Practise

NOW = 1_800_000_000.0
APP = OAuth2App("client", "secret", "https://provider.example/auth", "https://provider.example/token")


async def visited(url: str) -> str:
    """Where the provider sends a browser that asks for `url`."""
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        return answer.headers["Location"]


async def begun(practice: Practice, scopes: Any = "weather.read notes") -> tuple[dict[str, Any], str]:
    """What a session keeps of a login, as JSON brings it back, and the redirect that the browser arrives with."""
    login = practice.app.begin_login(REDIRECT_URI, scopes, now=practice.clock())
    return json.loads(json.dumps(login.to_dict())), await visited(login.url)


# --- the two calls ---


@pytest.mark.parametrize("scopes", ["weather.read notes", ["weather.read", "notes"], ("weather.read", "notes")])
async def test_a_login_takes_two_calls(practise: Practise, scopes: Any) -> None:
    practice = await practise()
    kept, redirect = await begun(practice, scopes)
    user = await practice.app.finish_login(kept, redirect, now=practice.clock())
    assert (user.scopes, user.missing_scopes) == (["weather.read", "notes"], [])
    told = await practice.api(practice.auth(user)).get_json("/me")
    assert told["scopes"] == ["weather.read", "notes"]


async def test_scopes_from_a_generator_are_asked_for_and_kept(practise: Practise) -> None:
    practice = await practise()
    kept, redirect = await begun(practice, (scope for scope in ["notes"]))
    assert kept["scopes"] == ["notes"]
    assert (await practice.app.finish_login(kept, redirect, now=practice.clock())).scopes == ["notes"]


async def test_what_was_asked_for_and_not_granted_is_told(practise: Practise) -> None:
    practice = await practise(granted_scopes=lambda asked: asked[:1])
    user = await practice.app.finish_login(*await begun(practice), now=practice.clock())
    assert (user.scopes, user.missing_scopes) == (["weather.read"], ["notes"])


def test_what_is_kept_is_json_and_small_and_fits_into_a_cookie() -> None:
    kept = APP.begin_login("https://app.example/callback", ["a", "b"], now=NOW).to_dict()
    assert len(json.dumps(kept)) < 500
    again = Login.from_dict(json.loads(json.dumps(kept)))
    assert again.to_dict() == kept
    assert again.scopes == ["a", "b"]
    assert again.began_at == NOW


def test_the_url_carries_the_state_the_challenge_and_the_programs_parameters() -> None:
    login = APP.begin_login("https://app.example/cb", "a", auth_params={"prompt": "login"}, now=NOW)
    asked = dict(parse_qsl(urlsplit(login.url).query))
    assert (asked["state"], asked["redirect_uri"], asked["prompt"]) == (login.state, login.redirect_uri, "login")
    assert asked["code_challenge_method"] == "S256"


def test_what_the_page_should_ask_has_arguments_of_its_own() -> None:
    login = APP.begin_login(
        "https://app.example/cb",
        "a",
        prompt="select_account",
        login_hint="robin@example.com",
        max_age=0,
        acr_values=["phr", "phrh"],
        auth_params={"prompt": "none", "hd": "example.com"},
        now=NOW,
    )
    asked = dict(parse_qsl(urlsplit(login.url).query))
    assert (asked["prompt"], asked["login_hint"], asked["max_age"]) == ("select_account", "robin@example.com", "0")
    assert (asked["acr_values"], asked["hd"]) == ("phr phrh", "example.com")
    assert dict(parse_qsl(urlsplit(begin(acr_values="phr", prompt=["login", "consent"])).query)).items() >= {
        ("acr_values", "phr"),
        ("prompt", "login consent"),
    }
    assert not {"prompt", "login_hint", "max_age", "acr_values"} & dict(parse_qsl(urlsplit(begin()).query)).keys()


def begin(**more: Any) -> str:
    return APP.begin_login("https://app.example/cb", "a", now=NOW, **more).url


def test_an_age_in_the_past_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_age"):
        begin(max_age=-1)


async def test_the_issuer_is_compared_by_the_table_of_providers_too() -> None:
    google = OAuth2App("id", "s", "https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token")
    login = google.begin_login("https://app.example/cb", "a", now=NOW)
    assert login.issuer == "https://accounts.google.com"
    answer = {"state": login.state, "code": "c", "iss": "https://evil.example"}
    with pytest.raises(RedirectError, match=r"evil\.example"):
        await google.finish_login(login.to_dict(), answer, now=NOW)


def test_no_two_logins_share_a_state_or_a_verifier() -> None:
    logins = [APP.begin_login("https://app.example/cb", "a", now=NOW) for _ in range(200)]
    assert len({login.state for login in logins}) == len({login.verifier for login in logins}) == 200


async def test_a_provider_without_pkce_has_a_login_too(practise: Practise) -> None:
    practice = await practise()
    practice.app.pkce = False
    login = practice.app.begin_login(REDIRECT_URI, "notes", now=NOW)
    assert login.verifier == ""
    assert Login.from_dict(login.to_dict()).verifier == ""
    assert "code_challenge" not in login.url


# --- the redirect, in whatever form a framework gives it ---


class StarletteLike(dict[str, str]):
    """Whose items() keep the last of a repeated name."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def multi_items(self) -> list[tuple[str, str]]:
        return self.pairs


class DjangoLike(StarletteLike):
    multi_items = None  # type: ignore[assignment]

    def lists(self) -> Iterator[tuple[str, list[str]]]:
        return iter((name, [v for n, v in self.pairs if n == name]) for name in dict(self.pairs))


Form = Callable[[list[tuple[str, str]]], Any]
FORMS: dict[str, Form] = {
    "URL": lambda pairs: f"{REDIRECT_URI}/?{urlencode(pairs)}",
    "path": lambda pairs: f"/callback?{urlencode(pairs)}",
    "query": urlencode,
    "aiohttp": lambda pairs: MultiDictProxy(MultiDict(pairs)),
    "Starlette": StarletteLike,
    "Django": DjangoLike,
    "lists": lambda pairs: parse_qs(urlencode(pairs), keep_blank_values=True),
    "bytes": lambda pairs: {n: [v.encode() for m, v in pairs if m == n] for n, _ in pairs},
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


@each_form
async def test_the_redirect_is_read_in_every_form(practise: Practise, form: Form) -> None:
    practice = await practise()
    kept, redirect = await begun(practice)
    user = await practice.app.finish_login(kept, form(parse_qsl(urlsplit(redirect).query)), now=practice.clock())
    assert user.refresh_token


@each_form
@pytest.mark.parametrize("twice", ["code", "state", "iss", "error"])
async def test_a_repeated_parameter_is_refused_in_every_form(form: Form, twice: str) -> None:
    login = APP.begin_login("https://app.example/cb", "a", now=NOW)
    pairs = [("code", "c"), ("state", login.state), ("iss", "https://i.example"), (twice, login.state)]
    if twice == "error":
        pairs.append((twice, "x"))
    with pytest.raises(RedirectError):
        await APP.finish_login(login.to_dict(), form(pairs), now=NOW)


@pytest.mark.parametrize("redirect", [None, 7, b"code=c", [("code", "c")], object()])
async def test_what_is_no_redirect_at_all_is_the_programs_mistake(redirect: Any) -> None:
    with pytest.raises(ConfigError):
        await APP.finish_login(APP.begin_login("https://app.example/cb", "a", now=NOW).to_dict(), redirect, now=NOW)


async def test_a_parameter_that_a_framework_gives_as_none_is_not_there() -> None:
    login = APP.begin_login("https://app.example/cb", "a", now=NOW)
    with pytest.raises(RedirectError, match="no code"):
        await APP.finish_login(login.to_dict(), {"state": login.state, "code": None}, now=NOW)


async def test_a_redirect_without_end_is_refused_at_once() -> None:
    login = APP.begin_login("https://app.example/cb", "a", now=NOW)
    with pytest.raises(RedirectError, match="longer"):
        await APP.finish_login(login.to_dict(), {"state": login.state, "code": "c" * 40_000}, now=NOW)


# --- what must not end a login ---


async def test_a_redirect_of_another_persons_login_is_refused_and_ones_own_goes_on(practise: Practise) -> None:
    practice = await practise()
    mine, theirs = await begun(practice), await begun(practice)
    with pytest.raises(StateMismatchError):
        await practice.app.finish_login(mine[0], theirs[1], now=practice.clock())
    assert practice.provider.exchanges == 0
    for login in (mine, theirs):
        await practice.app.finish_login(*login, now=practice.clock())
    assert practice.provider.exchanges == 2


@pytest.mark.parametrize("state", ["", "\ud800", "ü" * 40, "\0", "x" * 5000])
async def test_no_state_of_a_stranger_is_believed(state: str) -> None:
    login = APP.begin_login("https://app.example/cb", "a", now=NOW)
    for redirect in ({"code": "c", "state": state}, {"code": "c", "state": login.state[:-1] + state}, {"code": "c"}):
        with pytest.raises(StateMismatchError):
            await APP.finish_login(login.to_dict(), redirect, now=NOW)


async def test_a_session_that_kept_nothing_is_told_so() -> None:
    with pytest.raises(StateMismatchError, match="No login was begun in this browser"):
        await APP.finish_login(None, {"code": "c", "state": "s"}, now=NOW)


async def test_the_issuer_is_checked_where_it_is_known(practise: Practise) -> None:
    practice = await practise()
    practice.app.issuer = practice.provider.origin
    for required, cut, more, good in (
        (False, "", "x", False),
        (False, "&iss=", "", True),  # a provider may leave it out, unless it is known to tell
        (True, "&iss=", "", False),
        (True, "", "", True),
    ):
        practice.app.iss_in_redirect = required
        kept, redirect = await begun(practice)
        redirect = (redirect.partition(cut)[0] if cut else redirect) + more
        asked = practice.app.finish_login(kept, redirect, now=practice.clock())
        if good:
            await asked
        else:
            with pytest.raises(RedirectError, match="issuer"):
                await asked
    assert practice.provider.exchanges == 2


async def test_a_login_of_another_client_or_provider_is_refused_before_a_code_goes_there() -> None:
    login = APP.begin_login("https://app.example/cb", "a", now=NOW)
    redirect = {"code": "c", "state": login.state}
    for other in (replace(APP, id="other"), replace(APP, issuer="https://evil.example")):
        with pytest.raises(RedirectError, match="another client or provider"):
            await other.finish_login(login.to_dict(), redirect, now=NOW)


# --- a no, and what is broken ---


async def test_a_persons_no_is_told_from_a_providers(practise: Practise) -> None:
    practice = await practise(consent="deny")
    with pytest.raises(DeniedError) as caught:
        await practice.app.finish_login(*await begun(practice), now=practice.clock())
    assert (caught.value.denied, caught.value.error) == (True, "access_denied")
    with pytest.raises(DeniedError) as caught:
        await practice.app.finish_login(*await begun(practice, "tides"), now=practice.clock())
    assert (caught.value.denied, caught.value.error) == (False, "invalid_scope")


async def test_a_provider_that_is_away_is_no_denial(unused_port: int) -> None:
    app = replace(APP, token_uri=f"http://127.0.0.1:{unused_port}/token")
    login = app.begin_login("https://app.example/cb", "a", now=NOW)
    with pytest.raises(NetworkError):
        await app.finish_login(login, {"code": "c", "state": login.state}, now=NOW)


# --- in time, and once ---


@pytest.mark.parametrize("lifetime", [600.0, 30.0])
async def test_a_login_has_ten_minutes_or_what_the_program_says(practise: Practise, lifetime: float) -> None:
    practice = await practise(code_lifetime=10_000.0)
    more: dict[str, Any] = {} if lifetime == 600 else {"lifetime": lifetime}
    for late, good in ((lifetime, True), (lifetime + 1, False), (-lifetime - 1, False)):
        kept, redirect = await begun(practice)
        now = kept["began_at"] + late
        if good:
            await practice.app.finish_login(kept, redirect, now=now, **more)
            continue
        with pytest.raises(LoginEndedError, match="ago"):
            await practice.app.finish_login(kept, redirect, now=now, **more)
    assert practice.provider.exchanges == 1


async def test_a_login_that_comes_again_is_refused_and_the_grant_lives_on(practise: Practise) -> None:
    practice = await practise()
    kept, redirect = await begun(practice)
    user = await practice.app.finish_login(kept, redirect, now=practice.clock())
    with pytest.raises(LoginEndedError, match="already ended"):
        await practice.app.finish_login(kept, redirect, now=practice.clock())
    # a code shown twice would have ended the grant (RFC 6749 §4.1.2)
    assert await practice.api(practice.auth(user)).get_json("/me")


async def test_of_ten_at_once_one_ends_the_login(practise: Practise) -> None:
    practice = await practise()
    kept, redirect = await begun(practice)
    ends = [practice.app.finish_login(dict(kept), redirect, now=practice.clock()) for _ in range(10)]
    ended = await asyncio.gather(*ends, return_exceptions=True)
    assert sum(isinstance(end, LoginEndedError) for end in ended) == 9
    assert practice.provider.exchanges == 1


async def test_a_no_ends_a_login_too() -> None:
    login = APP.begin_login("https://app.example/cb", "a", now=NOW)
    with pytest.raises(DeniedError):
        await APP.finish_login(login, {"error": "access_denied", "state": login.state}, now=NOW)
    with pytest.raises(LoginEndedError):
        await APP.finish_login(login, {"code": "c", "state": login.state}, now=NOW)


async def test_in_another_process_the_provider_refuses_the_second_time(practise: Practise) -> None:
    practice = await practise()
    kept, redirect = await begun(practice)
    await practice.app.finish_login(kept, redirect, now=practice.clock())
    other = OAuth2App.from_json_obj(practice.app.to_dict())
    with pytest.raises(TokenError) as caught:
        await other.finish_login(kept, redirect, now=practice.clock())
    assert caught.value.error == "invalid_grant"


def test_the_memory_of_ended_logins_is_bounded_and_forgets_what_is_too_late_anyway() -> None:
    ended = FinishedLogins(most=100)
    for number in range(1000):
        assert ended.ends(f"state-{number}", NOW + 600, NOW)
    assert not ended.ends("state-999", NOW + 600, NOW)
    assert not ended.ends("state-901", NOW + 600, NOW)
    assert ended.ends("state-0", NOW + 600, NOW)  # forgotten: the session and the provider are left
    assert ended.ends("state-999", NOW + 1300, NOW + 700)
    assert len(pickle.dumps(ended)) < 1000
    assert "state" not in repr(vars(ended))


# --- what a session may hold instead ---

KEPT = {**APP.begin_login("https://app.example/cb", ["a"], now=NOW).to_dict()}
WRONG: dict[str, list[Any]] = {
    "state": ["", "s p", "s" * 2000, "ü", "\n"],
    "verifier": ["v" * 42, "v" * 129, "v" * 50 + "&", KEPT["verifier"] + "\n"],
    "redirect_uri": ["h" * 10_000],
    "scopes": ["a", ["a"] * 2000, ["a" * 5000], {"a": 1}],
    "client_id": ["i\r\n"],
    "issuer": [7, {}],
    "began_at": [-1, 1e300, float("inf"), 10**400, str(NOW)],
}
OF_NO_KIND: list[Any] = [None, {}, ["\n"], [7], True, float("nan")]
BROKEN: list[Any] = [
    *({}, [], "", "kept", 7, True, [KEPT], json.dumps(KEPT)),
    *({name: value for name, value in KEPT.items() if name != gone} for gone in KEPT),
    *({**KEPT, name: bad} for name in KEPT for bad in WRONG[name] + (OF_NO_KIND if name != "issuer" else [])),
]


@pytest.mark.parametrize("kept", BROKEN)
async def test_a_session_that_was_tampered_with_is_an_error_of_ours_that_shows_nothing(
    kept: Any, told_by: Callable[[BaseException], str]
) -> None:
    with pytest.raises(RedirectError) as caught:
        await APP.finish_login(kept, {"code": "the-code", "state": KEPT["state"]}, now=NOW)
    told = told_by(caught.value)
    assert "the-code" not in told
    assert KEPT["verifier"] not in told
    assert KEPT["state"] not in told


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*KEPT, "more"]), json_values), json_values)
def test_whatever_a_session_holds_it_is_a_login_or_an_error_of_ours(changed: dict[str, Any], instead: Any) -> None:
    for kept in ({**KEPT, **changed}, changed, instead):
        with suppress(RedirectError):
            login = Login.from_dict(kept)
            assert login.to_dict() == Login.from_dict(json.loads(json.dumps(login.to_dict()))).to_dict()


@given(st.text() | st.dictionaries(st.text(), st.text() | st.lists(st.text())), st.booleans())
def test_whatever_a_browser_brings_it_is_an_error_of_ours(redirect: Any, with_state: bool) -> None:
    login = APP.begin_login("https://app.example/cb", "a", now=NOW)
    if with_state and isinstance(redirect, dict):
        redirect = {**redirect, "state": login.state, "error": redirect.get("error", "")}
    with pytest.raises(RedirectError):
        asyncio.run(APP.finish_login(login, redirect, now=NOW))


def test_a_login_prints_no_secret_and_can_be_copied_and_kept_by_pickle() -> None:
    login = APP.begin_login("https://app.example/cb?tenant=a-secret", ["a"], now=NOW)
    for text in (repr(login), repr(login.to_dict()), str([login]), repr(vars(APP))):
        for secret in (login.state, login.verifier, "a-secret"):
            assert secret not in text
    assert copy.deepcopy(login) == pickle.loads(pickle.dumps(login)) == login
    assert json.loads(json.dumps(pickle.loads(pickle.dumps(login.to_dict())))) == login.to_dict()


def test_further_keys_in_the_session_are_the_programs_own() -> None:
    assert Login.from_dict({**KEPT, "next": "/page", "n": {}}).to_dict() == KEPT
