"""From a resource's URL alone: a login at the first 401, its client and tokens kept, every mismatch refused."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import pytest
from aiohttp import web

from SlyAPI import ApiError, OAuth2, OAuth2App, WebAPI
from SlyAPI.errors import (
    BadReplyError,
    ConfigError,
    ListenError,
    LoginEndedError,
    OriginError,
    RedirectError,
    SlyError,
    TokenError,
)
from SlyAPI.httpx import signed
from SlyAPI.stores import MemoryStore
from tests.conftest import REDIRECT_URI
from tests.support.folders import listed
from tests.support.stand_in_browser import stand_in_browser

if TYPE_CHECKING:
    from tests.conftest import Practice, Practise, Serve

class Person:
    """A person who consents to whatever they are asked, and counts how often; `changed` alters the redirect."""

    def __init__(self, changed: Callable[[str], str] = lambda url: url) -> None:
        self.asked: list[str] = []
        self.changed = changed

    async def __call__(self, url: str) -> str:
        self.asked.append(url)
        async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as reply:
            assert reply.status in (302, 303), await reply.text()
            return self.changed(reply.headers["Location"])


async def resource(practise: Practise, **settings: Any) -> Practice:
    return await practise(**{"registration": True, "resource_metadata": "challenge", **settings})


def signer(practice: Practice, person: Person, user: Any = None, app: Any = None, **settings: Any) -> OAuth2:
    return OAuth2.for_resource(
        practice.provider.api_url,
        practice.folder / "app.json" if app is None else app,
        practice.folder / "user.json" if user is None else user,
        consent=person,
        clock=practice.clock,
        **settings,
    )


@asynccontextmanager
async def api_of(practice: Practice, auth: OAuth2) -> AsyncGenerator[WebAPI, None]:
    async with WebAPI(auth) as api:
        api.base_url = practice.provider.api_url
        yield api


def asked(practice: Practice, endpoint: str = "token") -> list[dict[str, str]]:
    return [seen.parameters for seen in practice.provider.log if seen.endpoint == endpoint]


# --- the first call ---


async def test_the_first_call_registers_logs_in_and_saves_and_the_next_ones_do_none_of_it(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
        await api.get_json("/notes")
    assert len(person.asked) == 1
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
    assert len(person.asked) == 1
    kept = json.loads((practice.folder / "user.json").read_text())
    assert kept["resource"] == [practice.provider.api_url]
    assert kept["scopes"] == ["notes"]
    assert [form["grant_type"] for form in asked(practice)] == ["authorization_code"]
    assert asked(practice)[0]["resource"] == practice.provider.api_url


async def test_the_files_work_without_for_resource_and_a_refresh_names_the_resource(practise: Practise) -> None:
    practice, person = await resource(practise, require_resource=True), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
    practice.clock.now += 101
    auth = OAuth2(practice.folder / "app.json", practice.folder / "user.json", clock=practice.clock)
    async with api_of(practice, auth) as api:
        await api.get_json("/notes")
    assert asked(practice)[-1]["grant_type"] == "refresh_token"
    assert asked(practice)[-1]["resource"] == practice.provider.api_url


@pytest.mark.parametrize("place", ["challenge", "path", "root"])
async def test_the_metadata_are_found_wherever_they_may_be(practise: Practise, place: str) -> None:
    practice, person = await resource(practise, resource_metadata=place), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
    assert len(person.asked) == 1


async def test_all_calls_that_wait_share_one_login(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await asyncio.gather(*(api.get_json("/notes") for _ in range(20)))
    assert len(person.asked) == 1
    assert len(asked(practice)) == 1


async def test_a_user_in_a_store_is_saved_there(practise: Practise) -> None:
    practice, person, store = await resource(practise), Person(), MemoryStore()
    async with api_of(practice, signer(practice, person, store.user("robin"))) as api:
        await api.get_json("/notes")
    assert (await store.user("robin").load()).refresh_token


# --- several processes ---

PROGRAM = """
import asyncio, sys, aiohttp
from SlyAPI import OAuth2, WebAPI

async def consent(url):
    print("asked", flush=True)
    async with aiohttp.ClientSession() as session:
        async with session.get(url, allow_redirects=False) as reply:
            return reply.headers["Location"]

