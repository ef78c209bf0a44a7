"""`python -m SlyAPI grant` as a person meets it: a real server, a real browser, real processes.

The rule: what counts is what is on the page, in the file, on stderr and in the server's log; nothing is patched.
"""
from __future__ import annotations

import asyncio
import re
import socket
import stat
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from SlyAPI import OAuth2, WebAPI
from tests.end_to_end.chromium import Person
from tests.end_to_end.oidc_server import OidcServer
from tests.support.program import Child, Desk

SCOPES = ("openid", "profile", "offline_access")
EACH_CLIENT = pytest.mark.parametrize("name", ["public", "basic", "post"])

CALL = """\
import asyncio, json, sys
from SlyAPI import OAuth2, WebAPI

class Userinfo(WebAPI):
    base_url = sys.argv[1]

    async def me(self):
        return await self.get_json("/me")

print(json.dumps(asyncio.run(Userinfo(OAuth2("app.json", "user.json")).me())))
"""
ALICE = '{"sub": "alice", "name": "alice of the tests"}\n'


def app_of(oidc: OidcServer, name: str = "public", **more: Any) -> dict[str, Any]:
    # OpenID Connect Core §11: no refresh token without the person's consent
    return oidc.app(name, auth_params={"prompt": "consent"}, **more)


async def grant(desk: Desk, *more: str, stdin: str = "nothing") -> Child:
    return await desk.slyapi("grant", "app.json", "user.json", *SCOPES, "--port", "0", *more, stdin=stdin)


async def granted(desk: Desk, person: Person, oidc: OidcServer, name: str = "public") -> dict[str, Any]:
    """One user of `name` after a grant: the file."""
    desk.writes("app.json", app_of(oidc, name))
    child = await grant(desk)
    await person.consents()
    assert (await child.ends()).code == 0
    return desk.reads("user.json")


async def call(desk: Desk, oidc: OidcServer) -> str:
    """What a small program prints that asks the userinfo endpoint, in a process of its own."""
    desk.writes("call.py", CALL)
    ended = await (await desk.starts("call.py", oidc.issuer)).ends()
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def expire(desk: Desk) -> None:
    """The user file as it is found when a program starts long after the grant."""
    past = datetime.now(UTC) - timedelta(days=1)
    desk.writes("user.json", desk.reads("user.json") | {"expires_at": past.strftime("%Y-%m-%dT%H:%M:%SZ")})


def redirect_uri_in(link: str) -> str:
    return parse_qs(urlsplit(link).query)["redirect_uri"][0]


async def outcomes(oidc: OidcServer) -> list[tuple[str, str | None]]:
    return [(entry["grant_type"], entry["error"]) for entry in await oidc.log()]


@EACH_CLIENT
async def test_a_person_consents_and_programs_call_for_them_from_then_on(
    oidc: OidcServer, person: Person, desk: Desk, name: str
) -> None:
    desk.writes("app.json", app_of(oidc, name))
    child = await grant(desk, "--json")
    landing = await person.consents()
    assert (landing.status, landing.title) == (200, "Connected")
    assert "code=" not in landing.address
    ended = await child.ends()
    assert ended.code == 0
    first = desk.reads("user.json")
    assert first["token"] not in ended.out + ended.err
    assert first["refresh_token"] not in ended.out + ended.err
    assert stat.S_IMODE((desk.folder / "user.json").stat().st_mode) == 0o600

    assert await call(desk, oidc) == ALICE
    assert desk.reads("user.json") == first, "a good token is not refreshed"

    expire(desk)
    assert await call(desk, oidc) == ALICE
    second = desk.reads("user.json")
    expire(desk)
    assert await call(desk, oidc) == ALICE
    third = desk.reads("user.json")
    assert len({user["refresh_token"] for user in (first, second, third)}) == 3
    assert len({user["token"] for user in (first, second, third)}) == 3

    log = [entry for entry in await oidc.log() if entry["error"] is None]
    assert [entry["grant_type"] for entry in log] == ["authorization_code", "refresh_token", "refresh_token"]
    assert {entry["client_auth"] for entry in log} == {oidc.clients[name].auth}


