"""No secret is shown on the way: refreshes, hooks, cancellations, redirects, grants, and what cannot be sent."""
from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import aiohttp
import pytest

from SlyAPI import Auth, HeaderApiKey, OAuth2, OAuth2App, OAuth2User, SlyError, UrlApiKey, WebAPI, errors
from SlyAPI.errors import (
    ConfigError,
    DeniedError,
    GrantTimeoutError,
    ListenError,
    RedirectError,
    SaveError,
    StateMismatchError,
)
from SlyAPI.flow.console import Console
from SlyAPI.flow.grant import GrantOptions, grant
from SlyAPI.oauth2.client.login import Login
from SlyAPI.oauth2.messages.authorization_code import read_redirect
from SlyAPI.oauth2.messages.jose import new_key
from SlyAPI.stores import MemoryStore
from SlyAPI.web import Method, Request
from tests.support.echoing_server import NEW, SHAPES, Sent, echoing, raw
from tests.support.secret_holders import GOOD, app_at, caught, expired, user, written
from tests.support.secret_search import (
    ACCESS,
    API_KEY,
    CLIENT_SECRET,
    CODE,
    KEPT,
    REFRESH,
    STATE,
    VERIFIER,
    held_by,
    shows_nothing,
)

# --- a refresh and what hangs on it ---


class Broken(MemoryStore):
    """A store whose disk gets full between a token request and its save."""

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if old != new:
            raise SaveError("the disk is full")


def failing_hook(user: OAuth2User) -> None:
    raise RuntimeError("the program's own mistake")


async def failing_hook_that_waits(user: OAuth2User) -> None:
    await asyncio.sleep(0)
    raise RuntimeError("the program's own mistake")


@pytest.mark.slow
@pytest.mark.parametrize("hook", [None, failing_hook, failing_hook_that_waits])
async def test_a_refresh_whose_save_or_hook_fails_shows_nothing(hook: Any) -> None:
    store = Broken()
    await MemoryStore.save(store, "alice", expired().to_dict())
    async with echoing(lambda sent: GOOD) as server:
        for held in (expired(), store.user("alice")):
            auth = OAuth2(app_at(server.origin), held, hook)
            assert await shows_nothing(auth.sign(None, Request(Method.GET, server.origin)), auth) is None
            assert NEW in auth.user.token


async def test_a_stored_user_that_breaks_between_two_refreshes_shows_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "user.json", expired().to_dict())
    async with echoing(lambda sent: GOOD) as server:
        auth = OAuth2(app_at(server.origin), path)
        written(path, json.dumps(user().to_dict())[:-1])
        assert await shows_nothing(auth.refresh_now(), auth) is None


async def test_ten_calls_that_share_a_refused_refresh_show_nothing() -> None:
    async with echoing(SHAPES["described"]) as server:
        auth = OAuth2(app_at(server.origin), expired())
        calls = [auth.sign(None, Request(Method.GET, server.origin)) for _ in range(10)]
        assert isinstance(await shows_nothing(asyncio.gather(*calls), auth), SlyError)


# --- cut short from outside ---


def keyed(origin: str) -> WebAPI:
    api = WebAPI(UrlApiKey("key", API_KEY))
    api.base_url = origin
    return api


def signed(origin: str) -> WebAPI:
    api = WebAPI(OAuth2(app_at(origin), user()))
    api.base_url = origin
    return api


NOW = 1_800_000_000.0
SENT_STATE = STATE.replace(" ", "")
COME_BACK = f"https://app.example/cb?state={quote(SENT_STATE)}"


def begun(issuer: str | None = None) -> dict[str, Any]:
    """What a session kept of a login."""
    verifier = f"{KEPT.cores['verifier']}{'-' * 40}"
    return Login("", SENT_STATE, verifier, "https://app.example/cb", ["a"], "client@id", issuer, NOW).to_dict()


CALLS: dict[str, Callable[[str], Awaitable[Any]]] = {
    "exchange_code": lambda origin: app_at(origin).exchange_code(CODE, VERIFIER, [], "http://localhost"),
    "finish_login": lambda origin: app_at(origin).finish_login(begun(), f"{COME_BACK}&code={quote(CODE)}", now=NOW),
    "refresh": lambda origin: app_at(origin).refresh(None, user()),
    "get_json": lambda origin: keyed(origin).get_json("/"),
    "post_form": lambda origin: signed(origin).post_form("/", data={"a": "b"}),
    "refresh_now": lambda origin: OAuth2(app_at(origin), expired()).refresh_now(),
}


@pytest.mark.parametrize("which", CALLS)
async def test_a_call_that_is_cancelled_shows_nothing(which: str) -> None:
    async with echoing(SHAPES["never"]) as server:
        call = asyncio.ensure_future(CALLS[which](server.origin))

        async def cancelled() -> None:
            await server.asked.wait()
            call.cancel()
            await call

        assert isinstance(await shows_nothing(cancelled()), asyncio.CancelledError)