async def main(url, app, user):
    async with WebAPI(OAuth2.for_resource(url, app, user, consent=consent)) as api:
        api.base_url = url
        await api.get_json("/notes")

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("users", [("user.json", "user.json"), ("robin.json", "sam.json")])
async def test_processes_that_begin_at_once_share_what_they_can(practise: Practise, users: tuple[str, str]) -> None:
    practice = await resource(practise)
    words = [sys.executable, "-c", PROGRAM, practice.provider.api_url, str(practice.folder / "app.json")]
    pipe = asyncio.subprocess.PIPE
    running = [
        await asyncio.create_subprocess_exec(*words, str(practice.folder / user), stdout=pipe, stderr=pipe)
        for user in users
    ]
    ended = await asyncio.wait_for(asyncio.gather(*(process.communicate() for process in running)), 30)
    assert [process.returncode for process in running] == [0, 0], ended
    assert sum(out.count(b"asked") for out, _ in ended) == len(set(users))
    assert len([seen for seen in practice.provider.log if seen.endpoint == "register"]) == 1
    assert listed(practice.folder) == sorted({"app.json", *users})


async def test_what_another_object_saved_is_used_without_a_login(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    one, two = signer(practice, person), signer(practice, person)
    async with api_of(practice, one) as first, api_of(practice, two) as second:
        await asyncio.gather(first.get_json("/notes"), second.get_json("/notes"))
    assert len(person.asked) == 1


async def test_a_login_that_another_object_did_first_does_not_stand_in_the_way_of_a_later_one(
    practise: Practise,
) -> None:
    practice, person = await resource(practise), Person()
    first, second = signer(practice, person), signer(practice, person)
    async with api_of(practice, first) as one, api_of(practice, second) as two:
        for callers in ((one, two), (one, two), (one,), (two,)):
            await asyncio.gather(*(api.get_json("/notes") for api in callers))
            practice.provider.end_all_grants()
            practice.clock.now += 101
    assert len(person.asked) == 4


# --- later ---


async def test_a_grant_that_has_ended_is_a_new_login_and_a_due_token_is_a_refresh(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
        practice.clock.now += 101
        await api.get_json("/notes")
        assert (len(person.asked), practice.provider.refreshes) == (1, 1)
        practice.provider.end_all_grants()
        practice.clock.now += 101
        await api.get_json("/notes")
    assert len(person.asked) == 2


async def test_a_token_that_is_revoked_before_its_time_is_refreshed(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
        practice.clock.now += 50
        await api.get_json("/notes")
        practice.provider.revoke_access_tokens()
        await api.get_json("/notes")
    assert len(person.asked) == 1
    assert practice.provider.refreshes == 1


async def test_a_step_up_asks_for_the_lacking_scope_and_keeps_those_granted(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    auth = signer(practice, person)
    async with api_of(practice, auth) as api:
        await api.get_json("/notes")
        await asyncio.gather(*(api.get_json("/forecast") for _ in range(5)))
        await api.get_json("/notes")
    assert [form["scope"] for form in asked(practice, "authorize")] == ["notes", "notes weather.read"]
    assert auth.user.scopes == ["notes", "weather.read"]


async def test_a_scope_that_the_person_refused_is_asked_for_once(practise: Practise) -> None:
    practice, person = await resource(practise, granted_scopes=lambda scopes: scopes[:1]), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
        for _ in range(2):
            with pytest.raises(ApiError) as caught:
                await api.get_json("/forecast")
            assert caught.value.status == 403
    assert len(person.asked) == 2


async def test_another_authorization_server_later_gets_a_client_of_its_own(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    other = await practise(registration=True, resources=[practice.provider.api_url], clock=practice.clock)
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
        before = json.loads((practice.folder / "app.json").read_text())
        practice.provider.accept_tokens_of(other.provider)
        practice.provider.resource_changes = {"authorization_servers": [other.provider.issuer]}
        practice.provider.revoke_access_tokens()
        await api.get_json("/notes")
    after = json.loads((practice.folder / "app.json").read_text())
    assert after["issuer"] == other.provider.issuer != before["issuer"]
    shown = [seen.parameters.get("client_id") for seen in other.provider.log]
    assert before["id"] not in shown
    assert practice.provider.refreshes == 0


async def test_the_old_servers_refresh_token_never_reaches_the_new_one(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    other = await practise(registration=True, resources=[practice.provider.api_url], clock=practice.clock)
    for user in ("one.json", "two.json"):
        async with api_of(practice, signer(practice, person, practice.folder / user)) as api:
            await api.get_json("/notes")
    practice.provider.accept_tokens_of(other.provider)
    practice.provider.resource_changes = {"authorization_servers": [other.provider.issuer]}
    practice.provider.revoke_access_tokens()
    async with api_of(practice, signer(practice, person, practice.folder / "one.json")) as api:
        await api.get_json("/notes")  # the client file is of the new server now, and two's tokens are not
    practice.clock.now += 101
    async with api_of(practice, signer(practice, person, practice.folder / "two.json")) as api:
        await api.get_json("/notes")
    assert {form["grant_type"] for form in asked(other)} == {"authorization_code"}
    assert len(person.asked) == 4


# --- which client ---


async def test_a_client_that_is_given_is_used(practise: Practise) -> None:
    practice, person = await resource(practise, registration=False), Person()
    app = await OAuth2App.discover(practice.provider.issuer, "practice-client", "client-secret-5EC9E7")
    async with api_of(practice, signer(practice, person, app=app, redirect_uri=REDIRECT_URI)) as api:
        await api.get_json("/notes")
    assert asked(practice, "authorize")[0]["client_id"] == "practice-client"


async def test_a_client_of_another_server_is_refused_and_its_file_kept(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    other = await practise(resources=[practice.provider.api_url])
    app = await OAuth2App.discover(other.provider.issuer, "practice-client", "client-secret-5EC9E7")
    path = practice.folder / "app.json"
    path.write_text(json.dumps(app.to_dict()))
    with pytest.raises(ConfigError, match="trusts"):
        await call(practice, signer(practice, person))
    assert json.loads(path.read_text()) == app.to_dict()
    assert not person.asked


async def test_a_server_that_registers_nobody_is_an_error_with_a_next_step(practise: Practise) -> None:
    practice, person = await resource(practise, registration=False), Person()
    with pytest.raises(ConfigError) as caught:
        await call(practice, signer(practice, person))
    assert "console" in caught.value.next_step


async def call(practice: Practice, auth: OAuth2) -> None:
    async with api_of(practice, auth) as api:
        await api.get_json("/notes")


# --- what is refused ---


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"resource_changes": {"resource": "https://evil.example/api"}}, BadReplyError),
        ({"resource_changes": {"authorization_servers": ["http://evil.example"]}}, ConfigError),
        ({"metadata_changes": {"issuer": "https://evil.example"}}, BadReplyError),
        ({"metadata_changes": {"code_challenge_methods_supported": None}}, ConfigError),
        ({"metadata_changes": {"code_challenge_methods_supported": ["plain"]}}, ConfigError),
        ({"metadata_changes": {"token_endpoint": "http://evil.example/token"}}, ConfigError),
    ],
)
async def test_what_does_not_fit_together_is_refused_before_anybody_is_asked(
    practise: Practise, settings: dict[str, Any], error: type[SlyError]
) -> None:
    practice, person = await resource(practise, **settings), Person()
    with pytest.raises(error) as caught:
        await call(practice, signer(practice, person))
    assert caught.value.next_step
    assert not person.asked
    assert not listed(practice.folder)


async def test_an_issuer_is_compared_as_it_is_written(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    practice.provider.resource_changes = {"authorization_servers": [f"{practice.provider.issuer}/"]}
    with pytest.raises(BadReplyError):
        await call(practice, signer(practice, person))
    assert not person.asked


@pytest.mark.parametrize("iss", ["https://evil.example", "", "{issuer}/"])
async def test_a_redirect_from_another_issuer_is_refused(practise: Practise, iss: str) -> None:
    practice = await resource(practise)
    iss = iss.format(issuer=practice.provider.issuer)
    person = Person(lambda url: f"{url.partition('&iss=')[0]}&iss={iss}" if "&iss=" in url else f"{url}&iss={iss}")
    with pytest.raises(RedirectError):
        await call(practice, signer(practice, person))
    assert not asked(practice)
    assert not (practice.folder / "user.json").exists()


async def test_a_login_that_fails_leaves_the_client_and_the_next_call_begins_again(practise: Practise) -> None:
    practice = await resource(practise)
    with pytest.raises(RedirectError):
        await call(practice, signer(practice, Person(lambda url: f"{url}0")))
    client = (practice.folder / "app.json").read_text()
    await call(practice, signer(practice, Person()))
    assert (practice.folder / "app.json").read_text() == client


async def test_a_cancelled_call_or_a_closed_session_ends_the_login(practise: Practise) -> None:
    practice = await resource(practise)
    waiting = asyncio.Event()

    async def never(url: str) -> str:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    auth = OAuth2.for_resource(
        practice.provider.api_url, practice.folder / "app.json", practice.folder / "user.json", consent=never
    )
    task = asyncio.create_task(call(practice, auth))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert listed(practice.folder) == ["app.json"]


async def test_a_good_token_costs_no_look_at_a_file(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
        for name in ("app.json", "user.json"):
            (practice.folder / name).unlink()
        await api.get_json("/notes")
    assert len(person.asked) == 1


@pytest.mark.parametrize(
    ("below", "resource_named", "works"),
    [
        ("", "{api}", True),
        ("/notes", "{api}", True),  # what the place, which the challenge names, was made from
        ("/notes", "{api}/notes", True),  # the URL asked for
        ("/notes", "{origin}", False),
        ("", "{api}/", False),
        ("", "{api}/notes", False),
    ],
)
async def test_the_resource_is_the_url_or_what_the_named_place_was_made_from(
    practise: Practise, below: str, resource_named: str, works: bool
) -> None:
    practice, person = await resource(practise, resources=["https://other.example"]), Person()
    provider = practice.provider
    named = resource_named.format(api=provider.api_url, origin=provider.origin)
    provider.resource_changes, provider.resources = {"resource": named}, [named]
    auth = OAuth2.for_resource(
        provider.api_url + below, practice.folder / "app.json", practice.folder / "user.json", consent=person
    )
    if not works:
        with pytest.raises(BadReplyError):
            await call(practice, auth)
        assert not person.asked
    else:
        with suppress(ApiError):  # the practice API takes tokens for its own identifier only
            await call(practice, auth)
        assert asked(practice, "authorize")[0]["resource"] == named


@pytest.mark.parametrize("pushed", [False, True], ids=["state in the address", "pushed"])
async def test_without_a_consent_the_browser_of_this_machine_is_asked(
    practise: Practise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pushed: bool
) -> None:
    practice = await resource(practise, require_par=pushed)
    folder = tmp_path / "files"
    folder.mkdir()
    auth = OAuth2.for_resource(
        practice.provider.api_url, folder / "app.json", folder / "user.json", clock=practice.clock
    )
    async with stand_in_browser(tmp_path) as browser:
        monkeypatch.setenv("BROWSER", browser.command)
        await call(practice, auth)
        assert "Connected" in (await browser.page()).text
    assert listed(folder) == ["app.json", "user.json"]


@pytest.mark.parametrize("made", ["by us", "by a person"])
async def test_a_later_login_whose_port_is_in_use_by_now_takes_another_one(
    practise: Practise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    practice = await resource(practise)
    folder = tmp_path / "files"
    folder.mkdir()

    def auth() -> OAuth2:
        return OAuth2.for_resource(
            practice.provider.api_url, folder / "app.json", folder / "user.json", clock=practice.clock
        )

    async with stand_in_browser(tmp_path) as browser:
        monkeypatch.setenv("BROWSER", browser.command)
        await call(practice, auth())
        assert "Connected" in (await browser.page()).text
        app = json.loads((folder / "app.json").read_text())
        (folder / "user.json").unlink()
        if made == "by a person":
            (folder / "app.json").write_text(json.dumps({name: app[name] for name in app if name != "made_for"}))
        with socket.create_server(("127.0.0.1", urlsplit(app["redirect_uri"]).port or 0)):
            if made == "by a person":
                with pytest.raises(ListenError):
                    await call(practice, auth())
                return
            await call(practice, auth())
        assert "Connected" in (await browser.page()).text
    user = json.loads((folder / "user.json").read_text())
    assert json.loads((folder / "app.json").read_text())["id"] == user["issued_to"]["client"] != app["id"]


@pytest.mark.parametrize("made", ["by us", "by a person"])
@pytest.mark.parametrize("due", [False, True], ids=["refused", "due"])
async def test_a_server_that_has_forgotten_the_client_that_we_registered_gets_another_one(
    practise: Practise, due: bool, made: str
) -> None:
    practice, person = await resource(practise), Person()
    others = signer(practice, person)  # of another process, with the same files
    await call(practice, signer(practice, person))
    app = json.loads((practice.folder / "app.json").read_text())
    if made == "by a person":
        app.pop("made_for")
        (practice.folder / "app.json").write_text(json.dumps(app))
    ledger = practice.provider.ledger
    del ledger.clients[app["id"]]
    practice.provider.end_all_grants()
    practice.clock.now += 100 if due else 0
    if made == "by a person":
        with pytest.raises(TokenError, match="invalid_client"):
            await call(practice, signer(practice, person))
        return
    for auth in (signer(practice, person), others, signer(practice, person)):
        await call(practice, auth)
    assert len(person.asked) == 2
    assert [*ledger.clients][-1] == json.loads((practice.folder / "app.json").read_text())["id"] != app["id"]


async def by_web_api(auth: OAuth2, url: str) -> None:
    api = WebAPI(auth)
    api.base_url = url
    await api.get_json("")


async def by_middleware(auth: OAuth2, url: str) -> None:
    async with aiohttp.ClientSession(middlewares=(auth,)) as session, session.get(url):
        pass


async def by_httpx(auth: OAuth2, url: str) -> None:
    async with httpx.AsyncClient(auth=signed(auth), trust_env=False) as client:
        await client.get(url)


WAYS = {"WebAPI": by_web_api, "middleware": by_middleware, "httpx": by_httpx}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("granted", [True, False], ids=["with tokens", "before the first login"])
async def test_another_origin_gets_no_token_and_begins_no_login(
    practise: Practise, serve: Serve, how: str, granted: bool
) -> None:
    practice, person = await resource(practise), Person()
    auth, other = signer(practice, person), await serve()
    if granted:
        await call(practice, auth)
    for url in (f"{other.origin}/x", f"{practice.provider.origin}@{other.origin.removeprefix('http://')}/x"):
        with pytest.raises(OriginError) if how == "WebAPI" else suppress(httpx.InvalidURL):
            await WAYS[how](auth, url)
    assert not [seen for seen in other.seen if "Bearer" in seen.headers.get("Authorization", "")]
    assert len(person.asked) == int(granted)
    with pytest.raises(OriginError):
        auth.at(other.origin)


# --- tokens bound to a key (RFC 9449) ---

ASKED_BY: dict[str, tuple[dict[str, Any], str]] = {
    "the challenge": ({"dpop": "required", "resource_changes": {"dpop_bound_access_tokens_required": None}}, "DPoP"),
    "the challenge alone": ({"dpop": "required", "resource_metadata": "off"}, "DPoP"),
    "the metadata": ({"dpop": "allowed", "resource_changes": {"dpop_bound_access_tokens_required": True}}, "DPoP"),
    "nobody": ({"dpop": "allowed"}, "Bearer"),
}


@pytest.mark.parametrize("nonces", [False, True])
@pytest.mark.parametrize("who", ASKED_BY)
async def test_dpop_is_switched_on_by_whoever_asks_for_it(practise: Practise, who: str, nonces: bool) -> None:
    settings, token_type = ASKED_BY[who]
    practice, person = await resource(practise, dpop_nonces=nonces, **settings), Person()
    auth = signer(practice, person, scopes="notes")
    async with api_of(practice, auth) as api:
        await api.get_json("/notes")
        practice.provider.demand_dpop_nonces()
        await api.get_json("/notes")
        practice.clock.now += 101
        await api.get_json("/notes")
    assert (auth.user.token_type, auth.user.dpop_key is not None) == (token_type, token_type == "DPoP")
    assert len(person.asked) == 1, "a nonce or a refresh begins no login"
    kept = json.loads((practice.folder / "app.json").read_text())
    assert kept.get("dpop", False) is (token_type == "DPoP")
    again = OAuth2(practice.folder / "app.json", practice.folder / "user.json", clock=practice.clock)
    async with api_of(practice, again) as api:
        await api.get_json("/notes")


# --- a resource that has a person asked without end ---


def _challenge(request: web.Request, number: int, *, status: int, **params: str) -> web.Response:
    challenge = ", ".join(f'{name}="{value}"' for name, value in params.items())
    return web.json_response({}, status=status, headers={"WWW-Authenticate": f"Bearer {challenge}".strip()})


def _new_scope(request: web.Request, number: int) -> web.Response:
    if "Authorization" not in request.headers:
        return _challenge(request, number, status=401)
    return _challenge(request, number, status=403, error="insufficient_scope", scope=f"scope{number}")


def _turns(request: web.Request, number: int) -> web.Response:
    return _challenge(request, number, status=401) if number % 3 else _new_scope(request, number)


ASKS: dict[str, Callable[[web.Request, int], web.Response]] = {
    "for a new scope each time": _new_scope,
    "for a login and a scope in turn": _turns,
    "for a login each time": lambda request, number: _challenge(request, number, status=401, error="invalid_token"),
}


@pytest.mark.parametrize("says", ["yes", "no", "nothing that fits"])
@pytest.mark.parametrize("grants", ["what is asked for", "less"])
@pytest.mark.parametrize("asks", ASKS)
async def test_however_a_resource_asks_a_person_is_not_asked_without_end(
    serve: Serve, tmp_path: Path, asks: str, grants: str, says: str
) -> None:
    number, consents, shown = 0, list[str](), list[str]()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal number
        number += 1
        origin = f"http://{request.host}"
        match request.path:
            case "/.well-known/oauth-authorization-server":
                names = {"authorization": "a", "token": "t", "registration": "r"}
                known = {f"{name}_endpoint": f"{origin}/{path}" for name, path in names.items()}
                return web.json_response({"issuer": origin, "code_challenge_methods_supported": ["S256"], **known})
            case "/r":
                return web.json_response({**await request.json(), "client_id": "c"}, status=201)
            case "/t":
                scope = {"scope": consents[-1]} if grants == "what is asked for" else {"scope": "none"}
                return web.json_response({"access_token": f"t{number}", "token_type": "Bearer", **scope})
            case "/mcp":
                shown.append(request.headers.get("Authorization", ""))
                return ASKS[asks](request, number)
        return web.json_response({}, status=404)

    async def person(url: str) -> str:
        query = parse_qs(urlsplit(url).query)
        consents.append(query.get("scope", [""])[0])
        answer = {"yes": "code=c", "no": "error=access_denied", "nothing that fits": "code=c&code=d"}[says]
        return f"{query['redirect_uri'][0]}?state={query['state'][0]}&{answer}"

    origin = (await serve(answer)).origin
    auth = OAuth2.for_resource(f"{origin}/mcp", tmp_path / "app.json", tmp_path / "user.json", consent=person)
    async with WebAPI(auth) as api:
        api.base_url = origin
        for _ in range(20):
            shown.clear()
            with pytest.raises(SlyError):
                await api.get_json("/mcp")
            assert len(shown) == len(set(shown))  # a call is not sent again without anything new
    assert 1 <= len(consents) <= 5


async def test_a_client_that_closes_gives_its_login_up_and_its_callers_hear_so(practise: Practise) -> None:
    practice = await resource(practise)
    asked: list[str] = []

    class Nobody(Person):
        async def __call__(self, url: str) -> str:
            asked.append(url)
            await asyncio.Event().wait()
            raise AssertionError

    async with api_of(practice, signer(practice, Nobody())) as api:
        calls = [asyncio.create_task(api.get_json("/notes")) for _ in range(2)]
        while not asked:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await api.close()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ended] == [LoginEndedError] * 2
    assert len(asked) == 1


@pytest.mark.parametrize("turns", range(4))
async def test_a_client_closes_at_any_turn_of_a_call_that_begins_while_another_loop_logs_in(
    practise: Practise, turns: int
) -> None:
    practice, asked, over = await resource(practise), Event(), Event()

    class Nobody(Person):
        async def __call__(self, url: str) -> str:
            asked.set()
            await asyncio.to_thread(over.wait)
            return "http://localhost/"

    auth = signer(practice, Nobody())

    async def logs_in() -> None:
        async with api_of(practice, auth) as api:
            with suppress(SlyError):
                await api.get_json("/notes")

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, logs_in()))
    await asyncio.to_thread(asked.wait)
    calling = asyncio.create_task(auth.refresh_now())
    for _ in range(turns):
        await asyncio.sleep(0)
    try:
        await auth.wait_for_refresh()
    finally:
        over.set()
    ended, _ = await asyncio.gather(calling, other, return_exceptions=True)
    assert isinstance(ended, SlyError)