@EACH_CLIENT
async def test_how_the_client_authenticates_is_never_tried_out_on_a_refresh(
    oidc: OidcServer, person: Person, desk: Desk, name: str
) -> None:
    await granted(desk, person, oidc, name)
    before = len(await oidc.log())
    expire(desk)
    await call(desk, oidc)
    assert (await outcomes(oidc))[before:] == [("refresh_token", None)]


async def test_a_token_that_died_early_is_refreshed_after_the_401(
    oidc: OidcServer, person: Person, desk: Desk
) -> None:
    first = await granted(desk, person, oidc)
    await oidc.later(3000)
    assert await call(desk, oidc) == ALICE
    assert desk.reads("user.json")["refresh_token"] != first["refresh_token"]
    assert [entry["status"] for entry in await oidc.log("userinfo")] == [401, 200]


async def test_ten_calls_after_expiry_refresh_once(oidc: OidcServer, person: Person, desk: Desk) -> None:
    await granted(desk, person, oidc)
    await oidc.later(120)
    auth = OAuth2(desk.folder / "app.json", desk.folder / "user.json", clock=lambda: time.time() + 120)
    async with WebAPI(auth) as api:
        api.base_url = oidc.issuer
        answers = await asyncio.gather(*(api.get_json("/me") for _ in range(10)))
    assert {answer["sub"] for answer in answers} == {"alice"}
    assert await outcomes(oidc) == [("authorization_code", None), ("refresh_token", None)]


async def test_two_processes_after_expiry_share_one_refresh(oidc: OidcServer, person: Person, desk: Desk) -> None:
    await granted(desk, person, oidc)
    expire(desk)
    desk.writes("call.py", CALL)
    both = [await desk.starts("call.py", oidc.issuer) for _ in range(2)]
    assert [(await child.ends()).out for child in both] == [ALICE, ALICE]
    assert await outcomes(oidc) == [("authorization_code", None), ("refresh_token", None)]


async def test_from_nothing_by_the_issuer_alone(oidc: OidcServer, person: Person, desk: Desk) -> None:
    scaffold = await desk.slyapi("scaffold", "app.json", "--issuer", oidc.issuer, "--id", "public-client")
    assert (await scaffold.ends()).code == 0
    child = await grant(desk, "--param", "prompt=consent")
    assert (await person.consents()).title == "Connected"
    assert (await child.ends()).code == 0
    assert await call(desk, oidc) == ALICE


async def test_without_a_refresh_token_the_command_that_brings_one_is_named(
    oidc: OidcServer, person: Person, desk: Desk
) -> None:
    desk.writes("app.json", oidc.app("public"))
    child = await grant(desk)
    await person.consents()
    ended = await child.ends()
    assert desk.reads("user.json")["refresh_token"] is None
    (words,) = re.findall(r"^    python -m SlyAPI (grant .+)$", ended.err, re.MULTILINE)
    child = await desk.slyapi(*words.split(), "--port", "0")
    await person.consents()
    assert (await child.ends()).code == 0
    assert desk.reads("user.json")["refresh_token"]


@pytest.mark.parametrize("login", ["alice", None], ids=["at the consent page", "at the sign-in page"])
async def test_a_denial_ends_in_4_and_leaves_no_file(
    oidc: OidcServer, person: Person, desk: Desk, login: str | None
) -> None:
    desk.writes("app.json", app_of(oidc))
    child = await grant(desk)
    landing = await person.denies(login=login)
    assert landing.status == 403
    assert landing.title == "Access was denied"
    ended = await child.ends()
    assert ended.code == 4
    assert "End-User aborted interaction" in ended.err
    assert "Traceback" not in ended.err
    assert not (desk.folder / "user.json").exists()
    assert await oidc.log() == []


@pytest.mark.parametrize("name", ["basic", "post"])
async def test_a_wrong_secret_ends_in_6_and_the_old_file_stays(
    oidc: OidcServer, person: Person, desk: Desk, name: str
) -> None:
    desk.writes("app.json", app_of(oidc, name) | {"secret": "not the secret"})
    old = desk.writes("user.json", {"token": "old"}).read_bytes()
    child = await grant(desk, "--force")
    landing = await person.consents()
    assert landing.status == 400
    assert landing.title == "Not connected"
    ended = await child.ends()
    assert ended.code == 6
    assert "invalid_client" in ended.err
    assert "not the secret" not in ended.err + landing.text
    assert (desk.folder / "user.json").read_bytes() == old