@pytest.mark.parametrize("which", CALLS)
async def test_a_call_that_the_program_gives_up_on_shows_nothing(which: str) -> None:
    async with echoing(SHAPES["never"]) as server:
        call = CALLS[which](server.origin)

        async def within() -> None:
            async with asyncio.timeout(None) as limit:
                asyncio.get_running_loop().create_task(server.asked.wait()).add_done_callback(
                    lambda _: limit.reschedule(0)
                )
                await call

        assert isinstance(await shows_nothing(within()), TimeoutError)


# --- what cannot be sent ---


@pytest.mark.parametrize("odd", ["\r\n", "\ud800", "\0"])
async def test_a_secret_that_cannot_be_sent_is_not_shown(odd: str) -> None:
    async with echoing(lambda sent: raw(200, "{}")) as server:
        app = OAuth2App("id", CLIENT_SECRET + odd, f"{server.origin}/auth", f"{server.origin}/token")
        app.client_auth = "basic"
        bad = OAuth2User(ACCESS + odd, REFRESH + odd)
        auths: list[Auth] = [OAuth2(app_at(), bad), HeaderApiKey("X", API_KEY + odd), UrlApiKey("key", API_KEY + odd)]
        auths += [HeaderApiKey("X", API_KEY.encode()), UrlApiKey("key", None)]  # type: ignore[arg-type]
        calls: list[Awaitable[Any]] = [
            *(app.refresh(None, user()), app_at(server.origin).refresh(None, bad)),
            app_at(server.origin).exchange_code(CODE + odd, VERIFIER + odd, [], "http://localhost"),
        ]
        for auth in auths:
            api = WebAPI(auth)
            api.base_url = server.origin
            calls.append(api.get_json("/", headers={"Authorization": "x"}))
        for call in calls:
            error = await shows_nothing(call)
            assert error is None or isinstance(error, SlyError | TypeError), error


@pytest.mark.parametrize("origin", ["http://127.0.0.1:1", "https://127.0.0.1:1", "nonsense", "http://no.invalid"])
async def test_a_server_that_is_not_there_hears_and_shows_nothing(origin: str) -> None:
    for call in CALLS.values():
        assert isinstance(await shows_nothing(call(origin)), SlyError)


# --- the redirect ---

REDIRECTS: dict[str, tuple[dict[str, Any], type[RedirectError]]] = {
    "no state": ({"code": CODE}, StateMismatchError),
    "another state": ({"code": CODE, "state": STATE + "x"}, StateMismatchError),
    "no code": ({"state": STATE}, RedirectError),
    "a code of no kind": ({"state": STATE, "code": f"{CODE}\n"}, RedirectError),
    "two codes": ({"state": STATE, "code": [CODE, CODE]}, RedirectError),
    "another issuer": ({"state": STATE, "code": CODE, "iss": f"{CODE}{STATE}"}, RedirectError),
    "a no": (
        {"state": STATE, "error": "access_denied", "error_description": f"{STATE} {CODE}", "code": CODE},
        DeniedError,
    ),
    "a mistake": ({"state": STATE, "error": f"bad {STATE}", "code": CODE}, DeniedError),
}


@pytest.mark.parametrize(("told", "kind"), REDIRECTS.values(), ids=REDIRECTS.keys())
def test_a_redirect_that_is_no_answer_shows_nothing(told: dict[str, Any], kind: type[RedirectError]) -> None:
    query = urlencode(told, doseq=True)
    for text in (query, f"http://localhost:8080/?{query}#x"):
        assert caught(lambda text=text: read_redirect(text, state=STATE, issuer="https://i.example"), kind)  # type: ignore[misc]


@pytest.mark.parametrize(("told", "kind"), REDIRECTS.values(), ids=REDIRECTS.keys())
async def test_a_login_that_is_not_finished_shows_nothing(told: dict[str, Any], kind: type[RedirectError]) -> None:
    query = {**told, "state": told["state"].replace(STATE, SENT_STATE)} if "state" in told else told
    as_lists = {name: value if isinstance(value, list) else [value] for name, value in query.items()}
    for redirect in (urlencode(query, doseq=True), as_lists):
        app = app_at()
        app.issuer = "https://i.example"
        for kept, late in (
            (begun(app.issuer), 0),
            (begun(), 0),
            (None, 0),
            ({**begun(app.issuer), "verifier": VERIFIER}, 0),  # no verifier of ours
            (begun(app.issuer), 1000),
        ):
            finishing = app.finish_login(kept, redirect, now=NOW + late)
            assert isinstance(await shows_nothing(finishing, app), RedirectError)


def test_an_authorization_url_that_cannot_be_made_shows_nothing() -> None:
    for app, extras in (
        (app_at(), {"state": "x"}),
        (OAuth2App("id", CLIENT_SECRET, "javascript:1", "x"), {}),
        (OAuth2App("id", CLIENT_SECRET, "http://far.example", "x"), {}),
    ):
        assert caught(
            lambda app=app, extras=extras: app.auth_url_with_pkce("r", STATE, "a", auth_params=extras),  # type: ignore[misc]
            ConfigError,
        )


# --- a grant ---


class Typing(Console):
    """A person who pastes these lines."""

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self._lines = lines

    @property
    def interactive(self) -> bool:
        return False

    def say(self, *lines: str, heading: str = "") -> None:
        self.said += lines

    async def lines(self) -> AsyncIterator[str]:  # type: ignore[override]
        for line in self._lines:
            yield line


async def save_fails(user: OAuth2User) -> None:
    raise SaveError("the disk is full")


@pytest.mark.parametrize("shape", ["described", "as a page with 200", "in a redirect", "good"])
async def test_a_grant_that_fails_after_the_paste_shows_nothing(shape: str) -> None:
    answer: Callable[[Sent], bytes | None] = (lambda sent: GOOD) if shape == "good" else SHAPES[shape]
    async with echoing(answer) as server:
        app, console = app_at(server.origin), Typing(CODE.replace(" ", "").replace("=", "").replace("&", ""))
        options = GrantOptions(paste=True, redirect_uri="https://app.example/cb")
        error = await shows_nothing(grant(app, [], options, console, save_fails), app)
        assert isinstance(error, SlyError)
        assert server.sent


@pytest.mark.parametrize(
    ("told", "kind"),
    [({"error": "access_denied"}, DeniedError), ({"code": CODE}, errors.TokenError), ({"code": ""}, RedirectError)],
)
async def test_a_grant_that_fails_after_the_redirect_shows_nothing(
    told: dict[str, str], kind: type[SlyError]
) -> None:
    visits: list[asyncio.Task[None]] = []

    async def visit(url: str) -> None:
        asked = dict(parse_qsl(urlsplit(url).query))
        back = f"{asked['redirect_uri']}?{urlencode({**told, 'state': asked['state']})}"
        async with aiohttp.ClientSession() as browser, browser.get(back) as page:
            KEPT.assert_hidden([await page.text(), str(page.url)])

    async def open_page(url: str) -> bool:
        visits.append(asyncio.create_task(visit(url)))
        return True

    async with echoing(SHAPES["described"]) as server:
        app, console = app_at(server.origin), Typing()
        options = GrantOptions(redirect_uri="http://127.0.0.1:0", open_page=open_page)
        error = await shows_nothing(grant(app, [], options, console, save_fails), app)
        assert isinstance(error, kind)
        await asyncio.gather(*visits)
    KEPT.assert_hidden(console.said)


async def test_a_grant_that_nobody_answers_or_that_cannot_listen_shows_nothing() -> None:
    async def open_page(url: str) -> bool:
        return True

    console = Typing()
    late = GrantOptions(redirect_uri="http://127.0.0.1:0", open_page=open_page, timeout=0.01)
    assert isinstance(await shows_nothing(grant(app_at(), [], late, console, save_fails)), GrantTimeoutError)
    taken = GrantOptions(redirect_uri="http://127.0.0.1:0", bind="192.0.2.1")
    assert isinstance(await shows_nothing(grant(app_at(), [], taken, console, save_fails)), ListenError)


# --- pushed requests ---


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "never"])
async def test_a_pushed_request_that_is_echoed_shows_nothing(shape: str, signed: bool) -> None:
    async with echoing(SHAPES[shape]) as server:
        app = app_at(server.origin)
        app.issuer, app.par_uri, app.token_timeout = server.origin, f"{server.origin}/par", 2
        app.key, app.sign_requests = new_key(), signed
        hint = {"id_token_hint": ACCESS}
        assert isinstance(await shows_nothing(app.push_login("http://localhost", ["a"], auth_params=hint)), SlyError)


# --- the middleware ---


def echoed_by_a_redirect(sent: Sent) -> bytes:
    return raw(302, "", f"Location: http://elsewhere.invalid/?{urlencode({'back': sent.head.split()[1]})}")


@pytest.mark.parametrize("auth", ["OAuth2", "UrlApiKey"])
@pytest.mark.parametrize("shape", ["described with 401", "in a redirect"])
async def test_a_middleware_that_refuses_shows_nothing(auth: str, shape: str) -> None:
    answer = echoed_by_a_redirect if shape == "in a redirect" else SHAPES[shape]
    async with echoing(answer) as server:
        signer = OAuth2(app_at(server.origin), user()) if auth == "OAuth2" else UrlApiKey("key", API_KEY)
        async with aiohttp.ClientSession(middlewares=(signer,)) as session:
            error: SlyError | None = None
            with suppress(aiohttp.ClientError):
                try:
                    await session.get(server.origin)
                except SlyError as raised:
                    error = raised
        if error is not None:
            ours = list(held_by(error))
            for frame, _ in traceback.walk_tb(error.__traceback__):  # aiohttp's own hold the request, and are not ours
                if "SlyAPI" in frame.f_code.co_filename:
                    ours += map(repr, frame.f_locals.values())
            KEPT.assert_hidden(ours)
    assert isinstance(error, SlyError) is ((auth, shape) != ("OAuth2", "in a redirect") and met(auth, shape))


def met(auth: str, shape: str) -> bool:
    """A 401 is the program's to see where no refresh can help."""
    return auth == "OAuth2" or shape == "in a redirect"