async def test_a_port_in_use_ends_in_8_before_a_browser_opens(oidc: OidcServer, person: Person, desk: Desk) -> None:
    desk.writes("app.json", app_of(oidc))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        child = await desk.slyapi("grant", "app.json", "user.json", *SCOPES, "--port", port)
        ended = await child.ends()
    assert ended.code == 8
    assert port in ended.err
    with pytest.raises(TimeoutError):
        await person.asked(seconds=0.1)


async def test_a_stray_tab_changes_nothing(oidc: OidcServer, person: Person, desk: Desk) -> None:
    desk.writes("app.json", app_of(oidc))
    child = await grant(desk)
    link = await person.asked()
    forged = await person.visits(f"{redirect_uri_in(link)}?code=of-a-stranger&state=guessed")
    assert forged.status == 400
    assert (await person.visits(f"{redirect_uri_in(link)}/nothing-here")).status == 404
    assert (await person.consents(link)).title == "Connected"
    assert (await child.ends()).code == 0
    assert await outcomes(oidc) == [("authorization_code", None)]


async def test_the_same_link_in_a_second_tab_works(oidc: OidcServer, person: Person, desk: Desk) -> None:
    desk.writes("app.json", app_of(oidc))
    child = await grant(desk)
    link = await person.asked()
    await person.visits(link)
    assert (await person.consents(link)).title == "Connected"
    assert (await child.ends()).code == 0


async def test_a_person_at_another_machine_pastes_the_address(
    oidc: OidcServer, distant_person: Person, desk: Desk
) -> None:
    desk.writes("app.json", app_of(oidc))
    child = await grant(desk, "--no-browser", stdin="terminal")
    landing = await distant_person.consents(await child.says("/auth?"))
    assert landing.status is None
    child.types("http://localhost/?code=of-a-stranger&state=guessed")
    await child.says("state")
    child.types(landing.address)
    assert (await child.ends()).code == 0
    assert await call(desk, oidc) == ALICE


async def test_a_paste_needs_neither_listener_nor_terminal(oidc: OidcServer, person: Person, desk: Desk) -> None:
    desk.writes("app.json", app_of(oidc, "basic"))
    child = await desk.slyapi("grant", "app.json", "user.json", *SCOPES, "--port", "1", "--paste", stdin="pipe")
    landing = await person.consents(await child.says("/auth?"))
    assert landing.status is None
    child.types(landing.address)
    assert (await child.ends()).code == 0
    assert await call(desk, oidc) == ALICE


async def test_another_issuer_in_the_redirect_is_refused(oidc: OidcServer, person: Person, desk: Desk) -> None:
    desk.writes("app.json", app_of(oidc, issuer="https://honest.example"))
    child = await grant(desk)
    assert (await person.consents()).status == 400
    assert (await child.ends()).code == 4
    assert await oidc.log() == [], "the code must not reach a token endpoint (RFC 9207 §2.4)"


async def test_ctrl_c_ends_in_130_and_frees_the_port(oidc: OidcServer, person: Person, desk: Desk) -> None:
    desk.writes("app.json", app_of(oidc))
    child = await grant(desk)
    port = urlsplit(redirect_uri_in(await person.asked())).port
    await child.presses_ctrl_c()
    ended = await child.ends()
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert port is not None
    socket.create_server(("127.0.0.1", port)).close()
    assert not (desk.folder / "user.json").exists()


async def test_a_second_person_gets_a_file_of_their_own(oidc: OidcServer, person: Person, desk: Desk) -> None:
    first = await granted(desk, person, oidc)
    child = await desk.slyapi("grant", "app.json", "bob.json", *SCOPES, "--port", "0")
    await person.context.clear_cookies()
    await person.consents(login="bob")
    assert (await child.ends()).code == 0
    assert desk.reads("user.json") == first
    auth = OAuth2(desk.folder / "app.json", desk.folder / "bob.json")
    async with WebAPI(auth) as api:
        api.base_url = oidc.issuer
        assert (await api.get_json("/me"))["sub"] == "bob"
